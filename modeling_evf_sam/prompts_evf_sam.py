"""Sentences with their points, boxes and target masks: from what a user gives to checked and padded arrays.

Nothing here needs torch: what was exported is asked in the same way.

Shapes: B photos, P sentences at the most for one photo, L tokens, n points.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .quoting import quoted

PADDING = -10  # a point, its label, or a box that is not there, as in transformers' SAM
SEMANTIC_TOKEN = "[semantic]"
PRESENT_THRESHOLD = 0.4  # below a half: what is asked for is there more often than not
SPATIAL_PROMPTS = ("input_points", "input_labels", "input_boxes")
FULL_VIEW = (
    1024  # pixels; memory that is enough for one photo with a view of this side bounds what is computed at once
)
FULL_VIEW_SENTENCES = 8  # to read
FULL_VIEW_MASKS = 4  # to decode; more at a time leave the cache of a CPU


def at_a_time(view_size: int, full_size: int = 1) -> int:
    """Photos or sentences to compute at a time, of which `full_size` fit where the view is 1024 x 1024."""
    return max(1, full_size * FULL_VIEW**2 // view_size**2)


def slices(count: int, size: int) -> list[slice]:
    """Slices of `size` that make up `count`; an empty one for nothing."""
    return [slice(start, start + size) for start in range(0, max(1, count), size)]


def where(photo: int, sentence: int) -> str:
    """How messages call a sentence."""
    return f"photo {photo}, sentence {sentence}"


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """How sentences become tokens.

    Attributes:
        backend: a `tokenizers.Tokenizer`.
        special: names of its special tokens.
        start: id of the token before each sentence.
        end: id of the token after it.
        pad: id of the padding.
        semantic: id of the added token `SEMANTIC_TOKEN`; None where it is cut into pieces as other text is.
        semantic_prompts: whether the checkpoint was trained on prompts for every pixel of a category.
        limit: tokens of a sentence at the most, its start and end included.
    """

    backend: Any
    special: Sequence[str]
    start: int
    end: int
    pad: int
    semantic: int | None
    semantic_prompts: bool
    limit: int

    def encode(
        self, sentences: list[list[str]], flags: list[list[Any]], *, cut_at: int | None = None, least: int = 0
    ) -> dict[str, np.ndarray]:
        """Tokens (B, P, L) of sentences [photo][sentence], and their mask.

        Args:
            sentences: any characters; a special token's name in them is plain text.
            flags: for each sentence whether every pixel of a category is asked for.
            cut_at: tokens to cut a longer sentence at, rather than to refuse it.
            least: what L is at the least.

        Raises:
            ValueError: no text, no words, too many of them, or a flag that the checkpoint was not trained for; the
                message names the photo and sentence.
        """
        rows = [
            [
                self._ids(sentence, flag, cut_at, where(photo, index))
                for index, (sentence, flag) in enumerate(zip(row, own, strict=True))
            ]
            for photo, (row, own) in enumerate(zip(sentences, flags, strict=True))
        ]
        ones = [[np.ones_like(ids) for ids in row] for row in rows]
        return {"input_ids": stack(rows, self.pad, least), "attention_mask": stack(ones, 0, least)}

    def _ids(self, sentence: str, semantic: bool | None, cut_at: int | None, name: str) -> np.ndarray:
        if not isinstance(sentence, str):
            raise ValueError(f"{name}: {quoted(sentence)} is not a string")
        check_flag(name, semantic)
        ids = self._plain_ids(sentence)
        if not ids:
            raise ValueError(f"{name} has no words: {quoted(sentence)}")
        if semantic and not self.semantic_prompts:
            raise ValueError(f"{name}: this checkpoint was not trained for semantic prompts, leave semantic=False")
        if semantic:
            whole = self.semantic is not None
            ids = [self.semantic, *ids] if whole else self._plain_ids(f"{SEMANTIC_TOKEN} {sentence}")
        if cut_at is not None:
            ids = ids[: cut_at - 2]
        if len(ids) + 2 > self.limit:
            raise ValueError(f"{name} has {len(ids) + 2} tokens, the model reads {self.limit} at the most: shorten it")
        return np.array([self.start, *ids, self.end])

    def _plain_ids(self, sentence: str) -> list[Any]:
        """Token ids of user text, without start and end.

        The library's `split_special_tokens` still finds those special tokens that are also pieces of the vocabulary,
        such as "</s>"; cutting a word inside them leaves only ordinary pieces to find.
        """
        if self.backend.normalizer is not None:
            sentence = self.backend.normalizer.normalize_str(sentence)
        cuts = (f"(?<={re.escape(name[0])})(?={re.escape(name[1:])})" for name in self.special)
        inside_special = re.compile("|".join(cuts))
        words = (word for word, _ in self.backend.pre_tokenizer.pre_tokenize_str(sentence))
        parts = (part for word in words for part in inside_special.split(word))
        return [token.id for part in parts for token in self.backend.model.tokenize(part)]


def check_flag(name: str, semantic: Any) -> None:
    """Refuses what does not say whether every pixel of a category is asked for; `name` is the sentence's."""
    if getattr(semantic, "ndim", 0) or semantic not in (True, False, None):
        raise ValueError(f"{name}: semantic must be True or False, got {quoted(semantic)}")


