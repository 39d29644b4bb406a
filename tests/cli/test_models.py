import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evf_sam_cli.models import RELEASES, find_model
from modeling_evf_sam import DEFAULT_CHECKPOINT
from tests.hub_server import Hub, running, use_hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that has one of the releases."""
    (tmp_path / "config.json").write_text("{}")
    with running(Hub({"YxZhang/evf-sam-multitask": {"main": tmp_path}, "someone/mine": {"main": tmp_path}})) as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        monkeypatch.chdir(tmp_path)
        yield hub


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("rendered_scenes", DEFAULT_CHECKPOINT),
        ("evf-sam-multitask", "YxZhang/evf-sam-multitask"),
        ("someone/mine", "someone/mine"),
        (DEFAULT_CHECKPOINT, DEFAULT_CHECKPOINT),
    ],
)
def test_names(hub, name, found):
    assert find_model(name) == found
    assert hub.downloads == []


def test_a_folder_comes_before_a_short_name(hub):
    Path("evf-sam-multitask").mkdir()
    assert find_model("evf-sam-multitask") == "evf-sam-multitask"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "(no such file or folder): give a folder, a Hub id, or one of rendered_scenes, evf-sam,"),
        ("evf-sam-multitsk", "did you mean evf-sam-multitask?"),
        ("YxZhang/evf-sam3", "did you mean evf-sam"),
        ("./mine", "(no such file or folder)"),
        ("/no/such/folder", "(no such file or folder)"),
        ("", "(no such file or folder)"),
        ("someone/nosuch", "(no such folder, and on the Hub: none that you may read)"),
        ("some one/nosuch", "(no such folder, and on the Hub: none that you may read)"),
    ],
)
def test_wrong_names(hub, name, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        find_model(name)
    assert str(error.value).startswith(f"model '{name}' was not found")
    assert "\n" not in str(error.value) and "repo_type" not in str(error.value)


@pytest.mark.parametrize("name", ["someone/nosuch", *RELEASES])
def test_without_a_connection_the_answer_is_there_at_once(name, tmp_path, monkeypatch):
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        use_hub(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path)
        start = time.perf_counter()
        with pytest.raises(ValueError, match=r"was not found .no such folder, and on the Hub: ") as error:
            find_model(name)
    assert time.perf_counter() - start < 3
    assert "did you mean" not in str(error.value) and "\n" not in str(error.value)


def test_nothing_heavy_is_imported():
    file = Path(sys.modules["evf_sam_cli.models"].__file__)
    program = (
        f"import sys; sys.path.insert(0, {str(file.parent)!r}); import models\n"
        "try: models.find_model('a/b')\n"
        "except ValueError: pass\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'modeling_evf_sam'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=file.parents[1]
    )
    assert run.stdout == "[]\n"
