"""Where a snapshot is published: what `--to` means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from shared.config.path_settings import HUB
from shared.errors import ConfigError, RunFolderError
from shared.publishing.publication import Form

TWO_PARTS = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Target:
    """A repository of the hub, by its id, or a path on this disk."""

    form: Form
    repository: str = ""
    path: Path = Path()

    @property
    def name(self) -> str:
        """Of what is published."""
        return self.repository.rpartition("/")[2] if self.repository else self.path.resolve().stem


def parse(text: str) -> Target:
    """`owner/name` and `hub:owner/name` are a repository, what ends in `.zip` is an archive, all others are folders.

    Raises:
        ConfigError: it is no name that the hub takes.
        RunFolderError: something lies there already.
    """
    name = text.removeprefix(HUB)
    if text.startswith(HUB) or (TWO_PARTS.fullmatch(text) and not text.lower().endswith(".zip")):
        try:
            validate_repo_id(name)
        except HFValidationError:
            name = ""
        if name.count("/") != 1:
            raise ConfigError(f"--to is {text!r}, which is no name of a repository", "give owner/name, or ./folder")
        return Target("hub", repository=name)
    path = Path(text).expanduser()
    if path.is_file() or (path.is_dir() and any(path.iterdir())) or path.is_symlink():
        raise RunFolderError(f"{path} exists", f"give another --to, or move {path} away")
    return Target("zip" if path.suffix.lower() == ".zip" else "folder", path=path)
