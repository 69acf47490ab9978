"""The config that `init` writes for a data set: every value with the reason for it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import tomlkit
from tomlkit.items import Item

from shared.config.schema import POCKET, RUN_NAME, EvaluationConfig
from shared.data import prompt_file
from shared.data.split import held_out
from shared.data.survey import Survey
from shared.errors import DataError
from tasks.text_to_image.encoders import face_files, files
from tasks.text_to_image.models.presets import PICTURES_PER_UPDATE, Choice, Preset
from tasks.text_to_image.models.whole_presets import UPDATE
from tasks.text_to_image.profiles import FACE_LOSS, NO_FACES, PROFILES
from tasks.text_to_image.proposal import Proposal

VIEWS_PER_PICTURE = 100
STEPS_RANGES = {"lora": (500, 4000), "full": (500, 15_000), "scratch": (4000, 50_000)}
"""By `train.what`. The highest of `full` is that of diffusers' example; of `scratch`, the kanji demo's least."""
LEARNING_RATES = {
    "lora": (1e-4, "the usual rate of AdamW for a LoRA; lower it if pictures break"),
    "full": (1e-5, "the usual rate where every weight of a trained model learns; lower it if pictures break"),
    "scratch": (1e-4, "the usual rate for fresh weights"),
}
"""By `train.what`, with the reason."""
BASE_MODEL = {
    "lora": "the base model: training does not change it, it writes a separate LoRA",
    "full": "the base model, whose denoiser's weights training begins from; its files do not change",
    "scratch": "gives the VAE and the text encoders, and the architecture unless model.denoiser names one",
}
NUM_SNAPSHOTS = 10
MIN_PICTURES = 3
SAMPLES_WANTED = 16
SAMPLES_ON_CPU = 4
PROBES = 4
FEW_PICTURES = 5
"""So few that to hold out two of them costs more than what they would say."""
SCENES = (
    "close-up",
    "seen from the side",
    "in front of a white wall",
    "in a forest",
    "on a city street at night",
    "on a beach in the sun",
    "pencil drawing",
)
"""Of the prompts that are proposed: as many as a verdict needs."""
PROMPTS_HEAD = (
    "# Prompts that every snapshot is evaluated by, one in each line. Change them to what you want to draw.",
    "# Options: --n negative prompt --w width --h height --s steps --l guidance --d seed",
)
PLAIN_LETTERS = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
    | {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i"}
)
"""What Unicode does not take apart into a plain letter and a mark."""
VISUAL_ENCODERS = ("facebook/dinov2-base", "google/siglip2-base-patch16-224")
"""Encoders worth a download, in order of preference. DreamSim is not among them: it loads its own pickles."""


@dataclass(frozen=True)
class OwnPrompts:
    """A file for `evaluation.prompts`."""

    path: str
    """As the config says it."""
    prompts: tuple[str, ...]


def starter_prompts(survey: Survey) -> str:
    """The text of a file of prompts for a data set; empty if nothing is known of its subject."""
    subject = prompt_file.TRIGGER if survey.trigger_word else min(survey.captions, key=len, default="")
    if not subject:
        return ""
    lines = [f"{subject}, {scene}" for scene in SCENES]
    return "\n".join([*PROMPTS_HEAD, *lines, ""])


def render(
    survey: Survey,
    preset: Preset,
    model: str,
    data: str,
    name: str,
    target: Path | None = None,
    own: OwnPrompts | None = None,
    proposal: Proposal | None = None,
) -> str:
    """The TOML text of a config.

    target: the file it is for. The file's name is the name of the run if it is allowed as such. own: prompts that
    snapshots are evaluated by. proposal: what the subject is; None: nothing is said of it.

    Raises:
        DataError: fewer than three pictures: two are held out, at least one is trained on.
    """
    if (count := survey.num_images - survey.num_copies) < MIN_PICTURES:
        raise DataError(
            f"{data} holds {count} different picture(s), at least {MIN_PICTURES} are needed: two of them are held out",
            "add pictures",
        )
    document = tomlkit.document()
    for line in _head(survey, preset, name):
        document.add(tomlkit.comment(line))
    choices = {
        **_run(preset, target),
        **_data(survey, model, data, own, preset),
        **preset.choices,
        **_training(survey, preset, own),
        **(_subject(proposal, preset) if proposal else {}),
    }
    sections: dict[str, dict[str, Choice]] = {}
    for key, choice in choices.items():
        section, _, setting = key.partition(".")
        sections.setdefault(section, {})[setting] = choice
    for section, settings in sections.items():
        table = tomlkit.table()
        for setting, choice in settings.items():
            table.add(setting, _item(choice))
        document.add(tomlkit.nl())
        document.add(section, table)
    return tomlkit.dumps(document)


def run_name(name: str) -> str:
    """The name of a data set or file, changed so that it is allowed as a run's name: `Größe 1` is `Grosse-1`."""
    letters = unicodedata.normalize("NFKD", name.translate(PLAIN_LETTERS))
    name = "".join(letter for letter in letters if not unicodedata.combining(letter))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-")[:80]
    return name if RUN_NAME.fullmatch(name) else "first-run"


