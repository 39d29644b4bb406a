"""Figures for Prometheus: what was asked, how long it took, and what the engine holds."""

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from modeling_evf_sam.serve.guard import App, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from modeling_evf_sam.serve.engine import Engine
    from modeling_evf_sam.serve.on_ray import RayEngine


class Figures:
    """Counts of one server.

    Args:
        engine: of which the gauges tell.
    """

    def __init__(self, engine: "Engine | RayEngine"):
        self.registry = CollectorRegistry()
        names = ["path", "status"]
        self.requests = Counter("evf_sam_requests", "Requests answered", names, registry=self.registry)
        self.seconds = Histogram("evf_sam_seconds", "Seconds to an answer", ["path"], registry=self.registry)
        self.sentences = Counter("evf_sam_sentences", "Sentences segmented", registry=self.registry)
        for name, text, read in (
            ("evf_sam_waiting", "Requests in the queue", lambda: engine.num_waiting),
            ("evf_sam_photo_bytes", "Memory of encoded photos", lambda: engine.photos.num_bytes),
            ("evf_sam_photos_encoded", "Photos encoded so far", lambda: engine.encodings),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)


class Measured:
    """An ASGI application around another, that counts and times its answers."""

    def __init__(self, app: App, figures: Figures):
        self.app, self.figures = app, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on."""
        start, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self.app(scope, receive, watched)
        if scope["type"] == "http":
            path = getattr(scope.get("route"), "path", "other")  # not what a client may invent
            self.figures.requests.labels(path, status).inc()
            self.figures.seconds.labels(path).observe(time.perf_counter() - start)
