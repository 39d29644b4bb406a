"""The three steps of a model as modules with tensors in and tensors out: a photo, a sentence, and a mask by both.

What is done once for a photo, once for a sentence and once for each mask stays apart, so that whoever runs the graphs
encodes a photo once for many sentences.

Shapes: B photos, N sentences, L tokens, n points, M masks per sentence, D prompt width, S and s the sides of the two
views, h and w the sides of the mask logits.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.functional import embedding
from torch.utils._pytree import tree_flatten_with_path, tree_map_with_path

from modeling_evf_sam.exported.model import CORNERS, NO_POINT
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.sam_families import as_levels

TWO_FREE_AXES = ("input_ids", "attention_mask", "points", "labels")
DECODED = {  # fields of `DecodedPrompts` -> names of outputs; quality follows from the scores
    "masks": "pred_masks",
    "scores": "iou_scores",
    "presence_logits": "presence_logits",
    "object_score_logits": "object_score_logits",
}


class PhotoStep(nn.Module):
    """SAM's views of photos -> their embeddings."""

    def __init__(self, model: EvfSamModel):
        super().__init__()
        self.sam, self.encode = model.sam, model.family.encode

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) -> `image_embeddings_0` (B, D, h, w); for SAM-2 also 1 and 2, fine to coarse."""
        levels = as_levels(self.encode(self.sam, pixel_values))
        return {f"image_embeddings_{index}": level for index, level in enumerate(levels)}


class SentenceStep(nn.Module):
    """Sentences, each with the photo that it is about -> prompt tokens."""

    def __init__(self, model: EvfSamModel):
        super().__init__()
        self.model = _with(model, sam=nn.Identity())

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, multimodal_pixel_values: Tensor | None = None
    ) -> dict[str, Tensor]:
        """(N, L) tokens, their mask, and views (N, 3, s, s) unless text is read alone -> `prompt_embeds` (N, D)."""
        return {"prompt_embeds": self.model.read_sentences(multimodal_pixel_values, input_ids, attention_mask)}


class DecodeStep(nn.Module):
    """Prompt tokens and points about photos -> masks."""

    def __init__(self, model: EvfSamModel):
        super().__init__()
        unused = nn.Identity()  # rather than weights in a file that has no use for them
        sam = _with(model.sam, vision_encoder=unused, prompt_encoder=PointEncoder(model))
        self.model = _with(model, multimodal_encoder=unused, projector=unused, sam=sam)
        self.model.config = copy.copy(model.config)
        self.model.config.quality = None  # a line that numpy draws as well

    def forward(
        self, photo: Tensor, prompt_embeds: Tensor, points: Tensor, labels: Tensor, levels: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Decode N prompts.

        Args:
            photo: (N,) which photo each is about.
            prompt_embeds: (N, D).
            points: (N, n, 2) in pixels of SAM's view; n may be 0.
            labels: (N, n) as `PointEncoder` takes them.
            levels: what `PhotoStep` made of the B photos.

        Returns:
            pred_masks (N, M, h, w) and iou_scores (N, M); presence_logits and object_score_logits (N,) of models that
            have them.
        """
        of_photo = [level[photo] for level in levels.values()]
        decoded = self.model.decode_prompts(of_photo, prompt_embeds, {"points": points, "labels": labels})
        said = {name: getattr(decoded, field) for field, name in DECODED.items()}
        return {name: values for name, values in said.items() if values is not None}


class PointEncoder(nn.Module):
    """SAM's prompt encoder, for any number of points and the same steps for all: a box is two of them, its corners.

    Labels are 1 on the object, 0 beside it, 2 and 3 for a box's top left and bottom right, and -1 for none. SAM and
    SAM-2 put such a one behind points; EfficientSAM fills up to six, at (-1, -1).
    """

    kinds: Tensor  # (5, D) what each label from -1 to 3 adds
    dense: Tensor  # (1, D or 1, 1, 1) what is added to the photo's embeddings

    def __init__(self, model: EvfSamModel):
        super().__init__()
        original = model.sam.prompt_encoder
        self.shared_embedding = original.shared_embedding
        self.image_embedding_size = getattr(original, "image_embedding_size", None)  # SAM-2 looks for it here
        self.view = (model.config.view_size, model.config.view_size)
        self.place_of_none = model.config.sam_config.model_type == "efficient_sam"
        self.register_buffer("kinds", _kinds(original).detach())
        dense = torch.zeros(1, 1) if self.place_of_none else original.no_mask_embed.weight.detach()
        self.register_buffer("dense", dense[..., None, None])

    def forward(
        self, input_points: Tensor, input_labels: Tensor, input_boxes: None, input_masks: None
    ) -> tuple[Tensor, Tensor]:
        """(N, 1, n, 2) points and (N, 1, n) labels -> (N, 1, n, D), and the dense embedding."""
        codes = self.shared_embedding(input_points + 0.5, self.view)  # centres of pixels
        if not self.place_of_none:
            codes = codes * (input_labels != NO_POINT)[..., None]
        return codes + embedding(input_labels - NO_POINT, self.kinds), self.dense


