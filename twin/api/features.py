"""OGC API – Features part 1: the features of a layer, by page, by box and by id."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response

from twin import query
from twin.api.collections import WITH_ITEMS
from twin.api.common import GEOJSON, CityDep, href, json_response, link, timestamp
from twin.api.definition import answers
from twin.api.geojson import to_geojson
from twin.api.schemas import Feature, FeatureCollection
from twin.city import City
from twin.errors import BadOption, NotFound
from twin.model import Bounds, LayerVersion

router = APIRouter(tags=["Features"])

Bbox = Annotated[str | None, Query(
    description="west,south,east,north in degrees (CRS84); west > east crosses the antimeridian. Features whose geometry touches it match.",
    examples=["113.07,22.57,113.09,22.59"])]  # fmt: skip
Limit = Annotated[int, Query(ge=1, le=query.MAX_LIMIT, description="Features a page.")]
Offset = Annotated[int, Query(ge=0, le=2**53, description="Matching features to pass over.")]
Datetime = Annotated[str | None, Query(
    description="An RFC 3339 instant or interval. Layers have no time of their own, so every feature matches (OGC 17-069r4, 7.15.4).")]  # fmt: skip

_INSTANT = r"(\d{4}-\d\d-\d\d([Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d))?)"
_TIME = re.compile(rf"^({_INSTANT}|({_INSTANT}|\.\.|)/({_INSTANT}|\.\.|))$")


@router.get("/collections/{layer}/items", summary="Features of a layer", response_class=Response,
            responses=answers(FeatureCollection, GEOJSON))  # fmt: skip
def items(
    request: Request, city: CityDep, layer: str, *, bbox: Bbox = None, limit: Limit = 10, offset: Offset = 0,
    datetime: Datetime = None,
) -> Response:  # fmt: skip
    """Features in a stable order. Follow `next` to the end and each matching feature comes exactly once."""
    version = _version(city, layer)
    if datetime is not None and not _TIME.match(datetime):
        raise BadOption(f"datetime: {datetime!r} is no RFC 3339 instant or interval.", "For example 2026-01-01T00:00:00Z/..")
    box = parse_bbox(bbox) if bbox is not None else None
    page = query.items(city.lake, version, box, limit=limit, offset=offset, caps=_caps(city))
    found = to_geojson(page.features, version.kind)

    def page_link(rel: str, start: int) -> dict[str, str]:
        given = {"bbox": bbox, "datetime": datetime, "limit": limit, "offset": start or None}
        return link(rel, href(request, "collections", layer, "items", query=urlencode({k: v for k, v in given.items() if v is not None})), GEOJSON)

    links = [page_link("self", offset), link("collection", href(request, "collections", layer))]
    if offset + len(found) < page.matched and found:
        links.append(page_link("next", offset + len(found)))
    if offset > 0:
        links.append(page_link("prev", max(0, min(offset, page.matched) - limit)))
    value: dict[str, Any] = {
        "type": "FeatureCollection", "features": found, "numberMatched": page.matched, "numberReturned": len(found),
        "timeStamp": timestamp(), "links": links,
    }  # fmt: skip
    return json_response(request, value, media_type=GEOJSON)


@router.get("/collections/{layer}/items/{feature:anything}", summary="One feature", response_class=Response,
            responses=answers(Feature, GEOJSON))  # fmt: skip
def item(request: Request, city: CityDep, layer: str, feature: Annotated[str, Path(description="Id, percent-encoded.")]) -> Response:
    """A feature by its id, with all attributes; of a BIM product also its property sets and quantities."""
    version = _version(city, layer)
    value = to_geojson(query.item(city.lake, version, feature, caps=_caps(city)), version.kind)[0]
    value["links"] = [link("self", href(request, "collections", layer, "items", feature), GEOJSON),
                      link("collection", href(request, "collections", layer))]  # fmt: skip
    return json_response(request, value, media_type=GEOJSON)


def parse_bbox(text: str) -> Bounds:
    """`w,s,e,n` → a box.

    Raises:
        BadOption: not four finite numbers (`query` checks their ranges).
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadOption(f"bbox: {text[:100]!r} is not a list of numbers.", "Write west,south,east,north.") from error
    if len(numbers) != 4:
        raise BadOption(f"bbox: {len(numbers)} numbers instead of 4.", "Write west,south,east,north; there is no height filter.")
    return Bounds(*numbers)


def _version(city: City, layer: str) -> LayerVersion:
    _, version, _ = city.published(layer)
    if version.kind not in WITH_ITEMS:
        raise NotFound(f"Layer {layer!r} holds {version.kind}, which has no features.", "Its collection document links what there is.")
    return version


def _caps(city: City) -> query.Caps:
    settings = city.settings
    return query.Caps(settings.query_memory_mb, settings.query_threads, settings.query_seconds)
