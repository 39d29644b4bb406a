"""Files of a model on the Hub: found with one question, and no more of them downloaded than are needed."""

from pathlib import Path
from typing import Any

from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError, HFValidationError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id
from transformers.safetensors_conversion import previous_pr
from transformers.utils.hub import cached_file, is_offline_mode

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")
SAFE_FILES = ["model.safetensors", "model-*.safetensors", "model.safetensors.index.json"]
PICKLED_FILES = ["pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"]
PATIENCE = 3  # seconds, for the Hub's first answer
CONVERTER = "SFconvertbot"  # the Hub's own; a pull request of anyone else could hold anything
CONVERSION_TITLE = "Adding `safetensors` variant of this model"


def find_config(source: Any, **hub: Any) -> Path | None:
    """The config.json of a folder or of a repository; None where there is none.

    Args:
        source: a folder, or a Hub id. For a Hub id that is not in the cache, the Hub is asked once and not again.
        hub: those of `HUB_OPTIONS` that are given.

    Raises:
        OSError: no such folder, and no such repository in reach.
    """
    if Path(source).is_file():
        return None
    if not Path(source).is_dir():
        _ask_once(str(source), **hub)
    try:
        file = cached_file(source, "config.json", **hub)
    except (OSError, ValueError):
        return None  # from_pretrained has the right words for it
    return Path(file) if file else None


def _ask_once(source: str, **hub: Any) -> None:
    """Find out whether a repository is in reach. The Hub's own functions ask six times, for half a minute."""
    try:
        validate_repo_id(source)
    except HFValidationError:
        raise OSError(f"model '{source}' does not exist: check the path") from None
    where = {"cache_dir": hub.get("cache_dir"), "revision": hub.get("revision")}
    if hub.get("local_files_only") or is_offline_mode() or try_to_load_from_cache(source, "config.json", **where):
        return
    url = hf_hub_url(source, "config.json", revision=hub.get("revision"))
    try:
        get_hf_file_metadata(url, token=hub.get("token"), timeout=PATIENCE)
    except EntryNotFoundError:
        return
    except Exception as error:  # of several libraries: no such repository, no leave to read it, or no connection
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise OSError(f"model '{source}' is no folder here and no Hub id in reach ({reason})") from error


def download_weights(source: str, *, allow_pickle: bool, **hub: Any) -> Path:
    """The folder with the weights of a repository.

    Safetensors are taken where it has them, else pickles where they are allowed, else the safetensors of the Hub's
    own conversion, which waits as a pull request.

    Raises:
        ValueError: it has nothing but pickles, and they are not allowed; the message names the command to convert.
    """
    folder = Path(snapshot_download(source, allow_patterns=SAFE_FILES, **hub))
    if _has(folder, SAFE_FILES):
        return folder
    if allow_pickle:
        return Path(snapshot_download(source, allow_patterns=PICKLED_FILES, **hub))
    revision = _conversion(source, **hub)
    if revision is not None:
        folder = Path(snapshot_download(source, allow_patterns=SAFE_FILES, **{**hub, "revision": revision}))
    if revision is None or not _has(folder, SAFE_FILES):
        name = source.rpartition("/")[2]
        raise ValueError(
            f"{source} has no safetensors, only pickles, which can run code: read their tensors alone by "
            f"`evf-sam convert {source} --use-pickle --output {name}`, then give the folder {name} as the model"
        )
    return folder


def _has(folder: Path, patterns: list[str]) -> bool:
    return any(any(folder.glob(pattern)) for pattern in patterns)


def _conversion(source: str, **hub: Any) -> str | None:
    """The revision with the Hub's conversion of the newest weights, by transformers' own rule; or a cached one."""
    if not (hub.get("local_files_only") or is_offline_mode() or hub.get("revision")):
        request = previous_pr(HfApi(), source, CONVERSION_TITLE, token=hub.get("token"))
        return f"refs/pr/{request.num}" if request is not None and request.author == CONVERTER else None
    cache = Path(hub.get("cache_dir") or constants.HF_HUB_CACHE, repo_folder_name(repo_id=source, repo_type="model"))
    numbers = [int(file.name) for file in cache.glob("refs/refs/pr/*") if file.name.isdecimal()]
    return f"refs/pr/{max(numbers)}" if numbers and not hub.get("revision") else None
