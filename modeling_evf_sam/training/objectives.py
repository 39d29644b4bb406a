"""What each stage of training learns, as modules that turn scenes into batches and batches into a loss.

`PromptObjective`: SAM alone, points and boxes to masks. `PatchObjective`: the multimodal encoder alone, in place of
the pretraining that BEIT-3 brings along. `TextObjective`: the paper's training, sentences to masks.

Shapes: B scenes, P prompts or sentences each, g the side of a grid of image tokens, D width.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.expressions import Expression
from ..data.rendered_scenes import COLOURS, SHAPES, Scene
from ..loss_evf_sam import bce_loss, dice_loss
from ..modeling_evf_sam import EvfSamModel
from ..processing_evf_sam import EvfSamProcessor

Drawn = tuple[Scene, list[Expression]]
UNCERTAIN = -100  # a cell at an object's edge: cross_entropy ignores it


def coverage(masks: np.ndarray, side: int) -> Tensor:
    """The share of each cell that a mask covers: (P, H, W) bool -> (P, side, side) in [0, 1]."""
    return F.adaptive_avg_pool2d(torch.from_numpy(masks).float()[None], side)[0]


def object_classes(scene: Scene) -> Tensor:
    """Colour and shape of each object, counted from 1: (objects, 2)."""
    return torch.tensor(
        [(list(COLOURS).index(item.colour) + 1, SHAPES.index(item.shape) + 1) for item in scene.objects]
    )


def cell_classes(scene: Scene, side: int) -> Tensor:
    """Colour and shape of the object in each cell of a grid: (2, side, side), 0 for the background."""
    share = coverage(np.stack([item.mask for item in scene.objects]), side)  # (objects, g, g)
    most, index = share.max(0)
    classes = object_classes(scene).T[:, index]
    classes[:, most < 0.25] = UNCERTAIN
    classes[:, share.sum(0) < 0.1] = 0
    return classes


def target_classes(scene: Scene, targets: Iterable[int]) -> Tensor:
    """Colour and shape that the objects a sentence means have in common: (2,), as in `cell_classes`."""
    classes = object_classes(scene)[list(targets)]  # (targets, 2)
    return classes[0].where((classes == classes[0]).all(0), torch.tensor(UNCERTAIN))


def attribute_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of the colour and of the shape of each cell: (B, colours + shapes, g, g), (B, 2, g, g)."""
    colour, shape = logits.split([len(COLOURS) + 1, len(SHAPES) + 1], dim=1)
    return sum(
        F.cross_entropy(part, target, ignore_index=UNCERTAIN)
        for part, target in zip((colour, shape), classes.unbind(1), strict=True)
    )


def attribute_head(width: int) -> nn.Module:
    """A linear layer that names colours and shapes: (B, width, g, g) -> (B, colours + shapes, g, g)."""
    return nn.Conv2d(width, len(COLOURS) + len(SHAPES) + 2, kernel_size=1)


def mask_result(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Mean mask losses, and intersections and unions for the progress report: (N, h, w), (N, h, w)."""
    predicted, true = logits > 0, targets > 0.5
    return {
        "loss": bce_loss(logits, targets).mean() + dice_loss(logits, targets).mean(),
        "intersections": (predicted & true).sum((1, 2)),
        "unions": (predicted | true).sum((1, 2)),
    }


class Objective(nn.Module):
    """A model, its processor, and heads that only training uses."""

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor):
        super().__init__()
        self.model = model
        self.processor = processor
        vision, encoder = model.config.sam_config.vision_config, model.config.multimodal_config
        self.image_grid = vision.image_size // vision.patch_size
        self.patch_grid = encoder.image_size // encoder.patch_size
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
            semantic=[[expression.kind == "semantic" for expression in expressions] for _, expressions in drawn],
            return_tensors="pt",
        )
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def _views(self, drawn: Sequence[Drawn], *names: str) -> dict[str, Tensor]:
        views = self.processor.image_processor([scene.photo for scene, _ in drawn], return_tensors="pt")
        return {name: views[name] for name in names}

    @staticmethod
    def _targets(drawn: Sequence[Drawn], side: int, prompts: int) -> Tensor:
        """Coverage of each sentence's mask, zero for absent sentences: (B, P, side, side)."""
        targets = torch.zeros(len(drawn), prompts, side, side)
        for row, (scene, expressions) in zip(targets, drawn, strict=True):
            masks = np.stack([np.isin(scene.object_map, list(expression.targets)) for expression in expressions])
            row[: len(expressions)] = coverage(masks, side)
        return targets


class PromptObjective(Objective):
    """SAM learns points and boxes; a linear head beside it names colour and shape of each cell of the embedding.

    The head stands in for what masked-autoencoder pretraining gives SAM's encoder: features that mean something.
    """

    prompts = 4

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor):
        super().__init__(model, processor)
        self.embedding_attributes = attribute_head(model.config.sam_config.vision_config.output_channels)

    def trained_modules(self) -> list[nn.Module]:
        """SAM, all of it, and the head."""
        sam = self.model.sam
        return [sam.vision_encoder, sam.prompt_encoder, sam.mask_decoder, self.embedding_attributes]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """SAM's view, four points or four boxes each, their masks, and the classes of the cells."""
        rng = np.random.default_rng(int(drawn[0][0].photo.sum()))
        batch = self._views(drawn, "pixel_values")
        boxes = rng.random() < 0.5
        prompts, targets = zip(*(self._prompts(scene, rng, boxes) for scene, _ in drawn), strict=True)
        batch["input_boxes" if boxes else "input_points"] = torch.stack(prompts)
        batch["labels"] = torch.stack(targets)
        batch["classes"] = torch.stack([cell_classes(scene, self.image_grid) for scene, _ in drawn])
        return batch

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

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor,
        classes: Tensor,
        input_points: Tensor | None = None,
        input_boxes: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Loss of SAM's single mask for each prompt."""
        embeddings = self.model.get_image_embeddings(pixel_values)
        masks = self.model.sam(
            image_embeddings=embeddings, input_points=input_points, input_boxes=input_boxes, multimask_output=False
        ).pred_masks[:, :, 0]
        result = mask_result(masks.flatten(0, 1), labels.flatten(0, 1))
        return result | {"loss": result["loss"] + attribute_loss(self.embedding_attributes(embeddings), classes)}


