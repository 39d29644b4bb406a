"""The report of an ablation: our figures with their spread beside the paper's, and where the order differs."""

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from modeling_evf_sam.rendered_scenes.ablation import Ablation, read_score

FIGURES = ("giou", "ciou")

HEAD = """\
# Reproduction

The paper's claim is a comparison: an encoder that fuses photo and sentence early prompts SAM better than one that
reads them apart, or reads the sentence alone. This page re-runs its ablations at the size of the embedded checkpoint,
on rendered scenes:

```bash
evf-sam ablate --report docs/reproduction.md
```

Every row was trained for {steps} steps of {batch_size} scenes with {sentences} sentences each, with {seeds} seeds,
and scored on {scenes} held-out scenes; figures are means and standard deviations over the seeds, in percent. As the
paper starts from released weights, all rows start from the same SAM (stage `{sam_stage}` of the recipe `{recipe}`) and
from a BEIT-3 that was pretrained with early fusion (stage `{beit3_stage}`: it learned on patches, without SAM, what
sentences mean) or from a CLIP that learned which sentence belongs to which photo ({contrast_steps} steps of
{contrast_batch} pairs). The encoders are small and saw little, so only the order of the rows can be compared with the
paper's, whose figures are cIoU on RefCOCO testA. Tables are numbered as in the first versions of the
[paper](https://arxiv.org/abs/2406.20076); its version 5 has them as 2, 4, 6 and 12.

Every figure follows from [{data}]({data}), which holds the scores of every row and seed.
"""


def collect(ablation: Ablation, output: Path) -> dict[str, dict[str, Any]]:
    """The scores of every row: name -> seed -> what `evaluate_model` counted.

    Raises:
        ValueError: rows are missing; the message names them.
    """
    scores = {
        name: {str(seed): read_score(ablation, output, name, seed) for seed in ablation.seeds}
        for name in ablation.rows
    }
    missing = [name for name, by_seed in scores.items() if None in by_seed.values()]
    if missing:
        raise ValueError(f"no report yet: rows {', '.join(missing)} are not trained with all seeds")
    return scores


def write_report(ablation: Ablation, scores: Mapping[str, Mapping[str, Any]], data: str) -> str:
    """The page: what was done, and the tables.

    Args:
        ablation: what was run.
        scores: what `collect` returned.
        data: name of the file beside the page that holds `scores`.
    """
    head = HEAD.format(
        steps=ablation.budget.steps,
        batch_size=ablation.budget.batch_size,
        sentences=ablation.budget.sentences_per_scene,
        seeds=len(ablation.seeds),
        scenes=ablation.test_scenes,
        sam_stage=ablation.sam_stage,
        recipe=ablation.recipe,
        beit3_stage=ablation.beit3_stage,
        contrast_steps=ablation.contrast.steps,
        contrast_batch=ablation.contrast.batch_size,
        data=data,
    )
    parts = head.strip().split("\n\n")
    head = "\n\n".join(part if part.startswith("```") else textwrap.fill(part, 120) for part in parts)
    return "\n".join([head, "", *(_table(table, scores) for table in ablation.tables)])


def _table(table: Mapping[str, Any], scores: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"## {table['title']}", "", "| encoder | | gIoU | cIoU | cIoU in the paper |", "|---|---|---|---|---|"]
    for encoder, label, name, paper in table["rows"]:
        ours = " | ".join(_spread(_percent(scores[name], figure)) for figure in FIGURES)
        lines.append(f"| {encoder} | {label} | {ours} | {paper} |")
    text = " ".join([_order(table["rows"], scores), table.get("note", "")])
    return "\n".join([*lines, "", *textwrap.wrap(text, 120), ""])


def _order(rows: Sequence[Sequence[Any]], scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Which rows the paper ranks otherwise, by gIoU; closer than their two deviations, rows are a tie."""
    differences = []
    for low, high in combinations(sorted(rows, key=lambda row: row[3]), 2):
        ours = [_percent(scores[row[2]], "giou") for row in (low, high)]
        margin = statistics.mean(ours[1]) - statistics.mean(ours[0])
        names = [f"{row[0]} ({row[1]})" for row in (low, high)]
        if low[3] == high[3]:
            continue
        if abs(margin) <= sum(map(_deviation, ours)):
            differences.append(f"{names[1]} and {names[0]} are a tie here")
        elif margin < 0:
            differences.append(f"{names[0]} is above {names[1]} here")
    return f"Order, against the paper's: {'; '.join(differences)}." if differences else "The order is the paper's."


def _percent(by_seed: Mapping[str, Any], figure: str) -> list[float]:
    return [100 * record[figure] for record in by_seed.values()]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.1f} ± {_deviation(values):.1f}"


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
