"""Map tiles: rasters, shaded relief and drawn vectors as PNG in WebMercatorQuad, behind a TileJSON that names their key."""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from twin import moments
from twin.api.collections import WITH_MAP
from twin.api.common import CityDep, body_response, href, immutable, json_response, knows, not_modified
from twin.api.definition import answers, binary
from twin.api.queries import Classes, Method, Ramp, caps
from twin.api.schemas import TileJson
from twin.city import City
from twin.errors import NotFound
from twin.mapchoice import Choice
from twin.model import LayerVersion

router = APIRouter(tags=["Maps"])

DEEPEST = 24
Level = Annotated[int, Path(ge=0, le=DEEPEST, description="Zoom level of WebMercatorQuad.")]
Place = Annotated[int, Path(ge=0, lt=2**DEEPEST)]
Where = Annotated[str | None, Query(alias="filter", description="CQL2 condition: only features that match are drawn (vector layers).", examples=["width > 12"])]
Language = Annotated[Literal["cql2-text", "cql2-json"], Query(alias="filter-lang", description="How the filter is written.")]
ColorBy = Annotated[str | None, Query(alias="color-by", description="Column whose values give the colours, by the legend of `/collections/{layer}/styles/{column}` (vector layers).")]
Time = Annotated[str | None, Query(description="Of a layer with `twin:times`: seconds after its start, or an RFC 3339 moment; the last state not later is shown. Without it, the last one.")]


@router.get("/map/{layer}/tilejson.json", summary="Map of a layer", response_class=Response, responses=answers(TileJson))
def tilejson(request: Request, city: CityDep, layer: str) -> Response:
    """Where the layer's map tiles are, how deep they go, and its legend. ETag: the tiles' key."""
    publication, version, _ = city.published(layer)
    _require_map(layer, version)
    key = map_key(publication.manifest)
    facts: dict[str, Any] = maps().describe(city.lake, version)
    template = href(request, "map", layer, key) + "/{z}/{x}/{y}.png"
    value = {"tilejson": "3.0.0", "name": layer, "version": f"{publication.number}.0.0", "scheme": "xyz", "tiles": [template], "minzoom": facts["minzoom"],
             "maxzoom": facts["maxzoom"], "bounds": facts["bounds"], "twin:legend": facts.get("legend")}  # fmt: skip
    if "times" in facts:
        value |= {"twin:times": facts["times"], "twin:start": facts["start"]}
    return json_response(request, value, etag=f'W/"{key}"')


@router.get("/map/{layer}/{key}/{z}/{x}/{y}.png", summary="A map tile", response_class=Response,
            responses=binary("256 × 256 pixels; transparent where the layer has no data.", "image/png"))  # fmt: skip
def tile(
    request: Request, city: CityDep, layer: str, key: str, *, z: Level, x: Place, y: Place, time: Time = None, filter_: Where = None,
    filter_lang: Language = "cql2-text", color_by: ColorBy = None, method: Method = "quantile", classes: Classes = 5, ramp: Ramp = "viridis",
) -> Response:
    """A tile of one version of the layer, of a layer over time as it is at `time`, of a vector layer what a filter leaves; immutable."""
    if x >= 2**z or y >= 2**z:
        raise NotFound(f"There is no tile {z}/{x}/{y}: level {z} has {2**z} rows and columns.")
    version = _version_of(city, layer, key)
    at = None if time is None else moments.seconds(version, time)
    choice = Choice(filter_ or "", filter_lang, color_by or "", method, classes, ramp)
    tail = ("" if at is None else f"-{at:g}") + (f"-{hashlib.sha256(repr(choice).encode()).hexdigest()[:16]}" if choice else "")
    etag, cache = f'"{key}-{z}-{x}-{y}{tail}"', immutable(city, layer)
    if knows(request, etag):
        return not_modified(etag, cache)
    return body_response(request, maps().render(city.lake, version, z, x, y, at, choice, caps(city)), "image/png", cache=cache, etag=etag, compress=False)


def maps() -> Any:
    """The renderer, imported when a map is first asked for: it brings GDAL and the drawing code with it."""
    return import_module("twin.maps")


def map_key(manifest: str) -> str:
    """Key of a version's map: what is drawn (the manifest, its style included) and by which code."""
    return hashlib.sha256(f"{manifest} {maps().CODE_VERSION}".encode()).hexdigest()[:24]


def _version_of(city: City, layer: str, key: str) -> LayerVersion:
    """The version that a key stands for, published now or before.

    Raises:
        NotFound: no version of the layer has this map.
    """
    for row in reversed(city.catalog.versions(layer)):
        if map_key(row.manifest) == key:
            version = city.manifest(row.manifest)
            _require_map(layer, version)
            return version
    raise NotFound(f"Layer {layer!r} has no map {key!r}.", "Start again from the layer's tilejson.json.")


def _require_map(layer: str, version: LayerVersion) -> None:
    if version.kind not in WITH_MAP:
        raise NotFound(f"Layer {layer!r} ({version.kind}) has no map tiles.", "Its collection document links what there is.")
