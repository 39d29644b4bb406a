from pathlib import Path

import pytest

from modeling_evf_sam.evaluation import referring_iou
from modeling_evf_sam.evaluation.metrics import summarize

evaluate = pytest.importorskip("evaluate", reason="the extra 'eval' is not installed")


def test_module_sums_up_batches(tmp_path):
    module = Path(referring_iou.__file__).parent / "referring_iou.py"
    metric = evaluate.load(str(module), cache_dir=str(tmp_path))
    metric.add_batch(intersections=[5, 0], unions=[10, 0])
    metric.add(intersections=9, unions=12)
    assert metric.compute() == summarize([5, 0, 9], [10, 0, 12])
