"""Writes docs/performance.md from the records beside this file.

`evf-sam bench --json` wrote evf-sam*.json; compare_precisions.py, compare_choices.py and compare_films.py
wrote those of their names.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from modeling_evf_sam.bench.report import duration, markdown
from modeling_evf_sam.bench.stages import CALL, ENCODE

HERE = Path(__file__).parent
INTRODUCTION = """\
# Performance

Every figure of this page comes from a file in `docs/performance`, each written by one run of a command. To measure on
another machine:

```bash
evf-sam bench --preset evf-sam --json docs/performance/evf-sam-NAME.json --chart docs/performance/evf-sam-NAME.png
python docs/performance/write_page.py    # this page
```

How it is measured: after one run that is not timed, everything is run in turns, so that drift of the machine hits all
alike; the tables give the median and the fastest and slowest run. FLOPs are counted operator by operator in our own
calls and in those of transformers, 2 for a multiply-add. The share of peak compares FLOP per second with the largest
linear layer of the image encoder alone, on as many tokens, in the same run and precision; on a CPU without arithmetic
in bfloat16 that layer is slow and the share says little. Memory is what a call takes on top of weights and inputs: on
a GPU torch's own count, on a CPU the growth of the process as the system sees it, every millisecond, which is coarse
below 100 MB. Photos are noise of 640 x 480 pixels, as neither content nor weights change the work.

transformers' image encoder is that of its `SamModel` with SDPA attention, the same sizes and the same weights. "A call
for each sentence" is how the original works: the photo is encoded again for every sentence, here by this package's
own encoder.

**Not measured:** GPUs, and CPUs with AMX.

## What to do for speed

- Give all sentences about a photo in one call, or use `EvfSamPredictor`: a photo is encoded once. For many photos,
  [segment-dataset](bulk.md).
- `from_pretrained(..., dtype=torch.bfloat16)` where the hardware computes in it; the command line chooses it there by
  itself; the environment variable `EVF_SAM_DTYPE` (float32 or bfloat16) chooses for it, and `--dtype` for one command.
  Elsewhere float32. Never float16 on a CPU.
