import numpy as np
import pytest
import torch

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from modeling_evf_sam.training.calibration import calibrate, fit_presence, fit_quality
from tests.golden import golden_config


@pytest.mark.parametrize(("temperature", "shift"), [(0.25, 0.0), (1.0, -2.0), (4.0, 3.0)])
def test_a_known_temperature_and_shift_are_recovered(temperature, shift):
    generator = torch.Generator().manual_seed(0)
    true_logits = 2 * torch.randn(50_000, generator=generator)
    there = torch.rand(50_000, generator=generator) < true_logits.sigmoid()
    fitted = fit_presence(temperature * (true_logits - shift), there)
    assert fitted == pytest.approx((temperature, shift), rel=0.03, abs=0.03)


def test_presence_by_hand():
    """Three of four are right at a logit of 2, and none of four at -2; Platt counts one more of each kind."""
    logits, there = torch.tensor([2.0] * 4 + [-2.0] * 4), torch.tensor([1, 1, 1, 0, 0, 0, 0, 0])
    temperature, shift = fit_presence(logits, there)
    high, low = (logit / temperature + shift for logit in (2, -2))
    surely, hardly = 4 / 5, 1 / 7
    assert 1 / (1 + np.exp(-high)) == pytest.approx((3 * surely + hardly) / 4, abs=1e-4)
    assert 1 / (1 + np.exp(-low)) == pytest.approx(hardly, abs=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_no_fault_and_nothing_but_faults(sign):
    logits, there = sign * torch.tensor([3.0, 1.0, -1.0, -3.0]), torch.tensor([True, True, False, False])
    temperature, shift = fit_presence(logits, there)
    assert shift == pytest.approx(0, abs=1e-3)
    presence = (logits / temperature + shift).sigmoid().numpy()
    np.testing.assert_allclose(presence[there], 0.75 if sign > 0 else 0.5, atol=0.2 if sign > 0 else 0.01)


@pytest.mark.parametrize("there", [[True, True], [False, False]])
def test_a_temperature_needs_both_kinds(there):
    with pytest.raises(ValueError, match="of 2 held-out sentences are there: a temperature needs both kinds"):
        fit_presence(torch.tensor([1.0, -1.0]), torch.tensor(there))


@pytest.mark.parametrize(
    ("scores", "ious", "points", "expected"),
    [
        ([0.1, 0.5, 0.9], [0.2, 0.4, 1.0], 10, [[0.1, 0.2], [0.5, 0.4], [0.9, 1.0]]),
        ([0.9, 0.1, 0.5, 0.3], [1.0, 0.2, 0.6, 0.4], 2, [[0.2, 0.3], [0.7, 0.8]]),  # groups of two, in any order
        ([0.1, 0.5, 0.9], [0.6, 0.4, 1.0], 3, [[0.1, 0.5], [0.5, 0.5], [0.9, 1.0]]),  # the first two are pooled
        ([0.1, 0.5, 0.7, 0.9], [0.9, 0.6, 0.3, 0.6], 4, [[0.1, 0.6], [0.5, 0.6], [0.7, 0.6], [0.9, 0.6]]),
        ([0.1, 0.2, 0.3, 0.4], [0.5, 0.9, 0.6, 0.3], 4, [[0.1, 0.5], [0.2, 0.6], [0.3, 0.6], [0.4, 0.6]]),
        ([0.5, 0.5, 0.5, 0.9], [0.1, 0.2, 0.6, 1.0], 4, [[0.5, 0.3], [0.9, 1.0]]),  # one point for one score
        ([0.0, 0.2, 0.4, 0.6, 0.8], [0.1, 0.1, 0.4, 0.4, 0.9], 2, [[0.2, 0.2], [0.7, 0.65]]),  # three and two
    ],
)
def test_quality_by_hand(scores, ious, points, expected):
    fitted = fit_quality(torch.tensor(scores), torch.tensor(ious), points)
    np.testing.assert_allclose(fitted, expected, atol=1e-6)
    assert golden_config(quality=fitted).quality == fitted


def test_any_scores_make_a_line_that_a_configuration_takes():
    generator = torch.Generator().manual_seed(0)
    for size in (2, 3, 11, 1000):
        scores = (
            torch.rand(size, generator=generator).bfloat16().float() + torch.tensor([0.0, 1.0])[torch.arange(size) % 2]
        )
        fitted = fit_quality(scores, torch.rand(size, generator=generator))
        assert 2 <= len(fitted) <= 10
        golden_config(quality=fitted)


@pytest.mark.parametrize("scores", [[], [0.5], [0.5, 0.5, 0.5]])
def test_quality_needs_two_scores(scores):
    with pytest.raises(ValueError, match=f"{len(scores)} held-out sentences are there, with .* scores: give more"):
        fit_quality(torch.tensor(scores), torch.tensor(scores))


@pytest.fixture
def start(tiny_checkpoint):
    """A tiny model with a presence head, its processor, and scenes with sentences of which half are untrue."""
    model = EvfSamModel.from_pretrained(tiny_checkpoint, dtype=torch.float32)
    torch.manual_seed(0)
    model.add_presence_head(hidden_size=8)
    return model, EvfSamProcessor.from_pretrained(tiny_checkpoint), list(RenderedScenes("validation", 6, absent=0.5))


def test_a_model_is_calibrated_on_what_it_says(start, tmp_path):
    model, processor, samples = start
    model.train()
    found = [
        segment(model, processor, [s.photo], [s.sentences], semantic=[s.semantic], present_threshold=0.0)[0]
        for s in samples
    ]
    silent = ReferringSample(photo=samples[0].photo, sentences=[], masks=samples[0].masks[:0], semantic=[])
    calibrate(model, processor, [*samples, silent])
    assert model.training

    targets, masks = ([mask for item in items for mask in item.masks] for items in (samples, found))
    there = np.array([target.any() for target in targets])
    assert 0 < there.sum() < len(there)
    ious = np.array([(a & b).sum() / (a | b).sum() for a, b in zip(targets, masks, strict=True)])
    scores = np.concatenate([result.scores for result in found])
    assert model.config.quality == fit_quality(torch.tensor(scores[there]), torch.tensor(ious[there]))
    presence = torch.tensor(np.concatenate([result.presence for result in found]))
    temperature, shift = fit_presence(presence.logit(), torch.tensor(there))
    fitted = {"temperature": pytest.approx(temperature, rel=1e-3), "shift": pytest.approx(shift, rel=1e-3)}
    assert model.config.presence == {"hidden_size": 8, **fitted}

    model.save_pretrained(tmp_path)
    sample, loaded = samples[0], EvfSamModel.from_pretrained(tmp_path, dtype=torch.float32)
    (result,) = segment(loaded, processor, [sample.photo], [sample.sentences], semantic=[sample.semantic])
    expected = (presence[: len(sample.sentences)].logit() / temperature + shift).sigmoid()
    np.testing.assert_allclose(result.presence, expected, rtol=1e-3)
    known, heights = zip(*model.config.quality, strict=True)
    np.testing.assert_allclose(result.quality, np.interp(result.scores, known, heights), atol=1e-5)


def test_calibrating_twice_changes_nothing(start):
    model, processor, samples = start
    calibrate(model, processor, samples)
    once = model.config.presence, model.config.quality
    calibrate(model, processor, samples)
    assert model.config.presence == pytest.approx(once[0], rel=1e-3, abs=1e-3)
    assert model.config.quality == once[1]


def test_a_model_without_a_head_learns_its_quality_alone(tiny_checkpoint, start):
    model, (_, processor, samples) = EvfSamModel.from_pretrained(tiny_checkpoint, dtype=torch.float32), start
    calibrate(model, processor, samples)
    assert model.config.quality and model.config.presence is None


def test_what_the_samples_do_not_tell(start):
    model, processor, _ = start
    with pytest.raises(ValueError, match="0 held-out sentences are there"):
        calibrate(model, processor, [])
    true = list(RenderedScenes("validation", 6))
    with pytest.raises(ValueError, match="a temperature needs both kinds"):
        calibrate(model, processor, true)
    assert model.config.quality and model.config.presence["temperature"] == 1.0
