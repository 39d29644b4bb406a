"""Writes compare_films.json: a frame of a film in our video model and in transformers', timed in turns on this CPU.

The SAM-2s have their published sizes and random weights, and both keep the same object in their memory: ours was
prompted by a token, as a sentence becomes one, transformers' by a point.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from transformers import Sam2Config, Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from modeling_evf_sam import EvfSamConfig, EvfSamVideoModel
from modeling_evf_sam.bench.record import machine
from modeling_evf_sam.modeling_evf_sam_video import ObjectMemory, video_config
from modeling_evf_sam.presets import BEIT3_BASE, SAM2_LARGE, SAM2_TINY

FRAMES = 7  # after the prompted one
SIDE = 1024
Step = Callable[[int], object]


def ours(sam: dict, film: torch.Tensor) -> Step:
    """What follows an object from frame to frame; frame 0 has the prompt."""
    model = EvfSamVideoModel(EvfSamConfig(multimodal_config=BEIT3_BASE, sam_config=sam, mask_selection="best_iou"))
    model, memory = model.eval(), ObjectMemory()
    token = torch.randn(1, model.config.prompt_size)

    def step(index: int) -> object:
        frame = model.encode_frame(film[index : index + 1])
        return model.segment_object(frame, memory, index, prompt_embeds=None if index else token)

    return step


def theirs(sam: dict, film: torch.Tensor) -> Step:
    """The same by transformers' model, prompted by a point."""
    config = Sam2Config(**{name: value for name, value in sam.items() if name != "model_type"})
    model = Sam2VideoModel(video_config(config, stability=False)).eval()
    session = Sam2VideoInferenceSession(video=film, video_height=SIDE, video_width=SIDE, dtype=film.dtype)
    point = {
        "point_coords": torch.full((1, 1, 1, 2), SIDE / 2.0),
        "point_labels": torch.ones(1, 1, 1, dtype=torch.int),
    }
    session.add_point_inputs(session.obj_id_to_idx(1), 0, point)
    session.obj_with_new_inputs = [1]
    return lambda index: model(inference_session=session, frame_idx=index)


@torch.inference_mode()
def seconds_a_frame(sam: dict) -> dict[str, float]:
    """Median seconds of the frames after the first, which are shown to both in turns."""
    film = torch.randn(1 + FRAMES, 3, SIDE, SIDE)
    ways = {"ours": ours(sam, film), "transformers": theirs(sam, film)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(1 + FRAMES):
        for name, step in ways.items():
            start = time.perf_counter()
            step(index)
            times[name].append(time.perf_counter() - start)
    return {name: median(taken[1:]) for name, taken in times.items()}


if __name__ == "__main__":
    torch.manual_seed(0)
    record = {name: seconds_a_frame(sam) for name, sam in (("SAM-2 tiny", SAM2_TINY), ("SAM-2 large", SAM2_LARGE))}
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps({"machine": machine(torch.device("cpu")), "frames": record}, indent=2) + "\n")
    print(target.read_text())