def nesting(images: Any, text: Any) -> Callable[[str, Any], list[list[Any]]]:
    """A function of a name and values that brings values of the same nesting as `text` into [photo][sentence].

    Raises:
        ValueError: `text` is neither a sentence nor a list; or, from the function, there are not as many values.
    """
    if not isinstance(text, (str, list, tuple)):
        raise ValueError(f"text must be a string or a list of them, not {type(text).__name__}")
    nested = isinstance(images, (list, tuple)) or any(isinstance(entry, (list, tuple)) for entry in text)

    def nest(name: str, values: Any) -> list[list[Any]]:
        if isinstance(text, str):
            return [[values]]
        if not nested:
            return [entries(name, values, len(text), "sentence")]
        rows = zip(entries(name, values, len(text), "photo"), text, strict=True)
        return [
            entries(f"{name}, photo {photo}", row, len(sentences), "sentence")
            if isinstance(sentences, (list, tuple))
            else [row]
            for photo, (row, sentences) in enumerate(rows)
        ]

    return nest


def entries(name: str, values: Any, count: int, unit: str) -> list[Any]:
    """`values` as a list of `count`; None stands for none of them.

    Raises:
        ValueError: they are not as many.
    """
    if values is None:
        return [None] * count
    if not has_entries(values) or len(values) != count:
        raise ValueError(f"{name}: give one entry for each {unit}, {count} in all")
    return list(values)


def has_entries(values: Any) -> bool:
    """Whether these are several, in a list or an array."""
    return hasattr(values, "__len__") and getattr(values, "ndim", 1) > 0 and not isinstance(values, (str, dict))


def refuse(missing: str, values: dict[str, Any]) -> None:
    """Refuse values that mean nothing without what is missing; None is no value."""
    given = [name for name, value in values.items() if value is not None]
    if given:
        raise ValueError(f"{', '.join(given)} need {missing} as well")


def check_counts(sentences: list[list[str]], num_photos: int | None) -> None:
    """Refuse sentences [photo][sentence] of another number of photos, and none at all."""
    if num_photos is not None and len(sentences) != num_photos:
        raise ValueError(
            f"text has entries for {len(sentences)} photos, but there are {num_photos}: "
            "for a list of photos give a list with one sentence, or one list of sentences, for each"
        )
    if not any(sentences):
        raise ValueError("text has no sentences: give at least one")


def check_depth(name: str, values: Any, form: str, depth: int) -> None:
    """Refuse lists in too many lists, or in too few.

    Args:
        name: what messages call the values.
        values: numbers in nested lists, arrays or tensors.
        form: how they should look.
        depth: how many lists are in each other.
    """
    found = _depth(values)
    if found != depth:
        levels = abs(found - depth)
        excess = f"{levels} level{'s'[: levels - 1]} too {'many' if found > depth else 'few'}"
        raise ValueError(f"{name} for one sentence is {form}, got {_described(values)}: {excess}")


