"""Whether a run's settings suit the family of its base model, before anything is loaded or written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.config.schema import Config
from shared.data import prompt_file
from shared.data.edits import Kind
from shared.data.prompt_file import OwnPrompt
from shared.data.sources import Pair, listed
from shared.errors import ConfigError, DataError
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models.tokens import MAX_TOKEN_LENGTH
from tasks.text_to_image.objectives.own_settings import LEARNS, foreign_settings

Problem = tuple[str, str]
"""What does not suit, and its cure."""


def require(config: Config, family: Family | None) -> None:
    """Raises ConfigError with every setting that does not suit. family: None: not known, and nothing is refused."""
    if family:
        _refuse(_problems(config, family), family)


def require_clip_skip(clip_skip: int, family: Family) -> None:
    """Raises ConfigError where a family uses one fixed layer, and another is asked for."""
    _refuse(_clip_skip(clip_skip, family), family)


def negative_prompts_notice(prompts: Iterable[OwnPrompt], family: Family) -> str | None:
    """That negative prompts of a person's own have no effect, where they have none."""
    lines = [str(prompt.line) for prompt in prompts if prompt.negative_prompt]
    if family.uses_negative_prompts or not lines:
        return None
    return (
        f"{family.title} draws without negative prompts: those of evaluation.prompts have no effect (line "
        f"{', '.join(lines)}). Remove --n there, and say in the prompt what is to be seen"
    )


def own_prompts(family: Family | None) -> prompt_file.Suits:
    """What of a person's own prompts a family cannot draw. family: None: not known, and nothing is refused."""

    def faults(prompt: OwnPrompt) -> Iterator[str]:
        if family and not (prompt.sources or family.draws_from_text):
            yield f"it has no source, and {family.title} draws from sources only: name one, as --ci FILE"
        if family and prompt.sources and family.most_sources == 0:
            yield f"it has a source, and {family.title} draws from a text alone"
        elif family and family.most_sources is not None and len(prompt.sources) > family.most_sources:
            yield f"it has {len(prompt.sources)} sources, and {family.title} takes {family.most_sources}"

    return faults


def require_few_sources(pairs: Iterable[Pair], family: Family | None) -> None:
    """Raises DataError with every picture that has more sources than a family takes."""
    most = family.most_sources if family else None
    many = [pair for pair in pairs if most is not None and len(pair.sources) > most]
    if many and family:
        lines = "\n       ".join(listed([f"{pair.image} has {len(pair.sources)} sources" for pair in many]))
        raise DataError(
            f"{family.title} takes {most} source(s) of a picture:\n       {lines}",
            "remove the others, or choose a model that takes several",
        )


def _refuse(problems: Iterable[Problem], family: Family) -> None:
    found = list(problems)
    if not found:
        return
    cures = ", ".join(dict.fromkeys(cure for _, cure in found))
    if len(found) == 1:
        raise ConfigError(found[0][0], cures)
    lines = "".join(f"\n       {text}" for text, _ in found)
    raise ConfigError(f"{len(found)} settings do not suit {family.title}, the base model's family:{lines}", cures)


def _problems(config: Config, family: Family) -> Iterator[Problem]:
    yield from _clip_skip(config.model.clip_skip, family)
    yield from _sampler(config.evaluation.scheduler, family)
    yield from _sources(config.data.sources, family)
    yield from _probes(config, family)
    if config.lora.text_encoder and not family.encoders_stay:
        yield (
            f"lora.text_encoder is true, but {family.title}'s text encoders are loaded only while captions are "
            "encoded, and do not learn",
            "remove lora.text_encoder",
        )
    if config.data.max_token_length != MAX_TOKEN_LENGTH and family.text_window:
        yield (
            f"data.max_token_length is {config.data.max_token_length}, but {family.title} always encodes up to "
            f"{family.text_window} tokens",
            "remove data.max_token_length",
        )
    if config.train.guidance_scale != 1 and not family.embeds_guidance:
        yield (
            f"train.guidance_scale is {config.train.guidance_scale:g}, but {family.title} takes no guidance scale as "
            "an input",
            "remove train.guidance_scale",
        )
    if not family.swaps_blocks:
        yield from _of_blocks(config, family)
    if family.overflows_in_fp16:
        for key in ("model.mixed_precision", "evaluation.dtype"):
            if config.value(key) == "fp16":
                yield f"{key} is fp16, in which {family.title} overflows", f"set {key} to bf16"
    for setting, value in foreign_settings(config, family.kind):
        yield (
            f"{setting.key} is {str(value).lower() if isinstance(value, bool) else value}, but {family.title} "
            f"{LEARNS[family.kind]}: it {setting.reason}",
            f"remove {setting.key}",
        )


def _of_blocks(config: Config, family: Family) -> Iterator[Problem]:
    """What only a chain of blocks can do."""
    reason = f"but {family.title}'s denoiser is no chain of blocks"
    for key in ("model.blocks_to_swap", "evaluation.blocks_to_swap"):
        if config.value(key):
            yield f"{key} is {config.value(key)}, {reason}", f"remove {key}"
    if config.train.gradient_checkpointing == "offload":
        yield f"train.gradient_checkpointing is offload, {reason}", "set train.gradient_checkpointing = true"


def _clip_skip(clip_skip: int, family: Family) -> Iterator[Problem]:
    if clip_skip > 1 and family.fixed_layer:
        yield (
            f"model.clip_skip is {clip_skip}, but the model is {family.title}, whose text encoders are always read at "
            f"{family.fixed_layer}",
            f"remove model.clip_skip: for {family.title} it has no effect in other programs either",
        )


def _sources(kind: Kind, family: Family) -> Iterator[Problem]:
    if kind == "files" and family.most_sources == 0:
        yield (
            f"data.sources is files, but {family.title} draws from a text alone",
            "set data.sources to off, or choose an edit model",
        )
    if kind == "off" and family.needs_sources:
        yield (
            f"data.sources is off, but {family.title} edits pictures, and learns from pairs",
            "set data.sources to files, and put what each picture is made from beside it as <name>.source.png",
        )


def _probes(config: Config, family: Family) -> Iterator[Problem]:
    """They have no source."""
    if (probes := config.evaluation.probes) and not family.draws_from_text:
        yield (
            f"evaluation.probes is {probes}, but {family.title} draws from sources only",
            "remove evaluation.probes",
        )


def _sampler(scheduler: str, family: Family) -> Iterator[Problem]:
    if family.samplers is not None and scheduler not in family.samplers:
        yield (
            f"evaluation.scheduler is {scheduler}, which cannot draw with {family.title}",
            f"set evaluation.scheduler to {' or '.join(family.samplers)}",
        )
