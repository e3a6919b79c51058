"""What the building blocks share: the city, links, answers (JSON, gzip, caching), and strict query parameters."""

from __future__ import annotations

import base64
import gzip
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
import orjson
from fastapi import Depends, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from twin.api.errors import Problem
from twin.city import City

NO_CACHE = "no-cache"
IMMUTABLE = "public, max-age=31536000, immutable"
PRIVATE = "private, max-age=31536000, immutable"
GEOJSON = "application/geo+json"
_GZIP_FROM = 1024


class _Anything(StringConvertor):
    """A path parameter that may hold any character, `/` and line breaks included: item ids are the source's own."""

    regex = "(?s:.+)"


register_url_convertor("anything", _Anything())


def get_city(request: Request) -> City:
    """The city that this application serves."""
    city: City = request.app.state.city
    return city


CityDep = Annotated[City, Depends(get_city)]


def strict_query(request: Request) -> None:
    """Refuse query parameters that the route does not declare, or that are given twice.

    Raises:
        Problem: 400, naming the parameter and those there are.
    """
    known = _declared(request)
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            there = f"Known here: {', '.join(sorted(known))}." if known else "This resource takes none."
            raise Problem(400, f"Unknown query parameter {name!r}. {there}")
        if name in seen:
            raise Problem(400, f"Query parameter {name!r} is given more than once.")
        seen.add(name)


def _declared(request: Request) -> set[str]:
    """The query parameters that the OpenAPI document states for this route: what is not documented is not accepted."""
    path = getattr(request.scope.get("route"), "path_format", "")
    operation = request.app.openapi()["paths"].get(path, {}).get(request.method.lower(), {})
    return {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"}


# --- links -----------------------------------------------------------------------------------------------------------


def href(request: Request, *segments: str, query: str = "") -> str:
    """Absolute URL below the API's root from unescaped path segments; an empty last segment ends it with a slash."""
    base: str = request.app.state.public_url or str(request.base_url).rstrip("/")
    path = "/".join(quote(segment, safe="") for segment in segments)
    return f"{base}/{path}" + (f"?{query}" if query else "")


def link(rel: str, url: str, media_type: str = "application/json", title: str = "") -> dict[str, str]:
    """A link object of OGC API – Common."""
    return {"rel": rel, "href": url, "type": media_type} | ({"title": title} if title else {})


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC; now when None."""
    when = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- answers ---------------------------------------------------------------------------------------------------------


def json_response(
    request: Request, value: Any, *, media_type: str = "application/json", status: int = 200, cache: str = NO_CACHE,
    etag: str = "", headers: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    """A JSON answer, gzipped where the client takes it. NaN and infinity become null. With `etag`: 304 if it is known."""
    if etag and knows(request, etag):
        return not_modified(etag, cache)
    body = orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return body_response(request, body, media_type, cache=cache, etag=etag, status=status, headers=headers)


def body_response(
    request: Request, body: bytes, media_type: str, *, cache: str, etag: str = "", status: int = 200,
    headers: dict[str, str] | None = None, zipped: bytes | None = None, compress: bool = True,
) -> Response:  # fmt: skip
    """Bytes with caching headers, gzipped here where it helps (`compress`), or handed over as `zipped` already."""
    fields = {"Cache-Control": cache, "Vary": "Accept-Encoding", **(headers or {})}
    if etag:
        fields["ETag"] = etag
    if zipped is None and compress and len(body) >= _GZIP_FROM and accepts_gzip(request):
        zipped = gzip.compress(body, 5, mtime=0)
    if zipped is not None:
        body, fields["Content-Encoding"] = zipped, "gzip"
    return Response(body, status, fields, media_type)


def immutable(city: City, layer: str) -> str:
    """Caching of what never changes; what is not open to everyone is kept out of shared caches.

    Raises:
        NotFound: the layer is gone.
    """
    return IMMUTABLE if city.catalog.layer(layer).label == "open" else PRIVATE


def not_modified(etag: str, cache: str) -> Response:
    """304 with the headers that 200 would carry (RFC 9110, 15.4.5)."""
    return Response(None, 304, {"ETag": etag, "Cache-Control": cache, "Vary": "Accept-Encoding"})


def knows(request: Request, etag: str) -> bool:
    """Whether the client already holds this representation (RFC 9110, 13.1.2: weak comparison)."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or _opaque(etag) in {_opaque(one) for one in given.split(",")}


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/")


def accepts_gzip(request: Request) -> bool:
    """Whether `Accept-Encoding` admits gzip, and no less than the bytes as they are where it names both (RFC 9110, 12.5.3); an absent header means: better not."""
    given = dict(reversed(weights(request.headers.get("accept-encoding", ""))))  # the first of a name counts
    zipped = given.get("gzip", given.get("x-gzip", given.get("*", 0.0)))
    return zipped > 0 and zipped >= given.get("identity", 0.0)


def weights(header: str) -> list[tuple[str, float]]:
    """(name, quality) of each member of an `Accept…` header; a malformed quality counts as 0."""
    found = []
    for member in header.split(","):
        name, *parameters = [part.strip() for part in member.split(";")]
        weight = 1.0
        for parameter in parameters:
            if parameter.lower().startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if name:
            found.append((name.lower(), weight))
    return found


def _plain(value: Any) -> Any:
    """Column values that JSON has no word for."""
    match value:
        case Decimal():
            return float(value)
        case bytes():
            return base64.b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case np.generic():
            return value.item()
    return str(value)
