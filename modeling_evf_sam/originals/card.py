"""The card of a converted result: what it was made from, file by file."""

from collections.abc import Iterable, Mapping
from typing import Any

from modeling_evf_sam.hub.card import assemble, metadata

# Files and releases by the names under which they are published -> the same weights on the Hub.
BASE_MODELS = {
    **{name: f"YxZhang/{name}" for name in ("evf-sam", "evf-sam-multitask", "evf-sam2", "evf-sam2-multitask")},
    "sam_vit_b_01ec64": "facebook/sam-vit-base",
    "sam_vit_l_0b3195": "facebook/sam-vit-large",
    "sam_vit_h_4b8939": "facebook/sam-vit-huge",
    **{
        f"{sam}_hiera_{size}": f"facebook/{sam}-hiera-{size.replace('_', '-')}"
        for sam in ("sam2", "sam2.1")
        for size in ("tiny", "small", "base_plus", "large")
    },
}

MADE_FROM = """\
| file | bytes | sha256 |
|---|---|---|
{rows}

`conversion_report.json` has the sha256 of every file of the result."""

TOKENIZER_USAGE = """\
```python
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{place}")
print(tokenizer("the zebra on the left").input_ids)
```"""


def model_card(
    *, title: str, text: str, usage: str, names: Iterable[str], sources: Iterable[Mapping[str, Any]]
) -> str:
    """The README.md of a result.

    Args:
        title: its heading.
        text: what it is.
        usage: a section that shows how to use it.
        names: what the sources are called; known ones become the metadata's `base_model`.
        sources: rows with file, bytes and sha256.
    """
    known = [BASE_MODELS[name] for name in names if name in BASE_MODELS]
    rows = "\n".join(f"| {row['file']} | {row['bytes']} | {row['sha256']} |" for row in sources)
    return assemble(
        title,
        text,
        {"Use": usage, "Made from": MADE_FROM.format(rows=rows)},
        metadata(license="apache-2.0", base_model=known or None),
    )
