"""What a user calls a model -> a folder or a Hub id, or one line that says what is wrong, within seconds.

Nothing here is slow to import, so that a wrong name is refused before anything else is loaded.
"""

from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

EMBEDDED = "rendered_scenes"
RELEASES = {name: f"YxZhang/{name}" for name in ("evf-sam", "evf-sam-multitask", "evf-sam2", "evf-sam2-multitask")}
PATIENCE = 2  # seconds, for the Hub's answer


def find_model(name: str) -> str:
    """A folder or file of that name, else the model that the name is short for, else a Hub id.

    Args:
        name: a path, a Hub id, "rendered_scenes" for the embedded checkpoint, or the name of a released one.

    Raises:
        ValueError: there is no such model in reach; the message names those that are known.
    """
    if name and Path(name).exists():
        return name
    if name == EMBEDDED:
        return embedded_checkpoint()
    found = RELEASES.get(name, name)
    owner, _, rest = found.partition("/")
    if not owner.strip(".") or not rest or "/" in rest:
        raise _unknown(name, "no such file or folder")
    problem = _hub_problem(found)
    if problem:
        raise _unknown(name, f"no such folder, and on the Hub: {problem}")
    return found


def embedded_checkpoint() -> str:
    """The folder of the checkpoint that the package carries, found without importing the package."""
    spec = find_spec("modeling_evf_sam")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("the package modeling_evf_sam is not installed: install it beside evf_sam_cli")
    return str(Path(spec.submodule_search_locations[0], "checkpoints", EMBEDDED))


def _hub_problem(repository: str) -> str | None:
    """Why a repository cannot be read, by one question to the Hub; None where it can, or the cache has it."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, RepositoryNotFoundError

    try:
        if try_to_load_from_cache(repository, "config.json"):
            return None
        if constants.HF_HUB_OFFLINE:
            return "not in the cache, and HF_HUB_OFFLINE is set"
        get_hf_file_metadata(hf_hub_url(repository, "config.json"), timeout=PATIENCE)
    except EntryNotFoundError:
        return None  # there is no config.json: whoever reads it knows what it lacks
    except (HFValidationError, RepositoryNotFoundError):
        return "none that you may read"
    except Exception as error:  # of the libraries below: no connection
        return next(iter(str(error).splitlines()), type(error).__name__)
    return None


def _unknown(name: str, reason: str) -> ValueError:
    known = [EMBEDDED, *RELEASES]
    close = [] if name in known else get_close_matches(name.rpartition("/")[2], known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"give a folder, a Hub id, or one of {', '.join(known)}"
    return ValueError(f"model '{name}' was not found ({reason}): {hint}")
