"""Whether the base model is the one that a folder's LoRAs are for, as far as their headers tell."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from shared.errors import ConfigError
from tasks.text_to_image.foreign.files.found import Found
from tasks.text_to_image.models import adaptable, base_model, lora_file


def require_some(folder: Path, loras: Collection[Found], base: str, *, follows: bool) -> None:
    """Those that do not fit, or cannot be read, fail alone, with their reason. A base model that fits none is a
    mistake; what is not whole says nothing about it, and waits where others may come.

    Raises:
        ConfigError: no LoRA fits, or none can be read.
    """
    family, weights = base_model.family(base), adaptable.of_files(base)
    unreadable, misfits = dict[str, str](), dict[str, str]()
    for one in loras:
        try:
            misfit = "" if one.fault else adaptable.misfit(lora_file.look(one.place), family, weights)
        except ConfigError as error:
            unreadable[one.label] = f"it {str(error).removeprefix(f'{one.place} ')}"
            continue
        if one.fault:
            unreadable[one.label] = f"it {one.fault}"
        elif not misfit:
            return
        else:
            misfits[one.label] = misfit
    if misfits:
        listed = _listed({**misfits, **unreadable})
        raise ConfigError(f"no LoRA fits the base model {base}:{listed}", "give the base model that they are for")
    is_unfinished = any(one.fault for one in loras)
    if not unreadable or (is_unfinished and follows):
        return
    cure = "save plain LoRAs, which Darkroom can read"
    if is_unfinished:
        cure = "add --follow if they are still being written; else copy or download them again"
    raise ConfigError(f"no LoRA in {folder} can be read:{_listed(unreadable)}", cure)


def _listed(reasons: Mapping[str, str]) -> str:
    more = f"\n       and {len(reasons) - 10} more" if len(reasons) > 10 else ""
    return "".join(f"\n       {label}: {reason}" for label, reason in [*reasons.items()][:10]) + more
