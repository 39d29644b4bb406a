"""`evf-sam ablate`: the paper's ablations, re-run on rendered scenes."""

from pathlib import Path
from typing import Annotated

import typer


def run(
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="The shipped ablation, or a YAML file.")
    ] = "ablation",
    rows: Annotated[
        list[str] | None,
        typer.Option("--row", metavar="NAME", help="Run this row; may be repeated.", show_default="all"),
    ] = None,
    foundation: Annotated[
        Path, typer.Option(metavar="DIR", help="A run of the recipe whose stages the rows start from.")
    ] = Path("runs/rendered_scenes"),
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for weights, logs and scores.")] = Path(
        "runs/ablation"
    ),
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a page of tables, and its scores (JSON) and learning curves (PNG) beside it."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Rows trained side by side.")] = 1,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the ablation: budget.steps=100.")
    ] = None,
) -> None:
    """Trains every row of the paper's Tables 1, 3, 4 and 5 with one budget, and scores it.

    What DIR already holds is not run again. The weights that rows start from are trained first where they are
    missing, which takes hours on two cores.
    """
    from modeling_evf_sam.files import whole_file, write_json
    from modeling_evf_sam.rendered_scenes.ablation import load_ablation, run_ablation
    from modeling_evf_sam.rendered_scenes.learning_curves import check_matplotlib, draw_learning_curves
    from modeling_evf_sam.rendered_scenes.reproduction import collect, comparable, write_report

    if report is not None:
        check_matplotlib()
    ablation = load_ablation(recipe, changes or [])
    run_ablation(ablation, foundation, output, names=rows, jobs=jobs)
    if report is None:
        print(output)
        return
    scores = collect(ablation, output)
    data, curves = report.with_suffix(".json"), report.with_suffix(".png")
    with whole_file(report) as page:
        page.write_text(write_report(ablation, scores, data.name, curves.name), encoding="utf-8")
    write_json(scores, str(data))
    draw_learning_curves(comparable(ablation, scores), scores, curves)
    print(f"{report}, {data}, {curves}")