def _item(choice: Choice) -> Item:
    item = cast("Item", tomlkit.item(choice.value))
    if choice.reason:
        item.comment(choice.reason)
    return item


def _head(survey: Survey, preset: Preset, name: str) -> list[str]:
    return [
        f"Written by `run.py init` for {name}; docs/configuration.md lists every key.",
        f"Preset: {preset.name}: {preset.reason}.",
        *survey.sentences(),
    ]


def _run(preset: Preset, target: Path | None) -> dict[str, Choice]:
    named: dict[str, Choice] = {}
    if target and not RUN_NAME.fullmatch(target.stem):
        named = {"run.name": Choice(run_name(target.stem), "letters, digits, '.', '_' and '-' only")}
    return {
        **named,
        "run.preset": Choice(preset.name, "recorded in run.json; changes nothing"),
        "run.preset_reason": Choice(preset.reason, ""),
    }


def num_held_out(survey: Survey, own: OwnPrompts | None) -> int:
    """How many pictures to hold out: none of a small set, if there are prompts to evaluate snapshots by."""
    count = survey.num_images - survey.num_copies
    is_small = count < held_out.pictures_needed(held_out.ENOUGH)
    return 0 if own and is_small else held_out.suggested(count)


def _data(survey: Survey, model: str, data: str, own: OwnPrompts | None, preset: Preset) -> dict[str, Choice]:
    shapes = "aspect ratios differ: nothing is cut off" if survey.mixed_shapes else "all pictures have about one shape"
    return {
        "model.path": Choice(model, BASE_MODEL[preset.what]),
        "data.path": Choice(data, ""),
        **_trigger_word(survey),
        **_sources(survey),
        "data.num_validation": _num_validation(survey, own),
        "data.buckets": Choice(True, shapes),
    }


def _trigger_word(survey: Survey) -> dict[str, Choice]:
    if not survey.trigger_word:
        return {}
    return {
        "data.trigger_word": Choice(survey.trigger_word, "put before every caption, or used alone where there is none")
    }


def _sources(survey: Survey) -> dict[str, Choice]:
    if not survey.num_sources:
        return {}
    return {"data.sources": Choice("files", "pairs for an edit model: captions are instructions for the sources")}


def _num_validation(survey: Survey, own: OwnPrompts | None) -> Choice:
    num_images, count = survey.num_images - survey.num_copies, num_held_out(survey, own)
    if count == 0:
        return Choice(
            0, f"all {num_images} pictures are learnt: snapshots are evaluated by prompts of your own instead"
        )
    reason = f"of {num_images}: never trained on, used to evaluate snapshots"
    if count < held_out.ENOUGH:
        needed = held_out.pictures_needed(held_out.ENOUGH)
        reason += f"; with {held_out.ENOUGH}, from {needed} pictures on, a large gain is seen in 9 of 10 runs"
    return Choice(count, reason)


