"""Sending a folder to a repository of the Hugging Face hub, through its own library."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from shared.errors import ConfigError, DarkroomError


def require_access() -> None:
    """Ask the hub who we are, before anything is made.

    Raises:
        ConfigError, DarkroomError: there is no token, the hub refuses it, or cannot be reached.
    """
    with _answered("the hub"):
        HfApi().whoami()


def upload(folder: Path, repository: str, *, private: bool) -> str:
    """Make the repository where it is missing, and add the folder's files in one commit; returns the commit's address.

    Raises:
        ConfigError, DarkroomError: the hub refuses it, or cannot be reached. Nothing is uploaded by halves.
    """
    with _answered(repository):
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Publish with Darkroom"))


@contextmanager
def _answered(what: str) -> Generator[None]:
    try:
        yield
    except LocalTokenNotFoundError:
        raise ConfigError("no token of the hub is on this machine", "run `hf auth login`, or set HF_TOKEN") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        if status in (401, 403):
            cure = "give a token that may write there: `hf auth login`"
            raise ConfigError(f"{what} refuses the token: {status}", cure) from None
        raise DarkroomError(f"{what} answers {status}: {_first_line(error)}", "run the same command again") from None
    except OSError as error:  # the library's errors of connections are such, too
        reason = f"the hub cannot be reached: {_first_line(error)}"
        raise DarkroomError(reason, "connect this machine to the network, then run the same command again") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
