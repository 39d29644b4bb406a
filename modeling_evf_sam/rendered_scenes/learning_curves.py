"""How the rows of an ablation learned, as a picture: one panel for each table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_evf_sam.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPAN = 5  # lines of the log that a point of the curve is the mean of


def check_matplotlib() -> None:
    """Raises a ValueError that names the extra if curves cannot be drawn."""
    require("matplotlib", extra="eval", what="learning curves")


def draw_learning_curves(
    tables: Sequence[Mapping[str, Any]], scores: Mapping[str, Mapping[str, Any]], path: Path
) -> None:
    """Draws the gIoU of the rows' own batches while they were trained.

    Args:
        tables: of the `Ablation`.
        scores: row -> seed -> its record, as `reproduction.collect` gives them.
        path: the PNG.

    Raises:
        ValueError: matplotlib is missing.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(tables), 4), layout="constrained")
    panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    for panel, table in zip(panels, tables, strict=True):
        _draw_table(panel, table, scores)
    panels[0].set(ylabel="gIoU of the training batches, percent")
    figure.savefig(path, dpi=110)


def _draw_table(panel: "Axes", table: Mapping[str, Any], scores: Mapping[str, Mapping[str, Any]]) -> None:
    for encoder, label, name, _ in (row for row in table["rows"] if row[2] in scores):
        curves = np.array([record["curve"] for record in scores[name].values()])  # (seeds, lines, 2)
        if not curves.size:  # too short a training for a line of the log
            continue
        span = min(SPAN, curves.shape[1])
        steps, giou = (np.convolve(line, np.ones(span) / span, "valid") for line in curves.mean(0).T)
        panel.plot(steps, 100 * giou, label=f"{encoder}, {label}")
    panel.set(title=table["title"].split(":")[0], xlabel="steps")
    if panel.lines:
        panel.legend(fontsize="small", frameon=False)
