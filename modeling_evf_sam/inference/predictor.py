"""One photo, many sentences and clicks: a model and its processor with the photos that they have encoded.

Shapes: P sentences, H and W the sides of the photo.
"""

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from modeling_evf_sam.exported.loading import load_exported
from modeling_evf_sam.inference.arrays import without_gradients
from modeling_evf_sam.inference.combining import Names, combine
from modeling_evf_sam.inference.segmenting import predict
from modeling_evf_sam.photos import Photo, to_rgb
from modeling_evf_sam.prompts_evf_sam import PRESENT_THRESHOLD, entries, has_entries
from modeling_evf_sam.quoting import quoted

if TYPE_CHECKING:
    from modeling_evf_sam.inference.backends import AnyModel, AnyProcessor


@dataclass
class EncodedPhoto:
    """A photo as a model sees it.

    Attributes:
        inputs: what the processor made of it, without SAM's view.
        image_embeddings: what `EvfSamModel.get_image_embeddings` made of SAM's view.
    """

    inputs: Any
    image_embeddings: Any

    @property
    def num_bytes(self) -> int:
        """The memory that it takes up, on whatever device."""
        levels = self.image_embeddings if isinstance(self.image_embeddings, list) else [self.image_embeddings]
        return sum(tensor.nbytes for tensor in [*levels, *self.inputs.values()])


@dataclass
class _Prompts:
    """Sentences with their points and boxes, in photo pixels, and names, and the prompt tokens (1, P, D) of them all.

    `wanted` is what `segmenting.predict` is to give.
    """

    sentences: list[str]
    semantic: bool | Sequence[bool]
    points: list[list[Sequence[float]]]
    point_labels: list[list[int]]
    boxes: Sequence[Sequence[float] | None] | None
    any_of: Names
    exclude: Names
    wanted: dict[str, Any]
    prompt_embeds: Any = None


