"""Features → GeoJSON (RFC 7946): WGS 84, right-hand rule, millimetres, heights above the ellipsoid; or another CRS, where it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from twin import crs, query
from twin.api.references import Offered
from twin.errors import BadOption, brief
from twin.model import Features, LayerKind

DEGREE_DIGITS = 8
"""1e-8° is about a millimetre."""
HEIGHT_DIGITS = 3
NESTED = ("psets", "quantities")
"""Columns of a BIM layer that hold JSON objects as text."""


PLANE_DIGITS = 4
"""Of coordinates in metres or feet."""


def to_geojson(features: Features, kind: LayerKind, system: Offered | None = None) -> list[dict[str, Any]]:
    """GeoJSON Feature objects for `json_response` (geometries are ready-made JSON fragments), in WGS 84 or in `system` and its axis order.

    A feature that belongs to another one names it in the member `twin:parent`.

    Raises:
        BadOption: a feature has no place in `system`.
    """
    placed = query.to_wgs84(features) if system is None or system.heights else replace(features, geometry=_flat(features, system))
    digits = DEGREE_DIGITS if system is None or crs.crs_of(system.horizontal).is_geographic else PLANE_DIGITS
    shapes = _encode(placed.geometry, digits, swapped=system is not None and system.swapped)
    rows = placed.attributes.to_pylist() if placed.attributes.num_columns else [{} for _ in range(len(placed))]
    parents = placed.parents.to_pylist() if placed.parents is not None else [None] * len(placed)
    found = []
    for identity, shape, row, parent in zip(placed.ids.to_pylist(), shapes, rows, parents, strict=True):
        properties = {name: _nested(value) if name in NESTED else value for name, value in row.items()} if kind == "mesh" else row
        feature = {"type": "Feature", "id": identity, "geometry": shape, "properties": properties}
        found.append(feature if parent is None else feature | {"twin:parent": parent})
    return found


def _flat(features: Features, system: Offered) -> NDArray[np.object_]:
    """Geometries in a CRS of two axes, easting or longitude first."""
    source = features.reference.horizontal
    found = shapely.transform(shapely.force_2d(features.geometry), lambda xy: np.column_stack(crs.convert(source, system.horizontal, xy[:, 0], xy[:, 1])))
    places, owner = shapely.get_coordinates(found, return_index=True)
    lost = owner[~np.isfinite(places).all(axis=1)]
    if len(lost) and system.horizontal != "EPSG:4326":
        raise BadOption(f"crs: feature {brief(features.ids[int(lost[0])].as_py())!r} has no place in {system.uri}.", "Ask for it in another one.")
    return np.asarray(found)


def _encode(geometry: NDArray[np.object_], digits: int, *, swapped: bool) -> list[orjson.Fragment | None]:
    def rounded(places: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.round(places, digits)
        if result.shape[1] > 2:
            result[:, 2] = np.round(places[:, 2], HEIGHT_DIGITS)
        return result

    def swap(places: NDArray[np.float64]) -> NDArray[np.float64]:
        return places[:, [1, 0, *range(2, places.shape[1])]]

    done = shapely.orient_polygons(_by_axes(geometry, rounded))  # the right-hand rule is one of east and north, whatever their order
    if swapped:
        done = _by_axes(done, swap)
    return [None if text is None else orjson.Fragment(text) for text in shapely.to_geojson(done)]


def _by_axes(geometry: NDArray[np.object_], change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.object_]:
    """Change the coordinates of flat geometries, and those of geometries with heights with them."""
    result: NDArray[np.object_] = shapely.transform(geometry, change, include_z=False)
    high = shapely.has_z(geometry)
    if high.any():
        result[high] = shapely.transform(geometry[high], change, include_z=True)
    return result


def _nested(value: Any) -> Any:
    """JSON text as the object it holds; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
