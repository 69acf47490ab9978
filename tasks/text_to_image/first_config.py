"""The first config of a data set: every chosen value with its reason beside it, ready to read and to train with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import tomlkit
from tomlkit.items import Item

from shared.config.schema import POCKET, RUN_NAME, EvaluationConfig
from shared.data import held_out
from shared.data.survey import Survey
from shared.errors import DataError
from tasks.text_to_image.encoders import files
from tasks.text_to_image.models.presets import PICTURES_PER_UPDATE, Choice, Preset

VIEWS_PER_PICTURE = 100
STEPS_RANGE = (500, 4000)
NUM_SNAPSHOTS = 10
MIN_PICTURES = 3
SAMPLES_WANTED = 16
SAMPLES_ON_CPU = 4
VISUAL_ENCODERS = ("facebook/dinov2-base", "google/siglip2-base-patch16-224")
"""Those worth a download, the preferred one first. DreamSim is chosen by name only: it loads its own pickles."""


def render(seen: Survey, preset: Preset, model: str, data: str, name: str, target: Path | None = None) -> str:
    """The TOML text of a config.

    target: the file it is for, whose name is the run's where a run may be called so.

    Raises:
        DataError: fewer than three pictures: two are held out, one at least is learnt from.
    """
    if (count := seen.num_images - seen.num_copies) < MIN_PICTURES:
        raise DataError(
            f"{data} holds {count} different picture(s), at least {MIN_PICTURES} are needed: two of them are held out",
            "add pictures",
        )
    document = tomlkit.document()
    for line in _head(seen, preset, name):
        document.add(tomlkit.comment(line))
    choices = {**_run(preset, target), **_data(seen, model, data), **preset.choices, **_training(seen, preset)}
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
    """The name of a data set or file, as a run may be called."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-")[:80]
    return name if RUN_NAME.fullmatch(name) else "first-run"


def _item(choice: Choice) -> Item:
    item = cast("Item", tomlkit.item(choice.value))
    if choice.reason:
        item.comment(choice.reason)
    return item


def _head(seen: Survey, preset: Preset, name: str) -> list[str]:
    return [
        f"Written by `run.py init` for {name}; docs/configuration.md lists every key.",
        f"Preset: {preset.name}: {preset.reason}.",
        *seen.sentences(),
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


def _data(seen: Survey, model: str, data: str) -> dict[str, Choice]:
    shapes = "aspect ratios differ: nothing is cut off" if seen.mixed_shapes else "all pictures have about one shape"
    return {
        "model.path": Choice(model, "the base model: it stays as it is, the LoRA is learnt beside it"),
        "data.path": Choice(data, ""),
        **_trigger_word(seen),
        "data.num_validation": _num_validation(seen.num_images - seen.num_copies),
        "data.buckets": Choice(True, shapes),
    }


def _trigger_word(seen: Survey) -> dict[str, Choice]:
    if not seen.trigger_word:
        return {}
    return {"data.trigger_word": Choice(seen.trigger_word, "stands before every caption, or alone where there is none")}


def _num_validation(num_images: int) -> Choice:
    count = held_out.suggested(num_images)
    reason = f"of {num_images}: never trained on, drawn as tests"
    if count < held_out.ENOUGH:
        reason += f"; too few for a sure verdict, for which {2 * held_out.ENOUGH} pictures or more are needed"
    elif count == held_out.ENOUGH:
        reason += "; with fewer, hardly any verdict can be sure"
    return Choice(count, reason)


def _training(seen: Survey, preset: Preset) -> dict[str, Choice]:
    """Cadences and evaluation, from the number of pictures."""
    distinct = seen.num_images - seen.num_copies
    num_held_out = held_out.suggested(distinct)
    learnt = seen.num_images - round(num_held_out * seen.num_images / distinct)  # copies of the held-out go as well
    pictures = PICTURES_PER_UPDATE / (2 if seen.num_regularization else 1)  # of the subject: half of them are not
    steps = _clamp(round(VIEWS_PER_PICTURE * learnt / pictures, -2), STEPS_RANGE)
    snapshot_steps = max(steps // NUM_SNAPSHOTS, 1)
    views = steps * pictures / learnt
    beside = f", {pictures:g} of them for regularisation" if seen.num_regularization else ""
    return {
        "train.max_train_steps": Choice(
            steps,
            f"{VIEWS_PER_PICTURE} views of each of {learnt} pictures, {PICTURES_PER_UPDATE} an update{beside}, "
            f"within {STEPS_RANGE[0]} to {STEPS_RANGE[1]}: {views:.0f} views here",
        ),
        "train.learning_rate": _learning_rate(preset),
        "train.snapshot_steps": Choice(snapshot_steps, f"{NUM_SNAPSHOTS} snapshots to choose from"),
        "train.validation_steps": Choice(snapshot_steps, "the held-out loss of every snapshot: it tells overfitting"),
        "train.checkpointing_steps": Choice(2 * snapshot_steps, "what an interruption can cost at most"),
        **_evaluation(preset, num_held_out),
    }


def _learning_rate(preset: Preset) -> Choice:
    if preset.name.startswith(POCKET):
        return Choice(2e-3, "what the miniature model learns at, as in the demo")
    return Choice(1e-4, "the usual rate of AdamW for a LoRA; lower it if pictures break")


def _evaluation(preset: Preset, num_held_out: int) -> dict[str, Choice]:
    slow = preset.choices["evaluation.device"].value == "cpu" or preset.name.endswith("on CPU")
    prompts = min(num_held_out, SAMPLES_ON_CPU if slow else SAMPLES_WANTED)
    seeds = 1 if slow else max(1, min(4, 2 * SAMPLES_WANTED // prompts))
    reason = "few: drawing on a CPU is slow" if slow else f"of {num_held_out} held-out captions"
    further = min(num_held_out - prompts, SAMPLES_ON_CPU if slow else num_held_out)
    found = {
        "evaluation.num_prompts": Choice(prompts, reason),
        "evaluation.num_seeds": Choice(seeds, f"{prompts * seeds} pictures for every snapshot"),
        "evaluation.confirm_seeds": Choice(seeds, "at the end the best three are evaluated again with new seeds"),
    }
    if further:
        found["evaluation.confirm_prompts"] = Choice(further, "and on so many of the captions left over")
    if preset.name.startswith(POCKET):
        found["evaluation.fashion_clip"] = Choice(POCKET, "the embedded miniature CLIP: no download")
    else:
        found["evaluation.visual"] = _visual()
    return found


def _visual() -> Choice:
    """The best perceptual encoder that is in the cache, or that the hub has."""
    for encoder in VISUAL_ENCODERS:
        if files.is_at_hand(encoder, ask_hub=False):
            return Choice(encoder, "a perceptual encoder that is on this machine")
    if files.is_at_hand(VISUAL_ENCODERS[0], ask_hub=True):
        return Choice(VISUAL_ENCODERS[0], "a perceptual encoder; the evaluator downloads it once")
    return Choice(
        EvaluationConfig().visual, f"comes with Darkroom; the hub did not answer: {VISUAL_ENCODERS[0]} sees more"
    )


def _clamp(value: float, bounds: tuple[int, int]) -> int:
    return int(min(max(value, bounds[0]), bounds[1]))
