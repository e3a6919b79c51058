"""What a layer showed, and when: its versions, and the city as of a moment in the past (历史 · 现状)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from twin.api.common import CityDep, href, json_response, link, timestamp
from twin.api.definition import answers
from twin.api.schemas import Versions
from twin.catalog import Publication
from twin.city import City
from twin.errors import BadOption

router = APIRouter(tags=["History"])


def moment(text: str) -> float:
    """An RFC 3339 instant in Unix seconds.

    Raises:
        BadOption: it is none, or it does not say its time zone.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadOption(f"as-of: {text[:60]!r} is no RFC 3339 time.", "For example 2026-01-01T08:00:00+08:00") from error
    if when.tzinfo is None:
        raise BadOption(f"as-of: {text[:60]!r} does not say its time zone.", "End it with Z or +08:00.")
    return when.timestamp()


def shown_at(city: City, layer: str, seconds: float) -> Publication | None:
    """What a layer showed at a moment, or None before its first publication. Rollbacks count as what they are: showing again.

    Both are compared as they are told, in milliseconds: asked for the very time that `versions` names, that version was shown.
    """
    shown: Publication | None = None
    for event in city.catalog.shown(layer):
        if timestamp(event.at) > timestamp(seconds):
            break
        shown = event
    return shown


def periods_of(events: list[Publication], number: int) -> list[dict[str, Any]]:
    """From when to when a version was shown; `to` is None while it is."""
    return [{"from": timestamp(e.at), "to": timestamp(events[i + 1].at) if i + 1 < len(events) else None}
            for i, e in enumerate(events) if e.number == number]  # fmt: skip


@router.get("/collections/{layer}/versions", summary="Versions of a layer", response_class=Response, responses=answers(Versions))
def versions(request: Request, city: CityDep, layer: str) -> Response:
    """Every version that is kept, with its tiles where there are any, and from when to when the layer showed it."""
    current = {p.number for p in city.catalog.published(layer)}
    events = city.catalog.shown(layer)
    found: list[dict[str, Any]] = []
    for row in city.catalog.versions(layer):
        periods = periods_of(events, row.number)
        tiles = city.catalog.tileset_of(layer, row.number)
        links = []
        if tiles is not None and tiles.info.get("root"):
            links.append(link("tiles3d", href(request, "tiles3d", layer, tiles.key, tiles.info.get("entry", "tileset.json")), title="3D Tiles"))
        found.append({"version": row.number, "created": timestamp(row.created), "count": row.count, "who": row.who, "pinned": row.pinned,
                      "current": row.number in current, "shown": periods, "links": links})  # fmt: skip
    return json_response(request, {"layer": layer, "versions": found})
