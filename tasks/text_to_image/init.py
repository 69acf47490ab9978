"""`run.py init`: inspect pictures, model and hardware, and write a config. Never imports torch."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from shared.config.loading import load_config
from shared.config.schema import POCKET
from shared.data.sources import listed
from shared.data.survey import survey
from shared.errors import ConfigError, writing
from shared.files.replacing import replace_file
from shared.launch import power
from shared.machine import hardware
from tasks.text_to_image import first_config, task
from tasks.text_to_image.families.stable_diffusion import Pocket
from tasks.text_to_image.models import base_model, presets, tokens


def init(folder: Path, model: str, output: Path | None, trigger_word: str, *, force: bool) -> int:
    """Write the config, and print the findings and the expectations for a run; returns the exit code.

    Raises:
        ConfigError: the file exists already, and `force` is not given.
        DataError: there are too few pictures.
        ModelError: the model cannot be trained.
    """
    console = Console(highlight=False, soft_wrap=True)
    target = output or Path(f"{first_config.run_name(folder.resolve().name)}.toml")
    if target.exists() and not force:
        raise ConfigError(f"{target} exists", "give another --output, or --force to overwrite it")
    pictures = survey(folder, trigger_word, say=lambda text: console.print(text, markup=False))
    for line in (*pictures.sentences(), *listed(list(pictures.notices))):
        console.print(line, markup=False)
    for problem in listed(list(pictures.problems)):
        console.print(f"to repair before training: {problem}", markup=False)
    if pictures.cure:
        console.print(f"hint: {pictures.cure}", markup=False)
    recognised = base_model.family(model)
    family = Pocket() if model == POCKET else recognised or base_model.guess_family(model)
    preset = presets.recommend(family, next(iter(hardware.usable_gpus()), None))
    text = first_config.render(pictures, preset, model, str(folder), folder.resolve().name, target)
    with writing("--output", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, text.encode())
    source = family.name if recognised else f"not on this machine yet: assumed to be {family.name} by its name"
    if predicts := base_model.stated(model):
        source += f", {predicts}"
    for line in (f"model: {model}, {source}", f"preset: {preset.name}: {preset.reason}"):
        console.print(line, markup=False)
    config = load_config(target)
    estimate = power.planned(config, pictures.held_out_captions, everything=pictures.captions)
    expectations = [
        estimate.caution() or estimate.sentence(),
        *task.estimate_memory(config, with_evaluator=True)[1],
    ]
    if pictures.captions:
        expectations.append(tokens.sentence(pictures.captions, config.model, config.data.max_token_length))
    for line in expectations:
        console.print(line, markup=False)
    advice = f"repair the {len(pictures.problems)} problem(s) above" if pictures.problems else "read it"
    console.print(f"wrote {target}; {advice}, then: run.py train {target}", markup=False)
    return 0
