"""The model that a run starts from: a checkpoint, or fresh weights with published ones put into them."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, set_seed

from modeling_evf_sam import DEFAULT_CHECKPOINT
from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.originals.foundations import build_from_parts, read_part
from modeling_evf_sam.originals.tokenizer import refuse_long_vocabulary
from modeling_evf_sam.presets import PRESETS
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.training.recipe import FinetuneRecipe


def starting_model(recipe: FinetuneRecipe) -> tuple[EvfSamModel, EvfSamProcessor]:
    """Build or load the model of a recipe in float32, with its processor.

    Raises:
        ValueError, OSError: a file is missing or does not fit, or a key that the start needs or cannot have.
    """
    set_seed(recipe.seed)
    fresh = not isinstance(recipe.model, str) or recipe.model in PRESETS
    model, processor = _fresh(recipe) if fresh else _loaded(recipe)
    if "presence_head" in recipe.trained_parts and model.presence_head is None:
        model.add_presence_head()
    model.config.quality = None  # it was measured on other masks
    if recipe.semantic_prompts is not None:
        model.config.semantic_prompts = processor.semantic_prompts = recipe.semantic_prompts
    return model, processor


def _fresh(recipe: FinetuneRecipe) -> tuple[EvfSamModel, EvfSamProcessor]:
    if recipe.tokenizer is None:
        raise ValueError("a model with fresh weights needs a tokenizer: set tokenizer to the folder of one")
    config = EvfSamConfig(**(PRESETS[recipe.model] if isinstance(recipe.model, str) else recipe.model))
    files = {"sam": recipe.sam, "multimodal_encoder": recipe.beit3}
    parts = [read_part(module, Path(file)) for module, file in files.items() if file is not None]
    model = EvfSamModel(config)
    model.load_state_dict(build_from_parts(config, parts, seed=recipe.seed), strict=False)
    tokenizer = AutoTokenizer.from_pretrained(recipe.tokenizer)
    refuse_long_vocabulary(tokenizer, config)
    return model, EvfSamProcessor.from_config(config, tokenizer)


def _loaded(recipe: FinetuneRecipe) -> tuple[EvfSamModel, EvfSamProcessor]:
    given = [name for name in ("tokenizer", "sam", "beit3") if getattr(recipe, name) is not None]
    if given:
        raise ValueError(f"{', '.join(given)} belong to a preset with fresh weights: '{recipe.model}' has its own")
    source = DEFAULT_CHECKPOINT if recipe.model == "rendered_scenes" else recipe.model
    model = EvfSamModel.from_pretrained(source, dtype=torch.float32)
    model.config.trained_on = None  # it will have seen other data
    return model, EvfSamProcessor.from_pretrained(source)
