"""`run.py init`: inspect pictures, model and hardware, and write a config. Never imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from shared.command_name import as_called
from shared.config.loading import load_config
from shared.config.schema import ModelConfig
from shared.data import prompt_file
from shared.data.prompt_file import OwnPrompt
from shared.data.sources import listed
from shared.data.survey import Survey, survey
from shared.errors import ConfigError, writing
from shared.files.replacing import replace_file
from shared.launch import power
from shared.machine import hardware
from shared.machine.hardware import Gpu
from tasks import init_options
from tasks.text_to_image import backdrops, first_config, task
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.known import EMBEDDED
from tasks.text_to_image.models import base_model, memory, precheck, presets, step_time, tokens, whole_presets
from tasks.text_to_image.models.presets import Preset
from tasks.text_to_image.profiles import require_profile
from tasks.text_to_image.proposal import Proposal, propose

DEFAULT_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def init(
    folder: Path,
    model: str,
    output: Path | None,
    trigger_word: str,
    prompts: Path | None = None,
    profile: str = "",
    class_word: str = "",
    what: str = "",
    *,
    force: bool,
) -> int:
    """Write the config, and print the findings and the expectations for a run; returns the exit code.

    model: empty: `DEFAULT_MODEL`.

    prompts: a file for `evaluation.prompts`. profile, class_word: what is learnt; empty: it is proposed. what:
    `train.what`; empty: a LoRA.

    Raises:
        ConfigError: the file exists already, and `force` is not given; there is no such profile; nothing that can be
            trained is called `what`; or lines of `prompts` are wrong.
        DataError: there are too few pictures.
        ModelError: the model cannot be trained.
    """
    model = model or DEFAULT_MODEL
    console = Console(highlight=False, soft_wrap=True)
    target = init_options.target_of(output, first_config.run_name(folder.resolve().name), force=force)
    require_profile(profile)
    trained = _what(what)
    pictures = survey(folder, trigger_word, say=lambda text: console.print(text, markup=False))
    for line in _findings(pictures):
        console.print(line, markup=False)
    recognised = base_model.family(model)
    family = EMBEDDED.get(base_model.embedded(model)) or recognised or base_model.guess_family(model)
    gpu = next(iter(hardware.usable_gpus()), None)
    preset = _preset(trained, family, gpu, model)
    starter = _starter(pictures, target) if prompts is None else None
    own = _own_prompts(prompts, starter, target, trigger_word)
    proposal = propose(pictures, profile, class_word.strip())
    usable = pictures if family.most_sources != 0 else replace(pictures, num_sources=0)
    text = first_config.render(usable, preset, model, str(folder), folder.resolve().name, target, own, proposal)
    with writing("--output", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if starter and not starter[0].exists():
            replace_file(starter[0], starter[1].encode())
        replace_file(target, text.encode())
    if starter:
        console.print(f"wrote {starter[0]}: prompts that snapshots are evaluated by; change them", markup=False)
    kind = f"a {family.name} model" if recognised else f"not on this machine yet, a {family.name} model by its name"
    if base_model.embedded(model):
        kind = "a miniature model that comes with Darkroom"
    if predicts := base_model.stated(model):
        kind += f"; it {predicts}"
    learnt = f"profile: {proposal.profile}: {proposal.reason} (--profile says another)"
    told = (learnt, proposal.of_class(), f"model: {model}, {kind}", f"preset: {preset.name}: {preset.reason}")
    for line in (told[0], told[1], *_backdrops(pictures, proposal), *told[2:], *_unused(pictures, family)):
        console.print(line, markup=False)
    config = load_config(target)
    estimate = power.planned(
        config, pictures.held_out_captions, everything=pictures.captions, own_prompts=own.prompts if own else ()
    )
    expectations = [
        estimate.caution() or estimate.sentence(),
        *task.estimate_memory(config, with_evaluator=True)[1],
        *step_time.sentences(config, gpu),
    ]
    if pictures.captions:
        expectations.append(tokens.sentence(pictures.captions, config.model, config.data.max_token_length))
    for line in expectations:
        console.print(line, markup=False)
    advice = f"repair the {len(pictures.problems)} problem(s) above" if pictures.problems else "read it"
    console.print(as_called(f"wrote {target}; {advice}, then: run.py train {target}"), markup=False)
    return 0


def _what(given: str) -> Literal["lora", "full", "scratch"]:
    """Raises ConfigError where nothing that can be trained is called so."""
    match given:
        case "" | "lora":
            return "lora"
        case "full" | "scratch":
            return given
        case _:
            raise ConfigError(f"--what is {given}, must be lora, full or scratch", "give one of these")


def _preset(what: Literal["lora", "full", "scratch"], family: Family, gpu: Gpu | None, model: str) -> Preset:
    preset = presets.recommend(family, gpu, model, precheck.own_resolution(model))
    if what == "lora":
        return preset
    shapes = memory.read_shapes(model)
    if shapes and what == "scratch":
        shapes = memory.with_fresh_denoiser(shapes, ModelConfig(path=model))
    return whole_presets.recommend(what, family, gpu, model, preset.choices["data.resolution"].value, shapes)


def _unused(pictures: Survey, family: Family) -> Iterator[str]:
    """That the model has no use for sources."""
    if pictures.num_sources and family.most_sources == 0:
        yield f"{family.title} draws from a text alone: choose an edit model, or the sources are not used"


def _backdrops(pictures: Survey, proposal: Proposal) -> Iterator[str]:
    """Of garments alone are colours compared."""
    if proposal.profile == "garment" and (said := backdrops.sentence(pictures.pictures)):
        yield said


def _findings(pictures: Survey) -> Iterator[str]:
    yield from (*pictures.sentences(), *listed(list(pictures.notices)))
    yield from (f"to repair before training: {problem}" for problem in listed(list(pictures.problems)))
    if pictures.cure:
        yield f"hint: {pictures.cure}"


def _starter(pictures: Survey, target: Path) -> tuple[Path, str] | None:
    """A file of prompts and its text, for a set of few pictures of which none can be held out; None for others."""
    if pictures.num_images - pictures.num_copies > first_config.FEW_PICTURES:
        return None
    text = first_config.starter_prompts(pictures)
    return (target.with_name(f"{target.stem}-prompts.txt"), text) if text else None


def _own_prompts(
    given: Path | None, starter: tuple[Path, str] | None, target: Path, trigger_word: str
) -> first_config.OwnPrompts | None:
    """Raises ConfigError with the lines that are wrong."""
    if given is not None:
        path = str(given) if given.is_absolute() else os.path.relpath(given, target.parent)
        return first_config.OwnPrompts(path, _texts(prompt_file.read(given, trigger_word)))
    if starter is None:
        return None
    file, text = starter
    found = prompt_file.read(file, trigger_word) if file.exists() else prompt_file.parse(text, str(file), trigger_word)
    return first_config.OwnPrompts(file.name, _texts(found))


def _texts(found: Sequence[OwnPrompt]) -> tuple[str, ...]:
    return tuple(one.prompt for one in found)
