"""What the page does, without the page: read a request, segment, keep photos encoded, pack the results."""

import re
import threading
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.demo.marks import Marks, view_of
from modeling_evf_sam.inference.attention_maps import attention_maps
from modeling_evf_sam.inference.drawing import attention_overlay
from modeling_evf_sam.inference.known_limits import photo_warning
from modeling_evf_sam.inference.outlining import COLOURS, draw_masks
from modeling_evf_sam.inference.predictor import EvfSamPredictor
from modeling_evf_sam.inference.segmentation import Segmentation
from modeling_evf_sam.inference.video import EvfSamVideoPredictor
from modeling_evf_sam.photos import open_photo
from modeling_evf_sam.prompts_evf_sam import PRESENT_THRESHOLD
from modeling_evf_sam.segment_video.film import Film
from modeling_evf_sam.segment_video.run import Progress, Summary, segment_video
from modeling_evf_sam.segment_video.walking import Question

MEGABYTE = 2**20
MAX_PHOTO = 20 * MEGABYTE  # bytes
MAX_PIXELS = 25_000_000  # of a photo
MAX_SENTENCES, MAX_CHARACTERS = 8, 300
CACHE_BYTES = 256_000_000  # of encoded photos

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found in a photo, at the size at which the page shows it.

    Attributes:
        sentences: P sentences.
        semantic: P flags: whether every pixel of a category was asked for.
        picture: the masks over the photo, in the colours of the legend.
        legend: what each colour means.
    """

    sentences: list[str]
    semantic: list[bool]
    picture: Image.Image
    legend: list["LegendEntry"]


def read_photo(path: str | Path) -> Image.Image:
    """An uploaded photo, upright and RGB.

    Raises:
        ValueError: it is no image, damaged, or over one of the limits. The message has the file's name, and no path.
    """
    path = Path(path)
    if path.stat().st_size > MAX_PHOTO:
        raise ValueError(f"photo '{path.name}' has more than {MAX_PHOTO // MEGABYTE} MB: make it smaller")
    try:
        return open_photo(path, max_pixels=MAX_PIXELS)
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), path.name)) from error


def read_sentences(text: str) -> list[str]:
    """The sentences of a text, one on each line that is not empty.

    Raises:
        ValueError: none, too many, or too long a one.
    """
    sentences = [line.strip() for line in text.splitlines() if line.strip()]
    if not sentences:
        raise ValueError("There is no sentence: type what to find, one sentence on each line.")
    if len(sentences) > MAX_SENTENCES:
        raise ValueError(f"There are {len(sentences)} sentences: give {MAX_SENTENCES} at the most, one on each line.")
    for number, sentence in enumerate(sentences, start=1):
        if len(sentence) > MAX_CHARACTERS:
            raise ValueError(f"Sentence {number} has {len(sentence)} characters: shorten it to {MAX_CHARACTERS}.")
    return sentences


class LegendEntry(NamedTuple):
    """One line of a legend: a sentence, or one object of several that it means.

    `share` is the part of the photo that the mask covers. `quality`, `presence` and whether it is `present` are of the
    sentence; None of a checkpoint that does not say.
    """

    name: str
    colour: tuple[int, int, int]
    score: float
    share: float
    quality: float | None
    presence: float | None
    present: bool | None


class SharedModel:
    """A model and its processor for several visitors: one computation at a time, and recent photos stay encoded.

    Args:
        model: in evaluation mode, on its device.
        processor: its processor.
        name: what records call the checkpoint.
    """

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor, name: str):
        self.model, self.processor, self.name = model, processor, name
        self.predictor = EvfSamPredictor(model, processor, cache_bytes=CACHE_BYTES)
        self._lock = threading.Lock()

    @property
    def warning(self) -> str | None:
        """One line about what the checkpoint cannot do with photographs, if it cannot."""
        return photo_warning(self.model.config)

    @property
    def knows_categories(self) -> bool:
        """Whether the checkpoint can be asked for every pixel of a category."""
        return self.processor.semantic_prompts

    @property
    def has_attention(self) -> bool:
        """Whether `attention_maps` can say where the model looks for a sentence."""
        config = self.model.config
        return (config.multimodal_config.model_type, config.fusion) == ("beit3", "early")

    def segment(
        self,
        photo: Image.Image,
        sentences: list[str],
        *,
        semantic: bool = False,
        instances: bool = False,
        marks: Marks | None = None,
        always: bool = False,
    ) -> Segmentation:
        """Finds what sentences name; the photo is encoded unless it was lately.

        Args:
            photo: an RGB photo of size (H, W).
            sentences: P sentences.
            semantic: whether every pixel of a category is asked for.
            instances: whether to part each answer into its objects.
            marks: points and a box for all sentences.
            always: whether what is taken not to be there gets a mask, too.

        Raises:
            ValueError: sentences or marks that the processor refuses.
        """
        prompts = (marks or Marks()).prompts(len(sentences))
        with self._lock, _sentences_counted_from_one():
            encoded = self.predictor.encode(photo)
            asked = {
                "semantic": semantic,
                "instances": instances,
                "present_threshold": 0 if always else PRESENT_THRESHOLD,
                **prompts,
            }
            result = self.predictor.predict(sentences, photo=encoded, **asked)
        return Segmentation.from_tensors(result, sentences, semantic, warning=self.warning)

    def follow(
        self, film: Film, sentences: list[str], output: Path, *, semantic: bool = False, progress: Progress
    ) -> Summary:
        """Follows what sentences name through a film; between two frames, photos get their turn.

        Args:
            film: the film.
            sentences: P sentences.
            output: the folder that gets masks.jsonl and overlay.mp4.
            semantic: whether every pixel of a category is asked for.
            progress: as `segment_video` takes it.

        Raises:
            ValueError: sentences that the processor refuses.
        """
        with _sentences_counted_from_one():
            return segment_video(
                EvfSamVideoPredictor(self.model, self.processor),
                film,
                Question(sentences=sentences, semantic=semantic),
                output,
                settings={"model": self.name},
                progress=lambda items, name, count: progress(self._in_turns(items), name, count),
            )

    def _in_turns(self, items: Iterable[T]) -> Iterator[T]:
        """Yields what is computed step by step, each step while nothing else is."""
        steps = iter(items)
        while True:
            with self._lock:
                try:
                    item = next(steps)
                except StopIteration:
                    return
            yield item

    def attention_pictures(self, photo: Image.Image, found: Found) -> list[tuple[Image.Image, str]]:
        """Where the encoder looked in a photo, for each sentence, with the sentence."""
        inputs = self.processor(images=photo, text=found.sentences, semantic=found.semantic)
        with self._lock:
            attention = attention_maps(self.model, inputs.to(self.model.device))[0].cpu().numpy()
        view = view_of(photo)
        return [(attention_overlay(view, own), text) for own, text in zip(attention, found.sentences, strict=True)]


@contextmanager
def _sentences_counted_from_one() -> Iterator[None]:
    """Makes "photo 0, sentence 1" of the processor's messages "Sentence 2"."""
    try:
        yield
    except ValueError as error:
        message = re.sub(r"photo 0, sentence (\d+)", lambda found: f"Sentence {int(found[1]) + 1}", str(error))
        raise ValueError(message) from error


