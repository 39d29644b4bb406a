"""A reliability diagram as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modeling_evf_sam.evaluation.calibration import BINS, Reliability
from modeling_evf_sam.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of Okabe and Ito's palette, told apart with any colour vision
OBSERVED, GAP = "#56B4E9", "#D55E00"
AXES = {"presence": ("estimated presence", "share that is there"), "quality": ("estimated IoU", "mean IoU")}
DPI = 200


def check_matplotlib() -> None:
    """Raises a ValueError that names the extra if diagrams cannot be drawn."""
    require("matplotlib", extra="eval", what="a reliability diagram")


def draw_reliability(diagrams: Mapping[str, Reliability], path: Path) -> None:
    """Draws diagrams side by side: what was observed in each bin, how far it is from the estimate, and the counts.

    Args:
        diagrams: one or both of "presence" and "quality".
        path: the PNG file.

    Raises:
        ValueError: matplotlib is missing, or there is no diagram.
    """
    check_matplotlib()
    if not diagrams:
        raise ValueError("there is nothing to draw: the checkpoint estimates neither presence nor quality")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(diagrams), 5.8), layout="constrained")
    rows = figure.subplots(2, len(diagrams), sharex="col", squeeze=False, height_ratios=(4, 1))
    for (above, below), (name, diagram) in zip(rows.T, diagrams.items(), strict=True):
        _draw_means(above, name, diagram)
        _draw_counts(below, name, diagram)
    figure.legend(*rows[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=DPI, format="png")


def _draw_means(axes: "Axes", name: str, diagram: Reliability) -> None:
    filled = diagram.counts > 0
    middles, width = (np.arange(BINS) + 0.5)[filled] / BINS, 0.94 / BINS
    observed, estimated = diagram.observed[filled], diagram.estimated[filled]
    axes.bar(middles, observed, width, color=OBSERVED, label="observed")
    axes.bar(
        middles,
        estimated - observed,
        width,
        bottom=observed,
        color=(GAP, 0.15),
        edgecolor=GAP,
        hatch="////",
        label="gap",
    )
    axes.plot((0, 1), (0, 1), "--", color="black", linewidth=1, label="as estimated")
    axes.set(title=f"{name.capitalize()}: ECE {100 * diagram.error:.1f} %", ylabel=AXES[name][1])
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _draw_counts(axes: "Axes", name: str, diagram: Reliability) -> None:
    bars = axes.bar((np.arange(BINS) + 0.5) / BINS, diagram.counts, 0.94 / BINS, color="0.5")
    axes.bar_label(bars, [f"{count:,}" if count else "" for count in diagram.counts], fontsize=6.5)
    axes.set(xlabel=AXES[name][0], ylabel="sentences", xticks=np.linspace(0, 1, 6), yticks=())
    axes.margins(y=0.25)
    axes.spines[["top", "right", "left"]].set_visible(False)
