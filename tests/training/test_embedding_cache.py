import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.training import embedding_cache
from modeling_evf_sam.training.embedding_cache import CachedProcessor, EmbeddingCache
from modeling_evf_sam.training.finetune import run_finetune
from modeling_evf_sam.training.freezing import freeze_all_but
from modeling_evf_sam.training.recipe import load_finetune_recipe
from tests.golden import GOLDEN_ENCODER, SYSTEMS, golden_config
from tests.training.conftest import SIZES

PHOTOS = [Image.new("RGB", (20, 14), colour) for colour in ("red", "blue")]

MASK = np.eye(14, 20) > 0


def parts(tiny_tokenizer, system="evf_sam"):
    torch.manual_seed(0)
    encoder = {**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer)}
    config = golden_config(multimodal_config=encoder, **SYSTEMS[system])
    model = EvfSamModel(config).requires_grad_(False).eval()
    return model, EvfSamProcessor.from_config(config, tiny_tokenizer)


def losses_of(output: Path) -> list[float]:
    history = json.loads((output / "trainer_state.json").read_text())["log_history"]
    return [line[name] for line in history if "loss" in line for name in ("bce", "dice")]


def test_the_same_run_without_the_encoder_in_memory(write_recipe, tmp_path, tiny_start, monkeypatch):
    held = []
    set_aside = EmbeddingCache.set_encoder_aside
    monkeypatch.setattr(
        EmbeddingCache, "set_encoder_aside", lambda cache, model: held.append(model) or set_aside(cache, model)
    )
    run_finetune(load_finetune_recipe(write_recipe()), tmp_path / "plain")
    cached = run_finetune(load_finetune_recipe(write_recipe(embedding_cache=str(tmp_path / "c"))), tmp_path / "run")
    assert losses_of(tmp_path / "run") == pytest.approx(losses_of(tmp_path / "plain"), abs=1.01e-4)  # as logged
    assert not any(name.startswith("sam.vision_encoder.") for name in held[0].state_dict())

    start = EvfSamModel.from_pretrained(tiny_start).sam.vision_encoder.state_dict()
    for folder in (cached, tmp_path / "run" / "checkpoint-6"):
        whole = EvfSamModel.from_pretrained(folder).sam.vision_encoder.state_dict()
        assert all(torch.equal(whole[name], start[name]) for name in start)


def test_both_views_of_a_photo_that_may_be_flipped(write_recipe, tmp_path):
    flips = {"data": {"flips": 0.5}, "steps": 3}
    run_finetune(load_finetune_recipe(write_recipe(**flips)), tmp_path / "plain")
    cache = tmp_path / "cache"
    run_finetune(load_finetune_recipe(write_recipe(**flips, embedding_cache=str(cache))), tmp_path / "run")
    assert losses_of(tmp_path / "run") == pytest.approx(losses_of(tmp_path / "plain"), abs=1.01e-4)
    photos = len(list(cache.glob("*/??/*.safetensors")))
    assert photos == 2 * len(SIZES)


@pytest.mark.parametrize("system", SYSTEMS)
def test_losses_are_the_same(tmp_path, tiny_tokenizer, system):
    model, processor = parts(tiny_tokenizer, system)
    cache = EmbeddingCache(tmp_path, model, processor.image_processor, torch.float32)
    cache.fill(PHOTOS, model, processor.image_processor)
    batch = {"images": PHOTOS, "text": [["red"], ["blue", "red"]], "labels": [MASK[None], np.stack([MASK, ~MASK])]}
    plain = model(**processor(**batch)).loss.item()
    without_encoder = CachedProcessor(processor, cache)(**batch)
    cache.set_encoder_aside(model)
    assert model(**without_encoder).loss.item() == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_what_was_put_in_comes_back(tmp_path, tiny_tokenizer, system, dtype, tolerance):
    model, processor = parts(tiny_tokenizer, system)
    cache = EmbeddingCache(tmp_path, model, processor.image_processor, dtype)
    assert cache.fill([*PHOTOS, PHOTOS[0].copy()], model, processor.image_processor) == 2
    text = [["red"], ["blue", "red"]]
    inputs = processor(images=PHOTOS, text=text)
    expected = model.get_image_embeddings(inputs["pixel_values"])
    found = CachedProcessor(processor, cache)(images=PHOTOS, text=text)
    levels = [found["image_embeddings"]] if torch.is_tensor(expected) else found["image_embeddings"]
    for level, value in zip(levels, [expected] if torch.is_tensor(expected) else expected, strict=True):
        assert level.dtype == torch.float32
        assert torch.allclose(level, value, atol=tolerance, rtol=tolerance)
    assert "pixel_values" not in found
    for name in set(inputs) - {"pixel_values"}:
        assert torch.equal(inputs[name], found[name])


