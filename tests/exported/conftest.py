from pathlib import Path

import pytest

from evf_sam_cli import main


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded checkpoint as ONNX graphs."""
    pytest.importorskip("onnxruntime", reason="exporting to ONNX needs the extra 'onnx'")
    folder = tmp_path_factory.mktemp("exported") / "graphs"
    assert main(["export", str(folder)]) == 0
    return folder
