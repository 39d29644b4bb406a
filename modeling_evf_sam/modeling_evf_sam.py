"""EVF-SAM: a sentence and a photo in, a mask out (paper, section 3).

Shapes: B photos, P sentences at the most for one photo, N sentences in all, L tokens, M masks per sentence,
D prompt width, S and s the sides of SAM's and of the encoder's view, h and w the sides of the mask logits.
"""

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.utils import ModelOutput
from transformers.utils.generic import TransformersKwargs, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_evf_sam import EvfSamConfig
from .loss_evf_sam import mask_losses
from .modeling_beit3 import Beit3Attention, Beit3Layer
from .multimodal_encoders import EvfSamProjector, multimodal_encoder
from .presets import PRESETS
from .pretrained_evf_sam import LoadReleaseMixin, PushCodeMixin, StrictLoadingMixin
from .prompts_evf_sam import FULL_VIEW_MASKS, FULL_VIEW_SENTENCES, at_a_time
from .sam_families import SamFamily, as_levels, sam_family
from .sam_models import (
    MEMORY_TENSORS,
    SAM_MODELS,
    DecodedPrompts,
    decode_in_groups,
    expected_ious,
    presence_head,
    present_sentences,
    scatter,
)

RECORDS = ("output_hidden_states", "output_attentions")


@dataclass
class EvfSamOutput(ModelOutput):
    """What `EvfSamModel` returns.

    Attributes:
        loss: scalar, where labels were given.
        loss_dict: its parts "bce" and "dice", unweighted, and "presence" of a model with such a head.
        pred_masks: (B, P, M, h, w) logits; above zero is the mask. Zero for absent sentences.
        iou_scores: (B, P, M) SAM's own estimate of each mask's IoU.
        quality: (B, P, M) the IoU that such scores turned out to mean, where the configuration knows it.
        presence_logits: (B, P) whether what the sentence names is there, of a model with a presence head; calibrated.
        object_score_logits: (B, P) SAM-2's own view of that, which was trained on points and not on sentences.
        prompt_embeds: (B, P, D) the prompt tokens that the sentences became.
        image_embeddings: what `get_image_embeddings` returned, to be given back with the next sentences.
        hidden_states: with `output_hidden_states`, of BEIT-3; empty for another encoder. (N, T, D_encoder) before its
            first layer and after each, for the N sentences that are there, photo by photo. T tokens are the image's
            [CLS], its patches row by row, and the words; a layer without fusion has two entries, image and words.
        attentions: with `output_attentions`, of BEIT-3 where its attention is "eager": (N, heads, T, T) of each layer.
    """

    loss: Tensor | None = None
    loss_dict: dict[str, Tensor] | None = None
    pred_masks: Tensor | None = None
    iou_scores: Tensor | None = None
    quality: Tensor | None = None
    presence_logits: Tensor | None = None
    object_score_logits: Tensor | None = None
    prompt_embeds: Tensor | None = None
    image_embeddings: Tensor | list[Tensor] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class EvfSamPreTrainedModel(LoadReleaseMixin, StrictLoadingMixin, PushCodeMixin, PreTrainedModel):
    """Loading, and the abilities that transformers asks about."""

    config: EvfSamConfig
    base_model_prefix = "evf_sam"
    main_input_name = "pixel_values"
    input_modalities = ("image", "text")
    accepts_loss_kwargs = False  # the loss is a mean over the masks of a batch, whatever the accumulation
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules: Any = ["Beit3Layer", "EvfSamVisionLayer"]  # noqa: RUF012
    # The Fourier matrices: in bfloat16 the codes of positions are off by up to 0.14.
    _keep_in_fp32_modules_strict = {"positional_embedding"}  # noqa: RUF012
    _can_record_outputs = {"hidden_states": Beit3Layer, "attentions": Beit3Attention}  # noqa: RUF012


