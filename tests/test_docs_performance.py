import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_is_what_its_records_say():
    page = runpy.run_path(str(DOCS / "performance" / "write_page.py"))["page"]()
    assert (DOCS / "performance.md").read_text(encoding="utf-8") == page
