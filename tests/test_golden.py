"""Agreement with what the original code computed on tiny weights, stage by stage and end to end."""

from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from modeling_evf_sam import EvfSamImageProcessor, EvfSamModel
from modeling_evf_sam.image_processing_evf_sam import resize_mask_logits
from modeling_evf_sam.originals.converting import convert_state_dict, ignored_names
from modeling_evf_sam.originals.sizes import detect_config
from tests.golden import SYSTEMS, drawn_photo, golden_config, golden_inputs, golden_outputs, original_tensors

LOGITS, LOSS, VIEW = 1e-4, 1e-5, 1e-5  # agreement with the original
IMAGE_STAGES = {  # name and how many rows and columns a kept one stands for
    "evf_sam": {"image_encoder": 1},
    "evf_sam2": {f"image_encoder.backbone_fpn.{level}": step for level, step in enumerate((4, 4, 1))},
    "evf_efficient_sam": {"image_encoder": 1},
}
VIEWS = {"pad": "sam", "stretch": "sam2_eval"}  # of each layout, in the original's words


@dataclass
class Golden:
    name: str
    model: EvfSamModel
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def photo_logits(self, logits: Tensor, size: Tensor, resize: Tensor) -> Tensor:
        config = self.model.config
        return resize_mask_logits(logits, size.tolist(), config.view_size, config.image_layout, resize.tolist())


@pytest.fixture(scope="module", params=SYSTEMS)
def golden(request) -> Golden:
    config = golden_config(**SYSTEMS[request.param])
    model = EvfSamModel(config).eval()
    model.load_state_dict(convert_state_dict(original_tensors(config), image_size=config.view_size))
    return Golden(request.param, model, golden_inputs(request.param), golden_outputs(request.param))


def assert_near(ours: Tensor, theirs: Tensor, tolerance: float = LOGITS) -> None:
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


@torch.no_grad()
def test_every_stage_agrees(golden):
    model, inputs, expected = golden.model, golden.inputs, golden.outputs
    encoded = model.multimodal_encoder(pixel_values=inputs["images_evf"], input_ids=inputs["input_ids"])
    assert_near(encoded.last_hidden_state, expected["inference.beit3.encoder_out"])

    embeddings = model.get_image_embeddings(inputs["images"])
    *fine, coarse = embeddings if isinstance(embeddings, list) else [embeddings]
    if golden.name == "evf_sam2":  # where the original adds it later
        coarse = coarse - model.sam.no_memory_embedding.transpose(1, 2)[..., None]
    for ours, (theirs, step) in zip([*fine, coarse], IMAGE_STAGES[golden.name].items(), strict=True):
        assert_near(ours[..., ::step, ::step], expected[f"inference.{theirs}"])

    several = golden.name == "evf_sam2"
    outputs = model(
        image_embeddings=embeddings,
        multimodal_pixel_values=inputs["images_evf"],
        input_ids=inputs["input_ids"][:, None],
        multimask_output=several,
    )
    assert_near(outputs.prompt_embeds, expected["inference.projector"])
    assert_near(outputs.pred_masks[:, 0], expected["inference.mask_decoder.0"])
    assert_near(outputs.iou_scores[:, 0], expected["inference.mask_decoder.1"])

    outputs = model(
        pixel_values=inputs["images"],
        multimodal_pixel_values=inputs["images_evf"],
        input_ids=inputs["input_ids"][:, None],
    )
    assert outputs.pred_masks.shape[:3] == (1, 1, 1)
    logits = golden.photo_logits(outputs.pred_masks[0, 0], inputs["original_size"], inputs["resize"])
    assert_near(logits, expected["inference.pred_mask"])


@torch.no_grad()
def test_a_padded_batch_and_its_loss_agree(golden):
    model, inputs, expected = golden.model, golden.inputs, golden.outputs
    ids, masks = inputs["fw.input_ids"], inputs["fw.attention_masks"].long()
    outputs = model(
        pixel_values=inputs["fw.images"],
        multimodal_pixel_values=inputs["fw.images_evf"],
        input_ids=torch.stack([ids[:2], torch.stack([ids[2], torch.ones_like(ids[2])])]),
        attention_mask=torch.stack([masks[:2], torch.stack([masks[2], torch.zeros_like(masks[2])])]),
        reshaped_input_sizes=inputs["fw.resize"],
        labels=[inputs["fw.gt.0"], inputs["fw.gt.1"]],
    )
    for photo, count in enumerate((2, 1)):
        size, resize = inputs["fw.sizes"][photo], inputs["fw.resize"][photo]
        logits = golden.photo_logits(outputs.pred_masks[photo, :count, 0], size, resize)
        assert_near(logits, expected[f"forward.pred_masks.{photo}"])
    assert_near(outputs.loss, expected["forward.loss"], LOSS)
    assert_near(outputs.loss_dict["bce"], expected["forward.mask_bce_loss"], LOSS)
    assert_near(outputs.loss_dict["dice"], expected["forward.mask_dice_loss"], LOSS)


@pytest.mark.parametrize("layout", VIEWS)
def test_views_of_a_drawn_photo(layout):
    expected = golden_outputs("preprocessing")
    views = EvfSamImageProcessor(image_layout=layout)(drawn_photo())
    assert_near(views["pixel_values"][0, :, ::32, ::32], expected[f"{VIEWS[layout]}.every32"], VIEW)
    assert_near(views["multimodal_pixel_values"][0, :, ::8, ::8], expected["beit.every8"], VIEW)


@pytest.mark.parametrize("name", ["evf_sam", "evf_efficient_sam"])  # tensors do not tell a Hiera's global blocks
def test_sizes_follow_from_the_tensors(name):
    expected = golden_config(**SYSTEMS[name])
    detected = detect_config(original_tensors(expected), image_size=expected.view_size)
    for part in ("multimodal_config", "sam_config"):
        assert getattr(detected, part).to_dict() == getattr(expected, part).to_dict()


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_kept_here_is_what_the_original_left(name, shared):
    """Weights and inputs by their rules, and the kept outputs, against the files that the original wrote."""
    weights, inputs, outputs = (
        load_file(shared / "golden" / name / f"{part}.safetensors") for part in ("state_dict", "inputs", "outputs")
    )
    ruled = original_tensors(golden_config(**SYSTEMS[name]))
    assert ruled.keys() == weights.keys() - ignored_names(weights)
    torch.testing.assert_close(ruled, {key: weights[key] for key in ruled}, atol=1e-6, rtol=0)
    torch.testing.assert_close(golden_inputs(name), inputs, atol=1e-6, rtol=0)
    steps = {f"inference.{stage}": step for stage, step in IMAGE_STAGES[name].items()}
    for key, tensor in golden_outputs(name).items():
        step = steps.get(key, 1)
        assert torch.equal(tensor, outputs[key][..., ::step, ::step] if step > 1 else outputs[key]), key
