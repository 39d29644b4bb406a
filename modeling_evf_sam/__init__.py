"""EVF-SAM for transformers: text-prompted Segment Anything.

Importing this package registers its classes with transformers' Auto classes. The classes themselves are imported
when they are first used.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeling_evf_sam.configuration_evf_sam import Beit3Config, EfficientSamConfig, EvfSamConfig
    from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor
    from modeling_evf_sam.inference.predictor import EvfSamPredictor
    from modeling_evf_sam.modeling_beit3 import Beit3Model
    from modeling_evf_sam.modeling_efficient_sam import EfficientSamModel
    from modeling_evf_sam.modeling_evf_sam import EvfSamModel, EvfSamOutput
    from modeling_evf_sam.pipeline_evf_sam import EvfSamPipeline
    from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

__version__ = "0.1.0"

DEFAULT_CHECKPOINT = str(Path(__file__).parent / "checkpoints" / "rendered_scenes")

_MODULES = {
    "Beit3Config": "configuration_evf_sam",
    "Beit3Model": "modeling_beit3",
    "EfficientSamConfig": "configuration_evf_sam",
    "EfficientSamModel": "modeling_efficient_sam",
    "EvfSamConfig": "configuration_evf_sam",
    "EvfSamImageProcessor": "image_processing_evf_sam",
    "EvfSamModel": "modeling_evf_sam",
    "EvfSamOutput": "modeling_evf_sam",
    "EvfSamPipeline": "pipeline_evf_sam",
    "EvfSamPredictor": "predictor_evf_sam",
    "EvfSamProcessor": "processing_evf_sam",
}

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
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(".registration", __name__)
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


# The command line answers --help at once: it imports transformers only in the verbs that need it.
if Path(sys.argv[0]).stem != "evf-sam":
    import_module(".registration", __name__)
