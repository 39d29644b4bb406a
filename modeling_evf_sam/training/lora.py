"""Low-rank changes of the multimodal encoder, by the `peft` library."""

from pathlib import Path
from typing import Any

from torch import nn

from modeling_evf_sam.extras import require
from modeling_evf_sam.files import whole_folder
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.training.recipe import LoraSettings


def add_lora(model: EvfSamModel, settings: LoraSettings) -> None:
    """Put low-rank changes beside those linear layers of the encoder that are trained, and freeze the layers.

    Args:
        model: its multimodal encoder's trained parameters require gradients; the other parts stay as they are.
        settings: sizes of the changes.

    Raises:
        ValueError: `peft` is not installed, or the encoder is not among the trained parts.
    """
    require("peft", extra="lora", what="lora")
    from peft import LoraConfig, PeftModel

    layers = [
        name
        for name, module in model.multimodal_encoder.named_modules()
        if isinstance(module, nn.Linear) and module.weight.requires_grad
    ]
    if not layers:
        raise ValueError("lora changes the multimodal encoder: add multimodal_encoder to trained_parts")
    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=layers
    )
    model.multimodal_encoder = PeftModel(model.multimodal_encoder, config)


def merge_lora(model: EvfSamModel, folder: Path) -> None:
    """Save the changes alone into `folder`, and add them into the encoder's weights."""
    encoder: Any = model.multimodal_encoder
    with whole_folder(folder) as whole:
        encoder.save_pretrained(whole)
    model.multimodal_encoder = encoder.merge_and_unload()