def _depth(values: Any) -> int:
    if hasattr(values, "ndim"):
        return values.ndim
    if not isinstance(values, (list, tuple)):
        return 0
    return 1 + max(map(_depth, values), default=0)


def check_thresholds(**thresholds: Any) -> None:
    """Refuses thresholds that are no numbers, or not finite ones.

    Raises:
        ValueError: one is not.
    """
    for name, value in thresholds.items():
        number = _numbers(value)
        if number is None or number.ndim or not abs(number) < 2**63:  # NaN, too; torch compares with nothing longer
            raise ValueError(f"{name} is {quoted(value)}: give a finite number")


def _described(values: Any) -> str:
    if hasattr(values, "shape"):
        return f"an array of shape {tuple(values.shape)}"
    return quoted(values)


def stack(rows: list[list[np.ndarray]], fill: int, least: int = 0) -> np.ndarray:
    """(B, P, *largest size) from the values of P_i sentences of B photos, filled up with `fill`.

    Args:
        rows: [photo][sentence], arrays of as many dimensions as each other.
        fill: the value of absent sentences and of what is short.
        least: what the first size is at the least.
    """
    values = [value for row in rows for value in row]
    size = [max(sides) for sides in zip(*(value.shape for value in values), strict=True)]
    size[0] = max(size[0], least)
    stacked = np.full((len(rows), max(map(len, rows)), *size), fill, dtype=values[0].dtype)
    for photo, row in enumerate(rows):
        for index, value in enumerate(row):
            stacked[photo, index][tuple(slice(side) for side in value.shape)] = value
    return stacked


def spatial_prompts(prompts: Mapping[str, list[list[Any]]], sizes: Any, view_sizes: Any) -> dict[str, np.ndarray]:
    """Scale the prompts of B photos with P sentences at the most.

    Args:
        prompts: for each name in `SPATIAL_PROMPTS`, what was given, [photo][sentence]; None for nothing.
        sizes: (B, 2) height and width of the photos.
        view_sizes: (B, 2) height and width that they take up in SAM's view.

    Returns:
        input_points (B, P, n, 2), input_labels (B, P, n) and input_boxes (B, P, 4), -10 where absent; those that
        there are.

    Raises:
        ValueError: bad values; the message names the photo and sentence.
    """
    rows = []
    widths_first = (np.flip(np.asarray(given), 1) for given in (sizes, view_sizes))
    for photo, (size, view_size) in enumerate(zip(*widths_first, strict=True)):
        values = zip(*(prompts[name][photo] for name in SPATIAL_PROMPTS), strict=True)
        rows.append(
            [
                _spatial_prompt(*value, size=size, view_size=view_size, name=where(photo, index))
                for index, value in enumerate(values)
            ]
        )
    stacked = {name: stack([[value[name] for value in row] for row in rows], PADDING) for name in SPATIAL_PROMPTS}
    return {name: values for name, values in stacked.items() if (values != PADDING).any()}


def _spatial_prompt(
    points: Any, labels: Any, box: Any, *, size: np.ndarray, view_size: np.ndarray, name: str
) -> dict[str, np.ndarray]:
    """Checked and scaled points (n, 2), labels (n,) and box (4,) of one sentence; sizes are (width, height)."""
    xy = _points(points, size, name)
    corners = _corners(box, size, name) * view_size / size if box is not None else np.full(4, PADDING)
    return {
        "input_points": (xy * view_size / size).astype(np.float32),
        "input_labels": _point_labels(labels, len(xy), name),
        "input_boxes": corners.astype(np.float32).flatten(),
    }


def _points(values: Any, size: np.ndarray, name: str) -> np.ndarray:
    """(n, 2) coordinates inside a photo of `size` (width, height), float64."""
    if values is None or (has_entries(values) and len(values) == 0):
        return np.zeros((0, 2))
    check_depth(f"{name}: input_points", values, "[[x, y], ...]", 2)
    return _inside(values, size, f"{name}: points")


