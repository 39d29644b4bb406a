import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from modeling_evf_sam.configuration_evf_sam import EfficientSamConfig
from modeling_evf_sam.modeling_efficient_sam import EfficientSamModel
from modeling_evf_sam.originals.converting import convert_state_dict, original_state_dict
from modeling_evf_sam.prompts_evf_sam import PADDING
from tests.golden import GOLDEN_EFFICIENT_SAM, ruled_tensor

LOGITS = 1e-4  # agreement with the original
SIZES = {name: sizes for name, sizes in GOLDEN_EFFICIENT_SAM.items() if name != "model_type"}
SIDE = SIZES["vision_config"]["image_size"]
POINTS = {
    "input_points": torch.tensor([[[[10.0, 20.0], [90.0, 70.0]]]]),
    "input_labels": torch.tensor([[[1, 0]]]),
}
BOX = {"input_boxes": torch.tensor([[[5.0, 6.0, 70.0, 80.0]]])}
PROMPTS = {"points": POINTS, "box": BOX, "both": POINTS | BOX}


def load_original(model: EfficientSamModel, tensors: dict[str, Tensor]) -> None:
    converted = convert_state_dict(tensors, image_size=SIDE)
    model.load_state_dict({name[4:]: tensor for name, tensor in converted.items() if name.startswith("sam.")})


def ruled_original(model: EfficientSamModel) -> dict[str, Tensor]:
    """The original's tensors at the model's sizes, as the rule makes them."""
    original = original_state_dict({f"sam.{name}": tensor for name, tensor in model.state_dict().items()})
    return {name: ruled_tensor(name, tuple(tensor.shape)) for name, tensor in original.items()}


def noise(name: str, *shape: int) -> Tensor:
    """Numbers from N(0, 1) that follow from their name."""
    return ruled_tensor(f"{name}.gaussian_matrix", shape)


def decode(model: EfficientSamModel, embeddings: Tensor, sparse: Tensor | None, **options) -> tuple[Tensor, Tensor]:
    return model.mask_decoder(
        image_embeddings=embeddings,
        image_positional_embeddings=model.get_image_wide_positional_embeddings().expand_as(embeddings),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=torch.zeros(1, 1, 1, 1),
        **{"multimask_output": False, **options},
    )


@pytest.fixture(scope="module")
def model() -> EfficientSamModel:
    """The golden sizes and weights."""
    model = EfficientSamModel(EfficientSamConfig(**SIZES)).eval()
    load_original(model, ruled_original(model))
    return model


@pytest.fixture(scope="module")
def image() -> Tensor:
    return noise("image", 1, 3, SIDE, SIDE)


@torch.no_grad()
def test_every_stage_agrees_with_the_original(shared):
    folder = shared / "golden" / "evf_efficient_sam"
    model = EfficientSamModel(EfficientSamConfig(**SIZES)).eval()
    load_original(model, load_file(folder / "state_dict.safetensors"))
    expected = load_file(folder / "outputs.safetensors")
    embeddings = model.vision_encoder(load_file(folder / "inputs.safetensors")["images"]).last_hidden_state
    masks, scores = decode(model, embeddings, expected["inference.projector"][:, None])
    torch.testing.assert_close(embeddings, expected["inference.image_encoder"], atol=LOGITS, rtol=0)
    torch.testing.assert_close(masks[0], expected["inference.mask_decoder.0"], atol=LOGITS, rtol=0)
    torch.testing.assert_close(scores[0], expected["inference.mask_decoder.1"], atol=LOGITS, rtol=0)


def test_the_rule_makes_the_golden_weights(shared, model):
    tensors = load_file(shared / "golden" / "evf_efficient_sam" / "state_dict.safetensors")
    golden = {name: tensor for name, tensor in tensors.items() if name.startswith("visual_model.")}
    torch.testing.assert_close(ruled_original(model), golden, atol=1e-6, rtol=0)


