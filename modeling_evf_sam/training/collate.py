"""Draws -> one batch of the model's inputs."""

from typing import Any

from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.training.draws import Draw


class ReferringCollator:
    """Makes B draws to the inputs of `EvfSamModel`, with target masks at the size of the photos.

    Args:
        processor: the model's own.
    """

    def __init__(self, processor: EvfSamProcessor) -> None:
        self.processor = processor

    def __call__(self, draws: list[Draw]) -> dict[str, Any]:
        """Returns tensors, `labels` as a list of B, and `faults`; faults alone where a draw has no sample."""
        faults = [fault for draw in draws for fault in draw.faults]
        samples = [draw.sample for draw in draws if draw.sample is not None]
        if len(samples) < len(draws):
            return {"faults": faults}
        inputs = self.processor(
            images=[sample.photo for sample in samples],
            text=[sample.sentences for sample in samples],
            semantic=[sample.semantic for sample in samples],
            labels=[sample.masks for sample in samples],
        )
        return {**inputs, "faults": faults}
