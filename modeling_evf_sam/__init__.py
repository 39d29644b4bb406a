"""EVF-SAM for transformers: text-prompted Segment Anything.

Importing this package registers its classes with transformers' Auto classes.
"""

from pathlib import Path

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
from .registration import fill_hooks, register

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

register()
fill_hooks()
