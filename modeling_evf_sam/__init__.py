"""EVF-SAM for transformers: text-prompted Segment Anything.

Importing this package registers its classes with transformers' Auto classes. Where torch is not installed, there is
only `EvfSamPredictor`, for what `evf-sam export` wrote.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .configuration_evf_sam import Beit3Config, EfficientSamConfig, EvfSamConfig
    from .image_processing_evf_sam import EvfSamImageProcessor
    from .inference.predictor import EvfSamPredictor
    from .inference.video import EvfSamVideoPredictor
    from .modeling_beit3 import Beit3Model
    from .modeling_efficient_sam import EfficientSamModel
    from .modeling_evf_sam import EvfSamModel, EvfSamOutput
    from .modeling_evf_sam_video import EvfSamVideoModel
    from .pipeline_evf_sam import EvfSamPipeline
    from .processing_evf_sam import EvfSamProcessor

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

MODULES = {  # imported when they are used: most programs do without SAM-2's memory, run lengths and pictures
    "Beit3Config": "configuration_evf_sam",
    "Beit3Model": "modeling_beit3",
    "EfficientSamConfig": "configuration_evf_sam",
    "EfficientSamModel": "modeling_efficient_sam",
    "EvfSamConfig": "configuration_evf_sam",
    "EvfSamImageProcessor": "image_processing_evf_sam",
    "EvfSamModel": "modeling_evf_sam",
    "EvfSamOutput": "modeling_evf_sam",
    "EvfSamPipeline": "pipeline_evf_sam",
    "EvfSamPredictor": "inference.predictor",
    "EvfSamProcessor": "processing_evf_sam",
    "EvfSamVideoModel": "modeling_evf_sam_video",
    "EvfSamVideoPredictor": "inference.video",
}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{MODULES[name]}", __name__), name)


if find_spec("torch"):
    from .registration import fill_hooks, register

    register()
    fill_hooks()
