"""The addresses of the server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile as Upload
from starlette.exceptions import HTTPException

from modeling_evf_sam.photos import decode_photo
from modeling_evf_sam.serve.concept_segment import ConceptRequest
from modeling_evf_sam.serve.engine import Answer, Asked, Busy, Engine, UnknownPhoto
from modeling_evf_sam.serve.figures import Figures, Measured
from modeling_evf_sam.serve.guard import Guard, TooLarge, TooSlow
from modeling_evf_sam.serve.messages import MAX_PIXELS, Photo, PhotoQuestion, Question, decode_base64, describe

if TYPE_CHECKING:
    from modeling_evf_sam.serve.on_ray import RayEngine

DESCRIPTION = "Masks of what sentences name in photos. A photo that was sent once is known by its id."
STATUS = {Busy: 429, UnknownPhoto: 404, TooLarge: 413, TooSlow: 408, ValueError: 422, TimeoutError: 504}


def build_app(
    engine: "Engine | RayEngine",
    *,
    max_bytes: int = 40_000_000,
    upload_seconds: float = 60.0,
    answer_seconds: float = 120.0,
    token: str | None = None,
) -> Guard:
    """The server as an ASGI application.

    Args:
        engine: what computes; it is closed when the server stops, after what it took is done.
        max_bytes: of a body.
        upload_seconds: within which a body must have come.
        answer_seconds: after which a client is told that it took too long.
        token: what clients must send as `Authorization: Bearer`; None lets everybody in.
    """
    server = Server(engine, answer_seconds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(engine.close)

    app = FastAPI(title="EVF-SAM", description=DESCRIPTION, lifespan=lifespan)
    server.add_routes(app)
    for kind in (*STATUS, HTTPException, RequestValidationError, ValidationError, Exception):
        app.add_exception_handler(kind, _tell)
    return Guard(app, max_bytes=max_bytes, seconds=upload_seconds, token=token)


class Server:
    """What the addresses have in common."""

    def __init__(self, engine: "Engine | RayEngine", answer_seconds: float):
        self.engine, self.answer_seconds = engine, answer_seconds
        self.figures = Figures(engine)

    def add_routes(self, app: FastAPI) -> None:
        """Gives each address its function."""
        app.add_middleware(Measured, figures=self.figures)
        app.get("/health", summary="Whether the process lives")(self.health)
        app.get("/ready", summary="Whether requests are taken")(self.ready)
        app.get("/metrics", summary="Figures for Prometheus")(self.metrics)
        app.post("/photos", summary="Send a photo, to ask about it later", openapi_extra=_body(Photo))(self.photos)
        app.post("/segment", summary="Segment what sentences name", openapi_extra=_body(PhotoQuestion))(self.segment)
        concept = _body(ConceptRequest)
        app.post("/sam3/concept_segment", summary="As Roboflow's", openapi_extra=concept)(self.concept_segment)

    async def health(self) -> dict[str, str]:
        """Says something."""
        return {"status": "alive"}

    async def ready(self) -> JSONResponse:
        """How many wait, and what the checkpoint cannot do."""
        warning, is_open = self.engine.traits.warning, self.engine.is_open
        more = {} if warning is None else {"warning": warning}
        return JSONResponse({"ready": is_open, "waiting": self.engine.num_waiting, **more}, 200 if is_open else 503)

    async def metrics(self) -> Response:
        """The figures as Prometheus reads them."""
        return Response(self.figures.text(), media_type=CONTENT_TYPE_LATEST)

    async def photos(self, request: Request) -> dict[str, Any]:
        """A photo in multipart (`photo`) or JSON (`base64`) -> its id and size."""
        photo, _ = await _read(request, Photo, lambda message: message)
        if isinstance(photo, str):
            raise ValueError("send a photo's content, not its id")
        answered = await self._answer(photo, None)
        return {"id": answered.photo_id, "width": photo.width, "height": photo.height}

    async def segment(self, request: Request) -> dict[str, Any]:
        """A photo and sentences in JSON, or in multipart: `photo`, and `question` as JSON without a photo."""
        photo, question = await _read(request, PhotoQuestion, lambda message: message.photo)
        answered = await self._answer(photo, question.asked())
        return await run_in_threadpool(describe, answered, question.format)

    async def concept_segment(self, request: Request) -> dict[str, Any]:
        """All objects of each text, as `ConceptRequest` answers."""
        start = time.perf_counter()
        question = ConceptRequest.model_validate_json(await request.body())
        photo = await run_in_threadpool(decode_base64, question.image.value)
        answered = await self._answer(photo, question.asked(self.engine.traits.semantic))
        assert answered.found is not None
        return await run_in_threadpool(question.answer, answered.found, start)

    async def _answer(self, photo: Any, asked: Asked | None) -> Answer:
        waiting = await run_in_threadpool(self.engine.ask, photo, asked)
        try:
            result = await asyncio.wait_for(asyncio.wrap_future(waiting), self.answer_seconds)
        except TimeoutError:
            raise TimeoutError(f"no answer within {self.answer_seconds:g} s: ask for less, or later") from None
        self.figures.sentences.inc(len(asked.sentences) if asked else 0)
        return result


async def _read(request: Request, kind: type[BaseModel], photo_of: Callable[[Any], Photo]) -> tuple[Any, Any]:
    """The photo, or its id, and the message of a request in JSON or multipart.

    Raises:
        ValueError: it is neither, or something in it is missing, unknown or out of its bounds.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=1, max_part_size=1 << 20) as form:
            file, text = form.get("photo"), form.get("question")
            if not isinstance(file, (UploadFile, Upload)):
                raise ValueError("multipart needs a file called photo")
            content = await file.read()
            question = Question.model_validate_json(str(text)) if kind is PhotoQuestion else None
        return await run_in_threadpool(decode_photo, content, max_pixels=MAX_PIXELS), question
    if not content_type.startswith("application/json"):
        raise ValueError("send application/json or multipart/form-data")
    message = kind.model_validate_json(await request.body())
    photo = photo_of(message)
    if (photo.base64 is None) == (photo.id is None):
        raise ValueError("photo has base64 or an id: give one of them")
    return photo.id or await run_in_threadpool(decode_base64, str(photo.base64)), message


def _body(kind: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says of a body that is read by hand."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": kind.model_json_schema()}},
        }
    }


async def _tell(request: Request, error: Exception) -> JSONResponse:
    """One line of JSON for each error; of those that are no client's fault the kind alone."""
    headers = {}
    if isinstance(error, HTTPException):
        status, text = error.status_code, str(error.detail)
    elif isinstance(error, (RequestValidationError, ValidationError)):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        status, text = 422, f"{where}: {first['msg']}" if where else first["msg"]
    else:
        status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
        text = str(error) if status != 500 else f"this did not work ({type(error).__name__}): see the log"
        headers = {"Retry-After": str(error.seconds)} if isinstance(error, Busy) else {}
    return JSONResponse({"error": " ".join(text.split())[:500]}, status, headers)