def _kinds(prompt_encoder: Any) -> Tensor:
    """(5, D): the embeddings of no point, of a point beside and on the object, and of a box's corners."""
    none, known = prompt_encoder.not_a_point_embed.weight, prompt_encoder.point_embed
    if hasattr(prompt_encoder, "bbox_top_left_embed"):  # EfficientSAM
        corners = prompt_encoder.bbox_top_left_embed.weight, prompt_encoder.bbox_bottom_right_embed.weight
        return torch.cat([none, torch.zeros_like(none), known.weight, *corners])
    if isinstance(known, nn.ModuleList):  # SAM
        return torch.cat([none, *known.parameters()])
    return torch.cat([none, known.weight])


def _with(module: Any, **children: nn.Module) -> Any:
    """The module with other children; all else is shared."""
    twin = copy.copy(module)
    twin._modules = {**module._modules, **children}
    return twin


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A step as a program, with any number of photos, sentences, tokens and points.

    Attributes:
        name: "photo", "sentence" or "decode".
        program: what `torch.export` made of it.
        inputs: names of what goes in.
        outputs: names of what comes out.
    """

    name: str
    program: ExportedProgram
    inputs: list[str]
    outputs: list[str]


@torch.no_grad()
def trace(model: EvfSamModel) -> Iterator[Graph]:
    """The graphs of a model in evaluation mode, one by one; the weights are those of the model."""
    config, like = model.config, {"dtype": model.dtype, "device": model.device}
    views = {"pixel_values": torch.zeros(2, 3, config.view_size, config.view_size, **like)}
    photo = _trace("photo", PhotoStep(model), views)
    yield photo

    words = {name: torch.ones(3, 4, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    if side := config.multimodal_view_size:
        words["multimodal_pixel_values"] = torch.zeros(3, 3, side, side, **like)
    yield _trace("sentence", SentenceStep(model), words)

    prompts = {
        "photo": torch.zeros(3, dtype=torch.long),
        "prompt_embeds": torch.zeros(3, config.prompt_size, **like),
        "points": torch.zeros(3, 5, 2),
        "labels": torch.full((3, 5), CORNERS[0]),
    }
    levels = {name: torch.zeros(2, *value.shape[1:], **like) for name, value in _outputs(photo.program).items()}
    yield _trace("decode", DecodeStep(model), {**prompts, "levels": levels})


def _trace(name: str, step: nn.Module, inputs: dict[str, Any]) -> Graph:
    shapes = tree_map_with_path(lambda path, _: _free_axes(_key(path[0])), inputs)
    program = torch.export.export(step, (), kwargs=inputs, dynamic_shapes=shapes)
    names = [_key(path[-1]) for path, _ in tree_flatten_with_path(inputs)[0]]
    return Graph(name=name, program=program, inputs=names, outputs=list(_outputs(program)))


def _outputs(program: ExportedProgram) -> dict[str, Any]:
    """What comes out, by name: tensors without numbers."""
    (nodes,) = program.graph.output_node().args
    names = program.call_spec.out_spec.context
    return {name: node.meta["val"] for name, node in zip(names, nodes, strict=True)}


def _key(entry: Any) -> str:
    return entry.key


def _free_axes(name: str) -> dict[int, Any]:
    """The axes of an input that have any size: its first, and those of tokens and points."""
    return {axis: Dim.DYNAMIC for axis in range(2 if name in TWO_FREE_AXES else 1)}
