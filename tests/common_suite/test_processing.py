import functools
import unittest
from unittest import mock

from transformers import ProcessorMixin

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamImageProcessor, EvfSamProcessor
from tests.common_suite.upstream import common_tests

processing = common_tests("test_processing_common")
image_processing = common_tests("test_image_processing_common")

TOKENS = ("input_ids", "attention_mask")


def one_sentence_a_photo(test):
    """Run a test that takes tokens (B, L) with the (B, 1, L) of one sentence for each photo."""
    call = EvfSamProcessor.__call__

    @functools.wraps(call)
    def call_for_rows(self, *args, **kwargs):
        inputs = call(self, *args, **kwargs)
        return {name: value.flatten(0, 1) if name in TOKENS else value for name, value in inputs.items()}

    return mock.patch.object(EvfSamProcessor, "__call__", call_for_rows)(test)


class EvfSamProcessorTest(processing.ProcessorTesterMixin, unittest.TestCase):
    processor_class = EvfSamProcessor
    model_id = DEFAULT_CHECKPOINT

    @staticmethod
    def prepare_processor_dict():
        return {"semantic_prompts": True}  # what the checkpoint's settings add to its image processor and tokenizer

    @staticmethod
    def does_processor_return_mm_offsets(processor_class, method_name):
        # The library compares with the next class in line, which here is the mixin for uploads.
        return getattr(processor_class, method_name) is not getattr(ProcessorMixin, method_name)

    @one_sentence_a_photo
    def test_subprocessor_defaults_0_text(self):
        super().test_subprocessor_defaults_0_text()

    @one_sentence_a_photo
    def test_kwargs_overrides_default_subprocessor_kwargs_0_images(self):
        super().test_kwargs_overrides_default_subprocessor_kwargs_0_images()

    @one_sentence_a_photo
    def test_subprocessor_defaults_preserved_by_kwargs_0_images(self):
        super().test_subprocessor_defaults_preserved_by_kwargs_0_images()

    @unittest.skip("every sentence is about a photo: a batch has no samples without one")
    def test_processor_text_has_no_visual(self):
        pass


class EvfSamImageProcessingTester(image_processing.ImageProcessingTester):
    def __init__(self, parent):
        super().__init__(parent, size={"height": 32, "width": 32}, multimodal_image_size=16)

    def _get_image_processing_classes(self):
        return {"pil": EvfSamImageProcessor}


class EvfSamImageProcessorTest(image_processing.ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = EvfSamImageProcessingTester
    test_cast_dtype = True

    @unittest.skip("SAM and BEIT-3 have three channels: a photo with an alpha channel is laid on white")
    def test_call_numpy_4_channels(self):
        pass

    @unittest.skip("the arithmetic is the original's, which is neither backend's: one class serves both")
    def test_new_models_require_torchvision_backend(self):
        pass