class PatchObjective(Objective):
    """The multimodal encoder learns which patches a sentence means, and the colour and shape of every patch.

    Each patch says whether it is meant; the [CLS], which will prompt SAM, says where the meant patches are and which
    colour and shape they have.
    """

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor):
        super().__init__(model, processor)
        width = model.config.multimodal_config.hidden_size
        self.patch_attributes = attribute_head(width)
        self.referred = nn.Conv2d(width, 1, kernel_size=1)
        self.where = nn.Linear(width, self.patch_grid**2)
        self.what = attribute_head(width)

    def trained_modules(self) -> list[nn.Module]:
        """The multimodal encoder and the heads."""
        return [self.model.multimodal_encoder, self.patch_attributes, self.referred, self.where, self.what]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """Sentences, the encoder's view, and what they mean on its grid of patches."""
        batch = self._text(drawn) | self._views(drawn, "multimodal_pixel_values")
        batch["labels"] = self._targets(drawn, self.patch_grid, batch["input_ids"].shape[1])
        batch["classes"] = torch.stack([cell_classes(scene, self.patch_grid) for scene, _ in drawn])
        batch["target_classes"] = torch.full((*batch["labels"].shape[:2], 2), UNCERTAIN)
        for row, (scene, expressions) in zip(batch["target_classes"], drawn, strict=True):
            row[: len(expressions)] = torch.stack([target_classes(scene, e.targets) for e in expressions])
        return batch

    def read(self, multimodal_pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode the sentences that are there: (N, 1 + patches + L, D)."""
        present = attention_mask.any(-1)
        return self.model.multimodal_encoder(
            pixel_values=multimodal_pixel_values[present.nonzero()[:, 0]],
            input_ids=input_ids[present],
            attention_mask=attention_mask[present],
        ).last_hidden_state

    def patch_result(
        self, hidden_states: Tensor, present: Tensor, targets: Tensor, classes: Tensor, target_classes: Tensor
    ) -> dict[str, Tensor]:
        """Losses of the four heads; the IoU is that of `where`.

        Args:
            hidden_states: (N, T, D).
            present: (B, P).
            targets: (B, P, g, g).
            classes: (B, 2, g, g).
            target_classes: (B, P, 2).
        """
        grid = (self.patch_grid, self.patch_grid)
        patches = hidden_states[:, 1 : 1 + self.patch_grid**2].transpose(1, 2).unflatten(2, grid)  # (N, D, g, g)
        cls = hidden_states[:, 0, :, None, None]  # (N, D, 1, 1)
        meant = mask_result(self.referred(patches)[:, 0], targets[present])
        named = attribute_loss(self.patch_attributes(patches), classes[present.nonzero()[:, 0]])
        where = mask_result(self.where(cls[..., 0, 0]).unflatten(1, grid), targets[present])
        what = attribute_loss(self.what(cls), target_classes[present][..., None, None])
        return where | {"loss": meant["loss"] + 0.25 * named + 0.5 * where["loss"] + 0.25 * what}

    def forward(
        self,
        multimodal_pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        classes: Tensor,
        target_classes: Tensor,
    ) -> dict[str, Tensor]:
        """Loss of the patches; its IoU counts patches."""
        hidden_states = self.read(multimodal_pixel_values, input_ids, attention_mask)
        return self.patch_result(hidden_states, attention_mask.any(-1), labels, classes, target_classes)


class TextObjective(PatchObjective):
    """Sentences to masks over a frozen image encoder; the heads on the patches keep teaching beside the masks."""

    patch_weight = 0.5

    def trained_modules(self) -> list[nn.Module]:
        """All but the image encoder and the prompt encoder."""
        return [*super().trained_modules(), self.model.projector, self.model.sam.mask_decoder]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """What the patches learn from, SAM's view, and the masks at the resolution of its logits."""
        batch = super().collate(drawn)
        patches = batch.pop("labels")
        masks = self._targets(drawn, self.mask_side, patches.shape[1])
        return batch | self._views(drawn, "pixel_values") | {"patches": patches, "labels": masks}

    def forward(
        self,
        pixel_values: Tensor,
        multimodal_pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        patches: Tensor,
        classes: Tensor,
        target_classes: Tensor,
    ) -> dict[str, Tensor]:
        """Loss of the masks, and half the loss of the patches."""
        present = attention_mask.any(-1)
        hidden_states = self.read(multimodal_pixel_values, input_ids, attention_mask)
        prompts = self.model.projector(hidden_states[:, 0])  # (N, D)
        prompt_embeds = prompts.new_zeros(*present.shape, prompts.shape[-1])
        prompt_embeds[present] = prompts
        masks = self.model(
            pixel_values=pixel_values, prompt_embeds=prompt_embeds, attention_mask=attention_mask
        ).pred_masks[:, :, 0]
        result = mask_result(masks[present], labels[present])
        taught = self.patch_result(hidden_states, present, patches, classes, target_classes)["loss"]
        return result | {"loss": result["loss"] + self.patch_weight * taught}
