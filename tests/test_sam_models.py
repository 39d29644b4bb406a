import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.sam_models import expected_ious
from tests.golden import SYSTEMS, golden_config


@pytest.mark.parametrize("name", SYSTEMS)
def test_fresh_fourier_matrices_are_those_of_sam_and_never_trained(name):
    sam = EvfSamModel(golden_config(**SYSTEMS[name])).sam
    fourier = sam.prompt_encoder.shared_embedding.positional_embedding
    assert 0.5 < fourier.std() < 1.5
    assert not fourier.requires_grad
    if name != "evf_efficient_sam":  # which has one
        assert torch.equal(fourier, sam.shared_image_embedding.positional_embedding)


@pytest.fixture(scope="module", params=SYSTEMS)
def pair(request) -> tuple[EvfSamModel, EvfSamModel, dict[str, torch.Tensor]]:
    """A system, the same with a presence head, and their inputs: 3 sentences about 2 photos."""
    torch.manual_seed(0)
    model = EvfSamModel(golden_config(**SYSTEMS[request.param])).eval()
    with_head = copy.deepcopy(model)
    with_head.add_presence_head(hidden_size=8)
    for parameter in with_head.presence_head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return (
        model,
        with_head,
        {
            "pixel_values": torch.randn(2, 3, model.config.view_size, model.config.view_size),
            "multimodal_pixel_values": torch.randn(2, 3, 32, 32),
            "input_ids": torch.randint(4, 120, (2, 2, 5)),
            "attention_mask": torch.tensor([[[1] * 5, [1] * 5], [[1] * 5, [0] * 5]]),
        },
    )


@torch.no_grad()
def test_a_presence_head_changes_nothing_else(pair):
    model, with_head, batch = pair
    plain, found = model(**batch), with_head(**batch)
    assert plain.presence_logits is None
    assert found.presence_logits.shape == (2, 2)
    for name in ("pred_masks", "iou_scores", "prompt_embeds"):
        assert torch.equal(found[name], plain[name])
    new = set(with_head.state_dict()) - set(model.state_dict())
    assert new == {f"presence_head.{layer}.{kind}" for layer in ("fc1", "fc2") for kind in ("weight", "bias")}


@torch.no_grad()
def test_presence_reads_the_sentence_and_what_the_decoder_made_of_it(pair):
    _, model, batch = pair
    seen = []
    hook = model.presence_head.fc1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    outputs = model(**batch, multimask_output=True)
    hook.remove()
    present, width, own = batch["attention_mask"].any(-1), model.config.prompt_size, model.presence_head.num_tokens
    tokens = seen[0].unflatten(1, (1 + own, width))  # (3, 1 + own, D)
    assert torch.equal(tokens[:, 0], outputs.prompt_embeds[present])
    decoder, score = model.sam.mask_decoder, model.family.score_tokens
    scores = decoder.iou_prediction_head(tokens[:, score])[:, 1:]
    torch.testing.assert_close(scores, outputs.iou_scores[present], atol=1e-5, rtol=1e-5)
    assert own == score + decoder.mask_tokens.num_embeddings


@torch.no_grad()
def test_presence_of_a_sentence_is_the_same_alone_in_a_batch_and_in_another_thread(pair):
    _, model, batch = pair
    together = model(**batch).presence_logits
    alone = model(**{name: values[1:, :1] if values.ndim == 3 else values[1:] for name, values in batch.items()})
    torch.testing.assert_close(alone.presence_logits[0, 0], together[1, 0], atol=1e-5, rtol=1e-5)
    predict = torch.no_grad()(lambda photo: model(**{**batch, "pixel_values": batch["pixel_values"] * photo}))
    expected = [predict(photo).presence_logits for photo in (1.0, 0.5, 0.0)]
    with ThreadPoolExecutor(3) as threads:
        for number, found in enumerate(threads.map(predict, [1.0, 0.5, 0.0] * 4)):
            assert torch.equal(found.presence_logits, expected[number % 3])


@torch.no_grad()
def test_the_temperature_divides_the_logits_and_the_shift_is_added(pair):
    _, model, batch = pair
    cold = copy.deepcopy(model)
    cold.config.presence["temperature"] = cold.presence_head.temperature = 2.0
    torch.testing.assert_close(2 * cold(**batch).presence_logits, model(**batch).presence_logits)
    cold.presence_head.shift = -1.5
    present = batch["attention_mask"].any(-1)
    shifted, plain = (one(**batch).presence_logits[present] for one in (cold, model))
    torch.testing.assert_close(2 * (shifted + 1.5), plain)


