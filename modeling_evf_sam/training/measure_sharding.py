"""Memory that weights, gradients and optimiser take on each GPU, for each way to share a run; and measured for one.

    python -m modeling_evf_sam.training.measure_sharding --processes 4
    python -m modeling_evf_sam.training.measure_sharding --measure TOKENIZER

The first computes a table, for what the paper trains: activations come on top, and grow with
`per_device_batch_size`. The second trains two steps in two processes with SAM-B and BEIT-3-base, on photos of noise,
and counts what each process holds; TOKENIZER is a folder with BEIT-3's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from modeling_evf_sam.data.segmentations import run_lengths
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.presets import PRESETS
from modeling_evf_sam.training import finetune
from modeling_evf_sam.training.freezing import PAPERS_PARTS, PARTS, freeze_all_but
from modeling_evf_sam.training.recipe import FinetuneRecipe, LoraSettings
from modeling_evf_sam.training.recipe_files import build
from modeling_evf_sam.training.trainer import ReferringTrainer

MEASURED = "evf-sam-vit-b"
WAYS = ("data parallel", "zero2", "fsdp", "lora")
BUCKETS = 2 * 2 * 5 * 10**8  # bytes: of gradients and weights on their way, as deepspeed/zero2.json sets them


class Sizes(NamedTuple):
    """Parameters of a system, as the paper trains it.

    Attributes:
        weights: all of them.
        trained: those that change.
        layer: of the largest layer.
        low_rank: what recipe `lora` trains instead.
    """

    weights: int
    trained: int
    layer: int
    low_rank: int

    @classmethod
    def of(cls, preset: str) -> "Sizes":
        """Counts them in a system of `presets.PRESETS`, without memory for them."""
        with torch.device("meta"):
            model = EvfSamModel.from_preset(preset)
        names = [name for name, _ in model.named_parameters()]
        freeze_all_but(model, [part for part in PAPERS_PARTS if any(name.startswith(PARTS[part]) for name in names)])
        layers = [module for module in model.modules() if type(module).__name__ in model._no_split_modules]
        linear = [module for module in model.multimodal_encoder.modules() if isinstance(module, torch.nn.Linear)]
        changed = [module for module in linear if module.weight.requires_grad]
        return cls(
            weights=_count(model),
            trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
            layer=max(map(_count, layers)),
            low_rank=LoraSettings().rank * sum(layer.in_features + layer.out_features for layer in changed)
            + _count(model.projector),
        )

    def bytes_per_process(self, way: str, processes: int) -> int:
        """Of weights, gradients and AdamW's two moments in float32; ZeRO-2 computes with weights in bfloat16.

        Args:
            way: of `WAYS`.
            processes: that share the run, a GPU each.
        """
        match way:
            case "data parallel":  # and a copy of the gradients, to send
                return 4 * self.weights + 16 * self.trained
            case "zero2":
                return 2 * self.weights + 14 * self.trained // processes + BUCKETS
            case "fsdp":  # and the layer at work with the next one, whole
                return (4 * self.weights + 12 * self.trained) // processes + 2 * 4 * self.layer
            case _:
                return 4 * self.weights + 16 * self.low_rank


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def print_table(processes: int) -> None:
    """A row for each preset, in GB."""
    table = Table(f"GB on each of {processes}", *WAYS)
    for preset in PRESETS:
        sizes = Sizes.of(preset)
        table.add_row(preset, *(f"{sizes.bytes_per_process(way, processes) / 1e9:.1f}" for way in WAYS))
    Console().print(table)


def measure(tokenizer: Path) -> None:
    """Prints what each process of a run of two holds when it changes its weights, beside what is computed."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for way, fsdp in (("data parallel", None), ("fsdp", "full_shard")):
        with tempfile.TemporaryDirectory() as folder:
            _write_photos(Path(folder))
            recipe = {**_recipe(folder), "tokenizer": str(tokenizer), "fsdp": fsdp}
            command = [*torchrun, "-m", __spec__.name, "--work", json.dumps(recipe)]
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        held = [line for line in run.stdout.splitlines() if line.endswith(" GB")]
        computed = Sizes.of(MEASURED).bytes_per_process(way, 2) / 1e9
        print(f"{way}: {' and '.join(held)}; computed: {computed:.3f} GB")


def _write_photos(folder: Path) -> None:
    rng, mask = np.random.default_rng(0), np.eye(480, 640) > 0
    lines = []
    for index in range(4):
        Image.fromarray(rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        lines.append({"image": f"{index}.png", "text": "a line", "mask": run_lengths(mask)})
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def _recipe(folder: str) -> dict[str, Any]:
    data = {"datasets": [{"name": f"jsonl:{folder}", "split": "train"}]}
    steps = {"steps": 2, "batch_size": 2, "per_device_batch_size": 1, "save_every": 100, "workers": 0}
    return {"model": MEASURED, "data": data, **steps}


def _work(recipe: dict[str, Any]) -> None:
    class Measured(ReferringTrainer):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs, callbacks=[_Held()])

    finetune.ReferringTrainer = Measured  # type: ignore[misc]
    finetune.run_finetune(build(FinetuneRecipe, recipe), Path(recipe["data"]["datasets"][0]["name"][6:]) / "run")


class _Held(TrainerCallback):
    """Tells before the second step, when there are moments as well, what this process holds."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            parameters = list(kwargs["model"].parameters())
            moments = [value for states in kwargs["optimizer"].state.values() for value in states.values()]
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            print(f"{sum(map(_local_bytes, (*parameters, *gradients, *moments))) / 1e9:.3f} GB", flush=True)


def _local_bytes(tensor: Tensor) -> int:
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).nbytes


def main() -> None:
    """Computes or measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=4, help="that share the run")
    parser.add_argument("--measure", type=Path, metavar="TOKENIZER", help="train two steps in two processes")
    parser.add_argument("--work", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        _work(arguments.work)
    elif arguments.measure:
        measure(arguments.measure)
    else:
        print_table(arguments.processes)


if __name__ == "__main__":
    main()
