"""Checkpoints by name."""

from importlib.util import find_spec
from pathlib import Path


def find_model(name: str) -> str:
    """A folder or Hub id for the name of a checkpoint."""
    if name != "rendered_scenes":
        return name
    spec = find_spec("modeling_evf_sam")
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent / "checkpoints" / name)
