"""Photos per second and memory of training with and without the embedding cache, in one run on one machine.

    python -m modeling_evf_sam.training.measure_embedding_cache --photos 2

SAM-B and BEIT-3-base sizes with random weights, photos and masks of noise, three sentences for a photo. A step
computes all photos, one at a time, and changes the weights once. Each way has a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.presets import BEIT3_BASE, SAM_BASE
from modeling_evf_sam.training.embedding_cache import EmbeddingCache
from modeling_evf_sam.training.freezing import PAPERS_PARTS, freeze_all_but

WAYS = ("fill", "without", "with")
SENTENCES, TOKENS = 3, 12
WIDTH, HEIGHT = 640, 480


def run_way(way: str, folder: Path, photos: int) -> str:
    """Fill the cache in `folder`, or train a step without or with it.

    Returns:
        A line with photos per second and the largest memory of this process.
    """
    rng = np.random.default_rng(0)
    drawn = [Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)) for _ in range(photos)]
    torch.manual_seed(0)
    model = EvfSamModel(EvfSamConfig(multimodal_config=BEIT3_BASE, sam_config=SAM_BASE))
    freeze_all_but(model, PAPERS_PARTS)
    images = EvfSamImageProcessor()
    cache = EmbeddingCache(folder, model, images, torch.float32)
    if way == "with":
        cache.set_encoder_aside(model)
    used = cache if way == "with" else None
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
    if way != "fill":
        _train(model, _batch(drawn[0], images, used))  # makes room for the gradients
    start = time.perf_counter()
    if way == "fill":
        cache.fill(drawn, model, images)
    else:
        for photo in drawn:
            _train(model, _batch(photo, images, used))
        optimizer.step()
    speed = photos / (time.perf_counter() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # of kB
    return f"{way:8} {speed:.4f} photos/s, {memory:.2f} GiB"


def _batch(photo: Image.Image, images: EvfSamImageProcessor, cache: EmbeddingCache | None) -> dict[str, object]:
    batch: dict[str, object] = {
        "multimodal_pixel_values": images.multimodal_view(photo)[None],
        "input_ids": torch.randint(4, 60_000, (1, SENTENCES, TOKENS)),
        "labels": [torch.rand(SENTENCES, photo.height, photo.width) > 0.5],
    }
    if cache is None:
        batch["pixel_values"] = images.sam_view(photo)[None]
    else:
        batch["image_embeddings"] = cache.load([photo])
    return batch


def _train(model: EvfSamModel, batch: dict[str, object]) -> None:
    loss: Tensor = model(**batch).loss
    loss.backward()


def main() -> None:
    """Measures both ways and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=2, help="photos of a step")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(run_way(arguments.way, arguments.folder, arguments.photos))
        return
    command = [sys.executable, "-m", __spec__.name, "--photos", str(arguments.photos)]
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            subprocess.run([*command, "--folder", folder, "--way", way], check=True)


if __name__ == "__main__":
    main()
