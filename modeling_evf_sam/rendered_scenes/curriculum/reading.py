"""What the multimodal encoder is taught beside masks, in place of the pretraining that BEIT-3 brings along.

A scene knows what each step of reading a sentence should find: which objects fit the words, which one the sentence
starts from, which one it means. Linear heads on the encoder's tokens are asked for these; they are thrown away after
training.

Shapes: N sentences, T tokens, D width, g the side of the encoder's grid of patches.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeling_evf_sam.configuration_evf_sam import Beit3Config
from modeling_evf_sam.loss_evf_sam import bce_loss, dice_loss
from modeling_evf_sam.rendered_scenes.expressions import Expression, denote
from modeling_evf_sam.rendered_scenes.scene import COLOURS, SHAPES, Scene

UNCERTAIN = -100  # a cell at an object's edge, or objects that differ: cross_entropy ignores it


def coverage(masks: np.ndarray, side: int) -> Tensor:
    """The share of each cell that a mask covers: (P, H, W) bool -> (P, side, side) in [0, 1]."""
    return F.adaptive_avg_pool2d(torch.from_numpy(masks).float()[None], side)[0]


def union_mask(scene: Scene, objects: Iterable[int]) -> np.ndarray:
    """The visible pixels of some objects: (H, W) bool."""
    return np.isin(scene.object_map, list(objects))


def object_classes(scene: Scene) -> Tensor:
    """Colour and shape of each object, counted from 1: (objects, 2)."""
    return torch.tensor(
        [(list(COLOURS).index(item.colour) + 1, SHAPES.index(item.shape) + 1) for item in scene.objects]
    )


def cell_classes(scene: Scene, side: int) -> Tensor:
    """Colour and shape of the object in each cell of a grid: (2, side, side), 0 for the background."""
    share = coverage(np.stack([item.mask for item in scene.objects]), side)  # (objects, side, side)
    most, index = share.max(0)
    classes = object_classes(scene).T[:, index]
    classes[:, most < 0.25] = UNCERTAIN
    classes[:, share.sum(0) < 0.1] = 0
    return classes


def cell_geometry(scene: Scene, side: int) -> Tensor:
    """Way from each cell to the centre of its object, and that object's extent, in cells: (3, side, side)."""
    height, width = scene.object_map.shape
    index = coverage(np.stack([item.mask for item in scene.objects]), side).max(0).indices
    scale = torch.tensor([side / width, side / height, side / (height * width) ** 0.5])
    objects = torch.tensor([(*item.center, item.extent) for item in scene.objects]) * scale  # (objects, 3)
    geometry = objects.T[:, index]
    cells = torch.arange(side) + 0.5
    return geometry - torch.stack(
        [cells.expand(side, side), cells[:, None].expand(side, side), torch.zeros(side, side)]
    )


def cell_outlines(scene: Scene, side: int, zoom: int = 4) -> Tensor:
    """How far the object of each cell covers the cell's parts: (zoom * zoom, side, side) in [0, 1]."""
    masks = np.stack([item.mask for item in scene.objects])
    index = coverage(masks, side).max(0).indices  # (side, side)
    parts = F.pixel_unshuffle(coverage(masks, side * zoom)[None].transpose(0, 1), zoom)  # (objects, zoom², side, side)
    return parts.gather(0, index.expand(1, zoom**2, -1, -1))[0]


def attribute_head(width: int) -> nn.Module:
    """A linear layer that names colours and shapes: (N, width, g, g) -> (N, colours + shapes, g, g)."""
    return nn.Conv2d(width, len(COLOURS) + len(SHAPES) + 2, kernel_size=1)


def attribute_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of the colours and of the shapes: (N, colours + shapes, g, g), (N, 2, g, g)."""
    parts = logits.split([len(COLOURS) + 1, len(SHAPES) + 1], dim=1)
    losses = [  # averaged by hand, because the mean over a batch without certain cells would not be a number
        F.cross_entropy(part, target, ignore_index=UNCERTAIN, reduction="sum") / (target != UNCERTAIN).sum().clamp(1)
        for part, target in zip(parts, classes.unbind(1), strict=True)
    ]
    return torch.stack(losses).sum()


def mask_result(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Mean mask losses, and intersections and unions for the progress report: (N, h, w), (N, h, w)."""
    predicted, true = logits > 0, targets > 0.5
    return {
        "loss": bce_loss(logits, targets).mean() + dice_loss(logits, targets).mean(),
        "intersections": (predicted & true).sum((1, 2)),
        "unions": (predicted | true).sum((1, 2)),
    }


def lesson(scene: Scene, expressions: list[Expression], side: int) -> dict[str, Tensor]:
    """The targets of `ReadingHeads` for the sentences of one scene.

    Returns:
        `steps` (N, 3, side, side): coverage of the objects that the sentence means, of all that fit the words for
        them, and of the one that it starts from; `cells` (N, 2, side, side) and `geometry` (N, 3, side, side): what
        each cell shows; `targets` (N, 2): the colour and shape that the meant objects share.
    """
    if not scene.objects:
        return _empty_lesson(len(expressions), side)
    size = scene.object_map.shape
    steps = [
        union_mask(scene, objects)
        for expression in expressions
        for objects in (
            expression.targets,
            denote(replace(expression.phrase, extreme=None, relation=None, anchor=None), scene.objects, size) or (),
            (expression.phrase.anchor and denote(expression.phrase.anchor, scene.objects, size)) or (),
        )
    ]
    classes = [object_classes(scene)[list(expression.targets)] for expression in expressions]  # (targets, 2) each
    unclear = torch.full((2,), UNCERTAIN)
    return {
        "steps": coverage(np.stack(steps), side).unflatten(0, (-1, 3)),
        "cells": cell_classes(scene, side).expand(len(expressions), -1, -1, -1),
        "geometry": cell_geometry(scene, side).expand(len(expressions), -1, -1, -1),
        "targets": torch.stack(
            [own[0].where((own == own[0]).all(0), unclear) if len(own) else unclear for own in classes]
        ),
    }


