"""`evf-sam serve`: masks for other programs, over HTTP."""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from evf_sam_cli.models import find_model
from evf_sam_cli.options import DEFAULT_MODEL, BackendOption, DeviceOption, DtypeOption, ModelOption

TOKEN = "EVF_SAM_TOKEN"


def run(
    model: ModelOption = DEFAULT_MODEL,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    cache: Annotated[int, typer.Option(min=0, help="Megabytes of encoded photos to keep.")] = 1000,
    embeddings: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder to keep encoded photos in, for good; a recipe's embedding_cache."),
    ] = None,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait; more are told to come again.")] = 64,
    max_body: Annotated[int, typer.Option(min=1, help="Megabytes of a request at the most.")] = 40,
    seconds: Annotated[float, typer.Option(min=1, help="After which an answer is given up.")] = 120,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    backend: BackendOption = "torch",
    ray: Annotated[
        bool, typer.Option("--ray", help="Compute in replicas of Ray Serve, on one machine or many.")
    ] = False,
    replicas: Annotated[int, typer.Option(min=1, help="Replicas, or the least of them.")] = 1,
    max_replicas: Annotated[
        int | None, typer.Option(min=1, help="Most replicas, while requests wait.", show_default="as --replicas")
    ] = None,
) -> None:
    """Serves a checkpoint: photos and sentences in, masks out.

    POST /segment, /photos and /sam3/concept_segment; GET /health, /ready, /metrics and /docs. With the environment
    variable EVF_SAM_TOKEN set, clients must send it as a bearer token. See docs/serve.md.
    """
    source, token = find_model(model), os.environ.get(TOKEN)
    if token is not None and not (token.isascii() and token.strip()):
        raise ValueError(f"{TOKEN} must be ASCII text: set it, or unset it to let everybody in")

    from rich.console import Console

    from modeling_evf_sam.serve import check_libraries

    check_libraries(ray=ray)
    most = max_replicas or replicas
    if most < replicas or (most > 1 and not ray):
        raise ValueError("replicas need --ray, and no fewer --max-replicas than --replicas")
    if embeddings is not None and (backend != "torch" or dtype == "int8"):
        raise ValueError("--embeddings keeps what torch computes in float32 or bfloat16: leave it out")
    try:
        listener = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise ValueError(f"cannot listen on {host}:{port} ({error}): choose another --host or --port") from None

    from modeling_evf_sam.serve.app import build_app

    loaded: dict[str, Any] = {"source": source, "device": device, "dtype": dtype, "backend": backend}
    kept: dict[str, Any] = {"cache_bytes": cache * 1_000_000, "embeddings": embeddings and str(embeddings)}
    with Console(stderr=True).status("loading"):
        if ray:
            from modeling_evf_sam.serve.on_ray import RayEngine, Settings

            settings = Settings(**loaded, **kept, replicas=replicas, max_replicas=most)
            engine: Any = RayEngine(settings, queue_size=queue)
        else:
            from modeling_evf_sam.inference.backends import load
            from modeling_evf_sam.serve.engine import Engine

            engine = Engine(*load(**loaded), **kept, queue_size=queue)
    _serve(build_app(engine, max_bytes=max_body * 1_000_000, answer_seconds=seconds, token=token), listener)


def _serve(app: Any, listener: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                host, port = listener.getsockname()[:2]
                print(f"http://{host}:{port} (docs at /docs; Ctrl+C ends it)", flush=True)

    options: dict[str, Any] = {"http": "h11", "h11_max_incomplete_event_size": 16_384, "limit_concurrency": 512}
    server = Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, **options))
    with suppress(KeyboardInterrupt):  # by which it says, at its end, why it has ended
        server.run([listener])
