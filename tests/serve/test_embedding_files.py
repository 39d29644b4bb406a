"""Encoded photos that outlive the server, and are the trainer's as well."""

import httpx
import pytest
import torch

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.inference.predictor import EvfSamPredictor
from modeling_evf_sam.serve.embedding_files import PredictorWithFiles
from modeling_evf_sam.training.embedding_cache import EmbeddingCache
from tests.golden import GOLDEN_ENCODER, SYSTEMS, golden_config
from tests.serve.conftest import encoded, noise


def answer(server, photo):
    body = {"photo": {"base64": encoded(photo)}, "sentences": ["the red circle"]}
    answered = httpx.post(f"{server.address}/segment", json=body, timeout=120)
    assert answered.status_code == 200
    return answered.json()


def test_what_the_trainer_encoded_is_not_encoded_again(serve, loaded, photo, tmp_path):
    model, processor = loaded
    cache = EmbeddingCache(tmp_path, model.requires_grad_(False), processor.image_processor, model.dtype)
    cache.fill([photo], model, processor.image_processor)

    server = serve(embeddings=str(tmp_path))
    assert answer(server, photo) == answer(serve(), photo)
    assert server.engine.encodings == 0


def test_the_next_server_and_the_trainer_have_what_one_encoded(serve, loaded, tmp_path):
    photo, (model, processor) = noise(1), loaded
    first = serve(embeddings=str(tmp_path))
    given = answer(first, photo)
    assert first.engine.encodings == 1
    assert photo in EmbeddingCache(tmp_path, model, processor.image_processor, model.dtype)

    following = serve(embeddings=str(tmp_path))
    assert answer(following, photo) == given
    assert following.engine.encodings == 0


def test_files_are_no_condition(serve, photo, tmp_path, caplog):
    server = serve(embeddings=str(tmp_path))
    given = answer(server, photo)
    for file in server.engine.predictor.files.folder.rglob("*.safetensors"):
        file.write_bytes(b"damaged")
    assert answer(serve(embeddings=str(tmp_path)), photo) == given
    assert "is damaged" in caplog.text

    (tmp_path / "file").write_bytes(b"")
    assert answer(serve(embeddings=str(tmp_path / "file")), photo) == given


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_answers_alike(tmp_path, tiny_tokenizer, photo, system, dtype):
    torch.manual_seed(0)
    config = golden_config(multimodal_config={**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer)}, **SYSTEMS[system])
    model = EvfSamModel(config).to(dtype).eval()
    processor = EvfSamProcessor.from_config(config, tiny_tokenizer)

    plain = EvfSamPredictor(model, processor)
    for _ in ("written", "read"):
        predictor = PredictorWithFiles(model, processor, tmp_path)
        found = predictor.predict(["red", "blue"], photo=predictor.encode(photo))
        expected = plain.predict(["red", "blue"], photo=plain.encode(photo))
        assert torch.equal(found["masks"], expected["masks"])
        assert torch.equal(found["scores"], expected["scores"])
