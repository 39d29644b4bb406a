"""Photos, sentences, points, boxes and target masks -> the model's tensors; and its logits -> masks."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from .configuration_evf_sam import PADDING, EvfSamConfig
from .hooks import HOOKS, PushCodeMixin
from .image_processing_evf_sam import MULTIMODAL_VIEWS, EvfSamImageProcessor, resize_mask_logits
from .photos import Photo

SEMANTIC_TOKEN = "[semantic]"
SPATIAL_PROMPTS = ("input_points", "input_labels", "input_boxes")


class EvfSamProcessor(PushCodeMixin, ProcessorMixin):
    """Prepares photos and sentences for `EvfSamModel`, and turns its outputs into masks.

    Args:
        image_processor: an `EvfSamImageProcessor`.
        tokenizer: the multimodal encoder's tokenizer, of the `tokenizers` backend (for BEIT-3 `XLMRobertaTokenizer`,
            for CLIP `CLIPTokenizer`, for ViLT `BertTokenizer`). It has a padding token and puts one token before and
            one after a sentence; its `model_max_length` bounds a sentence.
        semantic_prompts: whether the checkpoint was trained on prompts for every pixel of a category.
    """

    def __init__(self, image_processor: EvfSamImageProcessor, tokenizer: Any, semantic_prompts: bool = False):
        super().__init__(image_processor, tokenizer)
        self.semantic_prompts = semantic_prompts

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Load a processor as transformers does, or build the one that fits a release of the original authors.

        Raises:
            ValueError: the release has no tokenizer; the message names the fix.
            OSError: a folder has no processor, or there is no such folder and no such repository in reach.
        """
        release = HOOKS.find_release(pretrained_model_name_or_path, **kwargs)
        if release is None:
            _refuse_model_alone(pretrained_model_name_or_path, kwargs.get("subfolder") or "")
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        return cls.from_config(EvfSamConfig(**release.config_dict()), release.tokenizer())

    @classmethod
    def from_config(cls, config: EvfSamConfig, tokenizer: Any) -> "EvfSamProcessor":
        """The processor that fits a model, with a tokenizer that reads no more tokens than the model does."""
        image_processor = EvfSamImageProcessor(
            image_size=config.view_size,
            image_layout=config.image_layout,
            multimodal_image_size=config.multimodal_view_size,
            **MULTIMODAL_VIEWS[config.multimodal_config.model_type],
        )
        tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_tokens)
        return cls(image_processor, tokenizer, semantic_prompts=config.semantic_prompts)

    def __call__(
        self,
        images: Photo | Sequence[Photo] | BatchFeature | None = None,
        text: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        semantic: bool | Sequence = False,
        input_points: Sequence | None = None,
        input_labels: Sequence | None = None,
        input_boxes: Sequence | None = None,
        input_masks: Tensor | None = None,
        labels: Any = None,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Builds the model's inputs for B photos with P sentences at the most for one of them.

        `text` may be one sentence or a list of them for one photo; for a list of photos, a list with one sentence or
        a list of sentences for each. Per-sentence arguments have the nesting of `text`, each sentence replaced by
        its value; None stands for no value, for a sentence or for all sentences of a photo.

        Args:
            images: one photo, or a list; or what this method returned for one alone. Without it, the inputs are those
                for a photo that is already encoded.
            text: the sentences, any characters; a special token's name in them is plain text.
            semantic: per sentence, or for all: whether every pixel of a category is asked for, not one object.
            input_points: per sentence a list of [x, y] in photo pixels.
            input_labels: per sentence a list with 1 (foreground, the default) or 0 (background) for each point.
            input_boxes: per sentence one [x0, y0, x1, y1] in photo pixels.
            input_masks: (B, P, 1, h, w) logits for the decoder, passed through.
            labels: target masks of one photo, (P, H, W) at its size (> 0 is foreground), or a list with one such
                array or tensor for each photo.
            return_tensors: "pt", the only kind.

        Returns:
            pixel_values, multimodal_pixel_values, original_sizes, reshaped_input_sizes (see `EvfSamImageProcessor`);
            input_ids, attention_mask (B, P, L), with an all-zero mask where a photo has no more sentences;
            input_points (B, P, N, 2), input_labels (B, P, N) and input_boxes (B, P, 4) in pixels of SAM's view,
            -10 where absent; input_masks; labels as a list of bool tensors. Only those that were asked for.

        Raises:
            ValueError: bad values, or lists that do not fit together; the message names the photo and sentence.
        """
        if images is None and text is None:
            raise ValueError("nothing to process: give images, text, or both")
        if return_tensors != "pt":
            raise ValueError(f"return_tensors={return_tensors!r} is not available: use 'pt'")
        if images is None or isinstance(images, BatchFeature):
            inputs = BatchFeature(dict(images or {}))
        else:
            inputs = self.image_processor(images)
        spatial = dict(zip(SPATIAL_PROMPTS, (input_points, input_labels, input_boxes), strict=True))
        if text is None:
            _refuse("text", {**spatial, "semantic": semantic or None, "input_masks": input_masks, "labels": labels})
            return inputs
        if images is None:
            _refuse("images", {**spatial, "labels": labels})

        nest = _nesting(images, text)
        sentences = nest("text", text)
        _check_counts(sentences, None if images is None else len(inputs["original_sizes"]))
        inputs.update(self._encode(sentences, semantic if isinstance(semantic, bool) else nest("semantic", semantic)))
        if images is not None:
            inputs.update(_spatial_prompts(inputs, {name: nest(name, values) for name, values in spatial.items()}))
        if input_masks is not None:
            inputs["input_masks"] = _checked_masks(input_masks, inputs["input_ids"])
        if labels is not None:
            labels = labels if isinstance(images, (list, tuple)) else [labels]
            inputs["labels"] = _target_masks(labels, sentences, inputs["original_sizes"])
        return inputs

    def post_process_referring_segmentation(
        self, outputs: Any, inputs: BatchFeature, mask_threshold: float = 0.0
    ) -> list[dict[str, Tensor]]:
        """Turns the model's outputs into masks at each photo's size.

        Where the model gives several masks for a sentence, the one with the highest score is taken.

        Args:
            outputs: pred_masks (B, P, M, h, w) and iou_scores (B, P, M).
            inputs: what this processor returned; its sizes and attention_mask are used.
            mask_threshold: logits above it are the mask.

        Returns:
            One dict for each photo, with its own number P of sentences: masks (P, H, W) bool; scores (P,), the
            model's own estimate of each mask's IoU; boxes (P, 4), the masks' pixel edges x0, y0, x1, y1, with x1 and
            y1 exclusive, zeros for an empty mask.

        Raises:
            ValueError: logits that are not numbers.
        """
        best = outputs.iou_scores.argmax(dim=-1)  # (B, P)
        present = inputs["attention_mask"].any(dim=-1).to(best.device)  # (B, P)
        results = []
        sizes = zip(inputs["original_sizes"].tolist(), inputs["reshaped_input_sizes"].tolist(), strict=True)
        for photo, (size, reshaped_size) in enumerate(sizes):
            kept = present[photo].nonzero()[:, 0]
            logits = outputs.pred_masks[photo, kept, best[photo, kept]]  # (P_i, h, w)
            if logits.isnan().any():
                raise ValueError(f"photo {photo}: mask logits are not numbers: run the model in bfloat16 or float32")
            masks = self._masks(logits, size, reshaped_size, mask_threshold)
            scores = outputs.iou_scores[photo, kept, best[photo, kept]].float()
            results.append({"masks": masks, "scores": scores, "boxes": _mask_boxes(masks)})
        return results

    def _masks(
        self, logits: Tensor, size: Sequence[int], reshaped_size: Sequence[int], mask_threshold: float
    ) -> Tensor:
        masks = torch.empty(len(logits), *size, dtype=torch.bool, device=logits.device)
        for index in range(len(logits)):  # one by one: photo-sized float logits exist for a single sentence only
            resized = resize_mask_logits(
                logits[index : index + 1],
                size,
                self.image_processor.image_size,
                self.image_processor.image_layout,
                reshaped_size,
            )
            masks[index] = resized[0] > mask_threshold
        return masks

    def _encode(self, sentences: list[list[str]], semantic: bool | list[list[Any]]) -> dict[str, Tensor]:
        rows = []
        for photo, row in enumerate(sentences):
            flags = [semantic] * len(row) if isinstance(semantic, bool) else semantic[photo]
            rows.append(
                [
                    self._token_ids(sentence, flag, _where(photo, index))
                    for index, (sentence, flag) in enumerate(zip(row, flags, strict=True))
                ]
            )
        ones = [[torch.ones_like(ids) for ids in row] for row in rows]
        return {"input_ids": _stack(rows, self.tokenizer.pad_token_id), "attention_mask": _stack(ones, 0)}

    def _token_ids(self, sentence: str, semantic: bool | None, where: str) -> Tensor:
        if not isinstance(sentence, str):
            raise ValueError(f"{where}: {sentence!r} is not a string")
        if semantic not in (True, False, None):
            raise ValueError(f"{where}: semantic must be True or False, got {semantic!r}")
        ids = self._plain_ids(sentence)
        if not ids:
            raise ValueError(f"{where} has no words: {sentence!r}")
        if semantic and not self.semantic_prompts:
            raise ValueError(f"{where}: this checkpoint was not trained for semantic prompts, leave semantic=False")
        if semantic:
            token = self.tokenizer.get_added_vocab().get(SEMANTIC_TOKEN)
            ids = self._plain_ids(f"{SEMANTIC_TOKEN} {sentence}") if token is None else [token, *ids]
        start, end = self.tokenizer("")["input_ids"]  # <s> and </s> in XLM-R, [CLS] and [SEP] in BERT
        limit = self.tokenizer.model_max_length
        if len(ids) + 2 > limit:
            raise ValueError(f"{where} has {len(ids) + 2} tokens, the model reads {limit} at the most: shorten it")
        return torch.tensor([start, *ids, end])

    def _plain_ids(self, sentence: str) -> list[int]:
        """Token ids of user text, without start and end.

        The library's `split_special_tokens` still finds those special tokens that are also pieces of the vocabulary,
        such as "</s>"; cutting a word inside them leaves only ordinary pieces to find.
        """
        backend = self.tokenizer.backend_tokenizer
        if backend.normalizer is not None:
            sentence = backend.normalizer.normalize_str(sentence)
        cuts = (f"(?<={re.escape(name[0])})(?={re.escape(name[1:])})" for name in self.tokenizer.all_special_tokens)
        inside_special = re.compile("|".join(cuts))
        words = (word for word, _ in backend.pre_tokenizer.pre_tokenize_str(sentence))
        parts = (part for word in words for part in inside_special.split(word))
        return [token.id for part in parts for token in backend.model.tokenize(part)]


def _refuse_model_alone(source: Any, subfolder: str) -> None:
    folder = Path(source, subfolder)
    names = ("processor_config.json", "preprocessor_config.json")
    if folder.is_dir() and not any((folder / name).is_file() for name in names):
        raise OSError(
            f"'{folder}' has no processor: save the model's beside it with processor.save_pretrained, or convert the "
            "release again with --tokenizer beit3.spm"
        )


def _where(photo: int, sentence: int) -> str:
    return f"photo {photo}, sentence {sentence}"


def _refuse(missing: str, values: dict[str, Any]) -> None:
    given = [name for name, value in values.items() if value is not None]
    if given:
        raise ValueError(f"{', '.join(given)} need {missing} as well")


def _nesting(images: Any, text: Any) -> Callable[[str, Any], list[list[Any]]]:
    """A function that brings values of the same nesting as `text` into the form [photo][sentence]."""
    if not isinstance(text, (str, list, tuple)):
        raise ValueError(f"text must be a string or a list of them, not {type(text).__name__}")
    nested = isinstance(images, (list, tuple)) or any(isinstance(entry, (list, tuple)) for entry in text)

    def nest(name: str, values: Any) -> list[list[Any]]:
        if isinstance(text, str):
            return [[values]]
        if not nested:
            return [_entries(name, values, len(text), "sentence")]
        rows = zip(_entries(name, values, len(text), "photo"), text, strict=True)
        return [
            _entries(f"{name}, photo {photo}", row, len(sentences), "sentence")
            if isinstance(sentences, (list, tuple))
            else [row]
            for photo, (row, sentences) in enumerate(rows)
        ]

    return nest


def _entries(name: str, values: Any, count: int, unit: str) -> list[Any]:
    if values is None:
        return [None] * count
    if not hasattr(values, "__len__") or len(values) != count:
        raise ValueError(f"{name}: give one entry for each {unit}, {count} in all")
    return list(values)


def _check_counts(sentences: list[list[str]], num_photos: int | None) -> None:
    if num_photos is not None and len(sentences) != num_photos:
        raise ValueError(
            f"text has entries for {len(sentences)} photos, but there are {num_photos}: "
            "for a list of photos give a list with one sentence, or one list of sentences, for each"
        )
    if not any(sentences):
        raise ValueError("text has no sentences: give at least one")


def _stack(rows: list[list[Tensor]], fill: int) -> Tensor:
    """(B, P, *largest size) from the values of P_i sentences of B photos, filled up with `fill`."""
    values = [value for row in rows for value in row]
    size = [max(sides) for sides in zip(*(value.shape for value in values), strict=True)]
    stacked = torch.full((len(rows), max(map(len, rows)), *size), fill, dtype=values[0].dtype)
    for photo, row in enumerate(rows):
        for index, value in enumerate(row):
            stacked[photo, index][tuple(slice(side) for side in value.shape)] = value
    return stacked


def _spatial_prompts(inputs: BatchFeature, prompts: dict[str, list[list[Any]]]) -> dict[str, Tensor]:
    """Points, their labels and boxes, [photo][sentence] in photo pixels, as padded tensors in SAM's view."""
    rows = []
    sizes = zip(inputs["original_sizes"].flip(1), inputs["reshaped_input_sizes"].flip(1), strict=True)
    for photo, (size, view_size) in enumerate(sizes):
        values = zip(*(prompts[name][photo] for name in SPATIAL_PROMPTS), strict=True)
        rows.append(
            [
                _spatial_prompt(*value, size=size, view_size=view_size, where=_where(photo, index))
                for index, value in enumerate(values)
            ]
        )
    stacked = {name: _stack([[value[name] for value in row] for row in rows], PADDING) for name in SPATIAL_PROMPTS}
    return {name: values for name, values in stacked.items() if not torch.all(values == PADDING)}


def _spatial_prompt(
    points: Any, labels: Any, box: Any, *, size: Tensor, view_size: Tensor, where: str
) -> dict[str, Tensor]:
    """Checked and scaled points (n, 2), labels (n,) and box (4,) of one sentence; sizes are (width, height)."""
    xy = _points([] if points is None else points, size, f"{where}: points")
    corners = _corners(box, size, where) * view_size / size if box is not None else torch.full((4,), PADDING)
    return {
        "input_points": (xy * view_size / size).float(),
        "input_labels": _point_labels(labels, len(xy), where),
        "input_boxes": corners.float().flatten(),
    }


def _points(values: Any, size: Tensor, name: str) -> Tensor:
    """(n, 2) coordinates inside a photo of `size` (width, height), float64."""
    try:
        points = torch.as_tensor(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a list of [x, y], both numbers") from None
    if points.numel() == 0:
        return points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name} must be a list of [x, y], not of shape {tuple(points.shape)}")
    outside = ~((points >= 0) & (points <= size)).all(dim=1)  # NaN is outside as well
    if outside.any():
        width, height = size.tolist()
        raise ValueError(f"{name}: {points[outside][0].tolist()} is outside the photo, which is {width} x {height}")
    return points


def _corners(box: Any, size: Tensor, where: str) -> Tensor:
    """(2, 2) corners of a box, top left and bottom right."""
    if not hasattr(box, "__len__") or len(box) != 4:
        raise ValueError(f"{where}: a box must be [x0, y0, x1, y1]")
    corners = _points([list(box[:2]), list(box[2:])], size, f"{where}: box corners")
    if not (corners[0] < corners[1]).all():
        raise ValueError(f"{where}: box {corners.flatten().tolist()} needs x0 < x1 and y0 < y1")
    return corners


def _point_labels(values: Any, count: int, where: str) -> Tensor:
    labels = np.ones(count, dtype=np.int64) if values is None else np.asarray(values)
    if labels.shape != (count,) or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{where}: labels must be 1 or 0 for each of its {count} points")
    return torch.as_tensor(labels.astype(np.int64))


def _checked_masks(masks: Any, input_ids: Tensor) -> Tensor:
    masks = torch.as_tensor(masks)
    if masks.ndim != 5 or masks.shape[:2] != input_ids.shape[:2] or masks.shape[2] != 1:
        photos, sentences = input_ids.shape[:2]
        raise ValueError(f"input_masks {tuple(masks.shape)} must have the shape ({photos}, {sentences}, 1, h, w)")
    return masks


def _target_masks(labels: Any, sentences: list[list[str]], sizes: Tensor) -> list[Tensor]:
    targets = []
    rows = zip(_entries("labels", labels, len(sentences), "photo"), sentences, sizes.tolist(), strict=True)
    for photo, (masks, row, size) in enumerate(rows):
        target = torch.zeros(len(row), *size, dtype=torch.bool)
        for index, mask in enumerate(_entries(f"labels, photo {photo}", masks, len(row), "sentence")):
            mask = np.asarray(mask)
            if mask.shape != tuple(size):
                raise ValueError(
                    f"{_where(photo, index)}: label {mask.shape} must have the photo's size {tuple(size)}"
                )
            target[index] = torch.from_numpy(mask > 0)
        targets.append(target)
    return targets


def _mask_boxes(masks: Tensor) -> Tensor:
    """(P, 4) pixel edges x0, y0, x1, y1 of (P, H, W) masks, zeros for an empty one."""
    boxes = torch.zeros(len(masks), 4)
    for index, mask in enumerate(masks):
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        if len(rows):
            boxes[index] = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return boxes.to(masks.device)
