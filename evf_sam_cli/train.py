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
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: data.root=DIR, stages.text.steps=100."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the newest checkpoint in DIR, if there is one.", show_default=False),
    ] = False,
    stage: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a recipe with stages, run this one alone.")
    ] = None,
) -> None:
    """Trains a model by a recipe.

    Writes checkpoints and logs into DIR and, at the end, the model into DIR/model. A recipe with stages always goes on
    with the stage that it was in; one with data does with --resume. See docs/training.md.
    """
    from modeling_evf_sam.training.recipe_files import read_recipe

    changes = changes or []
    output = output or Path("runs") / Path(recipe).stem
    if "stages" in read_recipe(recipe, changes):
        from modeling_evf_sam.rendered_scenes.curriculum.recipe import load_recipe
        from modeling_evf_sam.rendered_scenes.curriculum.stages import run_recipe

        written = run_recipe(load_recipe(recipe, changes), output, only=stage) or output
    else:
        written = _finetune(recipe, output, changes, resume, stage)
    print(written)


def _finetune(recipe: str, output: Path, changes: list[str], resume: bool, stage: str | None) -> Path:
    from modeling_evf_sam.training.finetune import run_finetune
    from modeling_evf_sam.training.recipe import load_finetune_recipe

    if stage is not None:
        raise ValueError(f"recipe {recipe} has no stages: leave --stage out")
    return run_finetune(load_finetune_recipe(recipe, changes), output, resume=resume)
