"""Folders and repositories that carry the code, loaded where this package is not installed."""

import ast
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from packaging.requirements import Requirement
from transformers import pipeline

import modeling_evf_sam
from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamConfig, EvfSamModel, EvfSamPipeline, EvfSamProcessor
from modeling_evf_sam.hub.code import HANDLER, code_files, write_code
from modeling_evf_sam.pretrained_evf_sam import PushCodeMixin
from tests.golden import GOLDEN_EFFICIENT_SAM, GOLDEN_ENCODER, GOLDEN_SAM2

TASK = "referring-image-segmentation"
PHOTO = Path(__file__).parents[2] / "docs" / "sample.png"
SENTENCES = ["the pink star", "the thing left of the pink star"]
STRANGER = """
import importlib.util, sys
from pathlib import Path
import numpy as np, torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, pipeline

assert importlib.util.find_spec("modeling_evf_sam") is None
assert importlib.util.find_spec("pycocotools") is None
task = "referring-image-segmentation"
photo, *sentences = sys.argv[1:]
for folder in sorted(Path("folders").iterdir()):
    segment = pipeline(task, model=folder, trust_remote_code=True)
    found = segment(photo, text=sentences)
    model = AutoModel.from_pretrained(f"someone/{folder.name}", trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(f"someone/{folder.name}", trust_remote_code=True)
    inputs = processor(images=[Image.open(photo)], text=[sentences])
    with torch.no_grad():
        outputs = model(**inputs)
    (result,) = processor.post_process_referring_segmentation(outputs, inputs)
    segment.save_pretrained("again/" + folder.name)
    again = pipeline(task, model="again/" + folder.name, trust_remote_code=True)(photo, text=sentences)
    np.savez(
        folder.name + ".npz",
        by_pipeline=np.stack([np.asarray(entry["mask"]) for entry in found]),
        scores=[entry["score"] for entry in found],
        by_hand=result["masks"].numpy(),
        again=np.stack([np.asarray(entry["mask"]) for entry in again]),
        module=type(model).__module__,
    )
"""


