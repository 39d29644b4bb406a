"""The package's code as files of a Hub repository, for machines that have transformers but not this package.

There it runs where the user says `trust_remote_code=True`; where the package is installed, the package is used. The
files lie side by side in the repository as they do here: modules that models, processors and the pipeline need import
each other with a single dot.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files

from modeling_evf_sam.pipeline_evf_sam import TASK

PACKAGE = Path(__file__).parents[1]
HANDLER = Path(__file__).with_name("handler.py")
PIPELINE = "pipeline_evf_sam.EvfSamPipeline"
MODEL_CLASSES = {"AutoConfig": "configuration_evf_sam.EvfSamConfig", "AutoModel": "modeling_evf_sam.EvfSamModel"}
PROCESSOR_CLASSES = {"AutoProcessor": "processing_evf_sam.EvfSamProcessor"}
IMAGE_PROCESSOR_CLASSES = {"AutoImageProcessor": "image_processing_evf_sam.EvfSamImageProcessor"}


def write_code(folder: str | Path) -> None:
    """Add the code to a folder in which a model, a processor or both are saved, and name it in their configurations.

    With them goes handler.py, which an inference endpoint runs.

    Args:
        folder: where `save_pretrained` wrote; config.json and processor_config.json are changed if they are there.
    """
    folder = Path(folder)
    for file in code_files():
        shutil.copyfile(file, folder / file.name)
    shutil.copyfile(HANDLER, folder / HANDLER.name)
    if (path := folder / "config.json").is_file():
        task = {"impl": PIPELINE, "pt": ["AutoModel"], "type": "multimodal"}
        _write_json(path, {**_read_json(path), "auto_map": MODEL_CLASSES, "custom_pipelines": {TASK: task}})
    if (path := folder / "processor_config.json").is_file():
        config = _read_json(path)
        config["auto_map"] = PROCESSOR_CLASSES
        config["image_processor"]["auto_map"] = IMAGE_PROCESSOR_CLASSES
        _write_json(path, config)


def code_files() -> list[Path]:
    """The modules of the classes above and, by their relative imports, all that these need."""
    classes = (PIPELINE, *MODEL_CLASSES.values(), *PROCESSOR_CLASSES.values(), *IMAGE_PROCESSOR_CLASSES.values())
    modules = {PACKAGE / f"{name.partition('.')[0]}.py" for name in classes}
    return sorted(modules.union(*(map(Path, get_relative_import_files(module)) for module in modules)))


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