def _array(values: Any) -> np.ndarray | None:
    """An array of whatever they stand in; None for what cannot be one."""
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
            values = values.double() if values.is_floating_point() else values
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # of ragged lists, or tensors without values
        return None


def _numbers(values: Any) -> np.ndarray | None:
    """An array of numbers, whatever they stand in; None for words, flags, and what no number of the machine can be."""
    array = _array(values)
    if array is None:
        return None
    flags = any(isinstance(value, (bool, np.bool_)) for value in _leaves(values))
    return array.astype(np.float64) if array.dtype.kind in "iuf" and not flags else None


def _leaves(values: Any) -> Iterator[Any]:
    """What stands in nested lists."""
    for value in values if isinstance(values, (list, tuple)) else ():
        yield from _leaves(value) if isinstance(value, (list, tuple)) else (value,)


def _inside(values: Any, size: np.ndarray, name: str) -> np.ndarray:
    points = _numbers(values)
    if points is None:
        raise ValueError(f"{name} must be a list of [x, y], both numbers")
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name} must be a list of [x, y], not of shape {points.shape}")
    outside = ~((points >= 0) & (points <= size)).all(axis=1)  # NaN is outside as well
    if outside.any():
        width, height = size.tolist()
        raise ValueError(f"{name}: {points[outside][0].tolist()} is outside the photo, which is {width} x {height}")
    return points


def _corners(box: Any, size: np.ndarray, name: str) -> np.ndarray:
    """(2, 2) corners of a box, top left and bottom right."""
    check_depth(f"{name}: input_boxes", box, "[x0, y0, x1, y1]", 1)
    if len(box) != 4:
        raise ValueError(f"{name}: a box must be [x0, y0, x1, y1], got {len(box)} numbers")
    corners = _inside([list(box[:2]), list(box[2:])], size, f"{name}: box corners")
    if not (corners[0] < corners[1]).all():
        raise ValueError(f"{name}: box {corners.flatten().tolist()} needs x0 < x1 and y0 < y1")
    return corners


def _point_labels(values: Any, count: int, name: str) -> np.ndarray:
    if values is None:
        return np.ones(count, dtype=np.int64)
    check_depth(f"{name}: input_labels", values, "[1 or 0 for each point]", 1)
    labels = _numbers(values)
    if labels is None or labels.shape != (count,) or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{name}: labels must be 1 or 0 for each of its {count} points")
    return labels.astype(np.int64)


def check_masks(shape: tuple[int, ...], num_photos: int, num_sentences: int, view_size: int) -> None:
    """Refuse masks for the decoder to start from unless they are (B, P, 1, S / 4, S / 4)."""
    wanted = (num_photos, num_sentences, 1, view_size // 4, view_size // 4)
    if tuple(shape) != wanted:
        raise ValueError(f"input_masks {tuple(shape)} must have the shape {wanted}, as pred_masks have it")


def target_masks(labels: Any, sentences: list[list[str]], sizes: list[list[int]]) -> list[np.ndarray]:
    """Target masks (P, H, W) bool of photos of these sizes, from arrays or tensors that are above zero on the object.

    Raises:
        ValueError: they are not one for each sentence, or not of the photo's size.
    """
    targets = []
    rows = zip(entries("labels", labels, len(sentences), "photo"), sentences, sizes, strict=True)
    for photo, (masks, row, size) in enumerate(rows):
        target = np.zeros((len(row), *size), dtype=bool)
        for index, mask in enumerate(entries(f"labels, photo {photo}", masks, len(row), "sentence")):
            mask = _array(mask)
            if mask is None or mask.dtype.kind not in "biuf":
                raise ValueError(f"{where(photo, index)}: a label is an array of numbers")
            if mask.shape != tuple(size):
                raise ValueError(f"{where(photo, index)}: label {mask.shape} must have the photo's size {tuple(size)}")
            target[index] = mask > 0
        targets.append(target)
    return targets
