"""What holds for every request, below the routes: HEAD, the size of bodies, and two protective headers. Plain ASGI."""

from __future__ import annotations

import json
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twin.api.errors import Problem, problem

MAX_BODY = 1 << 20


class HeadAsGet:
    """Answer HEAD as GET would, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; for HEAD, as GET with the body left out."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def silent(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self.app({**scope, "method": "GET"}, receive, silent)


class BodyLimit:
    """Refuse request bodies above `MAX_BODY` bytes, by their stated length and by what really arrives."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with a counted body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        detail = f"The request body is larger than {self.limit} bytes."
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > self.limit:
            await problem(scope["path"], 413, detail)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise Problem(413, detail)
            return message

        await self.app(scope, counted, send)


class UniqueKeys:
    """Refuse JSON bodies in which an object holds a key twice: of the two values one would be ignored in silence. Bodies are small by now (`BodyLimit`)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, look at it, and hand it on."""
        kind = dict(scope.get("headers", [])).get(b"content-type", b"json")
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH", "DELETE") or b"json" not in kind:
            await self.app(scope, receive, send)
            return
        body = b""
        try:
            message = await receive()
            while message["type"] == "http.request":
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    break
                message = await receive()
        except Problem as error:  # too large, and there is nobody below yet who would say so
            await problem(scope["path"], error.status_code, str(error.detail))(scope, receive, send)
            return
        if (twice := _key_twice(body)) is not None:
            await problem(scope["path"], 400, f"The body holds the key {twice[:80]!r} twice in one object. Say it once.")(scope, receive, send)
            return
        left = [{"type": "http.request", "body": body, "more_body": False}] if message["type"] == "http.request" else [message]

        async def again() -> Message:
            return left.pop() if left else await receive()

        await self.app(scope, again, send)


def _key_twice(body: bytes) -> str | None:
    """A key that stands twice in an object of a JSON text; None where there is none, or the text is none (which is said elsewhere)."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            names = [name for name, _ in pairs]
            found.append(next(name for i, name in enumerate(names) if name in names[:i]))
        return value

    try:
        json.loads(body, object_pairs_hook=look)
    except (ValueError, RecursionError):
        return None
    return found[0] if found else None


class ProtectiveHeaders:
    """`nosniff` on everything: a media type that we state is meant."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application and add the headers."""

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-content-type-options", b"nosniff"),
                                                  (b"referrer-policy", b"same-origin")]}  # fmt: skip
            await send(message)

        await self.app(scope, receive, adding)
