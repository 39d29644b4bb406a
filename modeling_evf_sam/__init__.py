"""EVF-SAM for transformers: text-prompted Segment Anything.

Importing this package registers its classes with transformers' Auto classes.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .configuration_evf_sam import Beit3Config, EfficientSamConfig, EvfSamConfig
from .image_processing_evf_sam import EvfSamImageProcessor
from .inference.predictor import EvfSamPredictor
from .modeling_beit3 import Beit3Model
from .modeling_efficient_sam import EfficientSamModel
from .modeling_evf_sam import EvfSamModel, EvfSamOutput
from .pipeline_evf_sam import EvfSamPipeline
from .processing_evf_sam import EvfSamProcessor
from .registration import fill_hooks, register

if TYPE_CHECKING:
    from .inference.video import EvfSamVideoPredictor
    from .modeling_evf_sam_video import EvfSamVideoModel

__version__ = "0.1.0"

DEFAULT_CHECKPOINT = str(Path(__file__).parent / "checkpoints" / "rendered_scenes")

__all__ = [
    "DEFAULT_CHECKPOINT",
    "Beit3Config",
    "Beit3Model",
    "EfficientSamConfig",
    "EfficientSamModel",
    "EvfSamConfig",
    "EvfSamImageProcessor",
    "EvfSamModel",
    "EvfSamOutput",
    "EvfSamPipeline",
    "EvfSamPredictor",
    "EvfSamProcessor",
    "EvfSamVideoModel",
    "EvfSamVideoPredictor",
]

LATE = {"EvfSamVideoModel": "modeling_evf_sam_video", "EvfSamVideoPredictor": "inference.video"}  # with SAM-2's code


def __getattr__(name: str) -> Any:
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{LATE[name]}", __name__), name)


register()
fill_hooks()
