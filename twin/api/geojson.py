"""Features → GeoJSON (RFC 7946): WGS 84, right-hand rule, millimetres, heights above the ellipsoid."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from twin import query
from twin.model import Features, LayerKind

DEGREE_DIGITS = 8
"""1e-8° is about a millimetre."""
HEIGHT_DIGITS = 3
NESTED = ("psets", "quantities")
"""Columns of a BIM layer that hold JSON objects as text."""


def to_geojson(features: Features, kind: LayerKind) -> list[dict[str, Any]]:
    """GeoJSON Feature objects for `json_response` (geometries are ready-made JSON fragments).

    A feature that belongs to another one names it in the member `twin:parent`.
    """
    placed = query.to_wgs84(features)
    shapes = _encode(placed.geometry)
    rows = placed.attributes.to_pylist() if placed.attributes.num_columns else [{} for _ in range(len(placed))]
    parents = placed.parents.to_pylist() if placed.parents is not None else [None] * len(placed)
    found = []
    for identity, shape, row, parent in zip(placed.ids.to_pylist(), shapes, rows, parents, strict=True):
        properties = {name: _nested(value) if name in NESTED else value for name, value in row.items()} if kind == "mesh" else row
        feature = {"type": "Feature", "id": identity, "geometry": shape, "properties": properties}
        found.append(feature if parent is None else feature | {"twin:parent": parent})
    return found


def _encode(geometry: NDArray[np.object_]) -> list[orjson.Fragment | None]:
    rounded = shapely.transform(geometry, _round, include_z=False)
    high = shapely.has_z(geometry)
    if high.any():
        rounded[high] = shapely.transform(geometry[high], _round, include_z=True)
    oriented = shapely.orient_polygons(rounded)
    return [None if text is None else orjson.Fragment(text) for text in shapely.to_geojson(oriented)]


def _round(places: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.round(places, DEGREE_DIGITS)
    if result.shape[1] > 2:
        result[:, 2] = np.round(places[:, 2], HEIGHT_DIGITS)
    return result


def _nested(value: Any) -> Any:
    """JSON text as the object it holds; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
