import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil

from modeling_evf_sam.image_processing_evf_sam import (
    MULTIMODAL_VIEWS,
    EvfSamImageProcessor,
    resize_mask_logits,
    resized_size,
)


def synthetic_photo(height: int = 45, width: int = 70) -> np.ndarray:
    rows, columns, channels = np.ogrid[:height, :width, :3]
    return ((rows * rows * 3 + columns * 5 + rows * columns + channels * 80) % 256).astype(np.uint8)


@pytest.mark.parametrize("photo", ["bus", "carrots", "zebra"])
@pytest.mark.parametrize(("layout", "view"), [("pad", "sam"), ("stretch", "sam2_eval")])
def test_views_equal_the_originals(shared, photo, layout, view):
    golden = load_file(shared / "golden/preprocessing/preprocessing.safetensors")

    inputs = EvfSamImageProcessor(image_layout=layout)(golden[f"{photo}.rgb"].numpy())

    assert torch.equal(inputs["multimodal_pixel_values"][0], golden[f"{photo}.beit"])
    assert torch.equal(inputs["pixel_values"][0, :, ::8, ::8], golden[f"{photo}.{view}.every8"])
    expected = golden[f"{photo}.resize"].tolist() if layout == "pad" else [1024, 1024]
    assert inputs["reshaped_input_sizes"].tolist() == [expected]


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (
            "pad",
            [
                [-1.9809059, -0.2684306, 0.2110625, 0.0],
                [-0.4950980, 0.3977591, -0.3200280, 0.0],
                [1.1236602, 0.4962092, 0.7925054, 0.0],
            ],
        ),
        (
            "stretch",
            [
                [-2.0322802, -0.1485573, -0.8506722, -0.4225534],
                [-0.5476190, 0.8004202, -0.2850140, -0.1449580],
                [1.0713726, 0.0953377, 1.3328105, 1.0365142],
            ],
        ),
    ],
)
def test_sam_view_of_a_synthetic_photo(layout, expected):
    """The figures come from code that equals the original's golden tensors bit by bit."""
    inputs = EvfSamImageProcessor(image_layout=layout, image_size=32)(synthetic_photo())

    pixels = inputs["pixel_values"][0][:, [0, 10, 19, 25], [0, 20, 31, 5]]
    torch.testing.assert_close(pixels, torch.tensor(expected), atol=1e-5, rtol=0)


def test_multimodal_view_of_a_synthetic_photo():
    inputs = EvfSamImageProcessor(multimodal_image_size=16)(synthetic_photo())

    pixels = inputs["multimodal_pixel_values"][0][:, [0, 7, 15], [0, 9, 15]]
    expected = [
        [-0.9065648, -0.0660281, -0.4130315],
        [-0.2791139, -0.2189985, 0.2515665],
        [0.3483372, 0.3761294, 0.1773146],
    ]
    torch.testing.assert_close(pixels, torch.tensor(expected), atol=1e-5, rtol=0)


def test_no_multimodal_view_for_an_encoder_of_text():
    inputs = EvfSamImageProcessor(image_size=32, multimodal_image_size=0)(synthetic_photo())

    assert set(inputs) == {"pixel_values", "original_sizes", "reshaped_input_sizes"}


@pytest.mark.parametrize(
    ("encoder", "library", "settings"),
    [
        ("clip", CLIPImageProcessorPil, {"do_center_crop": False, "size": {"height": 32, "width": 32}}),
        ("vilt", ViltImageProcessorPil, {"size": {"shortest_edge": 32}, "size_divisor": 8}),
    ],
)
def test_multimodal_view_equals_the_library_s(encoder, library, settings):
    photo = synthetic_photo(70, 70)  # ViLT's own keeps the aspect ratio

    processor = EvfSamImageProcessor(multimodal_image_size=32, **MULTIMODAL_VIEWS[encoder])

    expected = library(**settings)(photo, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(processor(photo)["multimodal_pixel_values"], expected, atol=1e-5, rtol=0)


def test_multimodal_view_overshoots_at_edges():
    edge = np.zeros((8, 8), dtype=np.uint8)
    edge[:, 4:] = 255

    view = EvfSamImageProcessor(multimodal_image_size=32)(edge)["multimodal_pixel_values"]

    assert view.min() < -1
    assert view.max() > 1


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (768, 1024)),
        (427, 640, (683, 1024)),
        (333, 500, (682, 1024)),
        (3, 2048, (2, 1024)),  # 1.5 rounds up
        (1, 5000, (1, 1024)),
        (5000, 1, (1024, 1)),
        (1, 1, (1024, 1024)),
    ],
)
def test_resized_size(height, width, expected):
    assert resized_size(height, width, 1024) == expected


