"""Terrain: quantized-mesh tiles (EPSG:4326, TMS) behind a layer.json that changes with each publication."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request, Response

from twin.api.archives import Archives, derivation, entry_response
from twin.api.collections import default_terrain, has_terrain
from twin.api.common import CityDep, json_response
from twin.api.definition import binary
from twin.city import City
from twin.errors import NotFound

router = APIRouter(tags=["Terrain"])


@router.get("/terrain/layer.json", summary="The city's default terrain", response_class=Response,
            responses=binary("layer.json of quantized-mesh terrain (TileJSON 2.1).", "application/json"))  # fmt: skip
def default(request: Request, city: CityDep) -> Response:
    """The terrain that was published first among those shown; 404 where the city has none."""
    publication = default_terrain(city)
    if publication is None or publication.derivation is None:
        raise NotFound("The city shows no terrain.", "Ingest a terrain raster, then publish it.")
    return _layer_json(request, city, publication.layer, publication.derivation, f"{quote(publication.layer, safe='')}/")


@router.get("/terrain/{layer}/layer.json", summary="A terrain layer", response_class=Response,
            responses=binary("layer.json of quantized-mesh terrain (TileJSON 2.1).", "application/json"))  # fmt: skip
def layer_json(request: Request, city: CityDep, layer: str) -> Response:
    """What a terrain client starts from; its tile addresses name the published tileset. ETag: the tileset's key."""
    _, version, found = city.published(layer)
    if version.kind != "terrain" or found is None or not has_terrain(found):
        raise NotFound(f"Layer {layer!r} ({version.kind}) has no terrain tiles.", f"Derive them with: twin tile {layer}")
    return _layer_json(request, city, layer, found.key, "")


@router.get("/terrain/{layer}/{key}/{path:path}", summary="A terrain tile", response_class=Response,
            responses=binary("The tile, gzipped where the client takes it.", "application/vnd.quantized-mesh"))  # fmt: skip
def tile(request: Request, city: CityDep, layer: str, key: str, path: str) -> Response:
    """A quantized-mesh tile; immutable."""
    return entry_response(request, city, layer, key, path)


def _layer_json(request: Request, city: City, layer: str, key: str, prefix: str) -> Response:
    archives: Archives = request.app.state.archives
    found = derivation(city, layer, key)
    value: dict[str, Any] = orjson.loads(archives.of(found).read(found.info.get("entry", "layer.json")))
    value["tiles"] = [f"{prefix}{key}/{template}" for template in value.get("tiles", ["{z}/{x}/{y}.terrain"])]
    return json_response(request, value, etag=f'W/"{key}"')
