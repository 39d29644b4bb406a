"""What happens on import: transformers' Auto classes and `pipeline` learn of the classes, and the hooks are filled."""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_evf_sam import Beit3Config, EfficientSamConfig, EvfSamConfig
from .image_processing_evf_sam import EvfSamImageProcessor
from .modeling_beit3 import Beit3Model
from .modeling_efficient_sam import EfficientSamModel
from .modeling_evf_sam import EvfSamModel
from .pipeline_evf_sam import TASK, EvfSamPipeline
from .pretrained_evf_sam import HOOKS, OriginalRelease
from .processing_evf_sam import EvfSamProcessor


def register() -> None:
    """Registers every class with transformers."""
    for config, model in (
        (Beit3Config, Beit3Model),
        (EfficientSamConfig, EfficientSamModel),
        (EvfSamConfig, EvfSamModel),
    ):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, model, exist_ok=True)
    backends = {"pil": EvfSamImageProcessor, "torchvision": EvfSamImageProcessor}
    AutoImageProcessor.register(EvfSamConfig, image_processor_classes=backends, exist_ok=True)
    AutoProcessor.register(EvfSamConfig, EvfSamProcessor, exist_ok=True)
    PIPELINE_REGISTRY.register_pipeline(TASK, EvfSamPipeline, pt_model=AutoModel, type="multimodal")


def fill_hooks() -> None:
    """Lets the classes read original releases and push their own code; what that needs is imported when it is used."""
    HOOKS.find_release = _find_release
    HOOKS.write_code = _write_code


def _find_release(source: Any, **options: Any) -> OriginalRelease | None:
    from .originals.releases import find_release

    return find_release(source, **options)


def _write_code(folder: str | Path) -> None:
    from .hub.code import write_code

    write_code(folder)
