"""How an encoder is pretrained without any referring sentence, each in its own way, on photos and their captions.

BEIT-3 guesses masked words and masked patches, from a photo with its caption and from each alone (Wang et al., 2022);
CLIP finds the caption of each photo (Radford et al., 2021); ViLT tells whether a caption belongs to a photo, and
guesses masked words (Kim et al., 2021). BEIT-3 predicts the visual words of an image tokenizer; here it predicts
pixels, as SimMIM (Xie et al., 2022).

Shapes: B photos, L text tokens, P patches, D width, p side of a patch.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.rendered_scenes.captions import caption
from modeling_evf_sam.rendered_scenes.curriculum.objectives import Drawn, Objective

EncoderName = Literal["beit3", "clip", "vilt"]


class CaptionObjective(Objective):
    """Photos with captions, for the encoder alone."""

    def trained_modules(self) -> list[nn.Module]:
        """The encoder."""
        return [self.model.multimodal_encoder]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """The encoder's view (B, 3, s, s) of each photo and a caption (B, L)."""
        rng = np.random.default_rng(int(drawn[0][0].photo.sum()))
        return self._caption_batch(rng, drawn)

    def _caption_batch(self, rng: np.random.Generator, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        captions = [[caption(rng, scene.objects, scene.object_map.shape)] for scene, _ in drawn]
        inputs = self.processor(text=captions, return_tensors="pt")
        text = {name: inputs[name][:, 0] for name in ("input_ids", "attention_mask")}
        return {**text, **self._views(drawn, "multimodal_pixel_values")}


class MaskedWords(nn.Module):
    """Hides words behind the mask token, and asks a linear head for them."""

    def __init__(self, width: int, processor: EvfSamProcessor):
        super().__init__()
        self.words = nn.Linear(width, len(processor.tokenizer))
        self.special = torch.tensor(processor.tokenizer.all_special_ids)
        self.mask_token_id = processor.tokenizer.mask_token_id

    def hide(self, rng: np.random.Generator, input_ids: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Sentences with that share of their words hidden, and where these are: (B, L) each."""
        drawn = torch.from_numpy(rng.random(input_ids.shape)) < share
        hidden = drawn & ~torch.isin(input_ids, self.special)
        return input_ids.masked_fill(hidden, self.mask_token_id), hidden

    def forward(self, tokens: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of hidden words, and which are guessed: (W, D), (W,) -> (), (W,) bool."""
        logits = self.words(tokens)
        if not len(true):
            return logits.sum(), true.bool()
        return F.cross_entropy(logits, true), logits.argmax(-1) == true


class MaskedObjective(CaptionObjective):
    """BEIT-3's: half of a batch are photos with captions, the rest photos or captions alone, all with gaps."""

    hidden_words = {"pairs": 0.5, "words": 0.15}  # noqa: RUF012 - shares, as BEIT-3's
    hidden_patches = 0.4

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor):
        super().__init__(model, processor)
        config = model.config.multimodal_config
        self.patch_size, self.grid = config.patch_size, config.image_size // config.patch_size
        self.masked_words = MaskedWords(config.hidden_size, processor)
        self.pixels = nn.Linear(config.hidden_size, 3 * config.patch_size**2)

    def trained_modules(self) -> list[nn.Module]:
        """The encoder and what guesses."""
        return [*super().trained_modules(), self.masked_words, self.pixels]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """Views and captions with gaps, and where the gaps are."""
        rng = np.random.default_rng(int(drawn[0][0].photo.sum()))
        batch = self._caption_batch(rng, drawn)
        pairs, _, words = _parts(len(drawn))
        for part, name in ((pairs, "pairs"), (words, "words")):
            gaps = self.masked_words.hide(rng, batch["input_ids"][part], self.hidden_words[name])
            batch |= {f"{name}_ids": gaps[0], f"hidden_{name}": gaps[1]}
        size = len(drawn), 1, self.grid, self.grid
        return batch | {"hidden_patches": torch.from_numpy(rng.random(size)) < self.hidden_patches}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        multimodal_pixel_values: Tensor,
        pairs_ids: Tensor,
        hidden_pairs: Tensor,
        words_ids: Tensor,
        hidden_words: Tensor,
        hidden_patches: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of words and pixels; in place of an IoU, the share of words guessed beside their photo."""
        pairs, photos, words = _parts(len(input_ids))
        encoder, split = self.model.multimodal_encoder, 1 + self.grid**2
        gaps = F.interpolate(hidden_patches.float(), scale_factor=self.patch_size) > 0
        views = multimodal_pixel_values.masked_fill(gaps, 0.0)  # the mean colour
        both = encoder(views[pairs], pairs_ids, attention_mask[pairs]).last_hidden_state
        seen = encoder(views[photos]).last_hidden_state
        read = encoder(None, words_ids, attention_mask[words]).last_hidden_state

        patches = torch.cat([both[:, 1:split], seen[:, 1:]])  # (3B / 4, P, D)
        true, hidden = (
            torch.cat([whole[pairs], whole[photos]]) for whole in (multimodal_pixel_values, hidden_patches)
        )
        true, hidden = F.pixel_unshuffle(true, self.patch_size).flatten(2).transpose(1, 2), hidden.flatten(1)
        loss = F.l1_loss(self.pixels(patches[hidden]), true[hidden])
        guess_pairs, right = self.masked_words(both[:, split:][hidden_pairs], input_ids[pairs][hidden_pairs])
        guess_words, _ = self.masked_words(read[hidden_words], input_ids[words][hidden_words])
        right = right.long()
        return {"loss": loss + guess_pairs + guess_words, "intersections": right, "unions": torch.ones_like(right)}


def _parts(count: int) -> tuple[slice, slice, slice]:
    """Photos with captions, photos, and captions of a batch; a small batch has some of them twice."""
    quarter = max(1, count // 4)
    half = max(0, count - 2 * quarter)
    return slice(0, max(1, half)), slice(half, max(1, count - quarter)), slice(count - quarter, count)


class ContrastObjective(CaptionObjective):
    """CLIP's: among the photos and captions of a batch, which belong together?"""

    def forward(self, multimodal_pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Cross-entropy both ways; in place of an IoU, the share of photos that find their caption."""
        logits = self.model.multimodal_encoder(
            pixel_values=multimodal_pixel_values, input_ids=input_ids, attention_mask=attention_mask
        ).logits_per_image
        own = torch.arange(len(logits), device=logits.device)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        return {"loss": loss, "intersections": (logits.argmax(1) == own).long(), "unions": torch.ones_like(own)}


class MatchObjective(CaptionObjective):
    """ViLT's: does the caption belong to the photo? and masked words where it does."""

    hidden_words = 0.15
    exchanged = 0.5  # of the captions

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor):
        super().__init__(model, processor)
        width = model.config.multimodal_config.hidden_size
        self.masked_words = MaskedWords(width, processor)
        self.match = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def trained_modules(self) -> list[nn.Module]:
        """The encoder and what guesses."""
        return [*super().trained_modules(), self.masked_words, self.match]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """Views, captions, some of them of the photo before, and the same captions with gaps."""
        rng = np.random.default_rng(int(drawn[0][0].photo.sum()))
        batch = self._caption_batch(rng, drawn)
        own = torch.from_numpy(rng.random(len(drawn)) >= self.exchanged)
        for name in ("input_ids", "attention_mask"):
            batch[name] = batch[name].where(own[:, None], batch[name].roll(1, 0))
        gaps, hidden = self.masked_words.hide(rng, batch["input_ids"], self.hidden_words)
        return batch | {"own": own, "gaps": gaps, "hidden": hidden & own[:, None]}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        multimodal_pixel_values: Tensor,
        own: Tensor,
        gaps: Tensor,
        hidden: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of matches and words; in place of an IoU, the share of right answers to whether they match."""
        _, tokens = self.model.multimodal_encoder.encode(multimodal_pixel_values, gaps, attention_mask)
        match = self.match(tokens[:, 0])[:, 0]
        words, _ = self.masked_words(tokens[hidden], input_ids[hidden])
        loss = F.binary_cross_entropy_with_logits(match, own.float()) + words
        right = ((match > 0) == own).long()
        return {"loss": loss, "intersections": right, "unions": torch.ones_like(right)}


PRETRAINING: dict[EncoderName, type[CaptionObjective]] = {
    "beit3": MaskedObjective,
    "clip": ContrastObjective,
    "vilt": MatchObjective,
}