def summarize(photo: Image.Image, result: Segmentation) -> Found:
    """Draws a result at the size at which the page shows it."""
    view, parts = view_of(photo), result.parts()
    masks = [np.asarray(Image.fromarray(part.mask).resize(view.size)) for part in parts]
    colours = list(islice(cycle(COLOURS), len(parts)))
    known = [
        [None] * len(result.sentences) if values is None else values.tolist()
        for values in (result.quality, result.presence, result.present)
    ]
    legend = [
        LegendEntry(part.name, colour, part.score, float(mask.mean()), *(values[part.sentence] for values in known))
        for part, colour, mask in zip(parts, colours, masks, strict=True)
    ]
    picture = draw_masks(view, np.stack(masks), colours).resize(view.size)  # which may have been enlarged
    return Found(sentences=result.sentences, semantic=result.semantic, picture=picture, legend=legend)


def pack(path: Path, photo: Image.Image, result: Segmentation, *, name: str, model: str) -> Path:
    """Writes a zip file with what `evf-sam segment` writes: mask files, overlay.png and result.json.

    Args:
        path: the file to write.
        photo: an RGB photo of size (H, W).
        result: what `SharedModel.segment` returned for it.
        name: what the record calls the photo.
        model: what it calls the checkpoint.
    """
    with TemporaryDirectory() as folder, zipfile.ZipFile(path, "w") as archive:
        result.save(folder, photo, name=name, model=model)
        for file in sorted(Path(folder).iterdir()):
            archive.write(file, file.name)
    return path
