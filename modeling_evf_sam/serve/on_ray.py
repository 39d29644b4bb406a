"""Engines in processes of Ray Serve, on one machine or many, behind one address: the server stays as it is."""

import asyncio
import logging
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple
from uuid import uuid4

from PIL import Image

from modeling_evf_sam.inference.predictor import PhotoCache
from modeling_evf_sam.serve.engine import Answer, Asked, Busy, Engine, Traits, UnknownPhoto, identify

ATTEMPTS = 4  # at a request whose replica died
AT_ONCE = 16  # requests that a replica takes, to answer together what is asked of one photo
NUM_PHOTOS = 1000  # of which Ray knows which replica has them


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a replica loads, and how many there are.

    Attributes:
        source, device, dtype, backend: as `backends.load` takes them.
        cache_bytes: how much memory encoded photos may take up in a replica.
        embeddings: as `Engine` takes it.
        replicas: at the least.
        max_replicas: at the most; more start while requests wait, and end when they are idle.
    """

    source: str
    device: str | None
    dtype: str | None
    backend: str
    cache_bytes: int
    embeddings: str | None = None
    replicas: int
    max_replicas: int


class Kept(NamedTuple):
    """A photo in the process that listens, for a replica that does not have it."""

    photo: Image.Image

    @property
    def num_bytes(self) -> int:
        """Memory of its pixels."""
        return self.photo.width * self.photo.height * 3


class Replica:
    """A process with a model. Ray Serve makes several of this class.

    Args:
        settings: of all of them.
        threads: that it computes with.
    """

    def __init__(self, settings: Settings, threads: int):
        from modeling_evf_sam.inference.backends import load

        if settings.backend == "torch":
            import torch

            torch.set_num_threads(threads)
        self.name, self.mistake = uuid4().hex, None
        try:
            loaded = load(settings.source, settings.device, settings.dtype, settings.backend)
        except (ValueError, OSError) as error:  # to be told by `traits`: Ray would try again, and say less
            self.mistake = error
            return
        kept: dict[str, Any] = {"cache_bytes": settings.cache_bytes, "embeddings": settings.embeddings}
        self.engine = Engine(*loaded, **kept, queue_size=2 * AT_ONCE)

    async def traits(self) -> Traits:
        """As `Engine.traits`.

        Raises:
            ValueError, OSError: the model cannot be loaded.
        """
        if self.mistake is not None:
            raise self.mistake
        return self.engine.traits

    async def answer(self, photo: Image.Image | str, photo_id: str, asked: Asked | None) -> tuple[Answer, str, int]:
        """An answer; and the replica's name, and how many photos it encoded so far."""
        await self.remember(photo_id)
        return await asyncio.wrap_future(self.engine.ask(photo, asked)), self.name, self.engine.encodings

    async def remember(self, photo_id: str) -> str:
        """Tells Ray, which sends what is asked of a photo to where it is known."""
        return photo_id


class RayEngine:
    """Has what `Engine` has, and asks replicas.

    Args:
        settings: of the replicas.
        queue_size: requests that may wait.

    Raises:
        ValueError, OSError: the model cannot be loaded.
    """

    def __init__(self, settings: Settings, *, queue_size: int):
        from ray.exceptions import RayTaskError

        self._name = f"evf-sam-{uuid4().hex[:8]}"  # a cluster may serve others, too
        self._handle = _start(settings, self._name)
        try:
            self.traits: Traits = self._handle.traits.remote().result()
        except RayTaskError as error:
            _stop(self._name)
            raise error.cause from None
        self.photos = PhotoCache(settings.cache_bytes)
        self.queue_size = queue_size
        self._asking = ThreadPoolExecutor(queue_size)
        self._lock, self._underway, self._encoded = Lock(), 0, dict[str, int]()
        self.is_open = True

    @property
    def num_waiting(self) -> int:
        """Requests that are not answered yet."""
        return self._underway

    @property
    def encodings(self) -> int:
        """How often a photo was encoded."""
        return sum(self._encoded.values())

    def ask(self, photo: Image.Image | str, asked: Asked | None) -> "Future[Answer]":
        """As `Engine.ask`.

        Raises:
            Busy: the queue is full, or the engine is closing.
            UnknownPhoto: there is no photo of that id.
        """
        photo_id = photo if isinstance(photo, str) else identify(photo)
        self._kept(photo_id, None if isinstance(photo, str) else photo)
        with self._lock:
            if not self.is_open or self._underway >= self.queue_size:
                raise Busy(max(1, self._underway // 8))
            self._underway += 1
        answer = self._asking.submit(self._ask, photo, photo_id, asked)
        answer.add_done_callback(self._is_done)
        return answer

    def close(self) -> None:
        """Ends when all that was taken is done."""
        self.is_open = False
        self._asking.shutdown()
        _stop(self._name)

    def _kept(self, photo_id: str, photo: Image.Image | None = None) -> Image.Image:
        def keep() -> Any:
            if photo is None:
                raise UnknownPhoto(f"photo '{photo_id[:80]}' is not here, or not any more: send it again")
            return Kept(photo)

        return self.photos.get(photo_id, keep).photo  # type: ignore[attr-defined]

    def _is_done(self, answer: "Future[Answer]") -> None:
        with self._lock:
            self._underway -= 1

    def _ask(self, photo: Image.Image | str, photo_id: str, asked: Asked | None) -> Answer:
        from ray.exceptions import RayActorError, RayTaskError

        near = self._handle.options(multiplexed_model_id=photo_id)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer, name, count = near.answer.remote(photo, photo_id, asked).result()
            except RayActorError:  # the replica died; asking has no other effect than the answer
                if attempt == ATTEMPTS:
                    raise
            except RayTaskError as error:
                if not isinstance(error.cause, UnknownPhoto) or not isinstance(photo, str):
                    raise error.cause from None
                photo = self._kept(photo_id)  # another replica has it
            else:
                self._encoded[name] = count
                return answer
        raise UnknownPhoto(f"photo '{photo_id[:80]}' is not here any more: send it again")


def _start(settings: Settings, name: str) -> Any:
    """The handle of the replicas, when they are ready."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray import serve

    ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    resources = ray.cluster_resources()
    gpus = settings.device in (None, "cuda") and int(resources.get("GPU", 0))
    threads = max(1, int(resources["CPU"]) // settings.max_replicas)
    serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
    deploy: Any = serve.deployment(
        name="evf-sam",
        autoscaling_config={"min_replicas": settings.replicas, "max_replicas": settings.max_replicas},
        max_ongoing_requests=AT_ONCE,
        ray_actor_options={"num_gpus": 1} if gpus else {"num_cpus": threads},
        graceful_shutdown_timeout_s=60,
    )
    return serve.run(deploy(_told_of_photos()).bind(settings, threads), name=name, route_prefix=None)


def _stop(name: str) -> None:
    import ray
    from ray import serve

    serve.delete(name)
    ray.shutdown()


def _told_of_photos() -> type[Replica]:
    """The class with what Ray must know: which photos a replica has."""
    from ray import serve

    class PhotoReplica(Replica):
        remember = serve.multiplexed(max_num_models_per_replica=NUM_PHOTOS)(Replica.remember)

    return PhotoReplica
