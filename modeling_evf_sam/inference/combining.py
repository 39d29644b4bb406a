"""Several names in one answer: names that a sentence means too, and names that it does not mean.

They are read behind the sentences of their photo. Then logits are compared as the decoder gives them, before
thresholds and sizes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from modeling_evf_sam.inference.arrays import as_numpy, library
from modeling_evf_sam.prompts_evf_sam import SPATIAL_PROMPTS, check_flag, check_thresholds, entries
from modeling_evf_sam.quoting import quoted

Names = str | Sequence | None  # nested by photo and by sentence: a name or a list of names; or one name for all


@dataclass
class Combination:
    """Which names belong to which sentences.

    Attributes:
        parts: for each photo and each of its sentences, the numbers of the names that it means too, and of those that
            it does not mean; the first name of a photo has the number that follows on its last sentence.
    """

    parts: list[list[tuple[list[int], list[int]]]]

    def apply(self, outputs: Any, inputs: Any, mask_threshold: float, present_threshold: float) -> tuple[Any, Any]:
        """Puts what was said of the names into what was said of their sentences.

        A pixel belongs to a sentence where the sentence, or a name that it means too, is above the threshold, and no
        name that it does not mean is higher. Names that are not in the photo have no say. The score of an answer of
        several names is the lowest of theirs, its presence the highest.

        Args:
            outputs: what the model said of sentences and names, with one mask for each: tensors or numpy arrays.
            inputs: what it was given.
            mask_threshold: logits above it are the mask.
            present_threshold: at this presence or more, a name is in the photo.

        Returns:
            Outputs with the combined values for the sentences; and the inputs, in which the names are absent.

        Raises:
            ValueError: a threshold is no finite number.
        """
        check_thresholds(mask_threshold=mask_threshold, present_threshold=present_threshold)
        said = {name: outputs[name] for name in WAYS if outputs.get(name) is not None}
        combined = {name: values + 0 for name, values in said.items()}  # copies
        present = np.ones(said["iou_scores"].shape[:2], dtype=bool)
        if "presence_logits" in said:
            present = 1 / (1 + np.exp(-as_numpy(said["presence_logits"]))) >= present_threshold
        attention_mask = inputs["attention_mask"] + 0
        for photo, row in enumerate(self.parts):
            attention_mask[photo, len(row) :] = 0
            for sentence, (added, removed) in enumerate(row):
                together = [number for number in (sentence, *added) if present[photo, number]] or [sentence]
                for name, values in said.items():
                    combined[name][photo, sentence] = WAYS[name](values[photo, together])
                apart = [number for number in removed if present[photo, number]]
                if apart:
                    logits = combined["pred_masks"][photo, sentence]  # (1, h, w)
                    lead = logits - _highest(said["pred_masks"][photo, apart])
                    within = library(logits).minimum(logits, lead + mask_threshold)
                    combined["pred_masks"][photo, sentence] = within
        return type(outputs)(**{**outputs, **combined}), type(inputs)({**inputs, "attention_mask": attention_mask})


def _lowest(values: Any) -> Any:
    return library(values).amin(values, 0)


def _highest(values: Any) -> Any:
    return library(values).amax(values, 0)


# output -> what becomes of the values (n, ...) of names that are one answer
WAYS = {"pred_masks": _highest, "iou_scores": _lowest, "quality": _lowest, "presence_logits": _highest}


def combine(prompts: Mapping[str, Any], *, any_of: Names, exclude: Names) -> tuple[dict[str, Any], Combination | None]:
    """Puts names behind the sentences of each photo. A name is asked for as its sentence is, without points and box.

    Args:
        prompts: text, semantic and `SPATIAL_PROMPTS`, as the processor takes them, nested by photo and by sentence.
        any_of: names that a sentence means too.
        exclude: names that it does not mean.

    Returns:
        The prompts with the names; and which belong to which sentences, or None where there are no names.

    Raises:
        ValueError: lists that do not fit the sentences.
    """
    if any_of is None and exclude is None:
        return dict(prompts), None
    sentences, semantic = prompts["text"], prompts["semantic"]
    if semantic is None or isinstance(semantic, bool):
        semantic = [[semantic] * len(row) for row in sentences]
    semantic = _as_sentences("semantic", semantic, sentences)
    names = _nested("any_of", any_of, sentences), _nested("exclude", exclude, sentences)
    rows, flags, parts = [], [], []
    for own, asked, added, removed in zip(sentences, semantic, *names, strict=True):
        plus, minus = _asked_alike(added, asked), _asked_alike(removed, asked)
        numbers = {name: number for number, name in enumerate(dict.fromkeys(chain(*plus, *minus)), start=len(own))}
        rows.append([*own, *(name for name, _ in numbers)])
        flags.append([*asked, *(flag for _, flag in numbers)])
        plus_numbers, minus_numbers = ([[numbers[name] for name in some] for some in both] for both in (plus, minus))
        parts.append(list(zip(plus_numbers, minus_numbers, strict=True)))
    spatial = {name: prompts[name] for name in SPATIAL_PROMPTS}
    for name, values in spatial.items():
        if values is not None:
            given = zip(_as_sentences(name, values, sentences), rows, strict=True)
            spatial[name] = [[*own, *[None] * (len(row) - len(own))] for own, row in given]
    return {"text": rows, "semantic": flags, **spatial}, Combination(parts)


def _nested(kind: str, names: Names, sentences: Sequence[Sequence[str]]) -> list[list[list[str]]]:
    """For each photo and each sentence a list of names."""
    per_photo = [names] * len(sentences) if isinstance(names, str) else names
    if per_photo is not None:
        pairs = zip(entries(kind, per_photo, len(sentences), "photo"), sentences, strict=True)
        per_photo = [[row] * len(own) if isinstance(row, str) else row for row, own in pairs]
    return [[_listed(kind, value) for value in row] for row in _as_sentences(kind, per_photo, sentences)]


def _asked_alike(names: list[list[str]], flags: Sequence) -> list[list[tuple[str, Any]]]:
    """Each name with the flag of its sentence."""
    for sentence, flag in enumerate(flags):
        check_flag(f"sentence {sentence}", flag)
    return [[(name, flag) for name in some] for some, flag in zip(names, flags, strict=True)]


def _listed(kind: str, value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"{kind}: give a name, a list of names, or None for each sentence, not {quoted(value)}")
    return list(names)


def _as_sentences(kind: str, values: Sequence | None, sentences: Sequence[Sequence[str]]) -> list[list[Any]]:
    """Values that are nested by photo and by sentence, None where there are none."""
    rows = zip(entries(kind, values, len(sentences), "photo"), sentences, strict=True)
    return [entries(f"{kind}, photo {photo}", row, len(own), "sentence") for photo, (row, own) in enumerate(rows)]