FIGURES = {  # three logits of the first mask and its mean, one logit of the third, the first score
    "text": [0.116928, 0.281356, 0.116658, 0.111376, 0.051592, -0.230301],
    "points": [-0.125058, -0.060841, 0.038079, -0.062342, 0.136424, 0.088448],
    "box": [-0.083313, -0.051400, -0.052894, 0.006978, -0.142303, -0.197500],
    "both": [-0.072246, -0.091070, 0.099596, -0.000243, -0.060007, -0.018323],
}


@torch.no_grad()
def test_image_embeddings_have_the_figures_of_the_original(model, image):
    embeddings = model.vision_encoder(image).last_hidden_state
    found = embeddings[0, [0, 5, 31], [0, 3, 7], [7, 4, 0]]
    torch.testing.assert_close(found, torch.tensor([0.979033, -0.904090, -0.033803]), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("prompt", FIGURES)
def test_masks_have_the_figures_of_the_original(model, image, prompt):
    """What the original's definition gives in float64, padding to six points included."""
    embeddings = model.vision_encoder(image).last_hidden_state
    sparse = noise("text", 1, 1, 1, 32) if prompt == "text" else model.prompt_encoder(**PROMPTS[prompt])[0]
    masks, scores = decode(model, embeddings, sparse)
    three, _ = decode(model, embeddings, sparse, multimask_output=True)
    first, third = masks[0, 0, 0], three[0, 0, 1]
    found = torch.stack([first[0, 0], first[9, 21], first[31, 31], first.mean(), third[9, 21], scores[0, 0, 0]])
    torch.testing.assert_close(found, torch.tensor(FIGURES[prompt]), atol=1e-5, rtol=0)


@torch.no_grad()
def test_prompts_on_one_image_are_decoded_alone(model, image):
    embeddings = model.vision_encoder(torch.cat([image, -image])).last_hidden_state
    texts = noise("texts", 2, 3, 1, 32)
    masks, scores = decode(model, embeddings, texts, multimask_output=True)
    assert masks.shape == (2, 3, 3, 32, 32)
    assert scores.shape == (2, 3, 3)
    alone, _ = decode(model, embeddings[1:], texts[1:, 2:], multimask_output=True)
    torch.testing.assert_close(masks[1:, 2:], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_points_and_boxes_fill_six_slots(model):
    for prompts in PROMPTS.values():
        sparse, dense = model.prompt_encoder(**prompts)
        assert sparse.shape == (1, 1, 6, 32)
        assert not dense.any()
    assert model.prompt_encoder()[0] is None


@torch.no_grad()
def test_padding_is_no_point(model):
    padded = {
        "input_points": torch.nn.functional.pad(POINTS["input_points"], (0, 0, 0, 2), value=float(PADDING)),
        "input_labels": torch.nn.functional.pad(POINTS["input_labels"], (0, 2), value=PADDING),
    }
    expected, found = model.prompt_encoder(**POINTS)[0], model.prompt_encoder(**padded)[0]
    assert torch.equal(found, expected)


@torch.no_grad()
def test_forward_heeds_each_prompt(model, image):
    results = [model(image, **prompts).pred_masks for prompts in ({}, *PROMPTS.values())]
    assert {result.shape for result in results} == {(1, 1, 3, 32, 32)}
    flipped = {**POINTS, "input_labels": 1 - POINTS["input_labels"]}
    moved = {"input_boxes": BOX["input_boxes"] + 20}
    results += [model(image, **prompts).pred_masks for prompts in (flipped, moved)]
    for index, result in enumerate(results):
        assert all((result - other).abs().max() > 1e-2 for other in results[:index])


@torch.no_grad()
def test_forward_takes_image_embeddings(model, image):
    embeddings = model.vision_encoder(image).last_hidden_state
    whole, half = model(image, **BOX), model(image_embeddings=embeddings, **BOX)
    assert torch.equal(whole.pred_masks, half.pred_masks)
    assert torch.equal(whole.iou_scores, half.iou_scores)


@torch.no_grad()
def test_attention_implementations_agree(model, image):
    outputs = {}
    for name in ("eager", "sdpa"):
        same = EfficientSamModel._from_config(copy.deepcopy(model.config), attn_implementation=name).eval()
        same.load_state_dict(model.state_dict())
        assert same.mask_decoder.transformer.layers[0].self_attn.config._attn_implementation == name
        outputs[name] = same(image, **POINTS).pred_masks
    torch.testing.assert_close(outputs["eager"], outputs["sdpa"], atol=1e-5, rtol=0)


def test_gradient_checkpointing_changes_no_gradient(model, image):
    gradients = []
    for checkpointing in (False, True):
        same = copy.deepcopy(model).train()
        if checkpointing:
            same.activation_checkpointing_enable()
            assert same.vision_encoder.layers[0].gradient_checkpointing
        same(image, **BOX).pred_masks.square().mean().backward()
        gradients.append(same.vision_encoder.layers[0].mlp.lin1.weight.grad)
    assert gradients[0].any()
    torch.testing.assert_close(*gradients)


@torch.no_grad()
def test_save_and_load_change_nothing(model, image, tmp_path):
    model.save_pretrained(tmp_path)
    again, info = EfficientSamModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert EfficientSamConfig.from_pretrained(tmp_path).to_json_string() == model.config.to_json_string()
    torch.testing.assert_close(again.state_dict(), model.state_dict(), atol=0, rtol=0)
    # Kernels depend on where a tensor lies in memory: the last bit of a mask may differ.
    torch.testing.assert_close(again(image, **POINTS).pred_masks, model(image, **POINTS).pred_masks, atol=1e-6, rtol=0)


def test_fresh_weights_place_prompts():
    model = EfficientSamModel(EfficientSamConfig(**SIZES))
    positions = model.prompt_encoder.shared_embedding
    assert 0.5 < positions.positional_embedding.std() < 1.5
    assert not list(positions.parameters())  # the Fourier matrix is never trained
    assert 0.01 < model.vision_encoder.layers[0].mlp.lin1.weight.std() < 0.03


@pytest.mark.parametrize(
    ("vision", "count"),
    [({}, 10_223_204), ({"hidden_size": 384, "num_attention_heads": 6}, 26_413_028)],
)
def test_parameters_of_the_released_sizes(vision, count):
    """EfficientSAM-Ti and -S count as in the original, but for the positions of the patches.

    The Fourier matrix is a buffer in both. The original keeps positions of 14 x 14 patches and [CLS], and stretches
    them on every call; here they have been stretched to 64 x 64.
    """
    with torch.device("meta"):
        model = EfficientSamModel(EfficientSamConfig(vision_config=vision))
    parameters = dict(model.named_parameters())
    positions = parameters.pop("vision_encoder.pos_embed")
    assert positions.shape[:3] == (1, 64, 64)
    original_positions = (14 * 14 + 1) * positions.shape[3]
    assert sum(parameter.numel() for parameter in parameters.values()) + original_positions == count
    assert [name for name, _ in model.named_buffers()] == ["prompt_encoder.shared_embedding.positional_embedding"]


def test_every_layer_sees_the_whole_view():
    vision = {**SIZES["vision_config"], "use_rel_pos": True, "window_size": 3, "global_attn_indexes": [1]}
    config = EfficientSamConfig(**{**SIZES, "vision_config": vision}).vision_config
    assert (config.use_rel_pos, config.window_size, config.global_attn_indexes) == (False, 0, [0, 1])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"input_masks": torch.zeros(1, 1, 32, 32)}, "no mask prompts: leave out input_masks"),
        ({"input_points": torch.zeros(1, 1, 1, 2)}, "input_points and input_labels together"),
        ({"input_labels": torch.zeros(1, 1, 1)}, "input_points and input_labels together"),
        (
            {"input_points": torch.zeros(1, 1, 5, 2), "input_labels": torch.ones(1, 1, 5), **BOX},
            "at most 6 points, where a box counts as two: got 7",
        ),
    ],
)
def test_bad_prompts(model, prompts, message):
    with pytest.raises(ValueError, match=message):
        model.prompt_encoder(**prompts)


def test_exactly_one_image(model, image):
    for images in ({}, {"pixel_values": image, "image_embeddings": torch.zeros(1, 32, 8, 8)}):
        with pytest.raises(ValueError, match="exactly one of pixel_values and image_embeddings"):
            model(**images)
