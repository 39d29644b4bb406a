"""EVF-SAM for videos: a sentence prompts SAM-2 on one frame, and SAM-2's memory follows the object from there.

Memory attention, memory encoder and object pointers are those of transformers' `Sam2VideoModel`. What the original
does with them is kept (evf_sam2_video.py of hustvl/EVF-SAM, sam2_video_predictor.py of facebookresearch/sam2).

Shapes: S the side of SAM's view, D the prompt width, h and w the sides of the mask logits, T the tokens of the
coarsest level, M masks of one object.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import Sam2Config, Sam2VideoConfig, Sam2VideoModel

from .configuration_evf_sam import EvfSamConfig
from .mask_holes import fill_holes
from .modeling_evf_sam import EvfSamModel
from .sam_models import SameCodesMixin

ABSENT = -1024.0  # the logits of an object that is not on the frame
MAX_LOGIT = 32.0  # of a mask that is given back to be corrected


@dataclass
class FrameEmbeddings:
    """A frame, encoded once for all objects.

    Attributes:
        fine: (1, D/8, S/4, S/4) and (1, D/4, S/8, S/8), which the mask decoder adds while it upscales.
        coarse: (T, 1, D) the coarsest level, row by row.
        positions: (T, 1, D) its sine positions.
    """

    fine: list[Tensor]
    coarse: Tensor
    positions: Tensor


@dataclass
class FrameMemory:
    """What is kept of one object on one frame.

    Attributes:
        features: (T, 1, 64) the frame with the object's mask, in bfloat16 as in the original.
        positions: (T, 1, 64) its sine positions.
        pointer: (1, 1, D) the object itself.
    """

    features: Tensor
    positions: Tensor
    pointer: Tensor


@dataclass
class ObjectMemory:
    """What is kept of one object: the frames with a prompt, and of the others as many as SAM-2 looks back.

    Attributes:
        prompted: frame number -> memory.
        tracked: frame number -> memory.
        pointers: frame number -> pointer, of frames without a prompt; they reach further back.
    """

    prompted: dict[int, FrameMemory] = field(default_factory=dict)
    tracked: dict[int, FrameMemory] = field(default_factory=dict)
    pointers: dict[int, Tensor] = field(default_factory=dict)

    def keep(self, index: int, memory: FrameMemory, *, prompted: bool) -> None:
        """Remember frame `index`."""
        if prompted:
            self.prompted[index] = memory
        else:
            self.tracked[index], self.pointers[index] = memory, memory.pointer

    def forget(self, index: int, step: int, *, num_tracked: int, num_pointers: int) -> None:
        """Let go what no frame after `index` reads, where frames come in steps of `step` (1 or -1)."""
        reaches: list[tuple[dict[int, Any], int]] = [(self.tracked, num_tracked), (self.pointers, num_pointers)]
        for kept, reach in reaches:
            for past in [past for past in kept if (index + step - past) * step > reach]:
                del kept[past]

    def turn(self) -> None:
        """Forget all but the frames with a prompt, as the walk goes on in the other direction."""
        self.tracked.clear()
        self.pointers.clear()


@dataclass
class ObjectMask:
    """One object on one frame.

    Attributes:
        logits: (1, 1, h, w), above zero on the mask; `ABSENT` everywhere if the object is not there.
        score: (1,) SAM's own estimate of the mask's IoU.
        object_score: (1,) above zero if the object is there.
        pointer: (1, 1, D) what later frames know it by.
    """

    logits: Tensor
    score: Tensor
    object_score: Tensor
    pointer: Tensor


class Sam2Tracker(SameCodesMixin, Sam2VideoModel):
    """SAM-2 with its memory, which takes a prompt token beside points and boxes."""

    def encode_frame(self, pixel_values: Tensor) -> FrameEmbeddings:
        """Encode SAM's view (1, 3, S, S) of one frame."""
        encoded = self.vision_encoder(pixel_values)
        finest, fine, coarse = (level.to(pixel_values.dtype) for level in encoded.fpn_hidden_states)
        positions = encoded.fpn_position_encoding[-1].to(pixel_values.dtype)
        decoder = self.mask_decoder
        return FrameEmbeddings([decoder.conv_s0(finest), decoder.conv_s1(fine)], _tokens(coarse), _tokens(positions))

    def recall(self, frame: FrameEmbeddings, memory: ObjectMemory, index: int, step: int) -> Tensor:
        """The coarsest level (1, D, h/4, w/4) of frame `index`, after attention to what is remembered."""
        # 1. The prompted frames, and the frames just gone by, each with its distance in time.
        seen = [(0, past) for past in memory.prompted.values()]
        for distance in range(self.num_maskmem - 1, 0, -1):
            if past := memory.tracked.get(index - distance * step):
                seen.append((distance, past))
        features = [past.features for _, past in seen]
        places = [past.positions + self.memory_temporal_positional_encoding[distance - 1] for distance, past in seen]

        # 2. Pointers, which reach further back, but never into the future.
        pointers = [past.pointer for other, past in memory.prompted.items() if (index - other) * step >= 0]
        for distance in range(1, self.config.max_object_pointers_in_encoder):
            if (pointer := memory.pointers.get(index - distance * step)) is not None:
                pointers.append(pointer)
        if pointers:
            split = torch.cat(pointers).view(-1, 1, self.mem_dim)  # (n, 1, D) -> (n * D / 64, 1, 64)
            features.append(split)
            places.append(torch.zeros_like(split))

        # 3. Attention.
        attended = self.memory_attention(
            frame.coarse,
            torch.cat(features).to(frame.coarse.dtype),
            frame.positions,
            torch.cat(places),
            len(split) if pointers else 0,
        )
        return _map(attended.view_as(frame.coarse))

    def decode(
        self,
        frame: FrameEmbeddings,
        coarse: Tensor,
        prompts: dict[str, Tensor],
        *,
        text: Tensor | None = None,
        masks: Tensor | None = None,
        padded: bool = False,
    ) -> ObjectMask:
        """Decode one object.

        Args:
            frame: the frame.
            coarse: (1, D, h/4, w/4) its coarsest level, with the memory.
            prompts: points (1, n, 2), labels (1, n) and boxes (1, 4) in pixels of SAM's view, where there are any.
            text: (1, D) prompt token.
            masks: (1, 1, h, w) logits of a mask to correct.
            padded: whether two tokens that stand for no point go with a token that is alone, as without any prompt.
        """
        count = 2 * ("boxes" in prompts) + (prompts["points"].shape[1] if "points" in prompts else 0)
        if not count and (text is None or padded):
            prompts = {"points": coarse.new_zeros(1, 1, 2), "labels": coarse.new_full((1, 1), -1, dtype=torch.long)}
        sparse, dense = self.prompt_encoder(
            input_points=prompts["points"][:, None] if "points" in prompts else None,  # (1, 1, n, 2)
            input_labels=prompts["labels"][:, None] if "points" in prompts else None,  # (1, 1, n)
            input_boxes=prompts["boxes"][:, None] if "boxes" in prompts else None,  # (1, 1, 4)
            input_masks=masks,
        )
        tokens = [] if sparse is None else [sparse.to(coarse.dtype)]
        tokens += [] if text is None else [text[:, None, None]]  # (1, 1, 1, D)
        logits, scores, outputs, object_score = self.mask_decoder(
            image_embeddings=coarse,
            image_positional_embeddings=self.get_image_wide_positional_embeddings().to(coarse.dtype),
            sparse_prompt_embeddings=torch.cat(tokens, dim=2),
            dense_prompt_embeddings=dense,
            multimask_output=self.config.multimask_min_pt_num <= count <= self.config.multimask_max_pt_num,
            high_resolution_features=frame.fine,
        )
        best = scores[0, 0].argmax()  # of M
        pointer = self.object_pointer_proj(outputs[:, :, best])
        there = object_score > 0  # (1, 1, 1)
        return ObjectMask(
            logits=torch.where(there[..., None], logits[:, :, best], ABSENT),
            score=scores[0, :, best],
            object_score=object_score[0, 0],
            pointer=torch.where(there, pointer, self.no_object_pointer),
        )

    def memorise(self, frame: FrameEmbeddings, mask: ObjectMask, *, prompted: bool) -> FrameMemory:
        """What later frames read of an object; a mask from a prompt counts as certain."""
        logits = interpolate(mask.logits.float(), (self.image_size, self.image_size), mode="bilinear")
        masks = (logits > 0).float() if prompted else logits.sigmoid()
        masks = masks * self.config.sigmoid_scale_for_mem_enc + self.config.sigmoid_bias_for_mem_enc
        features, positions = self.memory_encoder(_map(frame.coarse), masks.to(frame.coarse.dtype))
        return FrameMemory(_tokens(features).bfloat16(), _tokens(positions), mask.pointer)


