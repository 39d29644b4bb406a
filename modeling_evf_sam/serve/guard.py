"""What every request must pass before it is read: size, time, a token."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_HEADERS = 16_384  # bytes
OPEN_PATHS = ("/health", "/ready")  # which what watches the server asks without a token


class TooLarge(Exception):
    """The body has more bytes than are taken."""


class TooSlow(Exception):
    """The body takes longer than one waits."""


class Guard:
    """An ASGI application around another.

    Args:
        app: the other.
        max_bytes: of a body; a longer one is refused as soon as that is known.
        seconds: within which a body must have come.
        token: what `Authorization: Bearer` must say, but for `OPEN_PATHS`; None lets everybody in.
    """

    def __init__(self, app: App, *, max_bytes: int, seconds: float, token: str | None):
        self.app, self.max_bytes, self.seconds, self.token = app, max_bytes, seconds, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401, 408, 413 or 431 in one line, or passes the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS:
            await _refuse(send, 431, f"headers have {MAX_HEADERS} bytes at the most: send fewer")
            return
        if not self._may_enter(scope["path"], headers.get(b"authorization", b"")):
            await _refuse(send, 401, "this server asks for a token: send Authorization: Bearer TOKEN")
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started |= message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, self._bounded(receive, headers), watched)
        except (TooLarge, TooSlow) as error:
            if not started:
                await _refuse(send, 413 if isinstance(error, TooLarge) else 408, str(error))

    def _may_enter(self, path: str, authorization: bytes) -> bool:
        if self.token is None or path in OPEN_PATHS:
            return True
        return hmac.compare_digest(authorization, f"Bearer {self.token}".encode())

    def _bounded(self, receive: Receive, headers: dict[bytes, bytes]) -> Receive:
        """A `receive` that counts bytes and time."""
        announced = headers.get(b"content-length", b"")
        came, deadline = 0, asyncio.get_running_loop().time() + self.seconds

        async def bounded() -> Message:
            nonlocal came
            if announced.isdigit() and int(announced) > self.max_bytes:
                raise TooLarge(f"a body has {self.max_bytes} bytes at the most: send a smaller photo")
            left = deadline - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, left))
            except TimeoutError:
                raise TooSlow(f"the body did not come within {self.seconds:g} s") from None
            came += len(message.get("body", b""))
            if came > self.max_bytes:
                raise TooLarge(f"a body has {self.max_bytes} bytes at the most: send a smaller photo")
            return message

        return bounded


async def _refuse(send: Send, status: int, text: str) -> None:
    body = json.dumps({"error": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