class EvfSamModel(EvfSamPreTrainedModel):
    """A multimodal encoder whose image [CLS], or another feature, prompts a SAM."""

    sam: Any  # SamModel, Sam2Model or EfficientSamModel, whose parts are called alike
    sam_models = SAM_MODELS
    _keys_to_ignore_on_load_unexpected: list[str] = MEMORY_TENSORS  # which a checkpoint of `EvfSamVideoModel` has

    def __init__(self, config: EvfSamConfig):
        super().__init__(config)
        self.multimodal_encoder = multimodal_encoder(config)
        self.projector = EvfSamProjector(self.multimodal_encoder.feature_size, config.prompt_size)
        self.sam = self.sam_models[config.sam_config.model_type](config.sam_config, config.mask_selection)
        self.sam.prompt_encoder.shared_embedding.requires_grad_(False)  # random codes, never trained
        self.presence_head = presence_head(config, self.sam.mask_decoder)
        self.post_init()
        # FSDP refuses a name that no part has; some parts took the place of transformers' own.
        self._no_split_modules = set(self._no_split_modules) & {type(module).__name__ for module in self.modules()}

    @property
    def family(self) -> SamFamily:
        """What this model's SAM does in its own way."""
        return sam_family(self.config.sam_config)

    @classmethod
    def from_preset(cls, name: str) -> "EvfSamModel":
        """Build a variant of `presets.PRESETS` with fresh weights; another name is a ValueError that lists them."""
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}: choose one of {', '.join(PRESETS)}")
        return cls(EvfSamConfig(**PRESETS[name]))

    def add_presence_head(self, hidden_size: int = 256) -> None:
        """Give the model a fresh head that is to learn whether what a sentence names is in the photo."""
        self.config.presence = {"hidden_size": hidden_size, "temperature": 1.0}
        self.presence_head = presence_head(self.config, self.sam.mask_decoder)
        self.presence_head.to(self.device, self.dtype).apply(self._init_weights)

    def _set_gradient_checkpointing(self, *args: Any, **kwargs: Any) -> None:
        super()._set_gradient_checkpointing(*args, **kwargs)
        # SAM-2's decoder passes tensors to its layers by name, where re-entrant checkpoints lose their gradients.
        for module in self.sam.mask_decoder.modules():
            if hasattr(module, "gradient_checkpointing"):
                module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def get_input_embeddings(self) -> nn.Module:
        """The multimodal encoder's table of words."""
        return self.multimodal_encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the multimodal encoder's table of words."""
        self.multimodal_encoder.set_input_embeddings(value)

    def get_image_embeddings(self, pixel_values: Tensor, chunk_size: int | None = None) -> Tensor | list[Tensor]:
        """Encode photos once, for any number of sentences.

        Args:
            pixel_values: (B, 3, S, S) SAM's view of each photo, on any device.
            chunk_size: photos to encode at a time, which bounds the memory. Default: all where gradients are
                computed, otherwise as many as have the pixels of one view of 1024 x 1024.

        Returns:
            (B, D, S/16, S/16) for a SAM of patch 16; for SAM-2 a list of three, fine to coarse: (B, D/8, S/4, S/4),
            (B, D/4, S/8, S/8), (B, D, S/16, S/16).
        """
        views = pixel_values.split(self._chunk_size(chunk_size, 1))
        chunks = [self.family.encode(self.sam, chunk.to(self.device, self.dtype)) for chunk in views]
        if len(chunks) == 1:
            return chunks[0]
        joined = [torch.cat(level) for level in zip(*map(as_levels, chunks), strict=True)]
        return joined[0] if isinstance(chunks[0], Tensor) else joined

    def _chunk_size(self, given: int | None, full_size: int) -> int:
        """Photos or sentences to compute at a time, of which `full_size` fit at SAM's full size."""
        if given is not None and given < 1:
            raise ValueError(f"the size of a chunk is {given}: give 1 or more")
        if torch.is_grad_enabled():
            return given or sys.maxsize
        return given or at_a_time(self.config.view_size, full_size)

    def get_prompt_embeddings(
        self,
        multimodal_pixel_values: Tensor | None,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        chunk_size: int | None = None,
        **kwargs: Unpack[TransformersKwargs],  # type: ignore[misc]
    ) -> Tensor:
        """Read each sentence together with its photo.

        Args:
            multimodal_pixel_values: (B, 3, s, s) the encoder's view of each photo; not read where the
                configuration's `fusion` is "text".
            input_ids: (B, P, L) tokens.
            attention_mask: (B, P, L), zero on padding; a row of zeros is an absent sentence, and costs nothing.
            chunk_size: sentences, of similar length, to read at a time, which bounds the memory. Default: all where
                gradients are computed, otherwise 8 for a view of 1024 x 1024, and more for smaller ones.

        Returns:
            (B, P, D) prompt tokens, zero for absent sentences.

        Raises:
            ValueError: if there is no view of the photos, and the encoder needs one.
        """
        present = present_sentences(input_ids, attention_mask)
        if self.config.fusion == "text":
            multimodal_pixel_values = None
        elif multimodal_pixel_values is None:
            raise ValueError(f"fusion {self.config.fusion!r} reads the photo: give multimodal_pixel_values")
        photo, input_ids = present.nonzero()[:, 0], input_ids[present]  # (N,), (N, L)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask[present]
        order = mask.sum(-1).argsort(stable=True)  # sentences of a chunk have little padding
        size = self._chunk_size(chunk_size, FULL_VIEW_SENTENCES)
        if kwargs:
            order, size = torch.arange(len(mask), device=mask.device), sys.maxsize
        tokens = []
        for rows in order.split(size):
            length = int(mask[rows].any(0).sum())
            tokens.append(
                self.read_sentences(
                    None if multimodal_pixel_values is None else multimodal_pixel_values[photo[rows]],
                    input_ids[rows, :length],
                    None if attention_mask is None else mask[rows, :length],
                    **kwargs,
                )
            )
        return scatter(torch.cat(tokens)[order.argsort()], present)

    def read_sentences(
        self,
        multimodal_pixel_values: Tensor | None,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],  # type: ignore[misc]
    ) -> Tensor:
        """What `get_prompt_embeddings` does for sentences that are all there; compiles without graph breaks.

        Args:
            multimodal_pixel_values: (N, 3, s, s) the view that each sentence is about; None for fusion "text".
            input_ids: (N, L) tokens.
            attention_mask: (N, L), zero on padding.
            **kwargs: as `get_prompt_embeddings` takes them.

        Returns:
            (N, D) prompt tokens.
        """
        return self.projector(
            self.multimodal_encoder.get_prompt_features(multimodal_pixel_values, input_ids, attention_mask, **kwargs)
        )

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        pixel_values: Tensor | None = None,
        multimodal_pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        input_points: Tensor | None = None,
        input_labels: Tensor | None = None,
        input_boxes: Tensor | None = None,
        input_masks: Tensor | None = None,
        image_embeddings: Tensor | list[Tensor] | None = None,
        prompt_embeds: Tensor | None = None,
        labels: Tensor | list[Tensor] | None = None,
        multimask_output: bool = False,
        original_sizes: Tensor | None = None,
        reshaped_input_sizes: Tensor | None = None,
        encode_chunk_size: int | None = None,
        prompt_chunk_size: int | None = None,
        **kwargs: Unpack[TransformersKwargs],  # type: ignore[misc]
    ) -> EvfSamOutput:
        """Segment what each sentence means.

        Args:
            pixel_values: (B, 3, S, S) SAM's view of each photo.
            multimodal_pixel_values: (B, 3, s, s) the encoder's view of each photo; not for fusion "text".
            input_ids: (B, P, L) tokens.
            attention_mask: (B, P, L), zero on padding; a row of zeros is an absent sentence.
            input_points: (B, P, n, 2) points (x, y) for the same masks, in pixels of SAM's view.
            input_labels: (B, P, n) 1 on the object, 0 beside it, -10 padding at the end.
            input_boxes: (B, P, 4) boxes x0, y0, x1, y1 in pixels of SAM's view; -10 where a sentence has none.
            input_masks: (B, P, 1, h, w) mask logits to start from.
            image_embeddings: what `get_image_embeddings` returned, instead of `pixel_values`.
            prompt_embeds: (B, P, D) what `get_prompt_embeddings` returned, instead of the encoder's inputs.
            labels: target masks: a list of B tensors (P_i, H_i, W_i) at the size of the photos, or one tensor
                (B, P, H, W) on SAM's view at any resolution, where -1 is ignored.
            multimask_output: return SAM's three masks (M = 3) instead of the one that the configuration's
                `mask_selection` says (M = 1).
            original_sizes: not needed here; accepted so that the processor's output can be passed whole.
            reshaped_input_sizes: (B, 2) height and width that each photo takes up in a padded view, for labels at
                the size of the photos; default: what the photo's size implies.
            encode_chunk_size: photos to encode at a time, as `get_image_embeddings` takes it.
            prompt_chunk_size: sentences to read, and then to decode, at a time, as `get_prompt_embeddings` takes it.
            **kwargs: `output_hidden_states`, `output_attentions` and `return_dict`, as everywhere in transformers.

        Raises:
            ValueError: if not exactly one of `pixel_values` and `image_embeddings` is given, or no sentences are, or
                they lack the encoder's view of the photos.
        """
        # 1. The photo, once.
        if (pixel_values is None) == (image_embeddings is None):
            raise ValueError("give exactly one of pixel_values and image_embeddings")
        if pixel_values is not None:
            image_embeddings = self.get_image_embeddings(pixel_values, encode_chunk_size)
        assert image_embeddings is not None

        # 2. Each sentence becomes a prompt token.
        if prompt_embeds is None:
            if input_ids is None:
                raise ValueError("give multimodal_pixel_values and input_ids (text), or prompt_embeds")
            recorded: Any = {name: True for name in RECORDS if kwargs.get(name, getattr(self.config, name, False))}
            prompt_embeds = self.get_prompt_embeddings(
                multimodal_pixel_values, input_ids, attention_mask, prompt_chunk_size, **recorded
            )
        present = present_sentences(prompt_embeds if input_ids is None else input_ids, attention_mask)

        # 3. The mask decoder reads the token, after points and boxes, over the photo.
        given = {"points": input_points, "labels": input_labels, "boxes": input_boxes, "masks": input_masks}
        prompts = {name: prompt[present] for name, prompt in given.items() if prompt is not None}
        decoded = decode_in_groups(
            partial(self.decode_prompts, multimask_output=multimask_output),
            as_levels(image_embeddings),
            present.nonzero()[:, 0],
            prompt_embeds[present],
            prompts,
            self._chunk_size(prompt_chunk_size, FULL_VIEW_MASKS),
        )
        output = EvfSamOutput(
            pred_masks=scatter(decoded.masks, present),
            iou_scores=scatter(decoded.scores, present),
            quality=scatter(decoded.quality, present),
            presence_logits=scatter(decoded.presence_logits, present),
            object_score_logits=scatter(decoded.object_score_logits, present),
            prompt_embeds=prompt_embeds,
            image_embeddings=image_embeddings,
        )

        # 4. Compare with the target masks.
        if labels is not None:
            losses = mask_losses(
                output.pred_masks[:, :, 0],  # type: ignore[index]
                present,
                labels,
                view_size=self.config.view_size,
                image_layout=self.config.image_layout,  # type: ignore[arg-type]
                reshaped_sizes=reshaped_input_sizes,
                presence_logits=output.presence_logits,
            )
            output.loss_dict = losses
            output.loss = torch.stack([self.config.loss_weights[name] * loss for name, loss in losses.items()]).sum()
        return output

    def decode_prompts(
        self, levels: list[Tensor], prompt_embeds: Tensor, prompts: dict[str, Tensor], multimask_output: bool = False
    ) -> DecodedPrompts:
        """What `forward` does with prompts that are alike; compiles without graph breaks.

        Args:
            levels: the embeddings of each prompt's photo, (N, D, h, w); for SAM-2 three of them, the last is D wide.
            prompt_embeds: (N, D) prompt tokens.
            prompts: points (N, n, 2), labels (N, n), boxes (N, 4) and masks (N, 1, h, w), where there are any.
            multimask_output: as `forward` takes it.
        """
        best_of_three = self.config.mask_selection == "best_iou" and not multimask_output
        points, boxes = prompts.get("points"), prompts.get("boxes")
        sparse, dense = self.sam.prompt_encoder(
            input_points=None if points is None else points[:, None].float(),  # (N, 1, n, 2)
            input_labels=None if points is None else prompts["labels"][:, None],  # (N, 1, n)
            input_boxes=None if boxes is None else boxes[:, None].float(),  # (N, 1, 4)
            input_masks=None if "masks" not in prompts else prompts["masks"].to(self.dtype),  # (N, 1, h, w)
        )
        text = prompt_embeds[:, None, None]  # (N, 1, 1, D)
        masks, scores, *more = self.sam.mask_decoder(
            **self.family.decoder_inputs(levels),
            image_positional_embeddings=self.sam.get_image_wide_positional_embeddings().to(self.dtype),  # of all
            sparse_prompt_embeddings=text if sparse is None else torch.cat([sparse.to(text.dtype), text], dim=2),
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output or best_of_three,
        )
        masks, scores = masks[:, 0], scores[:, 0]  # (N, 1, M, h, w) -> (N, M, h, w)
        if best_of_three:
            rows, best = torch.arange(scores.shape[0], device=scores.device), scores.argmax(1)
            masks, scores = masks[rows, best][:, None], scores[rows, best][:, None]
        return DecodedPrompts(
            masks=masks,
            scores=scores,
            quality=None if self.config.quality is None else expected_ious(scores, self.config.quality),
            presence_logits=None if self.presence_head is None else self.presence_head(prompt_embeds),
            object_score_logits=more[1][:, 0, 0] if more else None,  # SAM-2's decoder gives tokens and these
        )


__all__ = ["EvfSamModel", "EvfSamOutput", "EvfSamPreTrainedModel"]
