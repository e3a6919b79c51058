"""3D Tiles: a small root that changes with each publication, and the immutable tilesets it points to."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from twin.api.archives import Archives, entry_response
from twin.api.collections import has_models
from twin.api.common import CityDep, json_response
from twin.api.definition import answers, binary
from twin.api.schemas import Tileset
from twin.catalog import Derivation
from twin.errors import BadTileset, NotFound, StorageError

router = APIRouter(tags=["3D Tiles"])


@router.get("/tiles3d/{layer}/tileset.json", summary="Root tileset of a layer", response_class=Response, responses=answers(Tileset))
def root(request: Request, city: CityDep, layer: str) -> Response:
    """A tileset of one tile whose content is the published tileset. Never cached unasked; its ETag is the tileset's key."""
    _, version, derivation = city.published(layer)
    if derivation is None or not has_models(version, derivation):
        raise NotFound(f"Layer {layer!r} ({version.kind}) has no 3D Tiles.",
                       "Ingest it with --option output=both." if version.kind == "terrain" else f"Derive them with: twin tile {layer}")  # fmt: skip
    inner: dict[str, Any] = derivation.info["root"]
    entry = derivation.info.get("tileset") or derivation.info.get("entry", "tileset.json")
    volume = placed(inner["boundingVolume"], inner.get("transform"))
    # A city of one leaf has error 0 inside; out here the error is that of drawing nothing, or a client would never ask for it.
    error = max(float(inner["geometricError"]), radius(volume))
    value = {
        # No asset.tilesetVersion: CesiumJS would put it as ?v=… on every tile's address, and unknown parameters are refused.
        "asset": {"version": "1.1"}, "geometricError": error,
        # repeated from inside: clients look for the schema (of implicit tiles, of groups) in the first tileset alone
        **_head(request, derivation, entry),
        "root": {"boundingVolume": volume, "geometricError": error, "refine": "ADD",
                 "content": {"uri": f"{derivation.key}/{entry}"}},
    }  # fmt: skip
    return json_response(request, value, etag=f'W/"{derivation.key}"')


def _head(request: Request, derivation: Derivation, entry: str) -> dict[str, Any]:
    archives: Archives = request.app.state.archives
    try:
        return archives.head(derivation, entry)
    except BadTileset as error:  # our own archive: not the client's fault
        raise StorageError(error.message, error.remedy) from error


def placed(volume: dict[str, list[float]], transform: list[float] | None) -> dict[str, list[float]]:
    """A bounding volume moved by a tile's transform (16 numbers, column-major), for a parent that has none.

    The inner root keeps its transform, so it must not be repeated outside; its volume, which it would have moved, is moved here.
    Regions are geographic and never moved (3D Tiles 1.1, "Bounding volumes").
    """
    if transform is None or "region" in volume:
        return volume
    matrix = np.array(transform, dtype=np.float64).reshape(4, 4).T
    linear, shift = matrix[:3, :3], matrix[:3, 3]
    if "sphere" in volume:
        *centre, radius = volume["sphere"]
        longest = float(np.linalg.norm(linear, ord=2))
        return {"sphere": [*(linear @ centre + shift).tolist(), radius * longest]}
    box = np.array(volume["box"], dtype=np.float64).reshape(4, 3) @ linear.T  # the centre and three half axes, one a row
    box[0] += shift
    return {"box": box.reshape(-1).tolist()}


def radius(volume: dict[str, list[float]]) -> float:
    """Metres from the middle of a bounding volume to its farthest corner (regions: to 1%, on a sphere)."""
    if "sphere" in volume:
        return float(volume["sphere"][3])
    if "box" in volume:
        return float(np.linalg.norm(volume["box"][3:]))
    west, south, east, north, low, high = volume["region"]
    across = (east - west) * float(np.cos((south + north) / 2))
    return 0.5 * float(np.linalg.norm([across * 6.371e6, (north - south) * 6.371e6, high - low]))


@router.get("/tiles3d/{layer}/{key}/{path:path}", summary="A file of a tileset", response_class=Response,
            responses=binary("The file, gzipped where the client takes it.", "model/gltf-binary", "application/json"))  # fmt: skip
def content(request: Request, city: CityDep, layer: str, key: str, path: str) -> Response:
    """Tileset JSON or tile content; immutable, kept after the next publication so that no client mixes two versions."""
    return entry_response(request, city, layer, key, path)
