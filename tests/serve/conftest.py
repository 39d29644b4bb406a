import base64
import io
import threading
import time
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam import DEFAULT_CHECKPOINT
from tests.drawn_scene import photo, scene

__all__ = ["photo", "scene"]  # the fixtures


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="session")
def loaded():
    from modeling_evf_sam.inference.loading import load_model

    return load_model(DEFAULT_CHECKPOINT, "cpu")


@pytest.fixture(scope="session")
def serve(loaded):
    """A function that serves the embedded checkpoint from a thread: its address and engine."""
    uvicorn = pytest.importorskip("uvicorn", reason="serving needs the extra 'serve'")
    pytest.importorskip("prometheus_client", reason="serving needs the extra 'serve'")
    from modeling_evf_sam.serve.app import build_app
    from modeling_evf_sam.serve.engine import Engine

    running = []

    def start(*, queue_size: int = 64, cache_bytes: int = 100_000_000, embeddings: str | None = None, **options):
        engine = Engine(*loaded, cache_bytes=cache_bytes, queue_size=queue_size, embeddings=embeddings)
        config = uvicorn.Config(build_app(engine, **options), port=0, log_level="error", http="h11", access_log=False)
        config.h11_max_incomplete_event_size = 16_384
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        running.append((server, thread))
        address = f"http://127.0.0.1:{port}"
        return SimpleNamespace(address=address, engine=engine, server=server, thread=thread, port=port)

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def server(serve):
    return serve()


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.address, timeout=120) as session:
        yield session


def noise(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return Image.fromarray(values)
