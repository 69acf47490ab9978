"""How a published LoRA or model is loaded: code for diffusers that draws the first picture of the card, and what to do
in other programs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from PIL import Image

from shared.publishing.pictures import Shown
from shared.publishing.publication import Part, Request
from tasks.text_to_image.families.family import Family

MADE_FOR_NOISE = "ddpm"


@dataclass(frozen=True)
class Base:
    """The base model, as strangers can get it."""

    name: str
    place: str
    """What code loads: a hub id, or the name of a folder or file."""
    hub_id: str
    """Empty: it has none that we know."""
    is_file: bool


@dataclass(frozen=True)
class Drawing:
    """What code needs to draw the card's first picture."""

    request: Request
    file: str
    """Of the LoRA; empty: a whole pipeline."""
    base: Base
    family: Family
    shown: Shown
    trigger_word: str

    @property
    def prompt(self) -> str:
        """Of the first picture; without pictures, the trigger word."""
        return self.shown.drawn[0].prompt if self.shown.drawn else self.trigger_word

    def arguments(self) -> dict[str, Any]:
        """Of the pipeline's call."""
        generation = self.shown.generation
        if not self.shown.drawn:
            return {}
        first = self.shown.drawn[0]
        with Image.open(first.own) as picture:
            width, height = picture.size
        own: Any = first.sample.options.get("guidance_scale") or generation.get("guidance_scale")
        steps = first.sample.options.get("num_inference_steps") or generation.get("num_inference_steps")
        guidance = self.family.guidance_arguments(float(own)) if own is not None else {}
        counted = {"num_inference_steps": steps} if steps else {}
        skipped = int(str(generation.get("clip_skip", 1))) - 1  # as diffusers counts
        skips = {"clip_skip": skipped} if skipped and self.family.fixed_layer is None else {}
        return {"width": width, "height": height, **counted, **guidance, **skips}


def of_lora(drawing: Drawing, other_file: str) -> tuple[Part, ...]:
    """For diffusers, ComfyUI and A1111. other_file: in the format that the last two read; empty: it has none."""
    code = [] if drawing.request.form == "zip" else [Part("diffusers", _fenced(_code(drawing)))]
    if not other_file:
        return tuple(code)
    strength, trigger = drawing.request.strength, drawing.trigger_word
    comfy = (
        f"Put `{other_file}` into `models/loras`. Add *Load LoRA* after the node that loads the model, choose the "
        f"file, and set `strength_model` and `strength_clip` to {strength:g}."
    )
    stem = other_file.removesuffix(".safetensors")
    prompt = f"<lora:{stem}:{strength:g}> {drawing.prompt}".rstrip()
    others = f"Put `{other_file}` into `models/Lora` and write into the prompt:\n\n```\n{prompt}\n```"
    reads = [Part("ComfyUI", f"{comfy} Put `{trigger}` into the prompt." if trigger else comfy)]
    reads += [Part("A1111, Forge", others)] if drawing.family.kind == MADE_FOR_NOISE else []
    return (*code, *reads)


def of_whole(drawing: Drawing) -> tuple[Part, ...]:
    """A pipeline is for diffusers alone."""
    note = "ComfyUI, A1111 and Forge read single files, and this is a folder: load it with diffusers."
    return (Part("diffusers", _fenced(_code(drawing))), Part("ComfyUI, A1111, Forge", note))


def _fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def _code(drawing: Drawing) -> str:
    first = drawing.shown.drawn[0].sample if drawing.shown.drawn else None
    scheduler, sources = _scheduler(drawing), first.num_sources if first else 0
    loader, loading = _loading(drawing)
    half = "bfloat16" if drawing.family.overflows_in_fp16 else "float16"
    lines = [
        "import torch",
        f"from diffusers import {', '.join(sorted([loader, *scheduler[:1]]))}",
        *(["from diffusers.utils import load_image"] if sources else []),
        "",
        'device = "cuda" if torch.cuda.is_available() else "cpu"',
        f'dtype = torch.{half} if device == "cuda" else torch.float32',
        loading,
        *scheduler[1:],
        *_lora(drawing),
        "picture = pipeline(",
        f"    {_text(drawing.prompt)},",
        *_sources(sources),
        *(f"    {name}={_value(value)}," for name, value in drawing.arguments().items()),
        f'    generator=torch.Generator("cpu").manual_seed({first.seed if first else 0}),',
        ").images[0]",
        'picture.save("picture.png")',
    ]
    return "\n".join(lines)


def _value(value: object) -> str:
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    """In double quotes, as Python has it."""
    return json.dumps(text, ensure_ascii=False)


def _loading(drawing: Drawing) -> tuple[str, str]:
    """The class of diffusers, and the line that loads the model."""
    base = drawing.base
    is_file = base.is_file and bool(drawing.file)
    kind = drawing.family.pipeline_class if is_file else "DiffusionPipeline"
    load = "from_single_file" if is_file else "from_pretrained"
    place = base.place if drawing.file else drawing.request.place
    note = "  # where the base model lies" if drawing.file and not base.hub_id else ""
    return kind, f"pipeline = {kind}.{load}({_text(place)}, dtype=dtype).to(device){note}"


def _scheduler(drawing: Drawing) -> list[str]:
    """Its class, and the line that puts it in; nothing where the model's own draws, as in a whole pipeline."""
    generation = drawing.shown.generation
    name = str(generation.get("scheduler", ""))
    if not drawing.file or not name or drawing.family.kind != MADE_FOR_NOISE:
        return []
    settings = {
        "prediction_type": generation.get("prediction_type"),
        "timestep_spacing": generation.get("timestep_spacing"),
        "rescale_betas_zero_snr": generation.get("rescale_betas_zero_snr") or None,
    }
    told = "".join(f", {key}={_value(value)}" for key, value in settings.items() if value is not None)
    return [name, f"pipeline.scheduler = {name}.from_config(pipeline.scheduler.config{told})"]


def _lora(drawing: Drawing) -> list[str]:
    if not drawing.file:
        return []
    place, strength = _text(drawing.request.place), drawing.request.strength
    return [
        f'pipeline.load_lora_weights({place}, weight_name={_text(drawing.file)}, adapter_name="lora")',
        *([f'pipeline.set_adapters("lora", {strength:g})'] if strength != 1 else []),
    ]


def _sources(count: int) -> list[str]:
    if not count:
        return []
    pictures = [f'load_image("source-{number}.png")' for number in range(1, count + 1)]
    return [f"    image={pictures[0] if count == 1 else '[' + ', '.join(pictures) + ']'},  # what is edited"]
