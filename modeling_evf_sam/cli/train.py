"""`evf-sam train`: run a recipe."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a YAML file.")],
    output: Annotated[Path, typer.Option(help="Folder for weights, logs and the checkpoint.")] = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: stages.text.steps=100")] = None,
    stage: Annotated[str | None, typer.Option(help="Run this stage alone.")] = None,
) -> None:
    """Train a model by a recipe; stages that OUTPUT already holds are not run again."""
    from ..training.recipe import load_recipe
    from ..training.run import run_recipe

    checkpoint = run_recipe(load_recipe(recipe, set_), output, only=stage)
    print(f"wrote {checkpoint or output}")
