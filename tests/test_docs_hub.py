import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_examples_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "hub.md").read_text(), re.DOTALL):
        exec(compile(example, "docs/hub.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("the pink star 0.")
    assert lines[1:3] == ["1", "1"]
    assert (tmp_path / "with-code" / "modeling_evf_sam.py").is_file()
