"""Where a captioner's files are, asked before anything else is done: a folder, the hub's cache, or the hub.

The hub is asked once, with a limit: its client tries again for half a minute where it cannot be reached.
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from shared.errors import ConfigError, ModelError

HUB_TIMEOUT_SECONDS = 10.0
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
KINDS = "a Florence-2, a BLIP or a tagger (image classifier)"
FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
"""Of a model on the hub: no weights that are pickled, and none for other libraries."""
WEIGHTS = "*.safetensors"


def find(source: str) -> str:
    """The folder, or the hub id of a model that the hub has; the folder of the hub's cache where all is there.

    Raises:
        ConfigError: there is no such folder, and it is no hub id.
        ModelError: the hub does not have it, does not give it, or is out of reach.
    """
    place = Path(source).expanduser()
    if place.is_dir():
        return str(place)
    if not HUB_ID.fullmatch(source) or place.parent.is_dir():
        what = "is a file" if place.exists() else "is not there, and is no hub id" if source.strip() else "is empty"
        raise ConfigError(f"--model {source!r} {what}", f"give the folder or the hub id (owner/name) of {KINDS}")
    return _cached(source) or _at_the_hub(source)


def _cached(hub_id: str) -> str:
    """Empty where it is not whole; asks no network."""
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=FILES, local_files_only=True))
    except LocalEntryNotFoundError:
        return ""
    return str(folder) if any(folder.glob(WEIGHTS)) and (folder / "config.json").is_file() else ""


def _at_the_hub(hub_id: str) -> str:
    try:
        HfApi().model_info(hub_id, timeout=HUB_TIMEOUT_SECONDS)
    except GatedRepoError:
        raise ModelError(
            f"the hub gives {hub_id} only to those who have agreed to its terms",
            "open its page and agree to them, then log in: hf auth login",
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"the hub has no model {hub_id}",
            f"check the name; give {KINDS}; `hf auth login` opens private models",
        ) from None
    except Exception:  # noqa: BLE001  # the hub's client also raises its HTTP library's own errors
        raise ModelError(
            f"{hub_id} is not on this machine, and the hub is out of reach",
            f"download it where there is a network: hf download {hub_id}; or give a folder",
        ) from None
    return hub_id
