"""The figures of an evaluation on the screen."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from modeling_evf_sam.data.referring_dataset import ReferringDataset
    from modeling_evf_sam.evaluation.evaluator import EvaluationResult
    from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

MASKS = {"giou": "gIoU", "ciou": "cIoU", **{f"precision@{share}": f"P@{share}" for share in (0.5, 0.6, 0.7, 0.8, 0.9)}}
PRESENCE = {
    "no_target_accuracy": "N-acc",
    "target_accuracy": "T-acc",
    "presence_accuracy": "presence\naccuracy",
    "presence_mcc": "presence\nMCC",
    "presence_ece": "presence\nECE",
    "quality_ece": "quality\nECE",
}


def print_figures(console: "Console", result: "EvaluationResult") -> None:
    """Shows what masks are worth; and below it what the model knows of that, if it was asked or says so."""
    console.print(_table(result, MASKS))
    if result.overall.keys() & PRESENCE.keys() - {"target_accuracy"}:
        console.print("", _table(result, PRESENCE), sep="\n")


def _table(result: "EvaluationResult", headings: dict[str, str]) -> "Table":
    """Those of the figures that there are, overall and by kind."""
    from rich.table import Table

    overall = result.overall
    figures = [name for name in headings if name in overall]
    table = Table("kind", box=None, padding=(0, 1, 0, 0))
    for heading in ("sentences", *(headings[name] for name in figures)):
        table.add_column(heading, justify="right")
    for kind, row in {"all": overall, **result.by_kind}.items():
        table.add_row(kind, str(row["sentences"]), *(_percent(row.get(name)) for name in figures))
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def published_column(samples: "RenderedScenes | ReferringDataset", title: str) -> int:
    """Which of the published splits this is."""
    from modeling_evf_sam.evaluation.published import PUBLISHED_SPLITS

    benchmark = getattr(samples, "benchmark", None)
    if benchmark not in PUBLISHED_SPLITS:
        known = ", ".join(" ".join(split) for split in PUBLISHED_SPLITS)
        raise ValueError(f"--table: '{title}' is not in Table 2: choose one of {known}")
    return PUBLISHED_SPLITS.index(benchmark)


def print_published(console: "Console", result: "EvaluationResult", name: str, column: int) -> None:
    """Puts the cIoU of a model in the given column of the paper's Table 2, below its rows."""
    from rich.table import Table

    from modeling_evf_sam.data.references import PUBLISHED_SIZES
    from modeling_evf_sam.evaluation.published import CIOU, NAMES, PUBLISHED_SPLITS

    table = Table("cIoU in percent", box=None, padding=(0, 1, 0, 0))
    for dataset, _, split in PUBLISHED_SPLITS:
        table.add_column(f"{NAMES[dataset]}\n{split}", justify="right")
    table.add_column("mean", justify="right")
    for method, figures in CIOU.items():
        table.add_row(method, *map(str, figures))
    ours = [""] * len(PUBLISHED_SPLITS)
    ours[column] = _percent(result.overall["ciou"])
    table.add_row(name, *ours, style="bold")
    console.print("", table, sep="\n")
    scored, published = result.overall["sentences"], PUBLISHED_SIZES[PUBLISHED_SPLITS[column]][2]
    if scored != published:
        console.print(f"{name} was scored on {scored} of the {published} sentences: not to be compared")
