"""What every JSON record of a run folder has in common: it is written whole and read back validated.

Every record carries `schema`, "major.minor". Readers ignore fields they do not know (a newer minor) and refuse a newer
major with a cure. Times are UTC ISO-8601 strings; `step` counts optimizer updates, step 0 is the base model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import NewerFileError, RunFolderError
from shared.files.regular import read_regular
from shared.files.replacing import replace_file

SCHEMA_MAJOR = 1
RecordT = TypeVar("RecordT", bound="Record")


class Record(BaseModel):
    """A JSON file of the run folder."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    schema_version: str = Field(default=f"{SCHEMA_MAJOR}.0", alias="schema")

    def to_json(self) -> bytes:
        """UTF-8 JSON; a non-finite number raises ValueError: it has no place in a record."""
        tree = self.model_dump(mode="python", by_alias=True)
        return (json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n").encode()

    def write(self, path: Path) -> None:
        """Replace `path` whole: a reader sees the old record or this one."""
        replace_file(path, self.to_json())

    @classmethod
    def read(cls: type[RecordT], path: Path) -> RecordT:
        """The record at `path`.

        Raises:
            FileNotFoundError: there is none (yet).
            RunFolderError: it is damaged, or written by a newer major version.
        """
        text = read_regular(path)
        try:
            tree = _without_lone_surrogates(json.loads(text, parse_constant=_refuse_number), text)
            major = int(str(tree.get("schema", "1")).partition(".")[0])
        except (ValueError, AttributeError, RecursionError):
            raise RunFolderError(f"{path} is not a record of Darkroom", f"move {path} away: it is damaged") from None
        if major > SCHEMA_MAJOR:
            raise NewerFileError(
                f"{path} has schema {tree['schema']}, this version reads {SCHEMA_MAJOR}", "upgrade Darkroom"
            )
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise RunFolderError(f"{path} is damaged: {error.errors()[0]['msg']}", f"move {path} away") from None


def _refuse_number(name: str) -> None:
    """NaN and Infinity are no JSON; `to_json` writes none."""
    raise ValueError(name)


def _without_lone_surrogates(tree: Any, text: bytes) -> Any:
    """JSON can escape half a character, which no text may hold."""
    if b"\\ud" not in text.lower():
        return tree
    return json.loads(json.dumps(tree, ensure_ascii=False).encode("utf-8", errors="replace"))