def _build_tracker(sam_config: Sam2Config, mask_selection: str) -> Sam2Tracker:
    return Sam2Tracker(video_config(sam_config, stability=mask_selection != "first"))


class EvfSamVideoModel(EvfSamModel):
    """An EVF-SAM over SAM-2 with SAM-2's memory; with photos it does what `EvfSamModel` does.

    Raises:
        ValueError: the configuration's SAM is another one, which has no memory.
    """

    sam: Sam2Tracker
    sam_models = {"sam2": _build_tracker}  # noqa: RUF012
    _keys_to_ignore_on_load_unexpected: list[str] = []  # noqa: RUF012
    _missing_hints = {  # noqa: RUF012
        "sam.memory_encoder.": "it has no memory for videos: convert the release again, or load it as EvfSamModel",
    }

    def __init__(self, config: EvfSamConfig):
        if config.sam_config.model_type not in self.sam_models:
            kind = config.sam_config.model_type
            raise ValueError(f"a SAM of type {kind!r} has no memory: use EvfSamModel, frame by frame")
        super().__init__(config)

    def encode_frame(self, pixel_values: Tensor) -> FrameEmbeddings:
        """Encode SAM's view (1, 3, S, S) of one frame, for all objects."""
        return self.sam.encode_frame(pixel_values.to(self.dtype))

    @torch.no_grad()
    def segment_object(
        self,
        frame: FrameEmbeddings,
        memory: ObjectMemory,
        index: int,
        *,
        step: int = 1,
        prompt_embeds: Tensor | None = None,
        prompts: dict[str, Tensor] | None = None,
    ) -> ObjectMask:
        """Segment one object on one frame, and remember it.

        A prompt token says anew what the object is, without a look at its memory. Points and boxes correct what the
        memory says; without a memory they begin one. Without any prompt the object is followed.

        Args:
            frame: what `encode_frame` returned.
            memory: what is known of the object; it is changed.
            index: the frame's number.
            step: 1 if frames come in rising order, -1 in falling order.
            prompt_embeds: (1, D) the sentence, as `get_prompt_embeddings` reads it.
            prompts: points (1, n, 2), labels (1, n) and boxes (1, 4) in pixels of SAM's view, where there are any.

        Returns:
            The mask, its holes of up to 8 pixels filled.

        Raises:
            ValueError: there is neither a prompt nor a memory.
        """
        prompts = prompts or {}
        prompted = bool(prompts) or prompt_embeds is not None
        known = bool(memory.prompted) and prompt_embeds is None
        if not known and not prompted:
            raise ValueError(f"frame {index}: there is nothing to follow: give a prompt on the first frame")
        # 1. The frame, with what is remembered of the object.
        no_memory = self.sam.no_memory_embedding  # (1, 1, D)
        coarse = self.sam.recall(frame, memory, index, step) if known else _map(frame.coarse + no_memory)
        # 2. The mask; a correction starts from the mask that there would be without it.
        before = None
        if known and prompted:
            before = fill_holes(self.sam.decode(frame, coarse, {}).logits).clamp(-MAX_LOGIT, MAX_LOGIT)
        padded = self.config.image_layout == "pad_stretch"  # the first release
        mask = self.sam.decode(frame, coarse, prompts, text=prompt_embeds, masks=before, padded=padded)
        filled = replace(mask, logits=fill_holes(mask.logits))
        # 3. The memory; the original fills holes for it where there was a prompt.
        memorised = self.sam.memorise(frame, filled if prompted else mask, prompted=prompted)
        memory.keep(index, memorised, prompted=prompted)
        reach = self.sam.config
        memory.forget(
            index, step, num_tracked=reach.num_maskmem - 1, num_pointers=reach.max_object_pointers_in_encoder - 1
        )
        return filled