class EvfSamPredictor:
    """Encodes a photo once, and segments in it what one sentence after the other names.

    Predictors made by `share` have the model and the encoded photos in common, and each a current photo of its own:
    one for each user or thread. `encode` and `predict` with a `photo` leave the current one alone, and may be called
    from several threads on the same predictor.

    Args:
        model: in evaluation mode, on any device.
        processor: the model's processor.
        cache_bytes: how much memory encoded photos may take up, on the model's device, beside the current one; those
            used longest ago go first. The embeddings of a photo of SAM ViT-H are 4.2 MB in float32.
    """

    def __init__(self, model: "AnyModel", processor: "AnyProcessor", *, cache_bytes: int = 0):
        self.model = model
        self.processor = processor
        self._cache = PhotoCache(cache_bytes)
        self._photo: EncodedPhoto | None = None
        self._prompts: _Prompts | None = None

    @classmethod
    def from_pretrained(
        cls, name: str, device: str | None = None, dtype: str | None = None, *, cache_bytes: int = 0
    ) -> "EvfSamPredictor":
        """A predictor of a checkpoint.

        Args:
            name: a folder, or a Hub id.
            device: a torch device; None takes a GPU where there is one.
            dtype: "float32", "bfloat16" or, on a CPU, "int8"; None takes what `default_dtype` does.
            cache_bytes: as above.

        Raises:
            ValueError: no such checkpoint, a damaged one, or a device or dtype that cannot be used.
            OSError: files of the checkpoint are missing.
        """
        from modeling_evf_sam.inference.loading import load_model  # needs torch

        return cls(*load_model(name, device, dtype), cache_bytes=cache_bytes)

    @classmethod
    def from_exported(
        cls, folder: str | Path, backend: str = "onnxruntime", dtype: str | None = None, *, cache_bytes: int = 0
    ) -> "EvfSamPredictor":
        """A predictor of what `evf-sam export` wrote; torch need not be installed.

        Args:
            folder: where it wrote.
            backend: "onnxruntime", or "openvino", which reads ONNX files as well.
            dtype: what openvino computes in, "float32" (the default) or "bfloat16".
            cache_bytes: as above.

        Raises:
            ValueError: it is no such folder, or the backend is missing, unknown, or cannot do that.
        """
        return cls(*load_exported(folder, backend, dtype), cache_bytes=cache_bytes)

    def share(self) -> "EvfSamPredictor":
        """Another predictor with the same model and cache, without a current photo."""
        other = copy.copy(self)
        other._photo = other._prompts = None
        return other

    def set_image(self, photo: Photo) -> None:
        """Make a photo the current one; it is encoded unless the cache has it.

        Raises:
            ValueError: it is no photo; the message says what is wrong.
        """
        self._photo, self._prompts = self.encode(photo), None

    def encode(self, photo: Photo) -> EncodedPhoto:
        """Encode a photo, or take it from the cache, where it is found by its pixels.

        Raises:
            ValueError: it is no photo; the message says what is wrong.
        """
        image = to_rgb(photo)
        digest = hashlib.sha256(image.tobytes()).digest()
        settings = self.processor.image_processor.to_json_string()
        key = (digest, image.size, settings, _identity(self.model))
        return self._cache.get(key, lambda: self._encode(image))

    def predict(
        self,
        sentences: str | Sequence[str],
        *,
        photo: EncodedPhoto | None = None,
        semantic: bool | Sequence[bool] = False,
        points: Sequence | None = None,
        point_labels: Sequence | None = None,
        boxes: Sequence | None = None,
        any_of: Names = None,
        exclude: Names = None,
        mask_threshold: float = 0.0,
        present_threshold: float = PRESENT_THRESHOLD,
        instances: bool = False,
        label_map: bool = False,
    ) -> dict[str, Any]:
        """Segment what sentences name.

        Args:
            sentences: one, or a list.
            photo: what `encode` returned; default: the current photo.
            semantic: per sentence, or for all: whether every pixel of a category is asked for, not one object.
            points: per sentence a list of [x, y] in photo pixels, or None; without the outer list for one sentence, as
                what follows.
            point_labels: per sentence a list with 1 (on the object, the default) or 0 (beside it) for each point.
            boxes: per sentence one [x0, y0, x1, y1] in photo pixels, or None.
            any_of: per sentence a name, or a list of names, that it means too; or one name for all.
            exclude: per sentence a name, or a list of names, that it does not mean: their pixels are those where they
                are surer; or one name for all.
            mask_threshold: logits above it are the mask.
            present_threshold: at less presence a mask is empty; 0 keeps all. Without a presence head it says nothing.
            instances: whether to part each answer into its objects, too.
            label_map: whether to say which sentence is surest of each pixel, too.

        Returns:
            A dict, as `EvfSamProcessor.post_process_referring_segmentation` returns it: masks (P, H, W) bool, scores
            (P,) and boxes (P, 4), and what else the model has. Where they were asked for also "instances", P lists of
            `Instance`, and "label_map" (H, W), k where the k-th sentence is surest, otherwise 0.

        Raises:
            ValueError: there is no photo, or the prompts are bad; the message names the sentence.
        """
        if isinstance(sentences, str):
            sentences, given = [sentences], (points, point_labels, boxes, any_of, exclude)
            points, point_labels, boxes, any_of, exclude = (None if prompt is None else [prompt] for prompt in given)
        if not isinstance(sentences, (list, tuple)):
            raise ValueError(f"sentences must be a string or a list of them, not {type(sentences).__name__}")
        rows = _rows("points", points, len(sentences))
        wanted = {"mask_threshold": mask_threshold, "present_threshold": present_threshold}
        wanted |= {"instances": instances, "label_map": label_map}
        labels = _rows("point_labels", point_labels, len(sentences), [[1] * len(row) for row in rows])
        prompts = _Prompts(list(sentences), semantic, rows, labels, boxes, any_of, exclude, wanted)
        if photo is not None:
            return self._predict(photo, prompts)
        result = self._predict(self._current(), prompts)
        self._prompts = prompts
        return result

    def add_point(self, point: Sequence[float], *, label: int = 1, sentence: int = 0) -> dict[str, Any]:
        """Correct the last prediction on the current photo by a point; the sentences are not read again.

        Args:
            point: [x, y] in photo pixels.
            label: 1 on the object, 0 beside it.
            sentence: which of the sentences of the last `predict` it belongs to.

        Returns:
            As `predict`, with all points given so far.

        Raises:
            ValueError: nothing was predicted on this photo yet, or it has no such sentence or point.
        """
        if self._prompts is None:
            raise ValueError("there is no prediction to correct: call predict first")
        prompts = copy.deepcopy(self._prompts)
        if not isinstance(sentence, int) or not 0 <= sentence < len(prompts.sentences):
            raise ValueError(
                f"there is no sentence {quoted(sentence)}: the last prediction had {len(prompts.sentences)}"
            )
        prompts.points[sentence].append(point)
        prompts.point_labels[sentence].append(label)
        result = self._predict(self._current(), prompts)
        self._prompts = prompts
        return result

    def release(self) -> None:
        """Forget the current photo and all that the cache holds, and give the memory back to the device."""
        self._photo = self._prompts = None
        self._cache.clear()
        if str(self.model.device).startswith("cuda"):
            import torch

            torch.cuda.empty_cache()

    def _current(self) -> EncodedPhoto:
        if self._photo is None:
            raise ValueError("there is no photo: call set_image first, or give photo")
        return self._photo

    def _encode(self, image: Any) -> EncodedPhoto:
        inputs = self.processor(images=image)
        with without_gradients():
            embeddings = self.model.get_image_embeddings(inputs.pop("pixel_values"))
        return EncodedPhoto(inputs, embeddings)

    def _predict(self, photo: EncodedPhoto, prompts: _Prompts) -> dict[str, Any]:
        nested: dict[str, Any] = {
            "text": [prompts.sentences],
            "semantic": prompts.semantic if isinstance(prompts.semantic, bool) else [prompts.semantic],
            "input_points": [prompts.points],
            "input_labels": [prompts.point_labels],
            "input_boxes": [prompts.boxes],
        }
        nested, names = combine(nested, any_of=_of_photo(prompts.any_of), exclude=_of_photo(prompts.exclude))
        inputs = self.processor(images=photo.inputs, **nested)
        given: dict[str, Any] = {"image_embeddings": photo.image_embeddings, "prompt_embeds": prompts.prompt_embeds}
        outputs, (result,) = predict(self.model, self.processor, inputs, names=names, **prompts.wanted, **given)
        prompts.prompt_embeds = outputs.prompt_embeds
        return result


