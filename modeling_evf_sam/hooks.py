"""Where the installed package joins in. A copy of this code in a Hub repository works without it.

On import, the package fills both hooks: `from_pretrained` then reads releases of the original authors, and what is
pushed to the Hub carries this code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor


class OriginalRelease(Protocol):
    """A release of the original authors, whose format the classes of this package do not know."""

    def config_dict(self) -> dict[str, Any]:
        """Arguments of `EvfSamConfig`."""

    def state_dict(self, *, image_size: int) -> dict[str, Tensor]:
        """The weights by the names of `EvfSamVideoModel.state_dict()`, or `EvfSamModel`'s for another SAM than SAM-2.

        Args:
            image_size: side of SAM's view.
        """

    def tokenizer(self) -> Any:
        """The tokenizer of its encoder."""


def _find_nothing(source: Any, **options: Any) -> OriginalRelease | None:
    return None


def _write_nothing(folder: str | Path) -> None:
    return None


@dataclass
class Hooks:
    """What the package adds.

    Attributes:
        find_release: the original release that `from_pretrained` was given, with its further arguments; or None.
        write_code: puts the code of the package into the folder of a model or a processor.
    """

    find_release: Callable[..., OriginalRelease | None] = _find_nothing
    write_code: Callable[[str | Path], None] = _write_nothing


HOOKS = Hooks()


class PushCodeMixin:
    """Puts the code beside whatever an object of this class uploads; what it saves on disk stays without."""

    _auto_class: str | None  # set where the code came from a repository: transformers then saves it by itself

    def _upload_modified_files(self, working_dir: str | Path, *args: Any, **kwargs: Any) -> Any:
        if self._auto_class is None:
            HOOKS.write_code(working_dir)
        return super()._upload_modified_files(working_dir, *args, **kwargs)  # type: ignore[misc]
