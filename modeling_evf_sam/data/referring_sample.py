"""What every dataset yields: a photo with sentences and the masks they mean."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image


@dataclass(kw_only=True)
class ReferringSample:
    """One photo with P sentences.

    Attributes:
        photo: RGB photo of size (H, W).
        sentences: P sentences, without the `[semantic]` prefix.
        masks: (P, H, W) bool, the pixels that each sentence means.
        semantic: for each sentence, whether it asks for every pixel of a category instead of one object.
        kinds: for each sentence, the group it is scored in ("attribute", "relation", ...); empty where there are none.
        name: which photo it is, such as the path of its file, for reports.
    """

    photo: Image.Image
    sentences: list[str]
    masks: np.ndarray
    semantic: list[bool]
    kinds: list[str] = field(default_factory=list)
    name: str = ""