- On a CPU, `--dtype int8`, or `modeling_evf_sam.inference.quantization.quantize(model)`, computes the linear layers
  of both encoders in int8, with a quarter of their memory. How fast that is, the figures
  [at a glance](#at-a-glance) show; what it does to the masks is [below](#precisions).
- `evf-sam bench --exported DIR` puts calls of [exported graphs](export.md) beside those of the model.
- For many sentences, `model.read_sentences = torch.compile(model.read_sentences)`, and the same for
  `model.decode_prompts`: what it brings is [below](#choices). They compile without graph breaks, once for the first
  length and number of sentences and once for all others, which takes a minute. `model.get_image_embeddings` compiles
  too, but then computes attention as a GPU does, which is slower on a CPU. CUDA graphs were not tried.
"""
GLANCE = """\
## At a glance

SAM's image encoder, and how many times as long that of transformers takes in float32 and in bfloat16; a whole call,
how many times as long one with 10 sentences takes, and 10 calls instead of that one; and the share of a call that
another sentence about an encoded photo takes. One photo, two cores of an AMD EPYC, shared with other machines, where
the same call differs by up to a fifth from run to run. Each section below says what such a core computes in.
"""
PRECISIONS = """\
## Precisions

Answers of the embedded checkpoint in other precisions, against those in float32, on the 500 held-out scenes of
`evf-sam evaluate` (`docs/performance/compare_precisions.py`): how many sentences one of the two declines and the other
does not, and the IoUs of the masks of those that neither declines. The scenes are drawn and the checkpoint is small:
check your own with `evf-sam evaluate --dtype int8`.
"""
CHOICES = """\
## Choices

Ways to compute the same, timed in turns: the median of 7 (`docs/performance/compare_choices.py`). On a CPU, attention
is computed in blocks, by torch's own kernel (*fused*) in float32; in bfloat16, where that is slow, by two matrix
products: for a whole photo with the bias *added* in the first of them, in windows *folded* into queries and keys.
Queries, keys and values of BEIT-3 stay three products, as one product is no faster. Sentences have 10 tokens and are
those of evf-sam-vit-b.
"""


FILMS = """\
## Films

A frame of a film after the first, for one object that SAM-2's memory follows: encoding, memory attention, mask and
memory, 1024 px, float32, random weights. Ours was prompted by a token, as a sentence becomes one, transformers'
`Sam2VideoModel` by a point; both were shown each frame in turns (`docs/performance/compare_films.py`). A sentence more
costs no encoding, but its own memory attention.
"""


BOTH = ("float32", "bfloat16")


def page() -> str:
    """The whole page: a section for each benchmark record, in the order of the files' names, and then the rest."""
    files = sorted(HERE.glob("evf-sam*.json"), key=lambda file: file.stem)
    sections = [INTRODUCTION, f"{GLANCE}\n{_table(_glance(_read(file.name) for file in files))}"]
    for file in files:
        picture = f"![Stages, calls and encoders](performance/{file.stem}.png)\n\n"
        has_picture = file.with_suffix(".png").exists()
        sections.append(f"## {file.stem}\n\n{picture if has_picture else ''}{markdown(_read(file.name))}")
    sections += [f"{PRECISIONS}\n{_table(_precisions(_read('compare_precisions.json')))}"]
    choices = _read("compare_choices.json")
    sections += [f"{CHOICES}\n{_cpu(choices['machine'])}\n\n{_table(_choices(choices['seconds']))}"]
    films = _read("compare_films.json")
    sections += [f"{FILMS}\n{_cpu(films['machine'])}\n\n{_table(_films(films['frames']))}"]
    return "\n".join(sections)


def _glance(records: Iterable[dict[str, Any]]) -> Iterator[list[str]]:
    titles = ["1 sentence", "10 sentences", "10 calls", "another sentence"]
    yield ["", "precision", "encoder", "transformers' float32", "bfloat16", *titles]
    for record in records:
        ratios, entries = record["ratios"], record["measurements"]
        medians = {(entry["what"], entry["sentences"]): entry["median"] for entry in entries}
        ten = ratios["call"]["10"]
        yield [
            record["model"],
            record["setting"]["dtype"],
            duration(medians[ENCODE, None]),
            *(
                f"{ratios['transformers'][name]['time']:.2f} x" if name in ratios["transformers"] else ""
                for name in BOTH
            ),
            duration(medians[CALL, 1]),
            f"{ten['time']:.2f} x",
            f"{ten['separate_calls']:.2f} x",
            f"{100 * ratios['another_of_first_sentence']:.1f} %",
        ]


def _precisions(record: dict[str, dict[str, float]]) -> Iterator[list[str]]:
    titles = ["sentences", "declined by one alone", "mean IoU with float32", "IoU above 0.95", "lowest IoU"]
    yield ["", *titles, "gIoU", "gIoU in float32"]
    for dtype, measured in record.items():
        count, declined, mean, share, lowest, giou, before = measured.values()
        figures = (f"{mean:.4f}", f"{100 * share:.1f} %", f"{lowest:.2f}", f"{giou:.4f}", f"{before:.4f}")
        yield [dtype, f"{count:,}", str(declined), *figures]


def _choices(record: dict[str, dict[str, float]]) -> Iterator[list[str]]:
    yield ["", "ways"]
    for choice, ways in record.items():
        yield [choice, ", ".join(f"{name} {duration(seconds)}" for name, seconds in ways.items())]


def _films(record: dict[str, dict[str, float]]) -> Iterator[list[str]]:
    yield ["", "a frame", "frames/s", "transformers'", "frames/s"]
    for model, seconds in record.items():
        figures = [(duration(seconds[name]), f"{1 / seconds[name]:.3f}") for name in ("ours", "transformers")]
        yield [model, *figures[0], *figures[1]]


def _cpu(machine: dict[str, Any]) -> str:
    flags = ", ".join(machine["flags"])
    return f"{machine['name']} ({flags}), {machine['threads']} threads, torch {machine['torch']}."


def _table(rows: Iterable[list[str]]) -> str:
    heading, *others = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [heading, ["---"] * len(heading), *others]) + "\n"


def _read(name: str) -> dict[str, Any]:
    return json.loads((HERE / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    target = HERE.with_suffix(".md")
    target.write_text(page(), encoding="utf-8")
    print(target)
