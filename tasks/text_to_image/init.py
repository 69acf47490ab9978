"""`run.py init`: look at pictures, model and hardware, and write a config. No torch."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from shared.config.loading import load_config
from shared.config.schema import POCKET
from shared.data.sources import listed
from shared.data.survey import survey
from shared.errors import ConfigError, writing
from shared.launch import power
from shared.machine import hardware
from shared.run_folder.records import replace_file
from tasks.text_to_image import first_config, task
from tasks.text_to_image.families.stable_diffusion import Pocket
from tasks.text_to_image.models import base_model, presets, tokens


def init(folder: Path, model: str, output: Path | None, trigger_word: str, *, force: bool) -> int:
    """Write the config, and print what was seen and what is to be expected; returns the exit code.

    Raises:
        ConfigError: the file exists already, and `force` is not given.
        DataError: there are too few pictures.
        ModelError: the model is none that can be trained.
    """
    console = Console(highlight=False, soft_wrap=True)
    target = output or Path(f"{first_config.run_name(folder.resolve().name)}.toml")
    if target.exists() and not force:
        raise ConfigError(f"{target} exists", "give another --output, or --force to overwrite it")
    seen = survey(folder, trigger_word, say=lambda text: console.print(text, markup=False))
    for line in (*seen.sentences(), *listed(list(seen.notices))):
        console.print(line, markup=False)
    for problem in listed(list(seen.problems)):
        console.print(f"to mend before training: {problem}", markup=False)
    if seen.cure:
        console.print(f"hint: {seen.cure}", markup=False)
    known = base_model.family(model)
    family = Pocket() if model == POCKET else known or base_model.guess_family(model)
    preset = presets.recommend(family, next(iter(hardware.usable_gpus()), None))
    text = first_config.render(seen, preset, model, str(folder), folder.resolve().name, target)
    with writing("--output", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, text.encode())
    source = family.name if known else f"not on this machine yet: taken for {family.name} by its name"
    if predicts := base_model.stated(model):
        source += f", {predicts}"
    for line in (f"model: {model}, {source}", f"preset: {preset.name}: {preset.reason}"):
        console.print(line, markup=False)
    written = load_config(target)
    count = written.data.num_validation
    captions = [*dict.fromkeys(seen.captions), *seen.captions, *[""] * count]  # as many different ones as there may be
    shown = power.planned(written, captions[:count])
    expected = [
        shown.caution() or shown.sentence(),
        *task.estimate_memory(written, with_evaluator=True)[1],
    ]
    if seen.captions:
        expected.append(tokens.sentence(seen.captions, written.model, written.data.max_token_length))
    for line in expected:
        console.print(line, markup=False)
    before = f"mend the {len(seen.problems)} problem(s) above first" if seen.problems else "read it"
    console.print(f"wrote {target}; {before}, then: run.py train {target}", markup=False)
    return 0