@torch.no_grad()
def test_presence_is_saved_and_loaded(pair, tmp_path):
    _, model, batch = pair
    model = copy.deepcopy(model)
    model.config.presence |= {"temperature": 3.0, "shift": -0.5}
    model.presence_head.temperature, model.presence_head.shift = 3.0, -0.5
    model.save_pretrained(tmp_path)
    again = EvfSamModel.from_pretrained(tmp_path, dtype="float32").eval()
    assert again.config.presence == {"hidden_size": 8, "temperature": 3.0, "shift": -0.5}
    assert torch.equal(again(**batch).presence_logits, model(**batch).presence_logits)


@torch.no_grad()
def test_sam2_says_by_itself_whether_there_is_an_object(pair):
    model, _, batch = pair
    logits = model(**batch).object_score_logits
    assert (logits is not None) == (model.family.title == "SAM-2")
    if logits is not None:
        assert logits.shape == (2, 2)
        assert logits[0].abs().min() > 0


def test_presence_compiles_without_graph_breaks():
    model = EvfSamModel(golden_config(presence={"hidden_size": 8, "temperature": 1.0})).eval()
    levels, prompts = [torch.randn(2, 32, 8, 8)], torch.randn(2, 32)
    with torch.no_grad():
        expected = model.decode_prompts(levels, prompts, {}).presence_logits
        found = torch.compile(model.decode_prompts, fullgraph=True, backend="eager")(levels, prompts, {})
    torch.testing.assert_close(found.presence_logits, expected)


def test_presence_learns_from_empty_targets_and_masks_from_the_others():
    torch.manual_seed(0)
    model = EvfSamModel(golden_config(presence={"hidden_size": 8, "temperature": 1.0})).eval()
    side = model.config.view_size
    batch = {
        "pixel_values": torch.randn(1, 3, side, side),
        "multimodal_pixel_values": torch.randn(1, 3, 32, 32),
        "input_ids": torch.randint(4, 120, (1, 2, 5)),
    }
    target = torch.zeros(2, 40, 30)
    target[0, :20] = 1
    sizes = {"reshaped_input_sizes": torch.tensor([[side, side * 3 // 4]])}
    for labels in ([target], torch.nn.functional.interpolate(target[None], (16, 16))):
        both = model(**batch, labels=labels, **sizes)
        first = model(**{**batch, "input_ids": batch["input_ids"][:, :1]}, labels=[labels[0][:1]]
                      if isinstance(labels, list) else labels[:, :1], **sizes)  # fmt: skip
        torch.testing.assert_close(both.loss_dict["bce"], first.loss_dict["bce"])
        torch.testing.assert_close(both.loss_dict["dice"], first.loss_dict["dice"])
        logits = both.presence_logits[0]
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([1.0, 0.0]))
        torch.testing.assert_close(both.loss_dict["presence"], expected)
        torch.testing.assert_close(both.loss, sum(both.loss_dict.values()))
        nothing = model(**batch, labels=[0 * target] if isinstance(labels, list) else 0 * labels, **sizes)
        assert nothing.loss_dict["bce"] == nothing.loss_dict["dice"] == 0
        nothing.loss.backward()


@pytest.mark.parametrize(
    ("score", "expected"), [(-1.0, 0.1), (0.2, 0.1), (0.3, 0.2), (0.4, 0.3), (0.7, 0.6), (1.0, 0.9), (2.0, 0.9)]
)
def test_the_iou_to_expect_lies_on_the_line(score, expected):
    points = [[0.2, 0.1], [0.4, 0.3], [1.0, 0.9]]
    for dtype in (torch.float32, torch.bfloat16):
        found = expected_ious(torch.full((2, 1), score, dtype=dtype), points)
        torch.testing.assert_close(found, torch.full((2, 1), expected), atol=4e-3, rtol=0)


def test_quality_stands_beside_the_scores():
    model = EvfSamModel(golden_config(quality=[[-10.0, 0.0], [10.0, 1.0]])).eval()
    with torch.no_grad():
        outputs = model(
            pixel_values=torch.randn(1, 3, model.config.view_size, model.config.view_size),
            prompt_embeds=torch.randn(1, 2, 32),
            multimask_output=True,
        )
    torch.testing.assert_close(outputs.quality, (outputs.iou_scores + 10) / 20)
