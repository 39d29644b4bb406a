"""A photo the other way round, with "left" and "right" of its English sentences exchanged."""

import re
from dataclasses import replace

import numpy as np
from PIL import ImageOps

from modeling_evf_sam.data.referring_sample import ReferringSample

PAIRS = [("left", "right"), ("lefthand", "righthand"), ("leftmost", "rightmost"), ("lefty", "righty")]
PAIRS += [("lefter", "righter"), ("leftside", "rightside"), ("leftward", "rightward"), ("leftwards", "rightwards")]
OTHER_SIDE = {word: other for pair in PAIRS for word, other in (pair, pair[::-1])}
# What a mirror makes untrue: writing, numbers, clocks, "right" for "just", and sides that are a person's own.
UNFIT = re.compile(
    r"\d|clock|\b(?:\w*letter\w*|number\w*|text|word\w*|sign|says|saying|reads|reading|written|logo|brand)\b"
    r"|\bright (?:above|after|at|before|behind|below|beneath|beside|by|in|next|on top|over|there|under|up)\b"
    r"|\b(?:her|his|their|its|whose|'s) (?:left|right)\b|\b(?:left|right)[- ](?:arm|eye|foot|hand|leg|shoulder|wing)",
    re.IGNORECASE,
)


def mirrored(sample: ReferringSample) -> ReferringSample | None:
    """The sample as a mirror shows it; None where a sentence could become untrue."""
    if any(UNFIT.search(sentence) or not sentence.isascii() for sentence in sample.sentences):
        return None
    return replace(
        sample,
        photo=ImageOps.mirror(sample.photo),
        sentences=[re.sub(r"[A-Za-z]+", _other_side, sentence) for sentence in sample.sentences],
        masks=np.ascontiguousarray(sample.masks[:, :, ::-1]),
    )


def _other_side(found: re.Match[str]) -> str:
    word = found[0]
    other = OTHER_SIDE.get(word.lower(), word)
    return other.capitalize() if word.istitle() else other.upper() if word.isupper() else other
