"""Writes docs/performance.md from the records beside this file, which `evf-sam bench --json` wrote."""

import json
from pathlib import Path

from modeling_evf_sam.benchmark.report import markdown

HERE = Path(__file__).parent
INTRODUCTION = """\
# Performance

Every figure of this page comes from a file in `docs/performance`, and each file from one run of `evf-sam bench`. To
measure on another machine:

```bash
evf-sam bench --preset evf-sam --json docs/performance/NAME.json --chart docs/performance/NAME.png
python docs/performance/write_page.py    # this page
```

How it is measured: after one run that is not timed, everything is run in turns, so that drift of the machine hits all
alike; the tables give the median and the fastest and slowest run. FLOPs are counted operator by operator in our own
calls and in those of transformers, 2 for a multiply-add. The share of peak compares FLOP per second with a product of
square matrices in the same run and precision; on a CPU without arithmetic in bfloat16 that product is slow and the
share says little. Memory is what a call takes on top of weights and inputs: on a GPU torch's own count, on a CPU the
growth of the process as the system sees it, every millisecond, which is coarse below 100 MB. Photos are noise of 640 x
480 pixels, as neither content nor weights change the work.

transformers' image encoder is that of its `SamModel` with SDPA attention, the same sizes and the same weights. "A call
for each sentence" is how the original works: the photo is encoded again for every sentence, here by this package's
own encoder.
"""


def page() -> str:
    """The whole page: a section for each record, in the order of the files' names."""
    sections = [INTRODUCTION]
    for file in sorted(HERE.glob("*.json")):
        picture = f"![Stages, calls and encoders](performance/{file.stem}.png)\n\n"
        has_picture = file.with_suffix(".png").exists()
        record = json.loads(file.read_text(encoding="utf-8"))
        sections.append(f"## {file.stem}\n\n{picture if has_picture else ''}{markdown(record)}")
    return "\n".join(sections)


if __name__ == "__main__":
    target = HERE.with_suffix(".md")
    target.write_text(page(), encoding="utf-8")
    print(target)
