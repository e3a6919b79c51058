"""OGC API – Features parts 1 to 3: the features of a layer, by page, by box, by filter and by id, in its CRS."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response

from twin import query
from twin.api.common import GEOJSON, CityDep, href, json_response, link, timestamp
from twin.api.definition import answers
from twin.api.geojson import to_geojson
from twin.api.queries import AskedDep, Properties, caps, names, version_with_features
from twin.api.references import CrsName, named
from twin.api.schemas import Feature, FeatureCollection
from twin.errors import BadOption

router = APIRouter(tags=["Features"])

Limit = Annotated[int, Query(ge=1, le=query.MAX_LIMIT, description="Features a page.")]
Offset = Annotated[int, Query(ge=0, le=2**53, description="Matching features to pass over.")]
Sortby = Annotated[str | None, Query(description="Names of sortable columns, separated by commas, the weightiest first; - before a name: from the largest down (+ or nothing: up). "
                                                 "Nulls come last; texts in the order of their characters' code points.", examples=["-height,id"])]  # fmt: skip
Datetime = Annotated[str | None, Query(
    description="An RFC 3339 instant or interval. Layers have no time of their own, so every feature matches (OGC 17-069r4, 7.15.4).")]  # fmt: skip

_INSTANT = r"(\d{4}-\d\d-\d\d([Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d))?)"
_TIME = re.compile(rf"({_INSTANT}|({_INSTANT}|\.\.|)/({_INSTANT}|\.\.|))")


def check_time(text: str) -> None:
    """Whether `datetime` is an instant or an interval (OGC 17-069r4, 7.15.4).

    Raises:
        BadOption: it is neither, names a day or an hour that there is not, or ends before it begins.
    """
    wrong = BadOption(f"datetime: {text[:80]!r} is no RFC 3339 instant or interval.", "For example 2026-01-01T00:00:00Z/..")
    if not _TIME.fullmatch(text):
        raise wrong
    ends: list[dt.datetime] = []
    for end in text.upper().split("/"):
        if end.strip("."):
            try:
                when = dt.datetime.fromisoformat(end)
            except ValueError:
                raise wrong from None
            ends.append(when if when.tzinfo else when.replace(tzinfo=dt.UTC))
    if ends != sorted(ends):
        raise BadOption(f"datetime: {text[:80]!r} ends before it begins.", "Write it as earlier/later.")


@router.get("/collections/{layer}/items", summary="Features of a layer", response_class=Response,  # noqa: FAST003  Asked takes it
            responses=answers(FeatureCollection, GEOJSON))  # fmt: skip
def items(
    request: Request, city: CityDep, asked: AskedDep, *, limit: Limit = 10, offset: Offset = 0, datetime: Datetime = None,
    properties: Properties = None, crs: CrsName = None, sortby: Sortby = None,
) -> Response:  # fmt: skip
    """Features in a stable order, or in that of `sortby`. Follow `next` to the end and each matching feature comes exactly once."""
    layer, version = asked.layer, asked.version
    if datetime is not None:
        check_time(datetime)
    system = named(version, crs)
    sort = query.sort_of(city.lake, version, sortby) if sortby is not None else ()
    page = query.items(city.lake, version, asked.box, limit=limit, offset=offset, columns=names(properties), where=asked.where, sort=sort, caps=caps(city))
    found = to_geojson(page.features, version.kind, system)

    def page_link(rel: str, start: int) -> dict[str, str]:
        given = {**asked.given, "datetime": datetime, "properties": properties, "crs": crs, "sortby": sortby, "limit": limit, "offset": start or None}
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
    return json_response(request, value, media_type=GEOJSON, headers={"Content-Crs": f"<{system.uri}>"})


@router.get("/collections/{layer}/items/{feature:anything}", summary="One feature", response_class=Response,
            responses=answers(Feature, GEOJSON))  # fmt: skip
def item(
    request: Request, city: CityDep, layer: str, feature: Annotated[str, Path(description="Id, percent-encoded.")], crs: CrsName = None,
) -> Response:  # fmt: skip
    """A feature by its id, with all attributes; of a BIM product also its property sets and quantities."""
    version = version_with_features(city, layer)
    system = named(version, crs)
    value = to_geojson(query.item(city.lake, version, feature, caps=caps(city)), version.kind, system)[0]
    here = href(request, "collections", layer, "items", feature, query="" if crs is None else urlencode({"crs": crs}))
    value["links"] = [link("self", here, GEOJSON), link("collection", href(request, "collections", layer))]
    return json_response(request, value, media_type=GEOJSON, headers={"Content-Crs": f"<{system.uri}>"})