def requirements(name: str) -> set[str]:
    """The distributions that one needs, itself included."""
    found, todo = set(), [name]
    while todo:
        name = todo.pop()
        try:
            needed = map(Requirement, distribution(name).requires or [])
        except PackageNotFoundError:
            continue
        if name not in found:
            found.add(name)
            todo += [need.name for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def strange_packages(tmp_path_factory) -> Path:
    """A folder of packages with transformers, torch, Pillow and what these need, and nothing else."""
    folder = tmp_path_factory.mktemp("packages")
    for name in requirements("transformers") | requirements("torch") | requirements("pillow"):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            target = distribution(name).locate_file(top)
            if target.exists() and not (folder / top).exists():
                (folder / top).symlink_to(target)
    return folder


def add_repository(folder: Path, cache: Path) -> None:
    """Put a folder into a cache of the Hub, as a downloaded repository of someone's."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / f"models--someone--{folder.name}"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).symlink_to(folder)


def run_as_stranger(place: Path, packages: Path) -> None:
    """Segment with each of `place`/folders in a process that has `packages` alone."""
    for folder in (place / "folders").iterdir():
        add_repository(folder, place / "hub")
    (place / "stranger.py").write_text(STRANGER)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(packages),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(place / "hub"),
        "HF_MODULES_CACHE": str(place / "modules"),
    }
    command = [sys.executable, "-S", str(place / "stranger.py"), str(PHOTO), *SENTENCES]
    run = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def fresh_pipeline(tokenizer, **sizes) -> EvfSamPipeline:
    encoder = {**GOLDEN_ENCODER, "vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    model = EvfSamModel(EvfSamConfig(multimodal_config=encoder, image_layout="stretch", **sizes))
    return EvfSamPipeline(model=model.eval(), processor=EvfSamProcessor.from_config(model.config, tokenizer))


def test_code_in_a_folder_and_on_the_hub_works_without_the_package(strange_packages, tiny_tokenizer, tmp_path):
    segments = {
        "default.v1": pipeline(TASK, model=DEFAULT_CHECKPOINT),
        "sam2": fresh_pipeline(tiny_tokenizer, sam_config=GOLDEN_SAM2, mask_selection="stability"),
        "efficient-sam": fresh_pipeline(tiny_tokenizer, sam_config=GOLDEN_EFFICIENT_SAM),
    }
    for name, segment in segments.items():
        segment.save_pretrained(tmp_path / "folders" / name)
    run_as_stranger(tmp_path, strange_packages)
    for name, segment in segments.items():
        expected = segment(PHOTO, text=SENTENCES)
        masks = np.stack([np.asarray(entry["mask"]) for entry in expected])
        result = dict(np.load(tmp_path / f"{name}.npz"))
        np.testing.assert_array_equal(result["by_pipeline"], masks)
        np.testing.assert_array_equal(result["by_hand"], masks > 0)
        np.testing.assert_array_equal(result["again"], masks)
        scores = [entry["score"] for entry in expected]
        np.testing.assert_allclose(result["scores"], scores, atol=1e-5)  # threads may be as many as they like
        assert str(result["module"]).startswith("transformers_modules.someone.")


def test_with_the_package_code_in_a_folder_is_never_run(tmp_path):
    pipeline(TASK, model=DEFAULT_CHECKPOINT).save_pretrained(tmp_path)
    for file in tmp_path.glob("*.py"):
        file.write_text("raise SystemExit('code of the repository was run')")
    for trust in (None, False, True):
        segment = pipeline(TASK, model=str(tmp_path), trust_remote_code=trust)
        assert type(segment) is EvfSamPipeline
        assert type(segment.model) is EvfSamModel
        assert type(segment.processor) is EvfSamProcessor
    assert type(EvfSamModel.from_pretrained(tmp_path)) is EvfSamModel
    assert type(transformers.AutoModel.from_pretrained(tmp_path)) is EvfSamModel
    assert type(transformers.AutoProcessor.from_pretrained(tmp_path)) is EvfSamProcessor


def test_model_and_processor_alone_save_no_code(tmp_path):
    EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT).save_pretrained(tmp_path)
    EvfSamProcessor.from_pretrained(DEFAULT_CHECKPOINT).save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    assert not any("auto_map" in file.read_text() for file in tmp_path.glob("*config.json"))


class Hub:
    """Takes what is uploaded, as the Hub would."""

    def __init__(self):
        self.files: dict[str, bytes] = {}

    def create_repo(self, repo_id, **options):
        return type("Repository", (), {"repo_id": repo_id})

    def create_commit(self, operations, **options):
        for operation in operations:
            self.files[operation.path_in_repo] = Path(operation.path_or_fileobj).read_bytes()


@pytest.fixture
def hub(monkeypatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr("transformers.utils.hub.hf_api", lambda: hub)
    card = type("Card", (), {"save": lambda self, path: Path(path).write_text("a card")})
    monkeypatch.setattr("transformers.utils.hub.create_and_tag_model_card", lambda *args, **options: card())
    return hub


def test_pushing_a_model_and_a_processor_uploads_the_code(hub):
    names = {file.name for file in (*code_files(), HANDLER)}
    EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT).push_to_hub("someone/evf-sam")
    assert hub.files.keys() == names | {"config.json", "model.safetensors", "README.md"}
    assert json.loads(hub.files["config.json"])["auto_map"]["AutoModel"] == "modeling_evf_sam.EvfSamModel"
    EvfSamProcessor.from_pretrained(DEFAULT_CHECKPOINT).push_to_hub("someone/evf-sam")
    assert json.loads(hub.files["processor_config.json"])["auto_map"]["AutoProcessor"].endswith("EvfSamProcessor")
    assert {"tokenizer.json", "tokenizer_config.json"} < hub.files.keys()


def test_pushing_a_pipeline_uploads_everything(hub):
    pipeline(TASK, model=DEFAULT_CHECKPOINT).push_to_hub("someone/evf-sam")
    parts = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert hub.files.keys() == {file.name for file in (*code_files(), HANDLER)} | parts | {"README.md"}


def test_code_that_came_from_a_repository_is_not_written_twice(tmp_path):
    class Upload:
        def _upload_modified_files(self, working_dir):
            return sorted(file.name for file in Path(working_dir).iterdir())

    class Thing(PushCodeMixin, Upload):
        _auto_class = "AutoModel"

    assert Thing()._upload_modified_files(tmp_path) == []


def test_writing_twice_changes_nothing(tmp_path):
    pipeline(TASK, model=DEFAULT_CHECKPOINT).save_pretrained(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    write_code(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_code_is_the_payload_and_no_more():
    payload = {
        "configuration_evf_sam",
        "image_processing_evf_sam",
        "loss_evf_sam",
        "modeling_beit3",
        "modeling_efficient_sam",
        "modeling_evf_sam",
        "modeling_evf_sam_video",
        "multimodal_encoders",
        "photos",
        "pipeline_evf_sam",
        "presets",
        "processing_evf_sam",
        "prompts_evf_sam",
        "sam_attention",
        "sam_families",
        "sam_models",
        "two_way_attention",
        "pretrained_evf_sam",
        "checked_loading",
        "quoting",
    }
    assert {file.stem for file in code_files()} <= payload
    assert len(code_files()) < 20


def test_the_code_needs_nothing_but_transformers_torch_and_pillow():
    allowed = set(sys.stdlib_module_names) | {
        "PIL",
        "huggingface_hub",
        "numpy",
        "safetensors",
        "torch",
        "transformers",
    }
    folder = Path(modeling_evf_sam.__file__).parent
    for file in code_files():
        assert file.parent == folder
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, file.name
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module.split(".")[0] in allowed, file.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 and node.module and "." not in node.module, f"{file.name}: a flat import"
