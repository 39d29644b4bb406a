"""The shipped recipe of the rendered scenes, with sizes and budgets for tests."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from modeling_evf_sam.training.recipe_files import read_recipe

SIZES = {"hidden_size": 32, "num_attention_heads": 2}
LAYERS = {**SIZES, "num_hidden_layers": 2, "intermediate_size": 32}
VIEW, MULTIMODAL_VIEW = 64, 48
BUDGET = {"steps": 1, "batch_size": 2, "eval_every": 1, "warmup_steps": 0}


def write_tiny_recipe(path: Path, stages: Sequence[str]) -> Path:
    """Write the recipe with a step for each of these stages, and return its path."""
    recipe = read_recipe("rendered_scenes") | {"eval_scenes": 2, "calibration_scenes": 8, "workers": 0}
    recipe["tokenizer"] |= {"vocab_size": 400, "num_expressions": 500}
    model, sam = recipe["model"], recipe["model"]["sam_config"]
    model["multimodal_config"] |= {**LAYERS, "vocab_size": 416, "image_size": MULTIMODAL_VIEW}
    sam["vision_config"] |= {
        **SIZES,
        "num_hidden_layers": 1,
        "global_attn_indexes": [0],
        "output_channels": 32,
        "num_pos_feats": 16,
        "image_size": VIEW,
    }
    sam["prompt_encoder_config"] |= {"hidden_size": 32, "image_size": VIEW}
    sam["mask_decoder_config"] |= {**SIZES, "mlp_dim": 32, "iou_head_hidden_dim": 16}
    recipe["stages"] = {name: recipe["stages"][name] | BUDGET for name in stages}
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path
