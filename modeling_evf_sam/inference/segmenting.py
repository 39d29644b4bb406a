"""From photos and sentences to masks in one call."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modeling_evf_sam.inference.arrays import as_numpy, without_gradients
from modeling_evf_sam.inference.combining import Combination, Names, combine
from modeling_evf_sam.inference.instances import find_instances
from modeling_evf_sam.inference.known_limits import check_whole, photo_warning
from modeling_evf_sam.inference.segmentation import Segmentation
from modeling_evf_sam.photos import Photo
from modeling_evf_sam.prompts_evf_sam import PRESENT_THRESHOLD

if TYPE_CHECKING:
    from modeling_evf_sam.inference.backends import AnyModel, AnyProcessor


def segment(
    model: "AnyModel",
    processor: "AnyProcessor",
    photos: Sequence[Photo],
    sentences: Sequence[Sequence[str]],
    *,
    semantic: bool | Sequence = False,
    points: Sequence | None = None,
    point_labels: Sequence | None = None,
    boxes: Sequence | None = None,
    any_of: Names = None,
    exclude: Names = None,
    mask_threshold: float = 0.0,
    present_threshold: float = PRESENT_THRESHOLD,
    instances: bool = False,
    label_map: bool = False,
    attention: bool = False,
) -> list[Segmentation]:
    """Segments what sentences name in photos, in one forward; each photo is encoded once.

    Lists are nested by photo and by sentence; None in them stands for no value.

    Args:
        model: in evaluation mode, on any device; or an exported one.
        processor: the model's own.
        photos: B of them, of any sizes.
        sentences: for each photo a list.
        semantic: for each photo a list of flags, or one flag for all: whether every pixel of a category is asked for.
        points: for each sentence a list of [x, y] in photo pixels.
        point_labels: for each sentence a list with 1 (on the object, the default) or 0 (beside it) for each point.
        boxes: for each sentence one [x0, y0, x1, y1] in photo pixels.
        any_of: for each sentence a name, or a list of names, that it means too; or one name for all sentences.
        exclude: for each sentence a name, or a list of names, that it does not mean: their pixels are those where
            they are surer; or one name for all sentences.
        mask_threshold: logits above it are the mask.
        present_threshold: at less presence a mask is empty; 0 keeps all. Without a presence head it says nothing.
        instances: whether to part each answer into its objects, too.
        label_map: whether to say which sentence is surest of each pixel, too.
        attention: whether to say where the encoder looked, too.

    Returns:
        One `Segmentation` for each photo.

    Raises:
        ValueError: bad photos or prompts, named by number; or attention of an encoder that has none, and
            attention or instances of an exported model.
    """
    rows = [list(row) for row in sentences]
    spatial = {"input_points": points, "input_labels": point_labels, "input_boxes": boxes}
    prompts, names = combine({"text": rows, "semantic": semantic, **spatial}, any_of=any_of, exclude=exclude)
    inputs = processor(images=list(photos), **prompts)
    _, results = predict(
        model,
        processor,
        inputs,
        names=names,
        mask_threshold=mask_threshold,
        present_threshold=present_threshold,
        instances=instances,
        label_map=label_map,
    )
    found = []
    maps = _attention_maps(model, inputs) if attention else None
    for index, (result, row) in enumerate(zip(results, rows, strict=True)):
        more = {"attention": None if maps is None else maps[index, : len(row)], "warning": photo_warning(model.config)}
        flags = semantic if isinstance(semantic, bool) else semantic[index]
        found.append(Segmentation.from_tensors(result, row, flags, **more))
    return found


def _attention_maps(model: Any, inputs: Any) -> Any:
    check_whole(model, "attention")
    from modeling_evf_sam.inference.attention_maps import attention_maps  # needs torch

    return as_numpy(attention_maps(model, inputs))


def predict(
    model: "AnyModel",
    processor: "AnyProcessor",
    inputs: Any,
    *,
    names: Combination | None = None,
    mask_threshold: float = 0.0,
    present_threshold: float = PRESENT_THRESHOLD,
    instances: bool = False,
    label_map: bool = False,
    **given: Any,
) -> tuple[Any, list[dict[str, Any]]]:
    """The forward and its post-processing, on inputs that are prepared.

    Args:
        model: in evaluation mode, on any device.
        processor: the model's own.
        inputs: what the processor returned; tensors are moved to the model's device.
        names: which of the sentences are names that belong to others.
        mask_threshold: logits above it are the mask.
        present_threshold: at less presence a mask is empty.
        instances: whether to part each answer into its objects, too.
        label_map: whether to say which sentence is surest of each pixel, too.
        **given: further inputs, such as image_embeddings of a photo that is encoded.

    Returns:
        What the model said; and for each photo the dict of `EvfSamProcessor.post_process_referring_segmentation`,
        with "instances", as `find_instances` gives them, and "label_map", as
        `EvfSamProcessor.post_process_semantic_segmentation` gives it, where they were asked for.
    """
    inputs = inputs.to(model.device)
    with without_gradients():
        outputs = model(**inputs, **given)
    answers, asked = outputs, inputs
    if names is not None:
        answers, asked = names.apply(outputs, inputs, mask_threshold, present_threshold)
    thresholds: dict[str, Any] = {"mask_threshold": mask_threshold, "present_threshold": present_threshold}
    results: list[dict[str, Any]] = processor.post_process_referring_segmentation(answers, asked, **thresholds)
    more: dict[str, list] = {}
    if instances:
        more["instances"] = find_instances(model, processor, inputs, outputs.image_embeddings, results)
    if label_map:
        more["label_map"] = processor.post_process_semantic_segmentation(answers, asked, **thresholds)
    for name, values in more.items():
        for result, value in zip(results, values, strict=True):
            result[name] = value
    return outputs, results


__all__ = ["predict", "segment"]
