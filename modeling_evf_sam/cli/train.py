"""`evf-sam train`: run a recipe."""

from pathlib import Path
from typing import Annotated

import typer


def run(
    recipe: Annotated[str, typer.Option(metavar="NAME|FILE", help="A shipped recipe, or a YAML file.")],
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for weights and logs.", show_default="runs/<recipe>")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: stages.text.steps=100.")
    ] = None,
    stage: Annotated[str | None, typer.Option(metavar="NAME", help="Run this stage alone.")] = None,
) -> None:
    """Trains a model by a recipe.

    Writes the weights and the log of each stage, and at the end a checkpoint. Stages that DIR already holds are not
    run again, so a run that was stopped goes on with the stage that it was in.
    """
    from modeling_evf_sam.training.recipe import load_recipe
    from modeling_evf_sam.training.run import run_recipe

    output = output or Path("runs") / Path(recipe).stem
    checkpoint = run_recipe(load_recipe(recipe, changes), output, only=stage)
    print(f"{checkpoint or output}")
