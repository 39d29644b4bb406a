"""The report of an ablation: our figures with their spread beside the paper's, and where the order differs."""

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from modeling_evf_sam.rendered_scenes.ablation import Ablation, read_score

FIGURES = ("giou", "ciou")
TIE = 2.0  # points: two seeds of a row differ by as much

HEAD = """\
# Reproduction

The paper's claim is a comparison: an encoder that fuses photo and sentence early prompts SAM better than one that
reads them apart, or reads the sentence alone. This page re-runs its ablations at the size of the embedded checkpoint,
on rendered scenes:

```bash
evf-sam ablate --report docs/reproduction.md
```

Every row was trained for {steps} steps of {batch_size} scenes with {sentences} sentences each, and scored on {scenes}
held-out scenes; figures are in percent{spread}. Rows within {tie:g} points are called a tie. The paper starts from
released weights that had not been shown referring sentences for segmentation, and so do the rows here. SAM knows
points and boxes (stage `{sam_stage}` of the recipe `{recipe}`). Each encoder was pretrained in its own way, for
{pretraining_steps} steps of {pretraining_batch} photos with captions, which list what a scene shows and ask for
nothing: BEIT-3 guessed masked words and patches, CLIP which caption belongs to which photo, ViLT whether a caption
belongs to a photo, and masked words. The encoders are small and saw little, so only the order of the rows can be
compared with the paper's, whose figures are cIoU on RefCOCO testA. Tables are numbered as in the first versions of the
[paper](https://arxiv.org/abs/2406.20076); its version 5 has them as 2, 4, 6 and 12.

Every figure follows from [{data}]({data}), which holds the scores of every row and seed.

![Learning curves]({curves})
"""


def collect(ablation: Ablation, output: Path) -> dict[str, dict[str, Any]]:
    """The scores of the rows that were run with all seeds: name -> seed -> what `evaluate_model` counted."""
    scores = {
        name: {str(seed): read_score(ablation, output, name, seed) for seed in ablation.seeds}
        for name in ablation.rows
    }
    return {name: by_seed for name, by_seed in scores.items() if None not in by_seed.values()}


def comparable(ablation: Ablation, scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tables of which at least two rows have scores.

    Raises:
        ValueError: there is none.
    """
    tables = [table for table in ablation.tables if sum(row[2] in scores for row in table["rows"]) > 1]
    if not tables:
        raise ValueError("no report yet: no table has two rows that are trained with all seeds")
    return tables


def write_report(ablation: Ablation, scores: Mapping[str, Mapping[str, Any]], data: str, curves: str) -> str:
    """The page: what was done, and the tables with something to compare.

    Args:
        ablation: what was run.
        scores: what `collect` returned.
        data: name of the file beside the page that holds `scores`.
        curves: name of the picture beside the page.
    """
    seeds = len(ablation.seeds)
    spread = f": means and standard deviations over {seeds} seeds" if seeds > 1 else ", of one seed"
    head = HEAD.format(
        steps=ablation.budget.steps,
        batch_size=ablation.budget.batch_size,
        sentences=ablation.budget.sentences_per_scene,
        spread=spread,
        tie=TIE,
        scenes=ablation.test_scenes,
        sam_stage=ablation.sam_stage,
        recipe=ablation.recipe,
        pretraining_steps=ablation.pretraining.steps,
        pretraining_batch=ablation.pretraining.batch_size,
        curves=curves,
        data=data,
    )
    parts = head.strip().split("\n\n")
    head = "\n\n".join(part if part.startswith("```") else textwrap.fill(part, 120) for part in parts)
    return "\n".join([head, "", *(_table(table, scores) for table in comparable(ablation, scores))])


def _table(table: Mapping[str, Any], scores: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"## {table['title']}", "", "| encoder | | gIoU | cIoU | cIoU in the paper |", "|---|---|---|---|---|"]
    rows = [row for row in table["rows"] if row[2] in scores]
    for encoder, label, name, paper in rows:
        ours = " | ".join(_spread(_percent(scores[name], figure)) for figure in FIGURES)
        lines.append(f"| {encoder} | {label} | {ours} | {paper or '-'} |")
    missing = ", ".join(f"{row[0]} ({row[1]})" for row in table["rows"] if row not in rows)
    parts = [_order(rows, scores), missing and f"Not run: {missing}.", table.get("note")]
    text = " ".join(part for part in parts if part)
    return "\n".join([*lines, "", *textwrap.wrap(text, 120), ""])


def _order(rows: Sequence[Sequence[Any]], scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Which rows the paper ranks otherwise, by gIoU; rows closer than `TIE` and their two deviations are a tie."""
    differences = []
    ranked = sorted((row for row in rows if row[3] is not None), key=lambda row: row[3])
    for low, high in combinations(ranked, 2):
        ours = [_percent(scores[row[2]], "giou") for row in (low, high)]
        margin = statistics.mean(ours[1]) - statistics.mean(ours[0])
        names = [f"{row[0]} ({row[1]})" for row in (low, high)]
        if low[3] == high[3]:
            continue
        if abs(margin) <= max(TIE, sum(map(_deviation, ours))):
            differences.append(f"{names[1]} and {names[0]} are a tie here")
        elif margin < 0:
            differences.append(f"{names[0]} is above {names[1]} here")
    return f"Order, against the paper's: {'; '.join(differences)}." if differences else "The order is the paper's."


def _percent(by_seed: Mapping[str, Any], figure: str) -> list[float]:
    return [100 * record[figure] for record in by_seed.values()]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.1f}" + (f" ± {_deviation(values):.1f}" if len(values) > 1 else "")


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
