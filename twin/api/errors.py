"""Errors → HTTP, in one table. Every error body is a problem document (RFC 9457) and no traceback leaves the server."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from twin.api import bodies
from twin.errors import BadInput, Cancelled, Conflict, LostLease, NotFound, OverLimit, StorageError, TwinError

log = logging.getLogger(__name__)

#: The first class that fits decides.
STATUS: tuple[tuple[type[TwinError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Cancelled, 409),
    (LostLease, 409),
    (OverLimit, 422),
    (BadInput, 400),
    (StorageError, 503),
    (TwinError, 500),
)


class Problem(HTTPException):
    """An HTTP error that is no error of the domain: an unknown parameter, a wrong media type, a body too large.

    Args:
        type_uri: RFC 9457 `type`, where a standard (OGC API – Processes) names one.
    """

    def __init__(self, status: int, detail: str, type_uri: str = "about:blank", headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.type_uri = type_uri


def problem(
    instance: str, status: int, detail: str, type_uri: str = "about:blank", headers: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    """A problem document; `instance` is the path asked for."""
    body = {"type": type_uri, "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "instance": instance}
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store", **(headers or {})}, "application/problem+json")


def status_of(error: TwinError) -> int:
    """The HTTP status of an error of the domain."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def install(app: FastAPI) -> None:
    """Let every error leave the application as a problem document."""
    app.add_exception_handler(TwinError, _domain)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


def _domain(request: Request, error: Any) -> Response:
    status = status_of(error)
    if status >= 500:
        log.error("%s %s: %s", request.method, request.url.path, error)
    # what to do about the storage is for who runs the server, and may name its places
    return problem(request.url.path, status, error.message if isinstance(error, StorageError) else str(error))


def _http(request: Request, error: Any) -> Response:
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = f"There is nothing at {request.url.path}."
    if not isinstance(error, Problem) and isinstance(error.__cause__, RecursionError | ValueError):  # FastAPI could not read a body, and does not say why
        detail = bodies.unreadable(request, error.__cause__)
    headers = error.headers or {}
    if error.status_code == 405:
        allowed = ", ".join(_methods(request, headers.get("Allow", "GET")))
        detail, headers = f"{request.method} is not possible here; {allowed} is.", {"Allow": allowed}
    return problem(request.url.path, error.status_code, detail, getattr(error, "type_uri", "about:blank"), headers)


def _methods(request: Request, known: str) -> list[str]:
    """All methods of a path (RFC 9110, 10.2.1): several routes may share it, and the router (`known`) names only the first one's."""
    found = set(known.replace(" ", "").split(","))
    for template, operations in request.app.openapi()["paths"].items():
        if compile_path(template)[0].match(request.url.path):
            found |= {name.upper() for name in operations if name in ("get", "put", "post", "patch", "delete")}
    return sorted(found | {"HEAD"} if "GET" in found else found)


def _invalid(request: Request, error: Any) -> Response:
    """What FastAPI refused: each parameter by name, a body by what is wrong with it."""
    texts = []
    for one in error.errors():
        if one["type"] == "json_invalid":  # its place is a position in the body and no name
            return problem(request.url.path, 400, bodies.not_json(request, error.body, one["loc"][-1], one["ctx"]["error"]))
        if (said := bodies.no_object(request, one)) is not None:
            return problem(request.url.path, 400, said)
        where = [str(part) for part in one["loc"] if part not in ("query", "path", "body")]
        texts.append(f"{'.'.join(where) or 'body'}: {one['msg']}")
    return problem(request.url.path, 400, "; ".join(texts) + ".")


def _unexpected(request: Request, error: Any) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(request.url.path, 500, "An internal error; the server's log has the details.")
