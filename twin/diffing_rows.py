"""What differs between two versions of a layer of features, by their rows: for layers that have no tiles, or not yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from twin import crs, parts
from twin.lake import Lake
from twin.model import LayerVersion, Part, Reference

GEOMETRY = "geometry"
TOLERANCE = 0.002
"""Metres that a vertex may be off, as in tiles."""


def features(lake: Lake, a: LayerVersion, b: LayerVersion, tolerance: float) -> dict[str, Any]:
    """What came, went and changed, in the form of `tiling.check.diff_tilesets`' features: attributes by name, geometry by the farthest vertex (m)."""
    found = rows(lake, a, b, set(), geometry=True)
    moved = found.pop("moved")
    changed = []
    for change in found["changed"]:
        names = [name for name in change["attributes"] if name != GEOMETRY]
        far = _moved(a.reference, b.reference, *moved[change["id"]]) if GEOMETRY in change["attributes"] else None
        if isinstance(far, float):
            far = float(f"{far:.6g}") if far > tolerance else None
        if names or far is not None:
            changed.append({**change, "attributes": names, "moved_m": far})
    return {**found, "changed": changed, "same": b.count - len(found["added"]) - len(changed)}


def rows(lake: Lake, a: LayerVersion, b: LayerVersion, told: set[str], *, geometry: bool = False) -> dict[str, Any]:
    """Rows that came, went or have other attributes, by id, but for those of `told`; with `geometry` also `moved`: WKB before and after, by id."""
    mine, theirs = _table(lake, a, b, geometry), _table(lake, b, a, geometry)
    row_of = {id_: row for row, id_ in enumerate(mine.column("id").to_pylist())}
    ids = theirs.column("id").to_pylist()
    both = [(row_of[id_], row) for row, id_ in enumerate(ids) if id_ in row_of]
    before, after = (table.take(pa.array([pair[side] for pair in both], pa.int64())) for side, table in enumerate((mine, theirs)))
    changed: dict[str, list[str]] = {}
    moved: dict[str, tuple[bytes | None, bytes | None]] = {}
    for name in sorted({*before.column_names, *after.column_names} - {"id"}):
        for row in np.flatnonzero(_differ(before, after, name)).tolist():
            changed.setdefault(ids[both[row][1]], []).append(name)
            if geometry and name == GEOMETRY:
                moved[ids[both[row][1]]] = before.column(name)[row].as_py(), after.column(name)[row].as_py()
    return {"added": sorted(id_ for id_ in ids if id_ not in row_of and id_ not in told), "removed": sorted(row_of.keys() - set(ids) - told),
            "changed": [{"id": id_, "attributes": names, "moved_m": None, "recolored": False} for id_, names in sorted(changed.items()) if id_ not in told],
            **({"moved": moved} if geometry else {})}  # fmt: skip


def _moved(before: Reference, after: Reference, old: bytes | None, new: bytes | None) -> float | str:
    """Metres between the vertices that are farthest from what they were, or "shape" where there are more, fewer or none."""
    one, other = shapely.from_wkb([old, new])
    if one is None or other is None or one.geom_type != other.geom_type or one.has_z != other.has_z or shapely.get_num_coordinates(one) != shapely.get_num_coordinates(other):
        return "shape"
    return float(np.linalg.norm(_places(before, one) - _places(after, other), axis=1).max(initial=0.0))


def _places(reference: Reference, shape: shapely.Geometry) -> NDArray[np.float64]:
    """(N, 3) metres from the middle of the earth; heights as they are stated, since plan features have none and a difference needs no datum."""
    xyz = np.nan_to_num(shapely.get_coordinates(shape, include_z=True))
    lon, lat = crs.to_lonlat(reference.horizontal, xyz[:, 0], xyz[:, 1])
    return crs.geodetic_to_ecef(np.column_stack([lon, lat, xyz[:, 2] * reference.vertical_unit]))


def _table(lake: Lake, version: LayerVersion, other: LayerVersion, geometry: bool) -> pa.Table:
    """Id, parent and attributes of every row of a version, but for those that the other version shows from the same part."""
    chunks = []
    for part in version.parts:
        wanted = _lacking(part, version, other)
        if wanted is not None and not len(wanted):
            continue
        for chunk in parts.read_features(lake, replace(version, parts=(part,))):
            table = chunk.attributes.append_column("id", chunk.ids).append_column("parent", chunk.parents)
            if geometry:
                table = table.append_column(GEOMETRY, pa.array(shapely.to_wkb(chunk.geometry), pa.binary()))
            chunks.append(table if wanted is None else table.filter(pc.is_in(table.column("id"), wanted)))
    return pa.concat_tables(chunks, promote_options="default") if chunks else pa.table({"id": pa.array([], pa.string())})


def _lacking(part: Part, version: LayerVersion, other: LayerVersion) -> pa.Array | None:
    """Ids of the rows of a part that the other version does not show from it, where it has the same part once as this version does; else None."""
    same = [one for one in other.parts if one.key == part.key]
    if len(same) != 1 or sum(one.key == part.key for one in version.parts) != 1:
        return None
    return pa.array(sorted({*other.tombstones, *same[0].hidden} - {*version.tombstones, *part.hidden}), pa.string())


def _differ(a: pa.Table, b: pa.Table, name: str) -> NDArray[np.bool_]:
    """(rows,) whether the values of a column differ; a column that one of them lacks is null there."""
    columns = [table.column(name).combine_chunks() if name in table.column_names else pa.nulls(len(table)) for table in (a, b)]
    if columns[0].type == columns[1].type and not pa.types.is_nested(columns[0].type):
        codes = pa.concat_arrays(columns).dictionary_encode(null_encoding="encode").indices.to_numpy()  # equal values, nulls and NaN have equal codes
        return np.asarray(codes[: len(a)] != codes[len(a) :])
    pairs = zip(*(column.to_pylist() for column in columns), strict=True)
    return np.array([one != other and (one == one or other == other) for one, other in pairs], bool)  # noqa: PLR0124  NaN is not itself
