"""Makes the package's classes known to transformers' Auto classes; done once, when this module is imported."""

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_evf_sam import Beit3Config, EfficientSamConfig, EvfSamConfig
from .image_processing_evf_sam import EvfSamImageProcessor
from .modeling_beit3 import Beit3Model
from .modeling_efficient_sam import EfficientSamModel
from .modeling_evf_sam import EvfSamModel
from .pipeline_evf_sam import EvfSamPipeline
from .processing_evf_sam import EvfSamProcessor
from .remote_code import TASK

AutoConfig.register(EvfSamConfig.model_type, EvfSamConfig, exist_ok=True)
AutoModel.register(Beit3Config, Beit3Model, exist_ok=True)
AutoModel.register(EfficientSamConfig, EfficientSamModel, exist_ok=True)
AutoModel.register(EvfSamConfig, EvfSamModel, exist_ok=True)
AutoImageProcessor.register(
    EvfSamConfig,
    image_processor_classes={"pil": EvfSamImageProcessor, "torchvision": EvfSamImageProcessor},
    exist_ok=True,
)
AutoProcessor.register(EvfSamConfig, EvfSamProcessor, exist_ok=True)
PIPELINE_REGISTRY.register_pipeline(TASK, EvfSamPipeline, pt_model=AutoModel, type="multimodal")
# `pipeline` prefers the code of a repository to a registered class, and demands trust in it; here none is needed.
EvfSamConfig.custom_pipelines = property(lambda config: {}, lambda config, value: None)
