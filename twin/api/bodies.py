"""What is wrong with a request body, in words: which body, where in it, and what was expected."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request

from twin.errors import brief

_SHOWN = 20
_NO_OBJECT = ("model_attributes_type", "model_type", "dict_type")


def not_json(request: Request, text: str, position: int, said: str) -> str:
    """Of a body that is no JSON: line and column (both from 1, in characters), what stands there, and what the parser expected.

    Args:
        request: whose body it is.
        text: the body.
        position: index in `text` at which the parser gave up.
        said: what it said.
    """
    at = json.JSONDecodeError(said, text, position)
    rest = text[position:].strip()
    found = "at its end" if not rest else f"at {rest[:_SHOWN]!r}{'…' if len(rest) > _SHOWN else ''}"
    if text.strip():
        return f"{_name(request)} is not JSON: line {at.lineno}, column {at.colno}, {found}: {said}. {_wanted(request)}"
    return f"{_name(request)} is empty. {_wanted(request)}"


def unreadable(request: Request, cause: BaseException) -> str:
    """Of a body that could not even be handed to the parser, or was too much for it."""
    match cause:
        case UnicodeDecodeError():
            what = f"is not text in {cause.encoding.upper()}: byte {cause.start + 1} (0x{cause.object[cause.start]:02X}): {cause.reason}. Send it in UTF-8"
        case RecursionError():
            what = "is nested too deeply"
        case _:  # Python's limit for the digits of an integer is the only other thing that stops it
            what = "cannot be read: a number in it has too many digits"
    return f"{_name(request)} {what}. {_wanted(request)}"


def no_object(request: Request, error: dict[str, Any]) -> str | None:
    """Of a body that is missing, of another media type, or JSON but no object; None where an error of the validation says something else."""
    if tuple(error["loc"]) != ("body",):
        return None
    if error["type"] == "missing":
        return f"{_name(request)} is empty. {_wanted(request)}"
    if error["type"] not in _NO_OBJECT:
        return None
    if isinstance(error.get("input"), bytes):
        given = request.headers.get("content-type")
        return f"{_name(request)} comes {f'as Content-Type {brief(given)!r}' if given else 'without a Content-Type'} and is not read. {_wanted(request)}"
    return f"{_name(request)} is JSON, but no object. {_wanted(request)}"


def _name(request: Request) -> str:
    return f"The body of {request.method} {brief(request.url.path)}"


def _wanted(request: Request) -> str:
    """What the OpenAPI definition states for the body of this route."""
    definition = request.app.openapi()
    path = getattr(request.scope.get("route"), "path_format", "")
    body = definition["paths"].get(path, {}).get(request.method.lower(), {}).get("requestBody", {})
    name = body.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
    members = definition["components"]["schemas"].get(name, {}).get("properties", {})
    what = f"a JSON object with {', '.join(members)}" if members else "JSON"
    return f"Send {what}, as Content-Type application/json; its schema is {name or 'stated'} in /openapi.json."
