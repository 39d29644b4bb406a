"""The image encoder's output for each photo on disk: where the encoder is frozen, it is a constant.

FOLDER/<key of weights and preprocessing>/image_encoder.safetensors    the encoder, to complete checkpoints
FOLDER/<key>/<two letters>/<key of the photo>.safetensors              its output: tensors "0", "1", ... fine to coarse
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.image_processing_utils import BatchFeature

from modeling_evf_sam.files import saving, whole_file
from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

ENCODER = "sam.vision_encoder."
SAM_VIEW = ("image_size", "image_layout", "image_mean", "image_std")  # what the encoder's view depends on


class EmbeddingCache:
    """Embeddings by photo content, encoder weights, preprocessing and float type; any of them changed, and all is new.

    Any number of processes may fill it side by side, and one that was stopped goes on where it was.

    Args:
        folder: of this and other caches.
        model: with its image encoder.
        image_processor: the model's own.
        dtype: of the files; with bfloat16 they take half the room.

    Raises:
        ValueError: what makes the embeddings is to be trained.
    """

    def __init__(
        self, folder: str | Path, model: EvfSamModel, image_processor: EvfSamImageProcessor, dtype: torch.dtype
    ) -> None:
        prefixes = model.family.encoder_weights
        trained = [name for name, p in model.named_parameters() if p.requires_grad and name.startswith(prefixes)]
        if trained:
            raise ValueError(f"an embedding_cache holds what {trained[0]} makes: take its part out of trained_parts")
        view = {name: getattr(image_processor, name) for name in SAM_VIEW}
        digest = hashlib.sha256(json.dumps([view, str(dtype)]).encode())
        for name, tensor in model.state_dict().items():
            if name.startswith(prefixes):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        self.folder, self.dtype = Path(folder) / digest.hexdigest()[:32], dtype

    def __contains__(self, photo: object) -> bool:
        return isinstance(photo, Image.Image) and self._file(photo).exists()

    def fill(self, photos: Iterable[Image.Image], model: EvfSamModel, image_processor: EvfSamImageProcessor) -> int:
        """Encode those photos that are not here yet, and return their number.

        Raises:
            ValueError, OSError: a file cannot be written; what was there before stays usable.
        """
        encoded = 0
        for photo in photos:
            file = self._file(photo)
            if not file.exists():
                with torch.no_grad():
                    view = image_processor.sam_view(photo)[None].to(model.device)
                    embeddings = model.get_image_embeddings(view)
                levels = [embeddings] if isinstance(embeddings, Tensor) else embeddings
                _write(file, {str(i): level[0].to("cpu", self.dtype).contiguous() for i, level in enumerate(levels)})
                encoded += 1
        return encoded

    def load(self, photos: list[Image.Image]) -> Tensor | list[Tensor]:
        """The embeddings of B photos as `EvfSamModel.get_image_embeddings` returns them, in float32.

        Raises:
            ValueError: one is not here, or its file is damaged.
        """
        found = []
        for photo in photos:
            file = self._file(photo)
            try:
                found.append(load_file(file))
            except FileNotFoundError:
                raise ValueError(f"'{file}' is missing: start the run again, which fills the cache") from None
            except SafetensorError as error:
                raise ValueError(f"'{file}' is damaged ({error}): delete it, and start the run again") from None
        levels = [torch.stack([each[name] for each in found]).float() for name in sorted(found[0])]
        return levels if len(levels) > 1 else levels[0]

    def set_encoder_aside(self, model: EvfSamModel) -> Path:
        """Take the image encoder out of a model, and return the file with its weights."""
        file = self.folder / "image_encoder.safetensors"
        if not file.exists():
            weights = {name: value for name, value in model.state_dict().items() if name.startswith(ENCODER)}
            _write(file, {name: value.detach().cpu().contiguous() for name, value in weights.items()})
        model.sam.vision_encoder = nn.Identity()
        return file

    def _file(self, photo: Image.Image) -> Path:
        digest = hashlib.sha256(f"{photo.mode} {photo.size}".encode())
        digest.update(photo.tobytes())
        name = digest.hexdigest()[:32]
        return self.folder / name[:2] / f"{name}.safetensors"


class CachedProcessor:
    """A processor for a model without its image encoder: photos become `image_embeddings`, not `pixel_values`.

    Args:
        processor: the model's own.
        cache: it holds every photo that will be asked for.
    """

    def __init__(self, processor: EvfSamProcessor, cache: EmbeddingCache) -> None:
        image_processor = _EncoderViews(**processor.image_processor.to_dict())
        self.views = EvfSamProcessor(image_processor, processor.tokenizer, processor.semantic_prompts)
        self.cache = cache

    def __call__(self, images: list[Image.Image], **kwargs: Any) -> BatchFeature:
        """As `EvfSamProcessor`, for lists of photos."""
        inputs = self.views(images=images, **kwargs)
        del inputs["pixel_values"]
        inputs["image_embeddings"] = self.cache.load(images)
        return inputs

    def post_process_referring_segmentation(self, *args: Any, **kwargs: Any) -> list[dict[str, Tensor]]:
        """As `EvfSamProcessor`."""
        return self.views.post_process_referring_segmentation(*args, **kwargs)


class _EncoderViews(EvfSamImageProcessor):
    """Makes the multimodal view alone."""

    def sam_view(self, photo: Image.Image) -> Tensor:
        return torch.empty(0)


def _write(file: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file; the tensors must be contiguous."""
    with saving(file, "start the run again"), whole_file(file) as unfinished:
        save_file(tensors, unfinished)
