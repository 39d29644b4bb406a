import unittest

from transformers import ProcessorMixin

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamImageProcessor, EvfSamProcessor
from tests.common_suite.upstream import common_tests

processing = common_tests("test_processing_common")
image_processing = common_tests("test_image_processing_common")


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

    @unittest.skip("a call has no settings: sizes, padding and limits are those that the model was trained with")
    def test_processor_text_has_no_visual(self):
        pass

    test_doubly_passed_kwargs_0_images = test_processor_text_has_no_visual
    test_flat_kwarg_applied_when_modality_dict_lacks_it = test_processor_text_has_no_visual
    test_kwargs_overrides_default_subprocessor_kwargs_0_images = test_processor_text_has_no_visual
    test_overlapping_text_image_kwargs_handling_0_images = test_processor_text_has_no_visual
    test_structured_kwargs_nested_from_dict_0_images = test_processor_text_has_no_visual
    test_subprocessor_defaults_preserved_by_kwargs_0_images = test_processor_text_has_no_visual
    test_unstructured_kwargs_0_images = test_processor_text_has_no_visual
    test_unstructured_kwargs_batched_0_images = test_processor_text_has_no_visual

    @unittest.skip("the signature shows the defaults of semantic and return_tensors, for the want of such settings")
    def test_call_arguments_default_none(self):
        pass

    test_call_arguments_not_in_processor_kwargs = test_call_arguments_default_none

    @unittest.skip("the tokenizer returns (P, L) tokens, the processor (B, P, L): several sentences for each photo")
    def test_subprocessor_defaults_0_text(self):
        pass


class EvfSamImageProcessingTester(image_processing.ImageProcessingTester):
    def __init__(self, parent):
        super().__init__(parent, image_size=32, multimodal_image_size=16)

    def _get_image_processing_classes(self):
        return {"pil": EvfSamImageProcessor}

    def expected_output_image_shape(self, images):
        return 3, 32, 32


class EvfSamImageProcessorTest(image_processing.ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = EvfSamImageProcessingTester
    test_cast_dtype = True

    @unittest.skip("SAM and BEIT-3 have three channels: a photo with an alpha channel is laid on white")
    def test_call_numpy_4_channels(self):
        pass

    @unittest.skip("the arithmetic is the original's, which is neither backend's: one class serves both")
    def test_new_models_require_torchvision_backend(self):
        pass
