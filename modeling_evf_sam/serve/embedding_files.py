"""Photos' embeddings in files that the trainer, other replicas and the next server use as well."""

import logging
from pathlib import Path
from typing import Any

from modeling_evf_sam.inference.predictor import EncodedPhoto, EvfSamPredictor
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.training.embedding_cache import CachedProcessor, EmbeddingCache

logger = logging.getLogger(__name__)


class PredictorWithFiles(EvfSamPredictor):
    """Takes the embeddings of a photo from a file where there is one, and otherwise writes one.

    Files are a help and no condition: where they cannot be read or written, the photo is encoded.

    Args:
        model: in evaluation mode, on any device; its weights are frozen.
        processor: the model's processor.
        folder: a recipe's `embedding_cache`; files of other encoders in it are left alone.
    """

    model: EvfSamModel
    processor: EvfSamProcessor

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor, folder: str | Path):
        super().__init__(model, processor)
        self.files = EmbeddingCache(folder, model.requires_grad_(False), processor.image_processor, model.dtype)
        self._reading = CachedProcessor(processor, self.files)

    def _encode(self, image: Any) -> EncodedPhoto:
        try:
            self.files.fill([image], self.model, self.processor.image_processor)
            inputs = self._reading([image])
        except (ValueError, OSError) as error:
            logger.warning("not from a file: %s", error)
            return super()._encode(image)
        found = inputs.pop("image_embeddings")
        several = isinstance(found, list)
        levels = [level.to(self.model.device, self.model.dtype) for level in (found if several else [found])]
        return EncodedPhoto(inputs, levels if several else levels[0])
