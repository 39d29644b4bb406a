"""`pipeline("referring-image-segmentation")`: photos and sentences in, one mask for each sentence out."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from functools import partial
from itertools import islice
from pathlib import Path
from types import GeneratorType
from typing import Any
from urllib.request import Request, urlopen

from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import Pipeline
from transformers.dynamic_module_utils import custom_object_save

from .modeling_evf_sam import EvfSamOutput
from .photos import Photo, decode_photo, open_photo
from .pretrained_evf_sam import HOOKS
from .prompts_evf_sam import SPATIAL_PROMPTS

TASK = "referring-image-segmentation"
PROMPTS = ("text", "semantic", *SPATIAL_PROMPTS)
ANSWERS = ("pred_masks", "iou_scores", "quality", "presence_logits")  # of the model, that records are made from
WEB = ("http://", "https://")
MAX_DOWNLOAD = 100_000_000  # bytes
TIMEOUT = 30  # seconds without an answer


class EvfSamPipeline(Pipeline):
    """Segments what sentences name in photos; each photo is encoded once for all its sentences.

    Build it with `pipeline("referring-image-segmentation", model=...)`, or from a model and its processor:
    `EvfSamPipeline(model=model, processor=processor)`. The arguments of `__call__` can be given there as well, as
    defaults.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_video_processor = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.processor is None:
            raise ValueError("this pipeline needs a processor: EvfSamPipeline(model=model, processor=processor)")

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Segments one photo or many.

        A photo is the path of a file, a PIL image, an array or a tensor as `photos.to_rgb` accepts them, or, with
        `allow_urls=True`, an address. In its place may stand a dict with the photo as "image" and its own values of
        the arguments marked *.

        Args:
            inputs: one photo; a list of photos; or a generator or `Dataset`, which is read as results are asked for.
            **kwargs: text*: the sentence, or the list of sentences, of a photo.
                semantic*: whether every pixel of a category is asked for, not one object.
                input_points*, input_labels*, input_boxes*: as `EvfSamProcessor` takes them, in photo pixels; one
                value for one sentence, a list with a value or None for each of several.
                Where `inputs` is a list, lists have one entry for each photo; with a generator or a `Dataset` all
                arguments hold for every photo.
                mask_threshold: logits above it are the mask; default 0.
                present_threshold: below this presence a mask is empty, with a model that has a presence head; default
                0.4.
                allow_urls: whether photos may be downloaded; default False.
                batch_size: photos computed at a time; default 1. num_workers: processes that read the photos of a
                list or a `Dataset`; default 0.

        Returns:
            For one photo a list with a dict for each sentence: "label", the sentence; "score", the model's estimate
            of the mask's IoU; "mask", a PIL image of mode L and the photo's size, 255 inside; "box", its pixel edges
            xmin, ymin, xmax, ymax, the last two exclusive, all zero for an empty mask; where the model has them,
            "quality", the IoU to be expected, and "presence", from 0 to 1. For a list of photos a list of these,
            otherwise an iterator.

        Raises:
            ValueError: bad photos or prompts, by name or number and with the fix.
            FileNotFoundError: a photo that does not exist.
        """
        if isinstance(inputs, (list, tuple)):
            lists = {name: kwargs.pop(name) for name in PROMPTS if _is_list(kwargs.get(name))}
            inputs = _requests(inputs, lists)
            if not inputs:
                return []
        elif isinstance(inputs, Iterator) and not isinstance(inputs, GeneratorType):
            inputs = (item for item in inputs)
        return super().__call__(inputs, **kwargs)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Saves the model, the processor, and the code that loads them where this package is not installed."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)
        if self.processor._auto_class is None:
            HOOKS.write_code(save_directory)
        else:  # this very code came from a repository, and the model and the processor saved theirs
            custom_object_save(self, save_directory)

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict, dict, dict]:
        thresholds = ("mask_threshold", "present_threshold")
        known = (*PROMPTS, "allow_urls", *thresholds)
        unknown = [name for name in kwargs if name not in known]
        if unknown:
            raise TypeError(f"{', '.join(unknown)}: no argument of this pipeline; it takes {', '.join(known)}")
        after = {name: kwargs.pop(name) for name in thresholds if name in kwargs}
        return kwargs, {}, after

    def run_single(self, inputs: Any, *params: dict) -> list[dict[str, Any]]:
        """One photo is a batch of one."""
        return next(self.get_iterator([inputs], 0, 1, *params))

    def get_iterator(
        self,
        inputs: Iterable[Any],
        num_workers: int,
        batch_size: int,
        preprocess_params: dict,
        forward_params: dict,
        postprocess_params: dict,
    ) -> Iterator[list[dict[str, Any]]]:
        """Yields the result of each photo. The processor, and not a collator, makes batches of unlike photos."""
        prepare = partial(self.preprocess, **preprocess_params)
        for batch in _batches(inputs, batch_size, num_workers, prepare):
            yield from self.postprocess(self.forward(batch, **forward_params), **postprocess_params)

    def preprocess(self, input_: Sequence[tuple[int, Any]], allow_urls: bool = False, **shared: Any) -> dict[str, Any]:
        """Numbered photos or requests -> the model's inputs for all of them, with "sentences" beside them."""
        requests = [_Request(number, item, shared) for number, item in input_]
        images = [request.open(allow_urls) for request in requests]
        columns = {name: [request.prompts[name] for request in requests] for name in PROMPTS}
        try:
            inputs = self.processor(images=images, **columns)
        except ValueError as error:
            names = [request.name for request in requests]
            raise ValueError(re.sub(r"\bphoto (\d+)", lambda found: names[int(found[1])], str(error))) from error
        return {**inputs, "sentences": columns["text"]}

    def _forward(self, input_tensors: dict[str, Any]) -> dict[str, Any]:
        inputs = {name: value for name, value in input_tensors.items() if name != "sentences"}
        outputs = self.model(**inputs)
        sizes = ("original_sizes", "reshaped_input_sizes", "attention_mask", "sentences")
        return {**{name: input_tensors[name] for name in sizes}, **{name: getattr(outputs, name) for name in ANSWERS}}

    def postprocess(self, model_outputs: dict[str, Any], **thresholds: float) -> list[list[dict[str, Any]]]:
        """The results of all photos of a batch."""
        outputs = EvfSamOutput(**{name: model_outputs[name] for name in ANSWERS})
        results = self.processor.post_process_referring_segmentation(outputs, model_outputs, **thresholds)
        return [
            [_record(sentence, result, index) for index, sentence in enumerate(sentences)]
            for sentences, result in zip(model_outputs["sentences"], results, strict=True)
        ]


