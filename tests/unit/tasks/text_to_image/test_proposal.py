"""`init` proposes a profile, with its reason, and says so where it is in doubt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.config.loading import load_config
from shared.data.survey import Survey
from shared.errors import ConfigError
from tasks.text_to_image import first_config, proposal
from tasks.text_to_image.encoders.faces import FaceEncoder
from tasks.text_to_image.encoders.record import EncoderRecord
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.stable_diffusion import Pocket
from tasks.text_to_image.models import presets
from tasks.text_to_image.profiles import require_profile
from tasks.text_to_image.proposal import Proposal, propose
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def no_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposal, "load_face_encoder", lambda: FaceEncoder(EncoderRecord(model="none"), lambda _: None))


def seen(*captions: str, trigger_word: str = "", pictures: tuple[Path, ...] = ()) -> Survey:
    return Survey(len(captions), (), captions, trigger_word=trigger_word, pictures=pictures)


@pytest.mark.parametrize(
    ("profile", "class_word", "captions"),
    [
        ("garment", "kimono", ("a photo of a red tartan kimono", "kimono in blue", "two kimonos on a line")),
        ("person", "woman", ("ohwx woman in a park", "portrait of ohwx woman", "ohwx woman, close-up")),
        ("character", "robot", ("a small robot waving", "the robot, seen from the side", "robot in a forest")),
        ("object", "vase", ("a blue vase on a table", "vase, white background", "a vase by a window")),
        (
            "style",
            "painting",
            ("a painting of a dog", "painting of a house", "a painting of a boat", "painting, a man"),
        ),
    ],
)
def test_the_words_of_the_captions_say_what_is_learnt(profile: str, class_word: str, captions: tuple[str, ...]) -> None:
    found = propose(seen(*captions))
    assert (found.profile, found.class_word) == (profile, class_word)
    count = len(captions)
    assert found.reason.startswith(f"{count} of {count} captions say '{class_word}'")


def test_a_painted_character_is_no_style() -> None:
    assert propose(seen("a painting of the fox", "the fox, painting", "a drawing of the fox")).profile == "character"


def test_in_doubt_it_says_how_it_has_decided() -> None:
    unknown = propose(seen("img 1", "img 2"))
    assert (unknown.profile, unknown.reason) == ("garment", proposal.DOUBT)
    both = propose(seen("a woman in a red dress", "woman, blue dress"))
    assert both.profile == "garment"
    assert both.reason == (
        "in doubt: 2 of 2 captions say 'dress' and 2 of 2 captions say 'woman'; choose another profile if garment is "
        "wrong"
    )
    few = propose(seen("smiling woman", "smiling woman by the sea", "img 3", "img 4", "img 5"))
    assert few.profile == "person"
    assert few.reason.startswith("in doubt: 2 of 5 captions say 'smiling' or 'woman'; choose another"), few.reason
    assert few.class_word == ""


def test_the_trigger_word_is_no_word_of_the_captions() -> None:
    found = propose(seen("dress dog in a park", "dress dog asleep", trigger_word="dress"))
    assert (found.profile, found.class_word) == ("character", "dog")


def test_the_face_of_one_person_in_most_pictures_speaks_before_the_captions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = tuple(tmp_path / f"{number}.png" for number in range(4))
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)

    def faces(*places: float) -> None:
        described = lambda pixels: np.full(128, places[pixels[0, 0, 0]])  # noqa: E731
        encoder = FaceEncoder(EncoderRecord(model="dlib"), described)
        monkeypatch.setattr(proposal, "load_face_encoder", lambda: encoder)

    faces(0.0, 0.01, 0.02, 1.0)
    found = propose(seen("img 1", "img 2", "img 3", "img 4", pictures=paths))
    assert (found.profile, found.reason) == ("person", "3 of 4 pictures show the face of one person")
    faces(0.0, 1.0, 2.0, 3.0)
    assert propose(seen("img 1", "img 2", pictures=paths)).profile == "garment"


def test_the_class_word_is_said_or_how_to_give_it() -> None:
    girl = propose(seen("mika, a girl in a forest", "mika, a girl waving"), "character")
    assert (girl.class_word, girl.of_class()) == ("girl", "class word: girl (--class-word says another)")
    for profile in ("character", "style"):
        unknown = propose(seen("zorblax in a forest", "zorblax waving"), profile)
        assert unknown.class_word == ""
        assert "give --class-word, such as " in unknown.of_class()
    assert propose(seen("a vase by a window", "a vase"), "style").class_word == "", "a style is no vase"


def test_what_the_user_says_is_taken(tmp_path: Path) -> None:
    found = propose(seen("a dress", "a dress"), "style", "poster")
    assert (found.profile, found.class_word, found.reason) == ("style", "poster", "as you said")
    with pytest.raises(ConfigError, match="--profile is 'dresses', which is no profile"):
        require_profile("dresses")


def rendered(tmp_path: Path, found: Proposal, preset: presets.Preset, model: str) -> tuple[str, Path]:
    captions = tuple(f"a vase {number}" for number in range(40))
    survey = Survey(40, ((512, 512),), captions, held_out_captions=captions[:16])
    text = first_config.render(survey, preset, model, str(tmp_path), "one", proposal=found)
    path = tmp_path / "one.toml"
    path.write_text(text, encoding="utf-8")
    return text, path


def test_the_config_has_the_profile_its_clip_and_probes_with_their_cost(tmp_path: Path) -> None:
    preset = presets.recommend(FAMILIES["sd1"], None)
    text, path = rendered(tmp_path, Proposal("object", "why", "vase"), preset, "org/model")
    config = load_config(path)
    assert config.evaluation.profile == "object"
    assert config.evaluation.fashion_clip == "openai/clip-vit-base-patch32"
    assert config.data.class_word == "vase"
    assert config.evaluation.probes == 0
    assert "4 would add 8 pictures to every snapshot" in text


def test_a_person_without_a_face_encoder_is_judged_by_whole_pictures_and_the_config_says_how_to_get_one(
    tmp_path: Path,
) -> None:
    preset = presets.recommend(Pocket(), None)
    text, path = rendered(tmp_path, Proposal("person", "why"), preset, "pocket")
    config = load_config(path)
    assert config.evaluation.face == "none"
    assert "pip install 'darkroom[faces]'" in text
    assert config.evaluation.fashion_clip == "pocket"
    assert config.evaluation.probes == 0, "to it every prompt is one of garments"
    _, path = rendered(tmp_path, Proposal("person", "why", has_face_encoder=True), preset, "pocket")
    assert load_config(path).evaluation.face == "dlib"


def test_init_looks_for_faces_without_torch() -> None:
    code = "import sys, tasks.text_to_image.init; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
