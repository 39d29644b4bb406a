"""The floors of the house: pyproject.toml lists them from top to bottom, and imports point down only."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("evf_sam_cli", "modeling_evf_sam")
(CONTRACT,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, env={"COLUMNS": "300"}, capture_output=True, text=True)


def test_imports_point_down():
    run = lint_imports(ROOT)
    assert run.returncode == 0, run.stdout


UPWARD = {
    "modeling_evf_sam/photos.py": "modeling_evf_sam.files",
    "modeling_evf_sam/files.py": "modeling_evf_sam.hub.code",
    "modeling_evf_sam/data/mixture.py": "modeling_evf_sam.inference.loading",
    "modeling_evf_sam/training/lora.py": "modeling_evf_sam.rendered_scenes.ablation",
    "modeling_evf_sam/demo/marks.py": "evf_sam_cli.options",
}


def test_an_import_that_points_up_is_found(tmp_path):
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "checkpoints")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for importer, imported in UPWARD.items():
        with (tmp_path / importer).open("a") as file:
            file.write(f"\n\ndef late():\n    import {imported}\n")
    run = lint_imports(tmp_path)
    assert run.returncode == 1
    for importer, imported in UPWARD.items():
        name = importer.removesuffix(".py").replace("/", ".")
        assert f"{name} -> {imported}" in run.stdout


def test_every_module_has_its_floor():
    listed = {name for layer in CONTRACT["layers"] for name in layer.split(" | ")}
    modules = {path.stem for path in (ROOT / "modeling_evf_sam").glob("*.py")}
    rooms = {path.parent.name for path in (ROOT / "modeling_evf_sam").glob("*/__init__.py")}
    places = {name.split(".")[1] for name in listed if "." in name}
    assert places == (modules | rooms) - {"__init__"}


def cycle(imports: dict[str, Iterable[str]]) -> list[str]:
    """Modules that import each other in a ring, or none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_import_goes_round():
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    assert cycle({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


@pytest.mark.parametrize(
    ("imports", "expected"),
    [({"a": ["b"], "b": ["c"]}, set()), ({"a": ["b"], "b": ["c"], "c": ["a"]}, {"a", "b", "c"})],
)
def test_a_ring_is_found(imports, expected):
    assert set(cycle(imports)) == expected
