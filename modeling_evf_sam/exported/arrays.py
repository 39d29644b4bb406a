"""A dict of arrays that is used as transformers' inputs and outputs are."""

from typing import Any


class Arrays(dict[str, Any]):
    """A dict whose values are attributes as well; one that is not there is None."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)

    def to(self, device: Any) -> "Arrays":
        """Itself: arrays are where they are."""
        return self
