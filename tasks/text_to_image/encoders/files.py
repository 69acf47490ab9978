"""Where an encoder's files are: a folder, the hub's cache, or the hub, which is given up after a bounded time."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from shared.config.schema import POCKET
from shared.errors import ModelError
from tasks.text_to_image.models.base_model import POCKET_CLIP

HUB = HfApi()
WEIGHTS = ("model*.safetensors", "open_clip_model*.safetensors")
HUB_FILES = ["*.json", "*.txt", "*.model", "*.jinja", *WEIGHTS]
HUB_TIMEOUT_SECONDS = 10.0


def locate(source: str) -> Path:
    """The folder of `source`: `pocket`, a folder as it is, else a hub id from the cache, else downloaded.

    Raises:
        ModelError: there is none.
    """
    folder = POCKET_CLIP if source == POCKET else Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or (len(folder.parts) > 1 and folder.parent.is_dir()):
        raise ModelError(f"encoder {source} is not a folder", "give a folder that exists, or a hub id owner/name")
    return _cached(source) or _download(source)


def on_this_machine(source: str) -> Path | None:
    """The folder of `source` without asking the network; None: it is not here.

    Raises:
        ModelError: it is neither a folder nor a hub id.
    """
    folder = Path(source).expanduser()
    return folder if folder.is_dir() else _cached(source)


def is_at_hand(hub_id: str, *, ask_hub: bool) -> bool:
    """Whether its weights are in the cache, or else, if the hub may be asked, whether the hub answers."""
    if _cached(hub_id):
        return True
    try:
        return ask_hub and bool(HUB.model_info(hub_id, timeout=HUB_TIMEOUT_SECONDS).sha)
    except Exception:  # noqa: BLE001 the hub's client also raises its HTTP library's own errors
        return False


def weights_in(folder: Path) -> list[Path]:
    """Weight files an encoder can be read from, never pickled ones."""
    return sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))


def _cached(hub_id: str) -> Path | None:
    """The hub's snapshot on this machine, if its weights are there; asks no network."""
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=HUB_FILES, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except ValueError as error:
        raise ModelError(f"encoder {hub_id} is neither a folder nor a hub id", "give a hub id as owner/name") from error
    return folder if weights_in(folder) else None


def _download(hub_id: str) -> Path:
    """The hub's newest snapshot. It is asked for its commit first, because only that question can be timed out."""
    try:
        revision = HUB.model_info(hub_id, timeout=HUB_TIMEOUT_SECONDS).sha
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=HUB_FILES))
    except Exception as error:  # the hub's client also raises its HTTP library's own errors
        reason = f"encoder {hub_id} is not in the cache, and the hub did not give it: {first_line(error)}"
        raise ModelError(reason, f"download it where there is a network: hf download {hub_id}") from error


def first_line(error: Exception) -> str:
    """What an error says, without the page that some say after it."""
    return (str(error).splitlines() or [type(error).__name__])[0]