def test_batch_of_photos_of_different_sizes_and_kinds():
    photos = [
        Image.fromarray(synthetic_photo(20, 30)),
        synthetic_photo(1, 300),
        torch.from_numpy(synthetic_photo(40, 10)).permute(2, 0, 1),
    ]
    processor = EvfSamImageProcessor(image_size=32, multimodal_image_size=16)

    inputs = processor(photos)

    assert inputs["pixel_values"].shape == (3, 3, 32, 32)
    assert inputs["multimodal_pixel_values"].shape == (3, 3, 16, 16)
    assert inputs["original_sizes"].tolist() == [[20, 30], [1, 300], [40, 10]]
    assert inputs["reshaped_input_sizes"].tolist() == [[21, 32], [1, 32], [32, 8]]
    for index, photo in enumerate(photos):
        for name, values in processor(photo).items():
            assert torch.equal(values[0], inputs[name][index])


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "no photos given"),
        ([synthetic_photo(), 7], {}, "photo 1: a photo is a path, a PIL image"),
        (synthetic_photo(), {"size": {"height": 32, "width": 16}}, "two equal ones, got .*'width': 16"),
        (synthetic_photo(), {"do_center_crop": True}, "do_center_crop and data_format='channels_last' are not"),
        (synthetic_photo(), {"data_format": "channels_last"}, "channels_last"),
        (synthetic_photo(), {"do_resize": False}, "70 x 45 pixels is no view of 32 x 32"),
    ],
)
def test_preprocess_refuses(images, options, message):
    with pytest.raises(ValueError, match=message):
        EvfSamImageProcessor(image_size=32)(images, **options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_layout": "crop"}, "image_layout 'crop' is unknown: use one of pad, stretch"),
        ({"size": 0}, "size must be one side of 1 to 4096"),
        ({"size": 10_000}, "size must be one side of 1 to 4096"),
        ({"image_size": 0}, "size must be one side of 1 to 4096"),
        ({"size": {"longest_edge": 1024}}, "size must be one side of 1 to 4096, or two equal ones, got"),
        ({"multimodal_image_size": -1}, "multimodal_image_size must be 1 to 4096, or 0 for none, got -1"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        EvfSamImageProcessor(**settings)


@pytest.mark.parametrize("auto_class", [EvfSamImageProcessor, AutoImageProcessor])
def test_reloaded_processor_gives_the_same_views(tmp_path, auto_class):
    settings = {"image_layout": "stretch", "size": 32, "image_mean": [0.1, 0.2, 0.3], "rescale_factor": 0.01}
    processor = EvfSamImageProcessor(**settings, multimodal_image_size=16, multimodal_image_std=[0.1, 0.2, 0.3])
    processor.save_pretrained(tmp_path)

    reloaded = auto_class.from_pretrained(tmp_path)

    assert type(reloaded) is EvfSamImageProcessor
    assert reloaded.to_dict() == processor.to_dict()
    for name, values in processor(synthetic_photo()).items():
        assert torch.equal(values, reloaded(synthetic_photo())[name])


def test_setting_is_overridden_while_loading(tmp_path):
    EvfSamImageProcessor().save_pretrained(tmp_path)

    assert EvfSamImageProcessor.from_pretrained(tmp_path, image_layout="stretch").image_layout == "stretch"
    with pytest.raises(ValueError, match="image_layout 'crop' is unknown"):
        EvfSamImageProcessor.from_pretrained(tmp_path, image_layout="crop")


FORMER_SETTINGS = {
    "image_processor_type": "EvfSamImageProcessor",
    "image_size": 32,
    "image_layout": "pad",
    "image_mean": [123.675, 116.28, 103.53],
    "image_std": [58.395, 57.12, 57.375],
    "multimodal_image_size": 16,
    "multimodal_image_mean": [0.5, 0.5, 0.5],
    "multimodal_image_std": [0.5, 0.5, 0.5],
    "multimodal_antialias": False,
}


@pytest.mark.parametrize("auto_class", [EvfSamImageProcessor, AutoImageProcessor])
def test_former_settings_give_the_same_pixels(tmp_path, auto_class):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(FORMER_SETTINGS))

    former = auto_class.from_pretrained(tmp_path)

    assert former.to_dict().keys() == EvfSamImageProcessor().to_dict().keys()
    for name, values in EvfSamImageProcessor(size=32, multimodal_image_size=16)(synthetic_photo()).items():
        assert torch.equal(values, former(synthetic_photo())[name])


def test_former_means_are_those_of_values_up_to_255():
    photo = synthetic_photo(32, 32)
    former = EvfSamImageProcessor(image_size=32, image_mean=[0, 0, 0], image_std=[51, 51, 51])

    expected = torch.from_numpy(photo).permute(2, 0, 1) / 51
    torch.testing.assert_close(former(photo)["pixel_values"][0], expected, atol=1e-5, rtol=0)
    assert EvfSamImageProcessor(image_size=32).image_size == 32


def test_a_former_setting_is_overridden_while_loading(tmp_path):
    EvfSamImageProcessor(size=32).save_pretrained(tmp_path)

    loaded = EvfSamImageProcessor.from_pretrained(tmp_path, image_size=16)

    assert (loaded.image_size, dict(loaded.size)) == (16, {"height": 16, "width": 16})
    assert loaded.image_mean == EvfSamImageProcessor().image_mean


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"do_rescale": False, "do_normalize": False}, lambda pixels: pixels),
        ({"do_normalize": False}, lambda pixels: pixels / 255),
        ({"do_normalize": False, "rescale_factor": 0.5}, lambda pixels: pixels / 2),
        ({"do_rescale": False, "image_mean": 2.0, "image_std": 4.0}, lambda pixels: (pixels - 2) / 4),
        ({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}, lambda pixels: (pixels / 255 - 0.5) / 0.25),
        ({"do_resize": False, "do_rescale": False, "do_normalize": False}, lambda pixels: pixels),
    ],
)
@pytest.mark.parametrize("layout", ["pad", "stretch", "pad_stretch"])
def test_settings_of_one_call(layout, settings, expected):
    photo, processor = synthetic_photo(32, 32), EvfSamImageProcessor(size=32, image_layout=layout)
    before = processor.to_dict()

    pixels = processor(photo, **settings)["pixel_values"][0]

    torch.testing.assert_close(pixels, expected(torch.from_numpy(photo).permute(2, 0, 1).float()))
    assert processor.to_dict() == before


