"""What persons, characters, objects and styles are judged by: faces, parts and manner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from pocket.lessons.garments import Garment, Mask, render
from shared.errors import ModelError
from tasks.text_to_image.descriptors.subject_mask import on_square
from tasks.text_to_image.encoders.loading import load_encoder
from tasks.text_to_image.evaluation.scorer import load_scorer
from tasks.text_to_image.metrics import all_metrics
from tasks.text_to_image.metrics.losses.face import STRANGER, face_loss, picture_face
from tasks.text_to_image.scoring.features import Extractor, Features
from tasks.text_to_image.scoring.metric_input import MetricInput, Row
from tests.unit.tasks.text_to_image.metrics.trained import Trained

GREY = Image.new("RGB", (64, 64), "grey")


def face_of(*distances: float) -> np.ndarray:
    """A made-up face at these places."""
    return np.array([*distances, *([0.0] * (128 - len(distances)))])


def with_faces(*faces: np.ndarray | None) -> tuple[list[Image.Image], Callable[[Image.Image], np.ndarray | None]]:
    """Pictures, and what finds these faces in them."""
    pictures = [Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(len(faces))]
    return pictures, lambda picture: faces[picture.getpixel((0, 0))[0]]


def rows(trained: int, *faces: np.ndarray | None) -> Sequence[Row]:
    """The rows of the pictures after the first `trained`, which are learnt."""
    pictures, look = with_faces(*faces)
    samples = pictures[trained:]
    features = Features({picture_face: Extractor(look)})
    metric_input = MetricInput((), samples, [""] * len(samples), training=Trained(pictures[:trained]))
    return face_loss(metric_input, features)


def test_the_nearer_face_has_the_smaller_loss_and_a_copy_gains_nothing_over_a_good_likeness() -> None:
    copy, alike, other = rows(2, face_of(0), face_of(0.4), face_of(0), face_of(0.2, 0.34), face_of(0.9))
    assert copy["face_nearest"] == 0
    assert copy["face_nearest_real"] == pytest.approx(0.4)
    assert copy["face_loss"] == alike["face_loss"] == pytest.approx(0.4)
    assert other["face_loss"] > alike["face_loss"]  # type: ignore[operator]


def test_a_picture_without_a_face_counts_as_a_strangers_and_says_so() -> None:
    none, far = rows(3, face_of(0), face_of(0.3), None, None, face_of(9))
    assert none["face_loss"] == far["face_loss"] == STRANGER
    assert (none["face_found"], far["face_found"]) == (0, 1)
    assert none["face_mean"] is None


def test_faces_are_not_compared_where_the_training_pictures_show_none() -> None:
    with pytest.raises(ModelError, match="fewer than two training pictures show a face"):
        rows(2, face_of(0), None, face_of(0))


def test_a_missing_face_encoder_leaves_the_column_empty_and_says_why() -> None:
    scorer = load_scorer("/nowhere", metrics=("face",), face="none")
    scores = scorer.score_without_references(
        MetricInput((), [GREY], ["a"], training=Trained([GREY] * 2)), frozenset({"training"})
    )
    assert scores.rows[0]["face_loss"] is None
    assert scores.missing["face_loss"] == "evaluation.face is none, so faces are not compared"


def before(shown: tuple[Image.Image, Mask], colour: str) -> Image.Image:
    """A garment before stripes of a colour."""
    behind = Image.new("RGB", shown[0].size, colour)
    behind.paste("white", (0, 0, behind.width, behind.height // 3))
    return Image.composite(shown[0], behind, Image.fromarray(shown[1].astype(np.uint8) * 255))


def losses(name: str, column: str, trained: Trained, samples: list[Image.Image]) -> list[float]:
    scorer = load_scorer("/nowhere", metrics=(name,))
    found = all_metrics()[name].compute(
        MetricInput((), samples, [""] * len(samples), training=trained), scorer.features
    )
    return [row[column] for row in found]  # type: ignore[misc]


def test_parts_are_found_before_another_background_and_another_subjects_are_not() -> None:
    subject, other = Garment("dress", "red", "striped"), Garment("coat", "blue", "plain")
    learnt = [render(subject, seed) for seed in range(3)]
    samples = [before(render(subject, 7), "green"), before(render(other, 7), "green"), learnt[0][0]]
    for given in ([mask for _, mask in learnt], ()):
        trained = Trained([picture for picture, _ in learnt], given)
        same, different, copy = losses("patches", "patch_loss", trained, samples)
        assert same < different
        assert copy > 1 - losses("patches", "patch_nearest", trained, samples)[2], "a copy counts no further"


def test_an_encoder_without_places_says_what_to_set() -> None:
    scorer = load_scorer("/nowhere", visual="gradients", metrics=("patches",))
    scores = scorer.score_without_references(
        MetricInput((), [GREY], ["a"], training=Trained([GREY] * 2)), frozenset({"training"})
    )
    assert scores.missing["patch_loss"].startswith("gradients gives one vector for a whole picture")


def test_a_mask_lies_on_the_grid_as_the_padded_picture_does() -> None:
    tall = np.zeros((8, 4), dtype=bool)
    tall[:4] = True
    assert on_square(tall, 4).reshape(4, 4).tolist() == [[False, True, True, False]] * 2 + [[False] * 4] * 2


def manner(picture: Image.Image) -> Image.Image:
    """As a sketch: lines on white."""
    return ImageOps.invert(picture.convert("L").filter(ImageFilter.FIND_EDGES)).convert("RGB")


def test_style_is_the_manner_and_not_what_is_shown() -> None:
    kinds = ("dress", "coat", "skirt", "kimono", "trousers", "shorts")
    drawn = [render(Garment(kind, "red", "striped"), number)[0] for number, kind in enumerate(kinds)]
    trained = Trained([manner(picture) for picture in drawn])
    others = [render(Garment(kind, "blue", "striped"), 50 + number)[0] for number, kind in enumerate(kinds)]
    as_sketches = losses("style", "style_loss", trained, [manner(picture) for picture in others])
    photographs = losses("style", "style_loss", trained, drawn[:3])
    assert np.mean(as_sketches) < np.mean(photographs)
    one_copied = losses("style", "style_loss", trained, [manner(drawn[0])] * 3)
    assert np.mean(one_copied) > np.mean(as_sketches), "pictures that are all alike are no set like the training set"


def test_a_style_is_told_from_four_pictures_on() -> None:
    with pytest.raises(ModelError, match="from 3 training pictures: at least 4"):
        losses("style", "style_loss", Trained([GREY] * 3), [GREY])


@pytest.mark.parametrize(("folder", "edge"), [("dinov2_folder", 2), ("siglip_folder", 4), ("clip_folder", 4)])
def test_the_places_of_a_transformer_are_its_patches_without_other_tokens(
    folder: str, edge: int, request: pytest.FixtureRequest
) -> None:
    encoder = load_encoder(str(request.getfixturevalue(folder)))
    half = Image.new("RGB", (56, 56), "red")
    half.paste("blue", (0, 28, 56, 56))
    places = encoder.embed_patches(half)
    assert len(places) == edge**2
    assert np.linalg.norm(places, axis=1) == pytest.approx(1)
    grid = places.reshape(edge, edge, -1)
    changed = Image.new("RGB", (56, 56), "red")
    other = encoder.embed_patches(changed).reshape(edge, edge, -1)
    moved = np.linalg.norm(grid - other, axis=2)
    assert moved[edge // 2 :].mean() > moved[: edge // 2].mean(), "row by row, from the top"