class PhotoCache:
    """Encoded photos by key; what is asked for by several threads at once is computed by one of them.

    Args:
        max_bytes: how much memory they may take up; those used longest ago go first.
    """

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._photos: OrderedDict[Hashable, EncodedPhoto] = OrderedDict()
        self._underway: dict[Hashable, Future[EncodedPhoto]] = {}
        self._lock = Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._photos

    @property
    def num_bytes(self) -> int:
        """The memory that its photos take up."""
        with self._lock:
            return sum(photo.num_bytes for photo in self._photos.values())

    def get(self, key: Hashable, encode: Callable[[], EncodedPhoto]) -> EncodedPhoto:
        """The photo of a key, by `encode` where it is not there."""
        with self._lock:
            if key in self._photos:
                self._photos.move_to_end(key)
                return self._photos[key]
            first = key not in self._underway
            underway = self._underway.setdefault(key, Future())
        if first:
            try:
                underway.set_result(encode())
            except BaseException as error:
                underway.set_exception(error)
            with self._lock:
                del self._underway[key]
                if underway.exception() is None:
                    self._photos[key] = underway.result()
                    self._shrink()
        return underway.result()

    def clear(self) -> None:
        """Forgets all photos."""
        with self._lock:
            self._photos.clear()

    def _shrink(self) -> None:
        total = sum(photo.num_bytes for photo in self._photos.values())
        while total > self._max_bytes:
            _, oldest = self._photos.popitem(last=False)
            total -= oldest.num_bytes


def _of_photo(names: Names) -> Names:
    """Names of sentences, as names of sentences of one photo."""
    return None if names is None else [names]


def _rows(name: str, values: Any, count: int, default: list[list] | None = None) -> list[list]:
    """A list for each sentence, the default where there is None."""
    rows = entries(name, values, count, "sentence")
    for index, row in enumerate(rows):
        if row is not None and not has_entries(row):
            raise ValueError(f"{name} of sentence {index} must be a list, not {quoted(row)}")
    return [list(row) if row is not None else default[index] if default else [] for index, row in enumerate(rows)]


def _identity(model: "AnyModel") -> int:
    """A number that is another one after SAM's weights were replaced, changed in place, converted or moved."""
    parameters = model.sam.parameters() if hasattr(model, "sam") else ()  # exported ones stay as they are
    return hash(
        tuple(
            (tensor.data_ptr(), tensor.dtype, tensor.device, 0 if tensor.is_inference() else tensor._version)
            for tensor in parameters
        )
    )


__all__ = ["EncodedPhoto", "EvfSamPredictor", "PhotoCache"]
