"""What a feature was: the same id through the versions of its layer, and what each of them changed."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from twin import query
from twin.api.common import CityDep, json_response, timestamp
from twin.api.definition import answers
from twin.api.geojson import to_geojson
from twin.api.history import periods_of
from twin.api.queries import caps
from twin.api.schemas import FeatureHistory
from twin.city import City
from twin.errors import BadFeature, NotFound
from twin.model import LayerVersion

router = APIRouter(tags=["History"])


@router.get("/collections/{layer}/history/{feature:anything}", summary="What a feature was", response_class=Response, responses=answers(FeatureHistory))
def feature_history(
    request: Request, city: CityDep, layer: str, feature: Annotated[str, Path(description="Id, percent-encoded.")], *,
    limit: Annotated[int, Query(ge=1, le=100, description="Versions, the newest ones.")] = 12,
) -> Response:  # fmt: skip
    """The feature in every version of its layer that is kept: from when to when it was shown, and what differs from the version before."""
    rows = city.catalog.versions(layer)
    events = city.catalog.shown(layer)
    current = {p.number for p in city.catalog.published(layer)}
    read = rows[-limit - 1 :]  # one more, to say how the oldest one named came about
    values = [_item(city, city.manifest(row.manifest), feature) for row in read]
    if not any(values):
        raise NotFound(f"Layer {layer!r} has no feature {feature!r} in its last {len(read)} versions.")
    whole = len(read) <= limit
    pairs = zip(read if whole else read[1:], [None, *values[:-1]] if whole else values[:-1], values if whole else values[1:], strict=True)
    states = [{"version": row.number, "created": timestamp(row.created), "current": row.number in current, "shown": periods_of(events, row.number),
               **_change(before, after)} for row, before, after in pairs]  # fmt: skip
    return json_response(request, {"layer": layer, "id": feature, "states": states[::-1], "whole": whole})


def _item(city: City, version: LayerVersion, feature: str) -> dict[str, Any] | None:
    """The feature as GeoJSON, or None where the version does not show it."""
    try:
        return to_geojson(query.item(city.lake, version, feature, caps=caps(city)), version.kind)[0]
    except (NotFound, BadFeature):
        return None


def _change(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    if before is None or after is None:
        word = "absent" if before is after else "added" if before is None else "removed"
        return {"change": word, "moved": False, "alterations": []}
    old, new = before["properties"], after["properties"]
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    moved = orjson.dumps(before["geometry"]) != orjson.dumps(after["geometry"])
    return {"change": "changed" if names or moved else "same", "moved": moved,
            "alterations": [{"name": name, "before": old.get(name), "after": new.get(name)} for name in names]}  # fmt: skip