class _Request:
    """What is asked of one photo.

    Attributes:
        photo: as the user gave it.
        name: what messages call it: by its path or address, otherwise by its number.
        prompts: the arguments of `PROMPTS`, with one entry for each sentence.
    """

    def __init__(self, number: int, item: Any, shared: dict[str, Any]):
        values = {**shared, **(item if isinstance(item, dict) else {"image": item})}
        self.photo = values.pop("image", None)
        self.name = f"photo '{self.photo}'" if isinstance(self.photo, (str, Path)) else f"photo {number}"
        unknown = [str(name) for name in values if name not in PROMPTS]
        if unknown:
            raise ValueError(f"{self.name}: {', '.join(unknown)} unknown; a dict has image, {', '.join(PROMPTS)}")
        text = values.get("text")
        if not isinstance(text, (str, list, tuple)) or not text:
            raise ValueError(f"{self.name} has no sentence: give text, a sentence or a list of them")
        alone = isinstance(text, str)
        self.prompts: dict[str, Any] = {name: [values.get(name)] if alone else values.get(name) for name in PROMPTS}
        if values.get("semantic") in (True, False, None):
            self.prompts["semantic"] = [bool(values.get("semantic"))] * len(self.prompts["text"])

    def open(self, allow_urls: bool) -> Photo:
        """The photo, read or downloaded if it is a path or an address."""
        if self.photo is None:
            raise ValueError(f'{self.name} is missing: give a photo, or a dict with one as "image"')
        if isinstance(self.photo, str) and self.photo.startswith(WEB):
            if not allow_urls:
                raise ValueError(f"{self.name} is on the web: allow the download with allow_urls=True")
            return _download(self.photo)
        return open_photo(self.photo) if isinstance(self.photo, (str, Path)) else self.photo


class _Numbered(Dataset):
    """The items of a list or a dataset with their numbers."""

    def __init__(self, items: Any):
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        return index, self.items[index]


def _batches(inputs: Any, batch_size: int, num_workers: int, prepare: Callable[[list], dict]) -> Iterable[dict]:
    if isinstance(inputs, Sized):
        return DataLoader(_Numbered(inputs), batch_size, num_workers=num_workers, collate_fn=prepare)
    numbered = enumerate(inputs)
    return map(prepare, iter(lambda: list(islice(numbered, batch_size)), []))


def _is_list(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)


def _requests(photos: Sequence[Any], lists: dict[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The photos, each with its entries of the lists; what is in a photo's own dict counts first."""
    for name, values in lists.items():
        if len(values) != len(photos):
            raise ValueError(f"{name}: give one entry for each photo, {len(photos)} in all, not {len(values)}")
    columns = [{name: values[index] for name, values in lists.items()} for index in range(len(photos))]
    return [
        {**column, **(photo if isinstance(photo, dict) else {"image": photo})}
        for photo, column in zip(photos, columns, strict=True)
    ]


def _download(url: str) -> Image.Image:
    try:
        with urlopen(Request(url, headers={"User-Agent": "evf-sam"}), timeout=TIMEOUT) as answer:
            content = answer.read(MAX_DOWNLOAD + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"photo '{url}' cannot be downloaded ({error}): check the address") from error
    if len(content) > MAX_DOWNLOAD:
        raise ValueError(f"photo '{url}' is larger than {MAX_DOWNLOAD} bytes: give a smaller file")
    return decode_photo(content, name=f"photo '{url}'")


def _record(sentence: str, result: dict[str, Tensor], index: int) -> dict[str, Any]:
    """What one photo's results say of one of its sentences."""
    known = [name for name in ("quality", "presence") if name in result]
    estimates: dict[str, Any] = {name: result[name][index].item() for name in known}
    mask, box, score = (result[name][index] for name in ("masks", "boxes", "scores"))
    return {"label": sentence, "score": score.item(), "mask": _picture(mask), "box": _named_edges(box), **estimates}


def _picture(mask: Tensor) -> Image.Image:
    return Image.fromarray(mask.byte().mul(255).numpy())  # (H, W) uint8 -> mode L


def _named_edges(box: Tensor) -> dict[str, int]:
    return dict(zip(("xmin", "ymin", "xmax", "ymax"), box.int().tolist(), strict=True))
