"""transformers' Trainer, with gIoU and cIoU in its progress and a rate of its own for the mask decoder."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import EvalPrediction, Trainer

from modeling_evf_sam.rendered_scenes.curriculum.objectives import Objective
from modeling_evf_sam.rendered_scenes.curriculum.strangers import Strangers
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from modeling_evf_sam.rendered_scenes.denying import deny
from modeling_evf_sam.rendered_scenes.expressions import Expression
from modeling_evf_sam.rendered_scenes.scene import Scene


class DrawnScenes(Dataset):
    """Scenes with their expressions, as the objectives collate them.

    Args:
        scenes: what to draw.
        strangers: what comes in the place of some of them.
        share: how often; and as often, one sentence about a scene gives way to a stranger's.
        denied: whether each sentence is followed by one that differs in a word and is untrue.
    """

    def __init__(
        self, scenes: RenderedScenes, strangers: Strangers | None = None, share: float = 0.0, denied: bool = False
    ):
        self.scenes, self.strangers, self.share, self.denied = scenes, strangers, share, denied

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[Scene, list[Expression]]:
        scene, expressions = self.scenes.draw(index)
        rng = np.random.default_rng((self.scenes.seed, index))
        if self.denied:
            size = scene.object_map.shape
            pairs = [(one, deny(rng, one, scene.objects, size)) for one in expressions]
            expressions = [one for pair in pairs for one in pair if one is not None]
        if self.strangers is None:
            return scene, expressions
        if self.strangers.photos and rng.random() < self.share:
            return self.strangers.show(rng, expressions)
        if rng.random() < self.share:
            expressions = [*expressions[:-1], self.strangers.speak(rng, expressions[-1])]
        return scene, expressions


def iou_sums(outputs: dict[str, Tensor]) -> Tensor:
    """Sum of the IoUs, their number, and the sums of intersections and unions of one batch: (1, 4).

    Sums, because batches of different sizes cannot be gathered from several processes.
    """
    intersections, unions = outputs["intersections"].double(), outputs["unions"].double()
    ious = torch.where(unions > 0, intersections / unions.clamp(min=1), 1.0)
    return torch.stack([ious.sum(), torch.ones_like(ious).sum(), intersections.sum(), unions.sum()])[None]


def iou_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """The gIoU and cIoU of an evaluation; the predictions are `iou_sums` of its batches."""
    ious, count, intersections, unions = prediction.predictions.sum(0).tolist()
    return {"giou": ious / count, "ciou": intersections / unions}


class ObjectiveTrainer(Trainer):
    """Trains an `Objective`; each log line has the IoU of the batches since the last one."""

    def __init__(self, *args: Any, decoder_learning_rate: float | None = None, **kwargs: Any):
        super().__init__(*args, compute_metrics=iou_metrics, **kwargs)
        self.decoder_learning_rate = decoder_learning_rate or self.args.learning_rate
        self.sums: list[Tensor] = []

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW without decay of vectors and embeddings, in one group for the mask decoder and one for the rest."""
        assert isinstance(self.model, Objective)
        decoder = {id(parameter) for parameter in self.model.model.sam.mask_decoder.parameters()}
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                groups.setdefault((id(parameter) in decoder, parameter.ndim > 1), []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": self.decoder_learning_rate if in_decoder else self.args.learning_rate,
                    "weight_decay": self.args.weight_decay if is_matrix else 0.0,
                }
                for (in_decoder, is_matrix), parameters in groups.items()
            ],
            betas=(self.args.adam_beta1, self.args.adam_beta2),
            fused=True,
        )
        return self.optimizer

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        """The objective's own loss."""
        outputs = model(**inputs)
        if model.training:
            self.sums.append(iou_sums(outputs))
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, what `iou_metrics` counts, and a stand-in for the labels, which the Trainer wants to see."""
        with torch.no_grad():
            loss, outputs = self.compute_loss(model, self._prepare_inputs(inputs), return_outputs=True)
        sums = iou_sums(outputs)
        return loss.detach(), sums, sums

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add gIoU and cIoU to the line of the training loss."""
        if "loss" in logs and self.sums:
            figures = iou_metrics(EvalPrediction(torch.cat(self.sums).cpu().numpy(), None))
            logs = {**logs, **{name: round(value, 4) for name, value in figures.items()}}
            self.sums.clear()
        super().log(logs, *args, **kwargs)
