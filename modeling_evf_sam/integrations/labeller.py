"""What all doors open to: a photo and sentences in, labelled masks out."""

from collections.abc import Sequence

from modeling_evf_sam.annotations.annotation import Annotation, Least, annotate
from modeling_evf_sam.inference.loading import load_model
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.photos import Photo, to_rgb


class Labeller:
    """A checkpoint that finds what sentences name, object by object.

    Args:
        model: a folder, a Hub id, or the name of the embedded checkpoint.
        device: a torch device; None takes a GPU where there is one.
        dtype: what to compute in; None takes what is fast there.

    Raises:
        ValueError: no such checkpoint, or a device or dtype that cannot be used.
    """

    def __init__(self, model: str = "rendered_scenes", device: str | None = None, dtype: str | None = None):
        self.model, self.processor = load_model(find_checkpoint(model), device or None, dtype or None)

    def __call__(self, photo: Photo, sentences: Sequence[str], least: Least = Least()) -> list[Annotation]:  # noqa: B008
        """All objects of each sentence that are there, surest first; their labels are the sentences."""
        semantic = [[self.processor.semantic_prompts] * len(sentences)]
        asked = ([to_rgb(photo)], [list(sentences)])
        (found,) = segment(self.model, self.processor, *asked, semantic=semantic, instances=True)
        return annotate(found.record()["masks"], least)


def find_checkpoint(name: str) -> str:
    """A folder or a Hub id; the name of the embedded checkpoint becomes its folder."""
    from modeling_evf_sam import DEFAULT_CHECKPOINT

    return str(DEFAULT_CHECKPOINT) if name == "rendered_scenes" else name


def read_sentences(text: str) -> list[str]:
    """The sentences of a text, one on each line or between semicolons.

    Raises:
        ValueError: there are none.
    """
    sentences = [part.strip() for line in text.splitlines() for part in line.split(";") if part.strip()]
    if not sentences:
        raise ValueError("there is no sentence: write some, one on each line or with semicolons between them")
    return list(dict.fromkeys(sentences))
