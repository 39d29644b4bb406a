"""What each stage of training learns, as modules that turn scenes into batches and batches into a loss.

`EmbeddingObjective` and `PromptObjective`: SAM alone, first its image
encoder, then points and boxes to masks. `SightObjective` and `PatchObjective`: the multimodal encoder
alone, in place of the pretraining that BEIT-3 brings along. `TextObjective`: the paper's training, sentences to masks.
`PresenceObjective`: the same, and whether there is anything to mark; `WholeObjective`: with SAM's image encoder.
`ScoreObjective`: how good the masks are.

Shapes: B scenes, P prompts or sentences each, g the side of a grid of image tokens, D width.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.reading import (
    ReadingHeads,
    SightHead,
    cell_classes,
    cell_geometry,
    cell_outlines,
    coverage,
    lesson,
    mask_result,
    union_mask,
)
from modeling_evf_sam.rendered_scenes.expressions import Expression
from modeling_evf_sam.rendered_scenes.scene import Scene
from modeling_evf_sam.sam_models import scatter

Drawn = tuple[Scene, list[Expression]]


class Objective(nn.Module):
    """A model, its processor, and heads that only training uses."""

    prompts = 4  # points or boxes of a scene

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor):
        super().__init__()
        self.model = model
        self.processor = processor
        vision = model.config.sam_config.vision_config
        self.image_grid = vision.image_size // vision.patch_size
        self.mask_side = 4 * self.image_grid  # of the mask decoder's logits

    def trained_modules(self) -> list[nn.Module]:
        """The parts that this stage trains; everything else is frozen."""
        raise NotImplementedError

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """Turn scenes into a batch for `forward`."""
        raise NotImplementedError

    def _text(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        inputs = self.processor(
            text=[[expression.text for expression in expressions] for _, expressions in drawn],
            semantic=[[expression.semantic for expression in expressions] for _, expressions in drawn],
            return_tensors="pt",
        )
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def _prompts(self, scene: Scene, rng: np.random.Generator, boxes: bool) -> tuple[Tensor, Tensor]:
        """A point or a loose box for some objects, in pixels of SAM's view, and their masks."""
        chosen = rng.permutation(np.resize(rng.permutation(len(scene.objects)), self.prompts))
        masks = np.stack([scene.objects[index].mask for index in chosen])
        scale = self.model.config.view_size / np.array(scene.photo.shape[1::-1])
        prompts = []
        for mask in masks:
            pixels = np.argwhere(mask)[:, ::-1] + 0.5  # (pixels, 2), x and y
            if boxes:
                corners = np.stack([pixels.min(0) - 0.5, pixels.max(0) + 0.5])
                prompts.append(((corners + rng.normal(0, 1, (2, 2))) * scale).reshape(4))
            else:
                prompts.append((pixels[rng.integers(len(pixels))] * scale)[None])
        return torch.from_numpy(np.stack(prompts)).float(), coverage(masks, self.mask_side)

    def _views(self, drawn: Sequence[Drawn], *names: str) -> dict[str, Tensor]:
        views = self.processor.image_processor([scene.photo for scene, _ in drawn], return_tensors="pt")
        return {name: views[name] for name in names}


class EmbeddingObjective(Objective):
    """SAM's image encoder learns, without prompts, which object each cell of its embedding shows, and its outline.

    This stands in for what masked-autoencoder pretraining gives SAM's encoder: features that mean something.
    """

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor):
        super().__init__(model, processor)
        width = model.config.sam_config.vision_config.output_channels
        self.embedding_sight = SightHead(width)
        self.embedding_outline = nn.Conv2d(width, 4 * 4, kernel_size=1)  # the masks are four times as fine

    def trained_modules(self) -> list[nn.Module]:
        """SAM's image encoder and the heads."""
        return [self.model.sam.vision_encoder, self.embedding_sight, self.embedding_outline]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """SAM's view and what its cells show."""
        targets = {"cells": cell_classes, "geometry": cell_geometry, "outlines": cell_outlines}
        return self._views(drawn, "pixel_values") | {
            name: torch.stack([target(scene, self.image_grid) for scene, _ in drawn])
            for name, target in targets.items()
        }

    def forward(self, pixel_values: Tensor, cells: Tensor, geometry: Tensor, outlines: Tensor) -> dict[str, Tensor]:
        """Loss of the cells; its IoU is the share of object cells with their right colour and shape."""
        embeddings = self.model.sam.vision_encoder(pixel_values).last_hidden_state
        loss = self._cell_loss(embeddings, cells, geometry, outlines)
        return {"loss": loss, **self.embedding_sight.right_cells(embeddings, cells)}

    def _cell_loss(self, embeddings: Tensor, cells: Tensor, geometry: Tensor, outlines: Tensor) -> Tensor:
        losses = F.binary_cross_entropy_with_logits(self.embedding_outline(embeddings), outlines, reduction="none")
        near_object = cells[:, 0] != 0
        return self.embedding_sight(embeddings, cells, geometry) + losses.mean(1)[near_object].mean()


