"""What comes from its own home on the Hugging Face hub, through huggingface_hub.

That library reads HF_HOME (where files are kept), HF_ENDPOINT (which hub), HF_TOKEN and
HF_HUB_OFFLINE, and goes on with a download that was interrupted.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fetch_error import EXIT_BAD_DATA, EXIT_UNAVAILABLE, FetchError

# What a model folder is made of; a repository may hold other formats of the same weights too.
WANTED = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]
NOT_WANTED = ["*/*"]
ASK_SECONDS = 10
T = TypeVar("T")


class HubUnavailable(Exception):
    """The hub does not answer, or does not give this model to this caller."""


@dataclass(frozen=True)
class HubModel:
    repo: str
    revision: str
    bytes: int
    sha256: dict[str, str]  # of the large files, by name


def _ask(question: Callable[[], T]) -> T:
    """The hub's answer; HubUnavailable says why there is none."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return question()
    except HfHubHTTPError as error:
        raise HubUnavailable(str(error).strip().splitlines()[0]) from error
    except OfflineModeIsEnabled as error:
        raise HubUnavailable("HF_HUB_OFFLINE is set") from error
    except Exception as error:  # of whichever HTTP library the installed huggingface_hub uses
        raise HubUnavailable(f"{type(error).__name__}: {error}") from error


def ask_hub(repo: str) -> HubModel:
    """What the hub has; HubUnavailable says why it has nothing."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    info = _ask(lambda: HfApi().model_info(repo, files_metadata=True, timeout=ASK_SECONDS))
    files = list(
        filter_repo_objects(
            info.siblings,
            allow_patterns=WANTED,
            ignore_patterns=NOT_WANTED,
            key=lambda file: file.rfilename,
        )
    )
    return HubModel(
        repo=repo,
        revision=info.sha,
        bytes=sum(file.size or 0 for file in files),
        sha256={file.rfilename: file.lfs.sha256 for file in files if file.lfs},
    )


def download(model: HubModel, say: Callable[[str], None]) -> Path:
    """The checked snapshot in the hub's own cache."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            model.repo,
            revision=model.revision,
            allow_patterns=WANTED,
            ignore_patterns=NOT_WANTED,
        )
    except Exception as error:  # as above
        raise FetchError(
            f"{model.repo}: {type(error).__name__}: {error}; run it again to go on",
            EXIT_UNAVAILABLE,
        ) from error
    say("checking what arrived")
    for name, wanted in model.sha256.items():
        _check(Path(folder) / name, wanted)
    return Path(folder)


def download_file(data_set: str, name: str) -> Path:
    """One file of a data set, in the hub's own cache."""
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    try:
        # Asked once, so that nobody waits for the retries of a download that has no hub to come from.
        _ask(lambda: HfApi().dataset_info(data_set, timeout=ASK_SECONDS))
        return Path(hf_hub_download(data_set, name, repo_type="dataset"))
    except Exception as error:  # as above
        if isinstance(kept := try_to_load_from_cache(data_set, name, repo_type="dataset"), str):
            return Path(kept)
        message = str(error).strip().splitlines()[0]
        raise FetchError(f"{data_set}: {name}: {message}", EXIT_UNAVAILABLE) from error


def _check(path: Path, wanted: str) -> None:
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        path.resolve().unlink()
        raise FetchError(
            f"{path}: sha256 is {found}, expected {wanted}; removed, run it again", EXIT_BAD_DATA
        )
