"""The examples of the README and of every page: Python runs, and so does `evf-sam segment`; other commands parse."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

from evf_sam_cli import app, main
from modeling_evf_sam import DEFAULT_CHECKPOINT
from tests.miniatures import LEFT, ref, write_refer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
RUNNING = ("segment", "compare")  # commands that need seconds and no data
LANGUAGES = {"python", "bash", "console", "json", "yaml", "text", "bibtex"}  # console: not run, it needs a network


def blocks(page, *languages):
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [code for language, code in found if language in languages]


def commands(page, *languages):
    """The arguments of every `evf-sam`, without comments, line continuations joined."""
    lines = "".join(blocks(page, *languages)).replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in split if words and Path(words[0]).name == "evf-sam"]


@pytest.fixture
def workplace(request, tmp_path, monkeypatch):
    """A folder with what the examples speak of."""
    if request.getfixturevalue("page").name == "export.md":
        (tmp_path / "graphs").symlink_to(request.getfixturevalue("exported"))
    for name in ("docs", "modeling_evf_sam"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("my_model", "my-checkpoint", "converted"):
        (tmp_path / name).symlink_to(DEFAULT_CHECKPOINT)
    for name in ("photo.jpg", "photo.png"):
        shutil.copy(ROOT / "docs" / "sample.png", tmp_path / name)
    for name, split_by in (("refclef", "unc"), ("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        references = [ref(image_id=1, split="train", sentences=["it"], ann_id=0)]
        write_refer(
            tmp_path / "data" / "refer_seg", name, references, [{"image_id": 1, "segmentation": [LEFT]}], split_by
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_blocks_say_what_they_are(page):
    languages = re.findall(r"^```(\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(languages) <= LANGUAGES


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_runs(page, workplace):
    if "details/sentences.jsonl" in page.read_text(encoding="utf-8"):
        assert main(["evaluate", "--size", "1", "--dump", "details"]) == 0
    names: dict = {}
    for example in blocks(page, "python"):
        if "YxZhang/" not in example:  # on the Hub
            exec(compile(example, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_run_or_parse(page, workplace):
    verbs = typer.main.get_command(app)
    for arguments in commands(page, "bash", "console"):
        if arguments[0] in RUNNING and arguments in commands(page, "bash"):
            assert main(arguments) == 0
        else:
            with verbs.make_context("evf-sam", list(arguments)) as context:
                verb = verbs.get_command(context, arguments[0])
                assert verb is not None, f"no verb {arguments[0]}"
                verb.make_context(arguments[0], arguments[1:], parent=context)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_and_pictures_exist(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{target} is not there"
