"""Released variants as data: name -> arguments of `EvfSamConfig`.

Sizes are those of the original's `sam_scale` and `mm_extractor_scale`. The two-way transformer of the original uses
a LayerNorm epsilon of 1e-5, where transformers' SAM has 1e-6.
"""

from typing import Any

SAM_HUGE: dict[str, Any] = {
    "model_type": "sam",
    "vision_config": {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
        "initializer_range": 0.02,
    },
    "mask_decoder_config": {"layer_norm_eps": 1e-5},
}
BEIT3_LARGE: dict[str, Any] = {"model_type": "beit3"}

PRESETS: dict[str, dict[str, Any]] = {
    "evf-sam": {"image_layout": "pad", "multimodal_config": BEIT3_LARGE, "sam_config": SAM_HUGE},
    "evf-sam-multitask": {"image_layout": "pad", "multimodal_config": BEIT3_LARGE, "sam_config": SAM_HUGE},
}
