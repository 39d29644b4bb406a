import copy

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModel

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.configuration_evf_sam import PADDING
from modeling_evf_sam.original_checkpoints import convert_state_dict
from tests.golden import golden_config, ruled_tensor

LOGITS, LOSS = 1e-4, 1e-5  # agreement with the original


@pytest.fixture(scope="module")
def model() -> EvfSamModel:
    """The golden sizes with seeded weights that spread as trained ones do."""
    model = EvfSamModel(golden_config()).eval()
    weights = {name: ruled_tensor(name, tuple(value.shape)) for name, value in model.state_dict().items()}
    weights["sam.prompt_encoder.shared_embedding.positional_embedding"] = weights[
        "sam.shared_image_embedding.positional_embedding"
    ]
    model.load_state_dict(weights)
    return model


@pytest.fixture(scope="module")
def batch() -> dict[str, Tensor]:
    """Two photos with 2 + 1 sentences of 6, 4 and 5 tokens."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(4, 120, (2, 2, 6), generator=generator)
    attention_mask = torch.tensor([[[1] * 6, [1] * 4 + [0] * 2], [[1] * 5 + [0], [0] * 6]])
    return {
        "pixel_values": torch.randn(2, 3, 128, 128, generator=generator),
        "multimodal_pixel_values": torch.randn(2, 3, 32, 32, generator=generator),
        "input_ids": input_ids.where(attention_mask.bool(), torch.tensor(1)),
        "attention_mask": attention_mask,
    }


def single(batch: dict[str, Tensor], photo: int, sentence: int) -> dict[str, Tensor]:
    """One sentence of a batch alone, without its padding."""
    length = int(batch["attention_mask"][photo, sentence].sum())
    return {
        "pixel_values": batch["pixel_values"][photo : photo + 1],
        "multimodal_pixel_values": batch["multimodal_pixel_values"][photo : photo + 1],
        "input_ids": batch["input_ids"][photo : photo + 1, sentence : sentence + 1, :length],
    }


@pytest.fixture(scope="module")
def golden(shared) -> tuple[EvfSamModel, dict[str, Tensor], dict[str, Tensor]]:
    folder = shared / "golden" / "evf_sam"
    model = EvfSamModel(golden_config()).eval()
    model.load_state_dict(convert_state_dict(load_file(folder / "state_dict.safetensors")))
    return model, load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")


@torch.no_grad()
def test_every_stage_agrees_with_the_original(golden):
    model, inputs, expected = golden
    encoded = model.multimodal_encoder(pixel_values=inputs["images_evf"], input_ids=inputs["input_ids"])
    outputs = model(
        pixel_values=inputs["images"],
        multimodal_pixel_values=inputs["images_evf"],
        input_ids=inputs["input_ids"][:, None],
    )
    for ours, theirs in (
        (encoded.last_hidden_state, "beit3.encoder_out"),
        (outputs.image_embeddings, "image_encoder"),
        (outputs.prompt_embeds, "projector"),
        (outputs.pred_masks[:, 0], "mask_decoder.0"),
        (outputs.iou_scores[:, 0], "mask_decoder.1"),
    ):
        torch.testing.assert_close(ours, expected[f"inference.{theirs}"], atol=LOGITS, rtol=0)


@torch.no_grad()
def test_batch_and_loss_agree_with_the_original(golden):
    model, inputs, expected = golden
    ids, masks = inputs["fw.input_ids"], inputs["fw.attention_masks"].long()
    outputs = model(
        pixel_values=inputs["fw.images"],
        multimodal_pixel_values=inputs["fw.images_evf"],
        input_ids=torch.stack([ids[:2], torch.stack([ids[2], torch.ones_like(ids[2])])]),
        attention_mask=torch.stack([masks[:2], torch.stack([masks[2], torch.zeros_like(masks[2])])]),
        reshaped_input_sizes=inputs["fw.resize"],
        labels=[inputs["fw.gt.0"], inputs["fw.gt.1"]],
    )
    torch.testing.assert_close(outputs.loss, expected["forward.loss"], atol=LOSS, rtol=0)
    torch.testing.assert_close(outputs.loss_dict["bce"], expected["forward.mask_bce_loss"], atol=LOSS, rtol=0)
    torch.testing.assert_close(outputs.loss_dict["dice"], expected["forward.mask_dice_loss"], atol=LOSS, rtol=0)


@torch.no_grad()
def test_a_sentence_gives_the_same_mask_alone_batched_and_padded(model, batch):
    together = model(**batch)
    for photo, sentence in ((0, 0), (0, 1), (1, 0)):
        alone = model(**single(batch, photo, sentence))
        torch.testing.assert_close(together.pred_masks[photo, sentence], alone.pred_masks[0, 0], atol=1e-5, rtol=0)
    wide = {name: torch.nn.functional.pad(batch[name], (0, 9)) for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(model(**{**batch, **wide}).pred_masks, together.pred_masks, atol=1e-5, rtol=0)


@torch.no_grad()
def test_absent_sentences_are_zero(model, batch):
    outputs = model(**batch)
    assert outputs.pred_masks.shape == (2, 2, 1, 32, 32)
    assert outputs.iou_scores.shape == (2, 2, 1)
    assert not outputs.pred_masks[1, 1].any()
    assert not outputs.prompt_embeds[1, 1].any()


@torch.no_grad()
def test_no_work_is_done_for_absent_sentences_and_padding(model, batch):
    seen = []
    hook = model.multimodal_encoder.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    model(**{**batch, **{k: torch.nn.functional.pad(batch[k], (0, 9)) for k in ("input_ids", "attention_mask")}})
    hook.remove()
    assert seen == [(3, 17 + 6, 32)]


@torch.no_grad()
def test_halves_make_the_whole(model, batch):
    whole = model(**batch)
    image_embeddings = model.get_image_embeddings(batch["pixel_values"])
    prompt_embeds = model.get_prompt_embeddings(
        batch["multimodal_pixel_values"], batch["input_ids"], batch["attention_mask"]
    )
    text = {name: batch[name] for name in ("multimodal_pixel_values", "input_ids", "attention_mask")}
    for halves in (
        {"image_embeddings": image_embeddings, **text},
        {
            "image_embeddings": image_embeddings,
            "prompt_embeds": prompt_embeds,
            "attention_mask": text["attention_mask"],
        },
    ):
        assert torch.equal(model(**halves).pred_masks, whole.pred_masks)


@torch.no_grad()
def test_points_and_boxes_beside_the_text(model, batch):
    points = torch.full((2, 2, 2, 2), float(PADDING))
    labels = torch.full((2, 2, 2), PADDING)
    boxes = torch.full((2, 2, 4), float(PADDING))
    points[0, 0], labels[0, 0] = torch.tensor([[10.0, 20.0], [90.0, 70.0]]), torch.tensor([1, 0])
    points[1, 0, 0], labels[1, 0, 0] = torch.tensor([64.0, 64.0]), 1
    boxes[0, 1] = torch.tensor([5.0, 6.0, 70.0, 80.0])
    boxes[1, 0] = torch.tensor([1.0, 2.0, 30.0, 40.0])
    mixed = model(**batch, input_points=points, input_labels=labels, input_boxes=boxes).pred_masks
    alone = {
        (0, 0): {"input_points": points[:1, :1], "input_labels": labels[:1, :1]},
        (0, 1): {"input_boxes": boxes[:1, 1:]},
        (1, 0): {
            "input_points": points[1:, :1, :1],
            "input_labels": labels[1:, :1, :1],
            "input_boxes": boxes[1:, :1],
        },
    }
    text_only = model(**batch).pred_masks
    for (photo, sentence), prompts in alone.items():
        expected = model(**single(batch, photo, sentence), **prompts).pred_masks[0, 0]
        torch.testing.assert_close(mixed[photo, sentence], expected, atol=1e-5, rtol=0)
        assert (mixed[photo, sentence] - text_only[photo, sentence]).abs().max() > 1e-2


@torch.no_grad()
def test_mask_prompts_and_several_masks(model, batch):
    outputs = model(**batch, input_masks=torch.randn(2, 2, 1, 32, 32), multimask_output=True)
    assert outputs.pred_masks.shape == (2, 2, 3, 32, 32)
    assert (outputs.pred_masks[0, 0] - model(**batch, multimask_output=True).pred_masks[0, 0]).abs().max() > 1e-2


def test_labels_on_a_grid_equal_labels_at_photo_size_and_ignore_minus_one(model, batch):
    model = copy.deepcopy(model)
    model.config.image_layout = "stretch"
    grid = torch.zeros(2, 2, 48, 48)
    grid[:, :, 10:30, 20:40] = 1
    on_grid = model(**batch, labels=grid)
    at_size = model(**batch, labels=[grid[0], grid[1, :1]])
    torch.testing.assert_close(on_grid.loss, at_size.loss)
    torch.testing.assert_close(on_grid.loss, on_grid.loss_dict["bce"] + on_grid.loss_dict["dice"])

    halved = torch.nn.functional.pad(grid, (0, 48), value=-1)
    wide = model(**batch, labels=halved)
    halved[..., 48:] = torch.where(torch.rand(2, 2, 48, 48) > 2, 0.0, -1.0)
    assert torch.equal(wide.loss, model(**batch, labels=halved).loss)
    assert not torch.equal(wide.loss, model(**batch, labels=halved.clamp(min=0)).loss)


def test_gradients_reach_the_encoder_and_the_decoder(model, batch):
    model = copy.deepcopy(model).train()
    model.sam.vision_encoder.requires_grad_(False)
    model(**batch, labels=torch.ones(2, 2, 16, 16)).loss.backward()
    for part in (model.multimodal_encoder.layers[0], model.projector, model.sam.mask_decoder.transformer):
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in part.parameters())
    assert all(parameter.grad is None for parameter in model.sam.vision_encoder.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel_values": None}, "exactly one of pixel_values and image_embeddings"),
        ({"image_embeddings": torch.zeros(2, 32, 8, 8)}, "exactly one of pixel_values and image_embeddings"),
        ({"input_ids": None}, "input_ids"),
        ({"attention_mask": None, "input_ids": torch.ones(2, 1, 1023, dtype=torch.long)}, "limit is 1022"),
    ],
)
def test_bad_input(model, batch, changes, message):
    with pytest.raises(ValueError, match=message):
        model(**{**batch, **changes})


@torch.no_grad()
def test_save_and_load_give_equal_masks(model, batch, tmp_path):
    model.save_pretrained(tmp_path / "once")
    once = EvfSamModel.from_pretrained(tmp_path / "once")
    once.save_pretrained(tmp_path / "twice")
    for again in (once, AutoModel.from_pretrained(tmp_path / "twice")):
        assert type(again) is EvfSamModel
        assert torch.equal(again(**batch).pred_masks, model(**batch).pred_masks)
    assert AutoConfig.from_pretrained(tmp_path / "twice").to_json_string() == once.config.to_json_string()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.pop("projector.fc1.bias"), "1 missing .*projector.fc1.bias"),
        (lambda w: w.update({"projector.fc3.bias": torch.zeros(3)}), "1 unknown .*projector.fc3.bias"),
        (lambda w: w.update({"projector.fc1.bias": torch.zeros(7)}), "1 misshapen .*projector.fc1.bias"),
        (lambda w: w["projector.fc1.bias"].fill_(float("nan")), "1 not finite .*projector.fc1.bias"),
    ],
)
def test_damaged_checkpoints_are_refused(model, tmp_path, damage, message):
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    damage(weights)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        EvfSamModel.from_pretrained(tmp_path)


def test_fresh_weights_can_learn():
    model = EvfSamModel(golden_config())
    fourier = model.sam.shared_image_embedding.positional_embedding
    assert 0.5 < fourier.std() < 1.5
    assert fourier is model.sam.prompt_encoder.shared_embedding.positional_embedding