def _empty_lesson(sentences: int, side: int) -> dict[str, Tensor]:
    """The targets for sentences about a photo that shows no object of the scenes."""
    return {
        "steps": torch.zeros(sentences, 3, side, side),
        "cells": torch.zeros(sentences, 2, side, side, dtype=torch.long),
        "geometry": torch.zeros(sentences, 3, side, side),
        "targets": torch.full((sentences, 2), UNCERTAIN),
    }


class SightHead(nn.Module):
    """A linear head on patches: colour, shape, centre and extent of the object in each."""

    def __init__(self, width: int):
        super().__init__()
        self.classes = attribute_head(width)
        self.geometry = nn.Conv2d(width, 3, kernel_size=1)

    def forward(self, patches: Tensor, cells: Tensor, geometry: Tensor) -> Tensor:
        """Scalar loss, in which objects weigh as much as the background: (N, D, g, g), (N, 2, g, g), (N, 3, g, g)."""
        on_object, off_object = cells[:, :1] > 0, cells[:, :1] == 0
        logits = self.classes(patches)
        distance = (self.geometry(patches) - geometry).abs() * on_object
        return (
            attribute_loss(logits, cells.masked_fill(~on_object, UNCERTAIN))
            + attribute_loss(logits, cells.masked_fill(~off_object, UNCERTAIN))
            + distance.sum() / on_object.sum().clamp(min=1)
        )

    def right_cells(self, patches: Tensor, cells: Tensor) -> dict[str, Tensor]:
        """Cells of objects with the right colour and shape, and all cells of objects: counts (N,) each."""
        colour, shape = self.classes(patches).split([len(COLOURS) + 1, len(SHAPES) + 1], dim=1)
        right = (colour.argmax(1) == cells[:, 0]) & (shape.argmax(1) == cells[:, 1])
        on_object = cells[:, 0] > 0
        return {"intersections": (right & on_object).sum((1, 2)), "unions": on_object.sum((1, 2))}


class ReadingHeads(nn.Module):
    """Linear heads on the encoder's tokens.

    Half-way up, each patch says whether its object fits the words and whether the sentence starts from it; at the
    top, whether it is meant, and what it shows. The [CLS], which will prompt SAM, says where the
    meant objects are, and which colour and shape they have; and whether the photo shows what is meant, anything that
    fits the words for it, and what the sentence starts from.
    """

    def __init__(self, config: Beit3Config):
        super().__init__()
        width = config.hidden_size
        self.grid = (config.image_size // config.patch_size,) * 2
        self.middle = (config.num_hidden_layers + 1) // 2
        self.steps = nn.Sequential(nn.GroupNorm(1, width), nn.Conv2d(width, 2, kernel_size=1))
        self.meant = nn.Conv2d(width, 1, kernel_size=1)
        self.sight = SightHead(width)
        self.where = nn.Linear(width, config.num_patches)
        self.what = attribute_head(width)
        self.there = nn.Linear(width, 3)

    def patches(self, hidden_states: Tensor) -> Tensor:
        """(N, T, D) -> (N, D, g, g)."""
        return hidden_states[:, 1 : 1 + self.grid[0] * self.grid[1]].transpose(1, 2).unflatten(2, self.grid)

    def forward(self, layers: tuple[Tensor, ...], lesson: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses against a `lesson`; the IoU is that of the patches that are meant.

        Args:
            layers: the encoder's input and the output of each layer, (N, T, D) each.
            lesson: of all N sentences.
        """
        meant, fitting, anchor = lesson["steps"].unbind(1)
        patches, cls = self.patches(layers[-1]), layers[-1][:, 0]
        steps = self.steps(self.patches(layers[self.middle]))
        result = mask_result(self.meant(patches)[:, 0], meant)
        share = meant.flatten(1) / meant.sum((1, 2)).clamp(min=1e-6)[:, None]  # (N, g * g)
        losses = {
            "meant": result["loss"],
            "steps": sum(mask_result(steps[:, i], target)["loss"] for i, target in enumerate((fitting, anchor))),
            "where": F.cross_entropy(self.where(cls), share),
            "sight": self.sight(patches, lesson["cells"], lesson["geometry"]),
            "what": attribute_loss(self.what(cls[..., None, None]), lesson["targets"][..., None, None]),
            "there": F.binary_cross_entropy_with_logits(self.there(cls), lesson["steps"].flatten(2).any(-1).float()),
        }
        weights = {"meant": 1.0, "steps": 0.5, "where": 0.25, "sight": 0.5, "what": 0.25, "there": 1.0}
        return result | {"loss": sum(weights[name] * loss for name, loss in losses.items())}
