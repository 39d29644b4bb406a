"""What stands before Gradio: a body that it cannot read is its sender's mistake, and no fault of the server."""

import logging
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyGate:
    """Answers 400 where a POST would end in 500.

    Requests only put work into the queue. What goes wrong with the work itself is told through the queue.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            await send({**message, "status": 400} if message.get("status") == 500 else message)

        try:
            await self.app(scope, receive, answer)
        except Exception:
            if started:
                raise
            logging.getLogger(__name__).info("a request that cannot be read", exc_info=True)
            await PlainTextResponse("This request cannot be read.", status_code=400)(scope, receive, send)


APP_SETTINGS: dict[str, Any] = {"middleware": [Middleware(BodyGate)]}
