"""What is measured: the stages of a call, whole calls, and what they are compared with."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import cycle, islice, product
from math import prod
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamModel, SamVisionModel

from modeling_evf_sam.bench.measuring import Action
from modeling_evf_sam.inference.quantization import quantize_linear_layers
from modeling_evf_sam.inference.segmentation import Segmentation
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

PHOTO_SIZE = (640, 480)  # width and height, as most photos of COCO

INT8 = "int8"  # a precision beside torch's names for the others

PREPROCESS = "preprocess"
ENCODE = "image encoder"
READ = "multimodal encoder"  # and projector
DECODE = "mask decoder"
POST_PROCESS = "post-process"
STAGES = (PREPROCESS, ENCODE, READ, DECODE, POST_PROCESS)
CALL = "whole call"
ANOTHER = "another sentence"
SEPARATE = "a call for each sentence"
TRANSFORMERS = "transformers' image encoder"
PRODUCT = "matrix product"


def sentences(count: int) -> list[str]:
    """As many sentences of equal length, different ones up to 64."""
    words = product(("red", "blue", "pink", "cyan"), ("circle", "square", "star", "triangle"), repeat=2)
    texts = (f"the {a} {b} left of the {c} {d}" for a, b, c, d in words)
    return list(islice(cycle(texts), count))


class Calls:
    """Calls of a model on photos of noise.

    Args:
        model: in the precision to measure.
        processor: the model's own.
        precision: its name, such as "float32".
        num_photos: photos in a call.
    """

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor, precision: str, num_photos: int = 1):
        self.model, self.processor, self.precision = model, processor, precision
        self.photos = [Image.effect_noise(PHOTO_SIZE, 64).convert("RGB") for _ in range(num_photos)]

    def prepare(self, texts: Sequence[str]) -> Any:
        """Makes the inputs for these sentences on every photo."""
        inputs = self.processor(images=self.photos, text=[list(texts)] * len(self.photos), return_tensors="pt")
        return inputs.to(self.model.device)

    def segment(self, texts: Sequence[str]) -> list[Segmentation]:
        """Goes from photos and sentences to masks at the photos' size."""
        return segment(self.model, self.processor, self.photos, [list(texts)] * len(self.photos))

    @cached_property
    def pixel_values(self) -> Tensor:
        """SAM's views of the photos."""
        return self.prepare(sentences(1))["pixel_values"]

    @cached_property
    def image_embeddings(self) -> Any:
        """The photos, encoded."""
        return self.model.get_image_embeddings(self.pixel_values)

    def encoding(self) -> Action:
        """The image encoder, on every photo."""
        return self._action(ENCODE, None, lambda: self.model.get_image_embeddings(self.pixel_values))

    def stages(self, count: int) -> Iterator[Action]:
        """The stages that depend on the number of sentences, each on what the one before it gave."""
        texts = sentences(count)
        inputs = self.prepare(texts)
        text = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        views = inputs.get("multimodal_pixel_values")
        decoding = {
            "image_embeddings": self.image_embeddings,
            "prompt_embeds": self.model.get_prompt_embeddings(views, **text),
            "attention_mask": inputs["attention_mask"],
        }
        outputs = self.model(**decoding)
        yield self._action(PREPROCESS, count, lambda: self.prepare(texts))
        yield self._action(READ, count, lambda: self.model.get_prompt_embeddings(views, **text))
        yield self._action(DECODE, count, lambda: self.model(**decoding))
        masks = self.processor.post_process_referring_segmentation
        yield self._action(POST_PROCESS, count, lambda: masks(outputs, inputs))

    def whole(self, count: int) -> Action:
        """One call for all sentences."""
        texts = sentences(count)
        return self._action(CALL, count, lambda: self.segment(texts))

    def separate(self, count: int = 2) -> Action:
        """The original's way of working: a call, and an encoding, for each sentence."""
        texts = sentences(count)
        return self._action(SEPARATE, count, lambda: [self.segment([text]) for text in texts])

    def another(self) -> Action:
        """One more sentence on photos that are already encoded."""
        texts = sentences(1)
        inputs = self.prepare(texts)
        given = {name: value for name, value in inputs.items() if name == "multimodal_pixel_values"}

        def run() -> None:
            text = self.processor(text=[texts] * len(self.photos)).to(self.model.device)
            outputs = self.model(image_embeddings=self.image_embeddings, **given, **text)
            self.processor.post_process_referring_segmentation(outputs, {**inputs, **text})

        return self._action(ANOTHER, 1, run)

    def _action(self, what: str, count: int | None, run: Callable[[], object]) -> Action:
        return Action(what=what, sentences=count, dtype=self.precision, run=run)


def transformers_encoder(model: EvfSamModel) -> SamVisionModel | None:
    """The image encoder of transformers' `SamModel` with a model's weights in float32; None if that is no SAM-1."""
    if not isinstance(model.sam, SamModel):
        return None
    config = model.config.sam_config.vision_config
    encoder = SamVisionModel._from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    encoder.vision_encoder.load_state_dict(model.sam.vision_encoder.state_dict())
    return encoder.to(model.device).requires_grad_(False).eval()


def transformers_encoding(encoder: nn.Module, pixel_values: Tensor) -> Action:
    """The image encoder as it stands in transformers."""
    dtype = next(encoder.parameters()).dtype
    pixel_values = pixel_values.to(dtype)
    return Action(what=TRANSFORMERS, dtype=str(dtype).removeprefix("torch."), run=lambda: encoder(pixel_values))


def largest_product(model: EvfSamModel, pixel_values: Tensor) -> tuple[int, int, int]:
    """Tokens, inputs and outputs of the linear layer in the image encoder that costs the most."""
    found: list[tuple[int, int, int]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append((output[..., 0].numel(), inputs[0].shape[-1], output.shape[-1]))

    layers = [module for module in model.sam.vision_encoder.modules() if hasattr(module, "in_features")]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        model.get_image_embeddings(pixel_values)
    finally:
        for hook in hooks:
            hook.remove()
    return max(found, key=prod)


def matrix_product(sizes: tuple[int, int, int], device: torch.device, precision: str) -> Action:
    """A linear layer of these sizes alone: the best rate that a device can reach in a precision with such layers."""
    tokens, inputs, outputs = sizes
    dtype = torch.float32 if precision == INT8 else getattr(torch, precision)
    layer = nn.Sequential(nn.Linear(inputs, outputs, bias=False, device=device, dtype=dtype))
    hidden_states = torch.randn(tokens, inputs, device=device, dtype=dtype)
    if precision == INT8:
        quantize_linear_layers(layer)
    return Action(what=PRODUCT, dtype=precision, run=lambda: layer(hidden_states))
