"""Photos, sentences, points, boxes and target masks -> the model's tensors; and its logits -> masks."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_utils import BatchFeature
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin

from .checked_loading import one_error
from .configuration_evf_sam import EvfSamConfig
from .image_processing_evf_sam import (
    MULTIMODAL_VIEWS,
    EvfSamImageProcessor,
    EvfSamImageProcessorKwargs,
    resize_mask_logits,
)
from .photos import Photo
from .pretrained_evf_sam import HOOKS, PushCodeMixin
from .prompts_evf_sam import (
    PRESENT_THRESHOLD,
    SEMANTIC_TOKEN,
    SPATIAL_PROMPTS,
    Tokens,
    check_counts,
    check_masks,
    check_thresholds,
    nesting,
    refuse,
    spatial_prompts,
    target_masks,
)
from .sam_models import present_sentences


class EvfSamTextKwargs(TypedDict, total=False):
    """How sentences become tokens.

    Attributes:
        padding: sentences are filled up to the longest; with "max_length" at least to `max_length`.
        max_length: tokens of a sentence, its start and end included; default and bound: the tokenizer's
            `model_max_length`.
        truncation: cut what is longer, rather than to refuse it.
        return_tensors: "pt" or "np".
    """

    padding: bool | str | None
    max_length: int | None
    truncation: bool | str | None
    return_tensors: str | None


class EvfSamProcessorKwargs(ProcessingKwargs, total=False):  # type: ignore[call-arg]
    """Settings of `EvfSamProcessor.__call__`, flat or by kind."""

    text_kwargs: EvfSamTextKwargs
    images_kwargs: EvfSamImageProcessorKwargs

    _defaults = {  # noqa: RUF012 - a plain dict, as the library declares it
        "text_kwargs": {"padding": True, "truncation": False},
        "common_kwargs": {"return_tensors": "pt"},
    }


class _Answers(NamedTuple):
    """What was said of one photo's sentences, P of them: (P,) scores, quality and presence, and logits P times (H, W).

    At the photo's size, logits exist for a single sentence only.
    """

    scores: Tensor
    quality: Tensor | None
    presence: Tensor | None
    masks_shape: tuple[int, ...]
    logits: Iterator[Tensor]


class EvfSamProcessor(PushCodeMixin, ProcessorMixin):
    """Prepares photos and sentences for `EvfSamModel`, and turns its outputs into masks.

    Args:
        image_processor: an `EvfSamImageProcessor`.
        tokenizer: the multimodal encoder's tokenizer, of the `tokenizers` backend (for BEIT-3 `XLMRobertaTokenizer`,
            for CLIP `CLIPTokenizer`, for ViLT `BertTokenizer`). It has a padding token and puts one token before and
            one after a sentence; its `model_max_length` bounds a sentence.
        semantic_prompts: whether the checkpoint was trained on prompts for every pixel of a category.
    """

    valid_processor_kwargs = EvfSamProcessorKwargs

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
            with one_error(pretrained_model_name_or_path):
                return super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        return cls.from_config(EvfSamConfig(**release.config_dict()), release.tokenizer())

    @classmethod
    def from_config(cls, config: EvfSamConfig, tokenizer: Any) -> "EvfSamProcessor":
        """The processor that fits a model, with a tokenizer that reads no more tokens than the model does."""
        image_processor = EvfSamImageProcessor(
            size=config.view_size,
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
        semantic: bool | Sequence | None = None,
        input_points: Sequence | None = None,
        input_labels: Sequence | None = None,
        input_boxes: Sequence | None = None,
        input_masks: Tensor | None = None,
        labels: Any = None,
        **kwargs: Unpack[EvfSamProcessorKwargs],  # type: ignore[misc]
    ) -> BatchFeature:
        """Builds the model's inputs for B photos with P sentences at the most for one of them.

        `text` may be one sentence or a list of them for one photo; for a list of photos, a list with one sentence or
        a list of sentences for each. Per-sentence arguments have the nesting of `text`, each sentence replaced by
        its value; None stands for no value, for a sentence or for all sentences of a photo.

        Args:
            images: one photo, or a list, as `photos.to_rgb` takes them: paths, PIL images, arrays, tensors; or what
                this method returned for photos alone. Without it, the inputs are those for photos that are already
                encoded.
            text: the sentences, any characters; a special token's name in them is plain text.
            semantic: per sentence, or for all: whether every pixel of a category is asked for, not one object.
            input_points: per sentence a list of [x, y] in photo pixels.
            input_labels: per sentence a list with 1 (foreground, the default) or 0 (background) for each point.
            input_boxes: per sentence one [x0, y0, x1, y1] in photo pixels.
            input_masks: (B, P, 1, S / 4, S / 4) logits for the decoder, passed through.
            labels: target masks of one photo, (P, H, W) at its size (> 0 is foreground), or a list with one such
                array or tensor for each photo.
            **kwargs: settings of `EvfSamImageProcessor` and `EvfSamTextKwargs` for this call, flat or as
                `images_kwargs` and `text_kwargs`; `return_tensors` "np" for numpy arrays, default "pt".

        Returns:
            pixel_values, multimodal_pixel_values, original_sizes, reshaped_input_sizes (see `EvfSamImageProcessor`);
            input_ids, attention_mask (B, P, L), with an all-zero mask where a photo has no more sentences;
            input_points (B, P, N, 2), input_labels (B, P, N) and input_boxes (B, P, 4) in pixels of SAM's view,
            -10 where absent; input_masks; labels as a list of bool tensors. Only those that were asked for.

        Raises:
            FileNotFoundError: the path of a photo that does not exist.
            ValueError: bad values, or lists that do not fit together; the message names the photo and sentence.
        """
        if images is None and text is None:
            raise ValueError("nothing to process: give images, text, or both")
        settings = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        tensor_type = settings["images_kwargs"].pop("return_tensors")
        if images is None or isinstance(images, BatchFeature):
            inputs = BatchFeature(dict(images or {}), tensor_type="pt")
        else:
            inputs = self.image_processor(images, **settings["images_kwargs"])
        spatial = dict(zip(SPATIAL_PROMPTS, (input_points, input_labels, input_boxes), strict=True))
        if text is None:
            refuse("text", {**spatial, "semantic": semantic or None, "input_masks": input_masks, "labels": labels})
            return _converted(inputs, tensor_type)
        if images is None:
            refuse("images", {**spatial, "labels": labels})

        nest = nesting(images, text)
        sentences = nest("text", text)
        check_counts(sentences, None if images is None else len(inputs["original_sizes"]))
        flags = (
            nest("semantic", semantic)
            if hasattr(semantic, "__len__")
            else [[semantic] * len(row) for row in sentences]
        )
        inputs.update(self._encode(sentences, flags, **settings["text_kwargs"]))
        if images is not None:
            prompts = {name: nest(name, values) for name, values in spatial.items()}
            sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
            inputs.update(_tensors(spatial_prompts(prompts, *sizes)))
        if input_masks is not None:
            inputs["input_masks"] = _input_masks(input_masks)
            num_photos, num_sentences, _ = inputs["input_ids"].shape
            side = self.image_processor.image_size
            check_masks(inputs["input_masks"].shape, num_photos, num_sentences, side)
        if labels is not None:
            labels = labels if isinstance(images, (list, tuple)) else [labels]
            targets = target_masks(labels, sentences, inputs["original_sizes"].tolist())
            inputs["labels"] = [torch.from_numpy(masks) for masks in targets]
        return _converted(inputs, tensor_type)

    def post_process_referring_segmentation(
        self,
        outputs: Any,
        inputs: Mapping[str, Any] | None = None,
        mask_threshold: float = 0.0,
        target_sizes: Tensor | Sequence[Sequence[int]] | None = None,
        present_threshold: float = PRESENT_THRESHOLD,
    ) -> list[dict[str, Tensor]]:
        """Turns the model's outputs into masks at each photo's size.

        Where the model gives several masks for a sentence, the one with the highest score is taken.

        Args:
            outputs: pred_masks (B, P, M, h, w) and iou_scores (B, P, M); quality (B, P, M) and presence_logits (B, P)
                where the model has them.
            inputs: what this processor returned; its sizes and attention_mask are used. It may be left out where
                `target_sizes` are given, those of the photos or alike: then all P sentences count as there.
            mask_threshold: logits above it are the mask.
            target_sizes: (height, width) of each photo's masks, a list or (B, 2); default: the sizes of the photos.
            present_threshold: what a sentence names is taken to be in the photo at this presence or more, otherwise
                its mask is empty; 0 keeps every mask. Without a presence head it says nothing.

        Returns:
            One dict for each photo, with its own number P of sentences: masks (P, H, W) bool; scores (P,), the
            model's own estimate of each mask's IoU; boxes (P, 4), the masks' pixel edges x0, y0, x1, y1, with x1 and
            y1 exclusive, zeros for an empty mask. Where the model has them also quality (P,), the IoU to be expected
            if it is there; presence (P,) from 0 to 1, and `present` (P,) bool.

        Raises:
            ValueError: no sizes, or not one for each photo; or logits that are not numbers.
        """
        check_thresholds(mask_threshold=mask_threshold, present_threshold=present_threshold)
        results = []
        for answers in self._answers(outputs, inputs, target_sizes):
            masks = torch.empty(answers.masks_shape, dtype=torch.bool, device=outputs.pred_masks.device)
            for mask, logits in zip(masks, answers.logits, strict=True):
                mask.copy_(logits > mask_threshold)
            result = {"masks": masks, "scores": answers.scores.float()}
            if answers.quality is not None:
                result["quality"] = answers.quality
            if answers.presence is not None:
                result["presence"], result["present"] = answers.presence, answers.presence >= present_threshold
                masks &= result["present"][:, None, None]
            results.append({**result, "boxes": _mask_boxes(masks)})
        return results

    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        inputs: Mapping[str, Any] | None = None,
        mask_threshold: float = 0.0,
        target_sizes: Tensor | Sequence[Sequence[int]] | None = None,
        present_threshold: float = PRESENT_THRESHOLD,
    ) -> list[Tensor]:
        """Turns the model's outputs into a map of indices for each photo.

        Arguments and errors are those of `post_process_referring_segmentation`.

        Returns:
            For each photo (H, W) long: k where the logits of its k-th sentence, counted from 1, are above the
            threshold and the highest; otherwise 0. A sentence that is taken not to be in the photo is nowhere.
        """
        check_thresholds(mask_threshold=mask_threshold, present_threshold=present_threshold)
        maps = []
        for answers in self._answers(outputs, inputs, target_sizes):
            size, device = answers.masks_shape[1:], outputs.pred_masks.device
            indices = torch.zeros(size, dtype=torch.long, device=device)
            highest = torch.full(size, mask_threshold, device=device)
            for index, logits in enumerate(answers.logits):
                if answers.presence is None or answers.presence[index] >= present_threshold:
                    indices[logits > highest] = index + 1
                    highest = highest.maximum(logits)
            maps.append(indices)
        return maps

    def _answers(self, outputs: Any, inputs: Mapping[str, Any] | None, target_sizes: Any) -> Iterator[_Answers]:
        """What was said of each photo's own sentences."""
        inputs = {} if inputs is None else inputs
        quality, presence = (getattr(outputs, name, None) for name in ("quality", "presence_logits"))
        best = outputs.iou_scores.argmax(dim=-1)  # (B, P)
        there = present_sentences(best, _tensor(inputs.get("attention_mask"))).to(best.device)
        view = self.image_processor.image_size, self.image_processor.image_layout
        for photo, (size, reshaped_size) in enumerate(_sizes(inputs, target_sizes, len(best))):
            kept = there[photo].nonzero()[:, 0]
            own = photo, kept, best[photo, kept]
            logits = outputs.pred_masks[own]  # (P_i, h, w)
            if logits.isnan().any():
                raise ValueError(f"photo {photo}: mask logits are not numbers: run the model in bfloat16 or float32")
            yield _Answers(
                scores=outputs.iou_scores[own],
                quality=None if quality is None else quality[own],
                presence=None if presence is None else presence[photo, kept].float().sigmoid(),
                masks_shape=(len(kept), *size),
                logits=(resize_mask_logits(mask[None], size, *view, reshaped_size)[0] for mask in logits),
            )

    @property
    def tokens(self) -> Tokens:
        """How sentences become tokens."""
        start, end = self.tokenizer("")["input_ids"]  # <s> and </s> in XLM-R, [CLS] and [SEP] in BERT
        return Tokens(
            backend=self.tokenizer.backend_tokenizer,
            special=self.tokenizer.all_special_tokens,
            start=start,
            end=end,
            pad=self.tokenizer.pad_token_id,
            semantic=self.tokenizer.get_added_vocab().get(SEMANTIC_TOKEN),
            semantic_prompts=self.semantic_prompts,
            limit=self.tokenizer.model_max_length,
        )

    def _encode(
        self,
        sentences: list[list[str]],
        semantic: list[list[Any]],
        padding: bool | str | None,
        truncation: bool | str | None,
        max_length: int | None = None,
        return_tensors: str | None = None,
    ) -> dict[str, Tensor]:
        """Tokens (B, P, L) and their mask."""
        tokens = self.tokens
        limit = min(max_length or tokens.limit, tokens.limit)
        cut = truncation not in (None, False, "do_not_truncate")
        least = (max_length or limit) if padding == "max_length" else 0
        return _tensors(tokens.encode(sentences, semantic, cut_at=limit if cut else None, least=least))


