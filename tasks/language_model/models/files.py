"""The files of a base model: a folder that `save_pretrained` has written, or a hub id. Never imports torch.

Of a hub id, configuration and tokenizer are fetched when a run is made, the weights by the program that trains.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

from shared.config.schema import POCKET, Config, ModelConfig
from shared.errors import ModelError
from shared.files.combined_digest import combined_digest
from shared.files.json_text import parse_json
from shared.files.publication import sha256
from tasks.language_model.data import tokenizer

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
CONFIG = "config.json"
CAUSAL = re.compile(r"(ForCausalLM|LMHeadModel)$")
WITH_OTHERS = "give a folder that save_pretrained has written, or a hub id such as Qwen/Qwen2.5-0.5B-Instruct"


@dataclass(frozen=True)
class ModelFiles:
    """A folder with the configuration and the tokenizer of a model; of a hub id, a folder of the cache."""

    folder: Path
    description: dict[str, Any]
    """Content of `config.json`."""

    def field(self, *names: str, default: int = 0) -> int:
        """A number of the configuration by the names that architectures have for it; also of its part for texts."""
        for tree in (self.description, self.description.get("text_config") or {}):
            for name in names:
                if isinstance(tree.get(name), int):
                    return tree[name]
        return default

    @property
    def max_positions(self) -> int | None:
        """Tokens that the model can tell apart; None: not limited."""
        return self.field("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx") or None

    @property
    def weights(self) -> list[Path]:
        """Files of its weights that are on this disk."""
        return sorted(self.folder.glob("*.safetensors"))


def find(settings: ModelConfig) -> ModelFiles:
    """The files of the base model.

    Raises:
        ModelError: there is no causal language model at `model.path`.
    """
    place = settings.path
    folder = Path(place)
    if place == POCKET:
        raise ModelError("model.path is not set: there is no language model to begin from", WITH_OTHERS)
    if not folder.is_dir():
        if folder.exists() or not HUB_ID.fullmatch(place):
            raise ModelError(f"model.path is {place}, which is neither a folder nor a hub id", WITH_OTHERS)
        folder = _fetched(place, settings.revision)
    elif settings.revision:
        raise ModelError(
            f"model.revision is {settings.revision!r}, and model.path is on this disk", "remove model.revision"
        )
    found = ModelFiles(folder, _description(folder))
    if Path(place).is_dir() and not found.weights:
        raise ModelError(
            f"{folder} holds no weights as .safetensors", "save it again with save_pretrained of a current transformers"
        )
    return found


def identify(config: Config, digest: Callable[[Path], str] = sha256) -> dict[str, str]:
    """What `run.json` says of the base model: its path, a fingerprint where it is local, a hub id's commit.

    Raises:
        ModelError: as `find`.
    """
    place, found = config.model.path, find(config.model)
    if not Path(place).is_dir():
        return {"path": place, "commit": found.folder.name}
    read = {*found.weights, *(found.folder / name for name in (CONFIG, *tokenizer.FILES))}
    return {
        "path": place,
        "fingerprint": combined_digest(f"{file.name}:{digest(file)}" for file in read if file.is_file()),
    }


def _description(folder: Path) -> dict[str, Any]:
    try:
        tree = parse_json((folder / CONFIG).read_text(encoding="utf-8"))
        names = [str(name) for name in tree.get("architectures") or []]
        kind = str(tree["model_type"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{folder} holds no {CONFIG} of transformers", WITH_OTHERS) from None
    if names and not any(map(CAUSAL.search, names)):
        raise ModelError(f"{folder} holds a {names[0]} ({kind}), which is no causal language model", WITH_OTHERS)
    if "auto_map" in tree:
        raise ModelError(
            f"{folder} needs code of its own ({', '.join(tree['auto_map'].values())}), which is not run",
            "take a model whose architecture transformers knows",
        )
    return tree


def _fetched(hub_id: str, revision: str | None) -> Path:
    folder = None
    for name in (CONFIG, *tokenizer.FILES):
        try:
            folder = Path(hf_hub_download(hub_id, name, revision=revision)).parent
        except LocalEntryNotFoundError:  # out of reach, and not in the cache
            if name in (CONFIG, tokenizer.VOCABULARY):
                raise ModelError(
                    f"{name} of {hub_id} is not on this machine, and the hub is out of reach",
                    f"download it first: hf download {hub_id}",
                ) from None
        except EntryNotFoundError:
            if name == CONFIG:
                raise ModelError(f"{hub_id} has no {CONFIG}", WITH_OTHERS) from None
        except (HfHubHTTPError, OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ModelError(
                f"{hub_id} cannot be fetched: {reason}",
                "check the name; `hf auth login` opens private and gated models",
            ) from None
    assert folder
    return folder
