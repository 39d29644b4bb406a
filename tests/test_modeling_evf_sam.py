import copy

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModel
from transformers.utils import is_flash_attn_2_available

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.prompts_evf_sam import PADDING
from tests.golden import GOLDEN_SAM2, SYSTEMS, golden_config, ruled_tensor


@pytest.fixture(scope="module", params=SYSTEMS)
def model(request) -> EvfSamModel:
    """Each system at the golden sizes, with seeded weights that spread as trained ones do."""
    model = EvfSamModel(golden_config(**SYSTEMS[request.param])).eval()
    weights = {name: ruled_tensor(name, tuple(value.shape)) for name, value in model.state_dict().items()}
    codes = "sam.shared_image_embedding.positional_embedding"
    if codes in weights:  # transformers has the Fourier matrix twice
        weights["sam.prompt_encoder.shared_embedding.positional_embedding"] = weights[codes]
    model.load_state_dict(weights)
    return model


@pytest.fixture(scope="module")
def batch(model) -> dict[str, Tensor]:
    """Two photos with 2 + 1 sentences of 6, 4 and 5 tokens."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(4, 120, (2, 2, 6), generator=generator)
    attention_mask = torch.tensor([[[1] * 6, [1] * 4 + [0] * 2], [[1] * 5 + [0], [0] * 6]])
    return {
        "pixel_values": torch.randn(2, 3, model.config.view_size, model.config.view_size, generator=generator),
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
    side = model.config.view_size // 4
    assert outputs.pred_masks.shape == (2, 2, 1, side, side)
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
def test_hidden_states_and_attentions_are_those_of_the_encoder(model, batch):
    model = copy.deepcopy(model)
    model.set_attn_implementation("eager")
    found = model(**batch, output_hidden_states=True, output_attentions=True, prompt_chunk_size=1)
    present = batch["attention_mask"].any(-1)  # the second photo has one sentence, the first two
    expected = model.multimodal_encoder(
        pixel_values=batch["multimodal_pixel_values"][[0, 0, 1]],
        input_ids=batch["input_ids"][present],
        attention_mask=batch["attention_mask"][present],
        output_hidden_states=True,
        output_attentions=True,
    )
    assert len(found.hidden_states) == len(expected.hidden_states)
    for ours, theirs in zip(found.hidden_states[:-1], expected.hidden_states[:-1], strict=True):
        torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(found.attentions, expected.attentions, strict=True):
        torch.testing.assert_close(ours, theirs)
    plain = model(**batch)
    assert (plain.hidden_states, plain.attentions) == (None, None)
    torch.testing.assert_close(found.pred_masks, plain.pred_masks, atol=1e-5, rtol=1e-5)  # sums in another order


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


def repeated(batch: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """One photo of a batch with its two sentences `count` times."""
    return {name: value[:1] if "pixel" in name else value[:1].repeat(1, count, 1) for name, value in batch.items()}


@torch.no_grad()
def test_chunks_change_nothing_but_what_is_computed_at_a_time(model, batch):
    many = {name: value.repeat(3, *[1] * (value.ndim - 1)) for name, value in batch.items()}
    points = torch.randint(1, 90, (6, 2, 2, 2)).float()
    labels = torch.ones(6, 2, 2, dtype=torch.long)
    labels[::2, :, 1:] = PADDING  # two kinds of prompts: each is decoded on its own
    many |= {"input_points": points.masked_fill(labels[..., None] == PADDING, PADDING), "input_labels": labels}
    expected, seen = model(**many), {}
    parts = {"photos": model.sam.vision_encoder, "sentences": model.projector, "prompts": model.sam.mask_decoder}
    hooks = [
        part.register_forward_hook(
            lambda _, __, output, name=name: seen.setdefault(name, []).append(
                len(output[0] if isinstance(output, tuple) else getattr(output, "last_hidden_state", output))
            )
        )
        for name, part in parts.items()
    ]
    found = model(**many, encode_chunk_size=4, prompt_chunk_size=2)
    for hook in hooks:
        hook.remove()
    assert seen["photos"] == [4, 2]
    assert seen["sentences"] == [2, 2, 2, 2, 1]
    assert sum(seen["prompts"]) == 9
    assert max(seen["prompts"]) == 2
    for name in ("pred_masks", "iou_scores", "prompt_embeds"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-5, rtol=0)


def test_default_chunks_are_what_fits_where_a_photo_of_1024_pixels_does(model):
    expected = {128: (64, 512), 256: (16, 128)}[model.config.view_size]
    with torch.no_grad():
        assert (model._chunk_size(None, 1), model._chunk_size(None, 8)) == expected
        assert model._chunk_size(3, 1) == 3
    assert model._chunk_size(None, 1) > 10**9  # a graph of gradients is kept whole anyway
    with pytest.raises(ValueError, match="give 1 or more"):
        model._chunk_size(0, 1)


@torch.no_grad()
def test_sentences_share_the_encoding_of_their_photo(model, batch):
    """In FLOPs: every sentence costs the same, and the photo once."""
    model = copy.deepcopy(model).requires_grad_(False)  # the counter follows gradients
    counts = []
    for sentences in (4, 8, 20):
        with FlopCounterMode(display=False) as flops:
            model(**repeated(batch, sentences // 2), prompt_chunk_size=2)
        counts.append(flops.get_total_flops())
    with FlopCounterMode(display=False) as flops:
        model.get_image_embeddings(batch["pixel_values"][:1])
    four = counts[1] - counts[0]
    assert counts[2] - counts[1] == 3 * four
    assert counts[0] - four == flops.get_total_flops()


@torch.no_grad()
def test_sentences_are_read_with_those_of_their_length(model, batch):
    """In FLOPs: padding in a chunk would cost more."""
    model = copy.deepcopy(model).requires_grad_(False)
    views = batch["multimodal_pixel_values"][:1]
    words, lengths = torch.randint(4, 120, (1, 4, 12)), torch.tensor([3, 12, 12, 3])
    mask = (torch.arange(12) < lengths[None, :, None]).long()
    apart = [torch.zeros(0)] * 4
    with FlopCounterMode(display=False) as of_their_own:
        for row, length in enumerate(lengths):
            kept = slice(row, row + 1), slice(length)
            apart[row] = model.get_prompt_embeddings(views, words[:, *kept], mask[:, *kept])[0, 0]
    with FlopCounterMode(display=False) as together:
        found = model.get_prompt_embeddings(views, words, mask, chunk_size=2)
    torch.testing.assert_close(found[0], torch.stack(apart), atol=1e-5, rtol=0)
    assert together.get_total_flops() == of_their_own.get_total_flops()


def as_levels(embeddings: Tensor | list[Tensor]) -> list[Tensor]:
    """SAM-2 alone has several."""
    return [embeddings] if isinstance(embeddings, Tensor) else embeddings


@torch.no_grad()
def test_image_encoder_compiles_without_graph_breaks(model, batch):
    torch.compiler.reset()
    encode = torch.compile(model.get_image_embeddings, fullgraph=True, backend="eager")
    found, expected = encode(batch["pixel_values"]), model.get_image_embeddings(batch["pixel_values"])
    for level, wanted in zip(as_levels(found), as_levels(expected), strict=True):
        torch.testing.assert_close(level, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("model", ["evf_sam"], indirect=True)  # the encoder is the same in all
@torch.no_grad()
def test_reading_compiles_for_one_length_and_then_for_any(model, batch):
    torch.compiler.reset()
    graphs = CompileCounter()
    read = torch.compile(model.read_sentences, fullgraph=True, backend=graphs)
    for length in range(3, 12):
        words = torch.randint(4, 120, (2, length)), torch.ones(2, length, dtype=torch.long)
        found = read(batch["multimodal_pixel_values"], *words)
        expected = model.read_sentences(batch["multimodal_pixel_values"], *words)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert graphs.frame_count <= 2


@torch.no_grad()
def test_decoding_compiles_for_one_prompt_and_then_for_any_number(model, batch):
    torch.compiler.reset()
    graphs = CompileCounter()
    decode = torch.compile(model.decode_prompts, fullgraph=True, backend=graphs)
    levels = as_levels(model.get_image_embeddings(batch["pixel_values"][:1]))
    for count in (1, 2, 3, 5):
        many = [level.expand(count, -1, -1, -1) for level in levels]
        prompts = torch.randn(count, model.config.prompt_size)
        for found, expected in zip(decode(many, prompts, {}), model.decode_prompts(many, prompts, {}), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert graphs.frame_count <= 2


@torch.no_grad()
def test_compiled_parts_take_the_place_of_the_others(model, batch):
    torch.compiler.reset()
    quick, graphs = copy.deepcopy(model), CompileCounter()
    for name in ("get_image_embeddings", "read_sentences", "decode_prompts"):
        setattr(quick, name, torch.compile(getattr(quick, name), fullgraph=True, backend=graphs))
    found, expected = quick(**batch), model(**batch)
    assert graphs.frame_count == 3
    torch.testing.assert_close(found.pred_masks, expected.pred_masks, atol=1e-4, rtol=0)


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
def test_three_masks(model, batch):
    single, several = model(**batch), model(**batch, multimask_output=True)
    side = model.config.view_size // 4
    assert several.pred_masks.shape == (2, 2, 3, side, side)
    if model.config.mask_selection == "best_iou":
        best = several.iou_scores.argmax(-1)
        for photo, sentence in ((0, 0), (0, 1), (1, 0)):
            expected = several.pred_masks[photo, sentence, best[photo, sentence]]
            assert torch.equal(single.pred_masks[photo, sentence, 0], expected)
        torch.testing.assert_close(single.iou_scores[..., 0], several.iou_scores.amax(-1))


@torch.no_grad()
def test_mask_prompts(model, batch):
    side = model.config.view_size // 4
    masks = torch.randn(2, 2, 1, side, side)
    if model.config.sam_config.model_type == "efficient_sam":
        with pytest.raises(ValueError, match="no mask prompts"):
            model(**batch, input_masks=masks)
        return
    with_masks, without = (model(**batch, input_masks=given).pred_masks for given in (masks, None))
    assert (with_masks[0, 0] - without[0, 0]).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("model", ["evf_sam2"], indirect=True)
def test_an_unstable_mask_falls_back_to_the_best_of_three(batch, model):
    stable = EvfSamModel(golden_config(sam_config=GOLDEN_SAM2, mask_selection="stability")).eval()
    stable.load_state_dict(model.state_dict())
    decoder = stable.sam.mask_decoder
    assert decoder.dynamic_multimask_via_stability
    decoder.dynamic_multimask_stability_thresh = 2.0  # no mask is as stable as that
    torch.testing.assert_close(stable(**batch).pred_masks, model(**batch).pred_masks)
    decoder.dynamic_multimask_stability_thresh = -1.0
    first = EvfSamModel(golden_config(sam_config=GOLDEN_SAM2)).eval()
    first.load_state_dict(model.state_dict())
    assert torch.equal(stable(**batch).pred_masks, first(**batch).pred_masks)
    assert not torch.equal(first(**batch).pred_masks, model(**batch).pred_masks)


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


@torch.no_grad()
def test_sharded_files_and_precisions(model, batch, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="300KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    sharded = EvfSamModel.from_pretrained(tmp_path, device_map="auto")
    for name, tensor in model.state_dict().items():
        assert torch.equal(sharded.state_dict()[name], tensor)
    half = EvfSamModel.from_pretrained(tmp_path, dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    masks = half(**batch).pred_masks
    assert masks.isfinite().all()
    assert ((masks > 0) == (model(**batch).pred_masks > 0)).float().mean() > 0.8


@torch.no_grad()
def test_attention_can_be_chosen(model, batch, tmp_path):
    model.save_pretrained(tmp_path)
    eager, sdpa = (EvfSamModel.from_pretrained(tmp_path, attn_implementation=name) for name in ("eager", "sdpa"))
    for part in (eager.multimodal_encoder, eager.sam, eager.sam.vision_encoder):
        assert part.config._attn_implementation == "eager"
    torch.testing.assert_close(eager(**batch).pred_masks, sdpa(**batch).pred_masks, atol=1e-4, rtol=0)


@pytest.mark.skipif(is_flash_attn_2_available(), reason="flash attention is here: it would be chosen")
def test_flash_attention_is_for_the_encoder_alone(model, tmp_path):
    model.save_pretrained(tmp_path)
    with pytest.raises(ImportError, match="FlashAttention2"):  # accepted, and not installed
        EvfSamModel.from_pretrained(tmp_path, attn_implementation={"multimodal_config": "flash_attention_2"})
    with pytest.raises(ValueError, match="does not support Flash Attention"):
        EvfSamModel.from_pretrained(tmp_path, attn_implementation="flash_attention_2")


@pytest.mark.parametrize("system", SYSTEMS)
def test_parts_that_stay_whole_are_there(system):
    """FSDP and device maps look for these classes; a name that no part has is an error to the former."""
    model = EvfSamModel(golden_config(**SYSTEMS[system]))
    assert "Beit3Layer" in model._no_split_modules
    assert model._no_split_modules <= {type(module).__name__ for module in model.modules()}