class PromptObjective(EmbeddingObjective):
    """SAM learns points and boxes; the heads on its embedding keep teaching beside the masks."""

    def trained_modules(self) -> list[nn.Module]:
        """SAM, all of it, and the heads."""
        return [*super().trained_modules(), self.model.sam.prompt_encoder, self.model.sam.mask_decoder]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """SAM's view, four points or four boxes each, their masks, and what the cells show."""
        rng = np.random.default_rng(int(drawn[0][0].photo.sum()))
        batch = super().collate(drawn)
        boxes = rng.random() < 0.5
        prompts, targets = zip(*(self._prompts(scene, rng, boxes) for scene, _ in drawn), strict=True)
        batch["input_boxes" if boxes else "input_points"] = torch.stack(prompts)
        batch["labels"] = torch.stack(targets)
        return batch

    def forward(  # type: ignore[override]
        self,
        pixel_values: Tensor,
        labels: Tensor,
        cells: Tensor,
        geometry: Tensor,
        outlines: Tensor,
        input_points: Tensor | None = None,
        input_boxes: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Loss of SAM's single mask for each prompt."""
        embeddings = self.model.sam.vision_encoder(pixel_values).last_hidden_state
        masks = self.model.sam(
            image_embeddings=embeddings, input_points=input_points, input_boxes=input_boxes, multimask_output=False
        ).pred_masks[:, :, 0]
        result = mask_result(masks.flatten(0, 1), labels.flatten(0, 1))
        loss = result["loss"] + 0.5 * self._cell_loss(embeddings, cells, geometry, outlines)
        return result | {"loss": loss}


class EncoderObjective(Objective):
    """What the objectives of the multimodal encoder share: its heads, and how it reads a batch."""

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor):
        super().__init__(model, processor)
        self.reading = ReadingHeads(model.config.multimodal_config)

    def trained_modules(self) -> list[nn.Module]:
        """The multimodal encoder and the heads."""
        return [self.model.multimodal_encoder, self.reading]

    def _lessons(self, drawn: Sequence[Drawn]) -> dict[str, Any]:
        """Sentences, the encoder's view, and what there is to learn from them."""
        lessons = [lesson(scene, expressions, self.reading.grid[0]) for scene, expressions in drawn]
        return {
            **self._text(drawn),
            **self._views(drawn, "multimodal_pixel_values"),
            "lesson": {name: torch.cat([one[name] for one in lessons]) for name in lessons[0]},
        }

    def _read(self, multimodal_pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Encode the sentences that are there: the tokens before and after each layer, (N, T, D) each."""
        present = attention_mask.any(-1)
        output = self.model.multimodal_encoder(
            pixel_values=multimodal_pixel_values[present.nonzero()[:, 0]],
            input_ids=input_ids[present],
            attention_mask=attention_mask[present],
            output_hidden_states=True,
        )
        return (*output.hidden_states[:-1], output.last_hidden_state)


class SightObjective(EncoderObjective):
    """The multimodal encoder learns to see, without words: which object each patch shows, and where that lies."""

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """The encoder's view and what each of its patches shows."""
        side = self.reading.grid[0]
        return {
            **self._views(drawn, "multimodal_pixel_values"),
            "cells": torch.stack([cell_classes(scene, side) for scene, _ in drawn]),
            "geometry": torch.stack([cell_geometry(scene, side) for scene, _ in drawn]),
        }

    def forward(self, multimodal_pixel_values: Tensor, cells: Tensor, geometry: Tensor) -> dict[str, Tensor]:
        """Loss of the patches; its IoU is the share of object patches with their right colour and shape."""
        hidden_states = self.model.multimodal_encoder(pixel_values=multimodal_pixel_values).last_hidden_state
        patches = self.reading.patches(hidden_states)
        loss = self.reading.sight(patches, cells, geometry)
        return {"loss": loss, **self.reading.sight.right_cells(patches, cells)}


class PatchObjective(EncoderObjective):
    """The multimodal encoder learns to read sentences, by the heads of `reading`."""

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Any]:
        """Sentences, the encoder's view, and what there is to learn from them."""
        return self._lessons(drawn)

    def forward(
        self,
        multimodal_pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        lesson: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Loss of the heads; its IoU counts patches."""
        return self.reading(self._read(multimodal_pixel_values, input_ids, attention_mask), lesson)


class TextObjective(EncoderObjective):
    """Sentences to masks over a frozen image encoder; the heads keep teaching beside the masks."""

    reading_weight = 0.5

    def trained_modules(self) -> list[nn.Module]:
        """All but the image encoder and the prompt encoder."""
        return [*super().trained_modules(), self.model.projector, self.model.sam.mask_decoder]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Any]:
        """What the heads learn from, SAM's view, and the masks at the resolution of its logits."""
        masks = [
            union_mask(scene, expression.targets)[None] for scene, expressions in drawn for expression in expressions
        ]
        labels = torch.cat([coverage(mask, self.mask_side) for mask in masks])
        return {**self._lessons(drawn), **self._views(drawn, "pixel_values"), "labels": labels}

    def forward(
        self,
        pixel_values: Tensor,
        multimodal_pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        lesson: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """The stage's loss; the IoU is that of the masks (N, h, w)."""
        layers = self._read(multimodal_pixel_values, input_ids, attention_mask)
        output, present = self._segment(layers[-1][:, 0], pixel_values, attention_mask)
        result = mask_result(output.pred_masks[:, :, 0][present], labels)
        return result | {"loss": result["loss"] + self.reading_weight * self.reading(layers, lesson)["loss"]}

    def _segment(self, features: Tensor, pixel_values: Tensor, attention_mask: Tensor) -> tuple[Any, Tensor]:
        """The model's output for the encoder's features (N, D) of the sentences that are there; and which they are."""
        present = attention_mask.any(-1)
        prompts = scatter(self.model.projector(features), present)
        output = self.model(pixel_values=pixel_values, prompt_embeds=prompts, attention_mask=attention_mask)
        return output, present


class PresenceObjective(TextObjective):
    """Sentences to masks, and whether there is anything to mark; points and boxes keep their meaning beside it."""

    prompts = 1

    def trained_modules(self) -> list[nn.Module]:
        """All but the image encoder."""
        more = [self.model.sam.prompt_encoder, self.model.presence_head]
        return [*super().trained_modules(), *more]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Any]:
        """What `TextObjective` takes, and a point or a box of each scene with its mask."""
        rng = np.random.default_rng(int(drawn[0][0].photo.sum()))
        scenes = [index for index, (scene, _) in enumerate(drawn) if scene.objects]
        batch = super().collate(drawn) | {"scenes": torch.tensor(scenes, dtype=torch.long)}
        boxes = rng.random() < 0.5
        if scenes:
            prompts, masks = zip(*(self._prompts(drawn[index][0], rng, boxes) for index in scenes), strict=True)
            batch["input_boxes" if boxes else "input_points"] = torch.stack(prompts)
            batch["prompted_masks"] = torch.cat(masks)
        return batch

    def forward(  # type: ignore[override]
        self,
        pixel_values: Tensor,
        multimodal_pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        lesson: dict[str, Tensor],
        scenes: Tensor,
        input_points: Tensor | None = None,
        input_boxes: Tensor | None = None,
        prompted_masks: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The stage's loss; the IoU is that of the masks, which are empty where nothing is taken to be there."""
        layers = self._read(multimodal_pixel_values, input_ids, attention_mask)
        output, present = self._segment(layers[-1][:, 0], pixel_values, attention_mask)
        masks, presence = output.pred_masks[:, :, 0][present], output.presence_logits[present]
        named = labels.flatten(1).any(1)
        loss = F.binary_cross_entropy_with_logits(presence, named.float())
        loss = loss + self.reading_weight * self.reading(layers, lesson)["loss"]
        if named.any():
            loss = loss + mask_result(masks[named], labels[named])["loss"]
        if prompted_masks is not None:
            found = self.model.sam(
                image_embeddings=output.image_embeddings[scenes],
                input_points=input_points,
                input_boxes=input_boxes,
                multimask_output=False,
            ).pred_masks
            loss = loss + 0.5 * mask_result(found[:, :, 0].flatten(0, 1), prompted_masks)["loss"]
        emptied = masks.detach().masked_fill((presence < 0)[:, None, None], -1.0)
        return mask_result(emptied, labels) | {"loss": loss}


class WholeObjective(PresenceObjective):
    """The same, and SAM's image encoder learns with the rest."""

    def trained_modules(self) -> list[nn.Module]:
        """All there is."""
        return [*super().trained_modules(), self.model.sam.vision_encoder]


class ScoreObjective(TextObjective):
    """The heads learn what the masks are worth, and whether anything is there; nothing else changes any more."""

    def trained_modules(self) -> list[nn.Module]:
        """SAM's IoU head, and the presence head where there is one."""
        heads = [self.model.sam.mask_decoder.iou_prediction_head, self.model.presence_head]
        return [head for head in heads if head is not None]

    def forward(
        self,
        pixel_values: Tensor,
        multimodal_pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        lesson: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Mean squared error of the scores of what is there, and cross-entropy of the presence."""
        layers = self._read(multimodal_pixel_values, input_ids, attention_mask)
        output, present = self._segment(layers[-1][:, 0], pixel_values, attention_mask)
        result = mask_result(output.pred_masks[:, :, 0][present], labels)
        named = labels.flatten(1).any(1).float()
        ious = result["intersections"] / result["unions"].clamp(min=1)
        errors = (output.iou_scores[:, :, 0][present] - ious).square()
        loss = (errors * named).sum() / named.sum().clamp(min=1)
        if output.presence_logits is not None:
            loss = loss + F.binary_cross_entropy_with_logits(output.presence_logits[present], named)
        return result | {"loss": loss}
