"""Which parts of a model are trained (paper, Table 4), and which parameters training cannot reach."""

import copy
from collections.abc import Collection
from typing import Literal

import torch

from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.sam_families import as_levels

Part = Literal[
    "multimodal_encoder",
    "projector",
    "image_encoder",
    "prompt_encoder",
    "no_mask_embedding",
    "mask_decoder",
    "presence_head",
]
PARTS: dict[Part, str] = {  # name -> where its parameters are
    "multimodal_encoder": "multimodal_encoder",
    "projector": "projector",
    "image_encoder": "sam.vision_encoder",
    "prompt_encoder": "sam.prompt_encoder",
    "no_mask_embedding": "sam.prompt_encoder.no_mask_embed",
    "mask_decoder": "sam.mask_decoder",
    "presence_head": "presence_head",
}
PAPERS_PARTS: tuple[Part, ...] = ("multimodal_encoder", "projector", "no_mask_embedding", "mask_decoder")


def freeze_all_but(model: EvfSamModel, parts: Collection[Part]) -> None:
    """Let the parameters of some parts be trained, and no others.

    What gets no gradient from sentences and target masks is frozen as well, such as the head for SAM's scores. The
    one exception is "prompt_encoder", which means SAM's whole prompt encoder, for training with points, boxes and
    masks beside the sentences; "no_mask_embedding" is the one part of it that sentences alone reach, and all that
    the original trains of it. SAM's Fourier matrix belongs to no part.

    Args:
        model: the model, changed in place.
        parts: names from `PARTS`.

    Raises:
        ValueError: for no parts, or unknown ones, or those that this model's SAM does not have.
    """
    names = [name for name, _ in model.named_parameters()]
    known = [part for part, module in PARTS.items() if any(name.startswith(f"{module}.") for name in names)]
    wrong = sorted(set(parts) - set(known))
    if wrong or not parts:
        raise ValueError(f"cannot train {', '.join(wrong) or 'nothing'}: choose from {', '.join(known)}")
    prefixes = tuple(f"{PARTS[part]}." for part in parts)
    unreached = _unreached_parameters(model)
    if "prompt_encoder" in parts:
        unreached = {name for name in unreached if not name.startswith(f"{PARTS['prompt_encoder']}.")}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(prefixes) and name not in unreached)


def _unreached_parameters(model: EvfSamModel) -> set[str]:
    """Names of the parameters without a gradient, seen on a twin of the model that has shapes but no numbers."""
    config = copy.deepcopy(model.config)
    with torch.device("meta"):
        twin = type(model)(config)
        views = None if config.fusion == "text" else torch.zeros(1, 3, *2 * [config.multimodal_view_size])
        features = twin.multimodal_encoder.get_prompt_features(views, torch.zeros(1, 3, dtype=torch.long))
        embeddings = twin.get_image_embeddings(torch.zeros(1, 3, config.view_size, config.view_size))
        decoded = twin.decode_prompts(as_levels(embeddings), twin.projector(features), {})
        sums = [part.sum() for part in (decoded.masks, decoded.presence_logits) if part is not None]
        torch.stack(sums).sum().backward()
    return {name for name, parameter in twin.named_parameters() if parameter.grad is None}