def _converted(inputs: BatchFeature, tensor_type: str | None) -> BatchFeature:
    """The inputs as they are, or for "np" as numpy arrays."""
    if tensor_type in (None, "pt"):
        return inputs
    arrays = {name: [one.numpy() for one in v] if isinstance(v, list) else v.numpy() for name, v in inputs.items()}
    return BatchFeature(arrays)


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def _tensor(values: Any) -> Tensor | None:
    return None if values is None else torch.as_tensor(values)


def _sizes(
    inputs: Mapping[str, Any], target_sizes: Any, count: int
) -> Iterator[tuple[Sequence[int], Sequence[int] | None]]:
    """Of each photo the (height, width) of its masks, and of its part of SAM's view where that is known."""
    if target_sizes is None and "original_sizes" not in inputs:
        raise ValueError("the sizes of the masks are unknown: give inputs, or target_sizes")
    sizes = torch.as_tensor(inputs["original_sizes"] if target_sizes is None else target_sizes).tolist()
    reshaped = _tensor(inputs.get("reshaped_input_sizes"))
    if len(sizes) != count:
        raise ValueError(f"target_sizes: give one (height, width) for each photo, {count} in all, not {len(sizes)}")
    return zip(sizes, [None] * count if reshaped is None else reshaped.tolist(), strict=True)


def _input_masks(values: Any) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"input_masks must be numbers of one nesting ({error!s:.80})") from None


def _refuse_model_alone(source: Any, subfolder: str) -> None:
    folder = Path(source, subfolder)
    names = ("processor_config.json", "preprocessor_config.json")
    if folder.is_dir() and not any((folder / name).is_file() for name in names):
        raise OSError(
            f"'{folder}' has no processor: save the model's beside it with processor.save_pretrained, or convert the "
            "release again with --tokenizer beit3.spm"
        )


def _mask_boxes(masks: Tensor) -> Tensor:
    """(P, 4) pixel edges x0, y0, x1, y1 of (P, H, W) masks, zeros for an empty one."""
    boxes = torch.zeros(len(masks), 4)
    for index, mask in enumerate(masks):
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        if len(rows):
            boxes[index] = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return boxes.to(masks.device)
