"""gIoU, cIoU and precision of referring segmentation as a module for `evaluate.load`."""

import datasets
import evaluate

from modeling_evf_sam.evaluation.metrics import summarize

_DESCRIPTION = """
How well the masks that a model draws for sentences agree with the masks that the sentences mean. It takes counts of
pixels, so masks of any size can be added batch by batch and photos never wait in memory.
"""

_INPUTS = """
Args:
    intersections: per sentence, the pixels in both the predicted and the target mask.
    unions: per sentence, the pixels in either of them.
Returns:
    giou: mean IoU of the sentences; 1 for a sentence whose two masks are both empty.
    ciou: the sum of all intersections over the sum of all unions.
    precision@0.5, ... @0.6, ... @0.7, ... @0.8, precision@0.9: share of sentences with at least this IoU.
    sentences: their number.
"""


class ReferringIou(evaluate.Metric):
    """`evaluate.Metric` around `modeling_evf_sam.evaluation.metrics.summarize`."""

    def _info(self) -> evaluate.MetricInfo:
        pixels = datasets.Features({name: datasets.Value("int64") for name in ("intersections", "unions")})
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=pixels, format="numpy"
        )

    def _compute(self, intersections: list[int], unions: list[int]) -> dict[str, float]:
        return summarize(intersections, unions)
