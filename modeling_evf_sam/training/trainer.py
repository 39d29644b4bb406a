"""transformers' Trainer for sentences and target masks: draws in their order, whole checkpoints, gIoU and cIoU."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import PartialState
from accelerate.utils import DistributedType, gather_object
from safetensors.torch import load_file
from torch import Tensor
from transformers import Trainer
from transformers.integrations import is_deepspeed_zero3_enabled

from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.evaluation.evaluator import EvaluationResult, evaluate_model
from modeling_evf_sam.files import saving
from modeling_evf_sam.training.calibration import calibrate
from modeling_evf_sam.training.checkpoints import STAGING, THEN, publish

logger = logging.getLogger(__name__)


class ReferringTrainer(Trainer):
    """Trains an `EvfSamModel` on `Draws`.

    Step k reads items k * B to (k + 1) * B of the draws, B being the batch over all processes and micro-batches, so a
    run that was stopped goes on with the same data. The loss is the mean over the masks of a micro-batch, and the
    gradient of a step the mean over its micro-batches and processes, as in the original: where photos have fewer
    sentences than others, how a batch is cut changes the weight of a sentence a little.

    Args:
        *args: as for `Trainer`.
        skip_faults: go on after a sample that cannot be read.
        image_encoder: file with the image encoder's weights, where the model goes without them.
        **kwargs: as for `Trainer`; `eval_dataset` is a `ReferringDataset`.
    """

    control: Any

    def __init__(self, *args: Any, skip_faults: bool = False, image_encoder: Path | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.skip_faults, self.image_encoder = skip_faults, image_encoder
        self.faults: dict[str, int] = {}
        self.loss_parts: list[dict[str, Tensor]] = []
        trained = [name for name, value in self.model.named_parameters() if value.requires_grad]
        self.learns_masks = not all(name.startswith("presence_head.") for name in trained)

    def create_accelerator_and_postprocess(self) -> None:
        """Also let FSDP work without GPUs, where accelerate leaves its plugin aside."""
        state = PartialState()
        if self.args.fsdp and state.distributed_type == DistributedType.MULTI_CPU:
            state.distributed_type = DistributedType.MULTI_GPU  # which it makes FSDP of
        super().create_accelerator_and_postprocess()

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """Train on one micro-batch, after a look at what was wrong with its samples.

        Raises:
            ValueError: a sample cannot be read, and is not to be skipped; or too many cannot.
        """
        for fault in inputs.pop("faults"):
            self._count(fault)
        if not inputs:
            raise ValueError(f"one bad sample after another, the last: {next(reversed(self.faults))}")
        return super().training_step(model, inputs, *args, **kwargs)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        """The model's own loss, or that of presence alone where the masks cannot change."""
        if self.learns_masks:
            outputs = model(**inputs)
            loss, parts = outputs.loss, outputs.loss_dict
        else:
            there = torch.cat([masks.flatten(1).any(1) for masks in inputs.pop("labels")])
            outputs = model(**inputs)
            logits = outputs.presence_logits[inputs["attention_mask"].any(-1)].float()
            loss = F.binary_cross_entropy_with_logits(logits, there.to(logits))
            parts = {"presence": loss}
        self.loss_parts.append({name: part.detach() for name, part in parts.items()})
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the parts of the loss to its line."""
        if "loss" in logs and self.loss_parts:
            means = {
                name: torch.stack([parts[name] for parts in self.loss_parts]).mean() for name in self.loss_parts[0]
            }
            logs = {**logs, **{name: round(mean.item(), 4) for name, mean in means.items()}}
            self.loss_parts.clear()
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Score the evaluation photos at their own size; each process takes its share, and none is counted twice."""
        sharded = self.is_fsdp_enabled or is_deepspeed_zero3_enabled()
        shares = 1 if sharded else self.args.world_size  # whose forwards need all processes
        photos = range(self.args.process_index % shares, len(self.eval_dataset), shares)
        with self.compute_loss_context_manager():
            result = evaluate_model(
                self.accelerator.unwrap_model(self.model),
                self.data_collator.processor,
                self._eval_samples(photos),
                batch_size=self.args.per_device_eval_batch_size,
            )
        if shares > 1:
            result = EvaluationResult(gather_object(result.sentences))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in result.overall.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def calibrate(self, negatives: float) -> None:
        """Measure on the evaluation photos, in each process on all of them, what presence and scores mean.

        Args:
            negatives: share of the sentences that are taken from other photos, as in training.
        """
        samples = self._eval_samples(range(len(self.eval_dataset)), negatives=negatives)
        with self.compute_loss_context_manager():
            try:
                calibrate(self.accelerator.unwrap_model(self.model), self.data_collator.processor, samples)
            except ValueError as error:
                logger.warning("not calibrated: %s", error)

    def _eval_samples(self, photos: range, negatives: float = 0.0) -> Iterator[ReferringSample]:
        for index in photos:
            rng = np.random.default_rng((self.args.seed, index))
            try:
                yield self.eval_dataset.draw(index, negatives=negatives, rng=rng)
            except (ValueError, OSError) as error:
                self._count(" ".join(str(error).split()))

    def _count(self, fault: str) -> None:
        if not self.skip_faults:
            raise ValueError(f"{fault} (or set data.bad_samples=skip)")
        if fault not in self.faults:
            logger.warning("skipped: %s", fault)
        self.faults[fault] = self.faults.get(fault, 0) + 1

    def report_faults(self) -> None:
        """Say which samples were skipped how often, in this start of the run, over all processes."""
        counts: dict[str, int] = {}
        for faults in gather_object([self.faults]):
            for fault, count in faults.items():
                counts[fault] = counts.get(fault, 0) + count
        if counts and self.is_world_process_zero():
            lines = [f"{count} x {fault}" for fault, count in counts.items()]
            logger.warning("%d bad samples were skipped:\n%s", sum(counts.values()), "\n".join(lines))

    # Three private methods are overridden: the Trainer has no public way to write a checkpoint elsewhere and name it
    # when it is whole, or to add weights to those that it gathered from all processes.

    def _get_output_dir(self, trial: Any) -> str:  # where checkpoints are written; `publish` moves them
        return str(Path(self.args.output_dir) / STAGING)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:  # with its errors: callbacks see it afterwards
        name = f"checkpoint-{self.state.global_step}"
        staging, checkpoint = Path(self._get_output_dir(None), name), Path(self.args.output_dir, name)
        with saving(checkpoint, THEN):
            super()._save_checkpoint(*args, **kwargs)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                publish(staging, checkpoint, keep=self.args.save_total_limit)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        # `save_model` gathers the weights and gives them here, with DeepSpeed too.
        if self.image_encoder is not None and self.args.should_save:
            state_dict = {**(self.model.state_dict() if state_dict is None else state_dict)}
            state_dict |= load_file(self.image_encoder)
        super()._save(output_dir, state_dict)
