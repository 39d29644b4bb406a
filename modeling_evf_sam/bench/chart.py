"""A benchmark record as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_evf_sam.bench.stages import CALL, ENCODE, SEPARATE, STAGES, TRANSFORMERS
from modeling_evf_sam.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLAIN, MARKED = "#b0b7c3", "#2f6fb0"


def check_matplotlib() -> None:
    """Raises a ValueError that names the extra if charts cannot be drawn."""
    require("matplotlib", extra="bench", what="a chart")


def draw_chart(record: dict[str, Any], path: Path) -> None:
    """Draws the stages of a call, calls against the original's way of working, and the encoders.

    Raises:
        ValueError: matplotlib is missing.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    stages, calls, encoders = figure.subplots(1, 3)
    _draw_stages(stages, record)
    _draw_calls(calls, record)
    _draw_encoders(encoders, record)
    setting, machine = record["setting"], record["machine"]
    figure.suptitle(f"{record['model']}, {setting['dtype']}, {machine['name']}, {setting['photos']} photo(s) a call")
    figure.savefig(path, dpi=120)


def _draw_stages(axes: "Axes", record: dict[str, Any]) -> None:
    counts = _counts(record)
    bottom = [0.0] * len(counts)
    for stage in STAGES:
        heights = [_seconds(record, stage, None if stage == ENCODE else count) for count in counts]
        axes.bar([str(count) for count in counts], heights, bottom=bottom, label=stage)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set(title="Stages of a call", xlabel="sentences", ylabel="seconds")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, fontsize="small", frameon=False)


def _draw_calls(axes: "Axes", record: dict[str, Any]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    counts = _counts(record)
    separate = next(entry for entry in record["measurements"] if entry["what"] == SEPARATE)
    per_sentence = separate["median"] / separate["sentences"]
    axes.plot(counts, [count * per_sentence for count in counts], "o--", color=PLAIN, label=SEPARATE)
    axes.plot(counts, [_seconds(record, CALL, count) for count in counts], "o-", color=MARKED, label="one call")
    axes.set(title="A photo encoded once", xlabel="sentences", ylabel="seconds", xscale="log", yscale="log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend()


def _draw_encoders(axes: "Axes", record: dict[str, Any]) -> None:
    bars = [entry for entry in record["measurements"] if entry["what"] in (ENCODE, TRANSFORMERS)][::-1]
    names = [f"{'ours' if entry['what'] == ENCODE else 'transformers'}, {entry['dtype']}" for entry in bars]
    colors = [MARKED if entry["what"] == ENCODE else PLAIN for entry in bars]
    axes.barh(names, [entry["median"] for entry in bars], color=colors)
    axes.set(title="Image encoder", xlabel="seconds")


def _counts(record: dict[str, Any]) -> list[int]:
    return [entry["sentences"] for entry in record["measurements"] if entry["what"] == CALL]


def _seconds(record: dict[str, Any], what: str, count: int | None) -> float:
    return next(e["median"] for e in record["measurements"] if (e["what"], e["sentences"]) == (what, count))