def test_settings_hold_for_the_multimodal_view():
    photo, processor = synthetic_photo(16, 16), EvfSamImageProcessor(size=32, multimodal_image_size=16)

    plain = processor(photo, do_rescale=False, do_normalize=False)["multimodal_pixel_values"][0]

    assert torch.equal(plain, torch.from_numpy(photo).permute(2, 0, 1).float())


def test_a_photo_that_is_a_view_already_is_padded():
    inputs = EvfSamImageProcessor(size=32)(synthetic_photo(20, 30), do_resize=False)

    assert inputs["reshaped_input_sizes"].tolist() == [[20, 30]]
    assert not inputs["pixel_values"][0, :, 20:].any()
    assert inputs["pixel_values"][0, :, :20, :30].all()


def test_numpy_arrays():
    processor = EvfSamImageProcessor(size=32, multimodal_image_size=16)

    arrays, tensors = (processor(synthetic_photo(), return_tensors=kind) for kind in ("np", "pt"))

    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    assert all(np.array_equal(arrays[name], tensors[name].numpy()) for name in tensors)


def test_padded_mask_logits_equal_the_library_s_sam():
    logits = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = SamImageProcessorPil().post_process_masks(
        [logits[:, None]],
        [[53, 35]],
        [resized_size(53, 35, 64)],
        binarize=False,
        pad_size={"height": 64, "width": 64},
    )

    assert torch.equal(resize_mask_logits(logits, (53, 35), 64, "pad"), expected[0][:, 0])


@pytest.mark.parametrize(("folder", "image_size"), [("evf_sam2", 256), ("evf_efficient_sam", 128)])
def test_stretched_mask_logits_equal_the_original_s(shared, folder, image_size):
    outputs = load_file(shared / "golden" / folder / "outputs.safetensors")
    original_size = load_file(shared / "golden" / folder / "inputs.safetensors")["original_size"]
    best = outputs["inference.mask_decoder.1"][0].argmax()
    logits = outputs["inference.mask_decoder.0"][:, best]

    resized = resize_mask_logits(logits, original_size, image_size, "stretch")

    torch.testing.assert_close(resized, outputs["inference.pred_mask"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", ["pad", "stretch"])
@pytest.mark.parametrize("count", [0, 2])
def test_mask_logits_are_differentiable_in_float32(layout, count):
    logits = torch.randn(count, 8, 8, dtype=torch.bfloat16, requires_grad=True)

    resized = resize_mask_logits(logits, torch.tensor([5, 12]), 32, layout)
    resized.sum().backward()

    assert (resized.shape, resized.dtype) == ((count, 5, 12), torch.float32)
    assert logits.grad.isfinite().all()
    assert count == 0 or logits.grad.abs().sum() > 0