def video_config(sam: Sam2Config, *, stability: bool) -> Sam2VideoConfig:
    """SAM-2.0 for videos with the sizes of a SAM-2 for photos.

    Args:
        sam: the configuration for photos.
        stability: whether an unstable mask from several points gives way to the best of three.
    """
    prompts, decoder = ({**part.to_dict()} for part in (sam.prompt_encoder_config, sam.mask_decoder_config))
    for part in (prompts, decoder):
        del part["model_type"]
    video: dict[str, Any] = {
        "vision_config": sam.vision_config,
        "prompt_encoder_config": prompts,
        "mask_decoder_config": {**decoder, "dynamic_multimask_via_stability": stability},
        "image_size": sam.prompt_encoder_config.image_size,
        "memory_attention_rope_feat_sizes": list(sam.vision_config.backbone_feature_sizes[-1]),
        "enable_occlusion_spatial_embedding": False,  # both came with SAM-2.1
        "enable_temporal_pos_encoding_for_object_pointers": False,
        "initializer_range": sam.initializer_range,
    }
    config = Sam2VideoConfig(**video)
    config._attn_implementation = sam._attn_implementation
    return config


def _tokens(level: Tensor) -> Tensor:
    """(1, C, h, w) -> (h * w, 1, C)."""
    return level.flatten(2).permute(2, 0, 1)


def _map(tokens: Tensor) -> Tensor:
    """(h * w, 1, C) of a square -> (1, C, h, w)."""
    side = round(len(tokens) ** 0.5)
    return tokens.permute(1, 2, 0).unflatten(2, (side, side))


__all__ = ["EvfSamVideoModel", "FrameEmbeddings", "ObjectMask", "ObjectMemory"]
