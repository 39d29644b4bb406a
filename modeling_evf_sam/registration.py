"""Makes the package's classes known to transformers' Auto classes; done once, when this module is imported."""

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor

from .configuration_evf_sam import Beit3Config, EfficientSamConfig, EvfSamConfig
from .image_processing_evf_sam import EvfSamImageProcessor
from .modeling_beit3 import Beit3Model
from .modeling_efficient_sam import EfficientSamModel
from .modeling_evf_sam import EvfSamModel
from .processing_evf_sam import EvfSamProcessor

AutoConfig.register(Beit3Config.model_type, Beit3Config, exist_ok=True)
AutoConfig.register(EfficientSamConfig.model_type, EfficientSamConfig, exist_ok=True)
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