def test_a_filled_cache_is_not_filled_again_and_a_broken_off_one_goes_on(tmp_path, tiny_tokenizer):
    model, processor = parts(tiny_tokenizer)
    fill = lambda photos: EmbeddingCache(  # noqa: E731
        tmp_path, model, processor.image_processor, torch.float32
    ).fill(photos, model, processor.image_processor)
    assert (fill(PHOTOS[:1]), fill(PHOTOS), fill(PHOTOS)) == (1, 1, 0)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(PHOTOS)


def test_other_weights_views_and_types_have_places_of_their_own(tmp_path, tiny_tokenizer):
    model, processor = parts(tiny_tokenizer)
    images = processor.image_processor
    folders = [EmbeddingCache(tmp_path, model, images, dtype).folder for dtype in (torch.float32, torch.bfloat16)]
    images.image_mean = [0.0, 0.0, 0.0]
    folders.append(EmbeddingCache(tmp_path, model, images, torch.float32).folder)
    images.multimodal_image_mean = [0.0, 0.0, 0.0]  # not what SAM's encoder sees
    assert EmbeddingCache(tmp_path, model, images, torch.float32).folder == folders[-1]
    model.sam.vision_encoder.pos_embed[0, 0, 0, 0] += 1
    folders.append(EmbeddingCache(tmp_path, model, images, torch.float32).folder)
    model.projector.fc1.weight[0, 0] += 1
    assert EmbeddingCache(tmp_path, model, images, torch.float32).folder == folders[-1]
    assert len(set(folders)) == len(folders)


def test_files_that_are_missing_or_damaged_are_named(tmp_path, tiny_tokenizer):
    model, processor = parts(tiny_tokenizer)
    cache = EmbeddingCache(tmp_path, model, processor.image_processor, torch.float32)
    cache.fill(PHOTOS[:1], model, processor.image_processor)
    with pytest.raises(ValueError, match=r"safetensors' is missing: start the run again"):
        cache.load(PHOTOS)
    (file,) = cache.folder.glob("??/*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"'{file}' is damaged .*: delete it"):
        cache.load(PHOTOS[:1])


def full_disk(tensors, file):
    file.write_bytes(b"half")
    raise SafetensorError("no space left on device")


def test_what_cannot_be_written_leaves_nothing(tmp_path, tiny_tokenizer, monkeypatch):
    model, processor = parts(tiny_tokenizer)
    (tmp_path / "file").touch()
    cache = EmbeddingCache(tmp_path / "file", model, processor.image_processor, torch.float32)
    with pytest.raises(ValueError, match=rf"cannot write into '{tmp_path}/file/.* choose another folder"):
        cache.fill(PHOTOS, model, processor.image_processor)
    monkeypatch.setattr(embedding_cache, "save_file", full_disk)
    cache = EmbeddingCache(tmp_path / "cache", model, processor.image_processor, torch.float32)
    with pytest.raises(OSError, match=r"cannot write '.*safetensors' \(.*no space.*\): make room"):
        cache.fill(PHOTOS, model, processor.image_processor)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_parts_that_make_embeddings_stay_frozen(tmp_path, tiny_tokenizer):
    model, processor = parts(tiny_tokenizer, "evf_sam2")
    freeze_all_but(model, ["mask_decoder"])
    with pytest.raises(ValueError, match=r"holds what sam.mask_decoder.conv_s0.weight makes: take its part out"):
        EmbeddingCache(tmp_path, model, processor.image_processor, torch.float32)