def _training(survey: Survey, preset: Preset, own: OwnPrompts | None) -> dict[str, Choice]:
    """Steps, save intervals and evaluation, from the number of pictures."""
    distinct, away = survey.num_images - survey.num_copies, num_held_out(survey, own)
    learnt = survey.num_images - round(away * survey.num_images / distinct)  # copies of the held-out go as well
    update, bounds = UPDATE.get(preset.what, PICTURES_PER_UPDATE), STEPS_RANGES[preset.what]
    pictures = update / (2 if survey.num_regularization else 1)  # of the subject: half of them are not
    steps = _clamp(round(VIEWS_PER_PICTURE * learnt / pictures, -2), bounds)
    snapshot_steps = max(steps // NUM_SNAPSHOTS, 1)
    views = steps * pictures / learnt
    beside = f", {pictures:g} of them for regularisation" if survey.num_regularization else ""
    return {
        "train.max_train_steps": Choice(
            steps,
            f"{VIEWS_PER_PICTURE} views of each of {learnt} pictures, {update} an update{beside}, "
            f"within {bounds[0]} to {bounds[1]}: {views:.0f} views here",
        ),
        "train.learning_rate": _learning_rate(preset),
        "train.snapshot_steps": Choice(snapshot_steps, f"{NUM_SNAPSHOTS} snapshots to choose from"),
        **(
            {
                "train.validation_steps": Choice(
                    snapshot_steps, "the held-out loss of every snapshot: it shows overfitting"
                )
            }
            if away
            else {}
        ),
        "train.checkpointing_steps": Choice(2 * snapshot_steps, "the most steps that an interruption can lose"),
        **_evaluation(preset, away, own),
    }


def _learning_rate(preset: Preset) -> Choice:
    if preset.name.startswith(POCKET):
        return Choice(2e-3, "the rate for the miniature model, as in the demo")
    return Choice(*LEARNING_RATES[preset.what])


def _evaluation(preset: Preset, away: int, own: OwnPrompts | None) -> dict[str, Choice]:
    slow = _is_slow(preset)
    prompts = min(away, SAMPLES_ON_CPU if slow else SAMPLES_WANTED)
    drawn = prompts + len(own.prompts if own else ())
    seeds = 1 if slow else max(1, min(4, 2 * SAMPLES_WANTED // drawn))
    if own and not away:
        seeds = max(seeds, 2)  # without references, copies and narrowing are told from the pictures of one prompt
    reason = "few: drawing on a CPU is slow" if slow else f"of {away} held-out captions"
    further = min(away - prompts, SAMPLES_ON_CPU if slow else away)
    choices: dict[str, Choice] = {}
    if own:
        beside = "beside held-out captions" if away else "instead of held-out captions"
        choices["evaluation.prompts"] = Choice(own.path, f"{len(own.prompts)} prompts of your own, {beside}")
    if prompts:
        choices["evaluation.num_prompts"] = Choice(prompts, reason)
    choices |= {
        "evaluation.num_seeds": Choice(seeds, f"{drawn * seeds} pictures for every snapshot"),
        "evaluation.confirm_seeds": Choice(seeds, "at the end the best three are evaluated again with new seeds"),
    }
    if further:
        choices["evaluation.confirm_prompts"] = Choice(further, "and with this many of the remaining captions")
    if preset.name.startswith(POCKET):
        choices["evaluation.fashion_clip"] = Choice(POCKET, "the embedded miniature CLIP: no download")
    else:
        choices["evaluation.visual"] = _visual()
    return choices


def _subject(proposal: Proposal, preset: Preset) -> dict[str, Choice]:
    """The profile, what it needs, and the probe prompts."""
    profile = PROFILES[proposal.profile]
    choices = {"evaluation.profile": Choice(proposal.profile, proposal.reason)}
    if not preset.name.startswith(POCKET):
        choices |= {
            key: Choice(value, f"follows prompts about anything: the profile is {proposal.profile}")
            for key, value in profile.encoders.items()
        }
    if FACE_LOSS in profile.weights and not proposal.has_face_encoder:
        why = f"the face encoder is missing: {face_files.INSTALL}, then set dlib. Without it whole pictures count"
        choices["evaluation.face"] = Choice(NO_FACES, why)
    if proposal.class_word:
        choices["data.class_word"] = Choice(proposal.class_word, "what kind of thing it is, for probe prompts")
    kinds, what = (2, "unrelated and of the class word") if proposal.class_word else (1, "unrelated")
    if preset.what == "scratch":
        return choices
    if preset.name.startswith(POCKET):
        return {**choices, "evaluation.probes": Choice(0, "off: the miniature model knows nothing unrelated")}
    if _is_slow(preset):
        reason = f"off: drawing on a CPU is slow; {PROBES} would add {kinds * PROBES} pictures to every snapshot"
        return {**choices, "evaluation.probes": Choice(0, reason)}
    reason = f"{kinds * PROBES} more pictures for every snapshot, {what}: what training changes beside its subject"
    return {**choices, "evaluation.probes": Choice(PROBES, reason)}


def _is_slow(preset: Preset) -> bool:
    return preset.choices["evaluation.device"].value == "cpu" or preset.name.endswith("on CPU")


def _visual() -> Choice:
    """The best perceptual encoder that is in the cache or can be downloaded."""
    for encoder in VISUAL_ENCODERS:
        if files.is_at_hand(encoder, ask_hub=False):
            return Choice(encoder, "a perceptual encoder that is on this machine")
    if files.is_at_hand(VISUAL_ENCODERS[0], ask_hub=True):
        return Choice(VISUAL_ENCODERS[0], "a perceptual encoder; the evaluator downloads it once")
    return Choice(
        EvaluationConfig().visual, f"comes with Darkroom; {VISUAL_ENCODERS[0]} is better, but the hub did not answer"
    )


def _clamp(value: float, bounds: tuple[int, int]) -> int:
    return int(min(max(value, bounds[0]), bounds[1]))
