"""Geometries made usable: read from WKB, curves and measures removed, polygons repaired, the rest refused by name.

Nothing is dropped in silence: each row that is changed or refused is noted with its id and the reason.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from ingest_gis.rows import Rows
from twin.model import Report

Geometries = NDArray[np.object_]
Mask = NDArray[np.bool_]
POLYGON, MULTIPOLYGON, COLLECTION = 3, 6, 7
COURTYARDS = 10_000
"""Of one polygon of an outline: cutting a roof into triangles takes time with their square, seconds for so many and hours for a hundred thousand."""
CORNERS = 2_000_000
"""Of an outline: its walls are in one tile, which takes two gigabytes for so many."""
SURFACES = (15, 16, 17)
"""Polyhedral surface, TIN, triangle."""
SPATIAL = "a surface or solid in space (TIN, polyhedral surface), which is no plan feature; export it as CityGML, CityJSON, OBJ or glTF and ingest that"


class Cleaner:
    """Cleans the chunks of one source.

    Args:
        outlines: only polygons are of use (footprints); else any geometry, and rows without one are kept.
        report: where every repair and refusal is written.
    """

    def __init__(self, *, outlines: bool, report: Report) -> None:
        self.outlines = outlines
        self.report = report

    def clean(self, rows: Rows, ids: pa.Array) -> tuple[Geometries, Mask]:
        """(N,) geometries (None where a feature has none) and (N,) whether the row is kept."""
        geometry, keep = self._parse(rows, ids)
        geometry = self._drop_measures(geometry)
        self._missing(geometry, keep, ids)
        self._not_finite(geometry, keep, ids)
        if self.outlines:
            self._only_polygons(geometry, keep, ids)
        self._repair(geometry, keep, ids)
        if self.outlines:
            self._pierced(geometry, keep, ids)
        return geometry, keep

    def _note(self, action: Literal["repaired", "refused", "warned"], ids: pa.Array, row: int, reason: str) -> None:
        self.report.note(action, str(ids[row].as_py()), reason)

    def _parse(self, rows: Rows, ids: pa.Array) -> tuple[Geometries, Mask]:
        keep = np.ones(len(rows.wkb), dtype=bool)
        try:
            with np.errstate(invalid="ignore"):  # NaN coordinates are found and named below
                geometry = np.asarray(shapely.from_wkb(rows.wkb, on_invalid="ignore"), dtype=object)
        except NotImplementedError:  # curves: GEOS reads none, GDAL turns them into lines
            geometry = self._straighten(rows, ids, keep)
        given = np.array([bool(value) for value in rows.wkb], dtype=bool)  # of a FlatGeobuf, GDAL hands over no bytes where a feature has no geometry
        for row in np.flatnonzero(given & keep & shapely.is_missing(geometry)):
            fixed = _fixed(rows.wkb[row])
            if fixed is None:
                keep[row] = False
                self._note("refused", ids, row, SPATIAL if _code(rows.wkb[row]) in SURFACES else "its geometry is no readable WKB")
            else:
                geometry[row] = fixed
                self._note("repaired", ids, row, "a ring was not closed or had too few points")
        return geometry, keep

    def _straighten(self, rows: Rows, ids: pa.Array, keep: Mask) -> Geometries:
        curved = np.array([value is not None and _is_curved(value) for value in rows.wkb], dtype=bool)
        wkb = rows.wkb.copy()
        if rows.linear is not None:
            wkb[curved] = rows.linear()[curved]
            self.report.note("repaired", "", f"{int(curved.sum())} curved geometries were turned into lines (arcs in steps of 4°)")
        else:
            wkb[curved] = None
            keep[curved] = False
            for row in np.flatnonzero(curved):
                self._note("refused", ids, row, "a curved geometry; store it as straight segments")
        return np.asarray(shapely.from_wkb(wkb, on_invalid="ignore"), dtype=object)

    def _drop_measures(self, geometry: Geometries) -> Geometries:
        measured = shapely.has_m(geometry)
        if not measured.any():
            return geometry
        self.report.note("skipped", "", f"M values of {int(measured.sum())} geometries are not kept")
        three = measured & shapely.has_z(geometry)
        flat = measured & ~three
        geometry = geometry.copy()
        geometry[three] = shapely.from_wkb(shapely.to_wkb(geometry[three], output_dimension=3, flavor="iso"))
        geometry[flat] = shapely.force_2d(geometry[flat])
        return geometry

    def _missing(self, geometry: Geometries, keep: Mask, ids: pa.Array) -> None:
        empty = shapely.is_missing(geometry) | shapely.is_empty(geometry)
        for row in np.flatnonzero(empty & keep):
            geometry[row] = None
            if self.outlines:
                keep[row] = False
                self._note("refused", ids, row, "has no geometry")
            else:
                self._note("warned", ids, row, "has no geometry; its attributes are kept")

    def _not_finite(self, geometry: Geometries, keep: Mask, ids: pa.Array) -> None:
        coords, owner = shapely.get_coordinates(geometry, include_z=True, return_index=True)
        for row in np.unique(owner[~np.isfinite(coords[:, :2]).all(axis=1)]):
            if keep[row]:
                keep[row] = False
                self._note("refused", ids, row, "has coordinates that are NaN or infinite")
        solid = shapely.has_z(geometry)
        for row in np.unique(owner[~np.isfinite(coords[:, 2])]):
            if keep[row] and solid[row]:
                geometry[row] = shapely.force_2d(geometry[row])
                self._note("repaired", ids, row, "heights that are NaN or infinite were removed; the geometry is flat now")

    def _only_polygons(self, geometry: Geometries, keep: Mask, ids: pa.Array) -> None:
        kind = shapely.get_type_id(geometry)
        for row in np.flatnonzero(keep & (kind != POLYGON) & (kind != MULTIPOLYGON)):
            parts = polygons_of(geometry[row])
            if parts is None:
                keep[row] = False
                self._note("refused", ids, row, f"a {geometry[row].geom_type} is no outline")
            else:
                geometry[row] = parts
                self._note("repaired", ids, row, f"only the polygons of a {shapely.GeometryType(kind[row]).name} were kept")

    def _pierced(self, geometry: Geometries, keep: Mask, ids: pa.Array) -> None:
        corners = shapely.get_num_coordinates(geometry)
        for row in np.flatnonzero(keep & (corners > 4 * COURTYARDS)):
            if corners[row] > CORNERS:
                keep[row] = False
                self._note("refused", ids, row, f"an outline with {corners[row]:,} corners (at most {CORNERS:,}); simplify it, or deliver it in parts")
            elif (most := int(shapely.get_num_interior_rings(shapely.get_parts(geometry[row])).max())) > COURTYARDS:
                keep[row] = False
                self._note("refused", ids, row, f"an outline with {most:,} courtyards (at most {COURTYARDS:,}); deliver it in parts")

    def _repair(self, geometry: Geometries, keep: Mask, ids: pa.Array) -> None:
        """Self-crossing and zero-area polygons, by GEOS' structure method: rings are merged, collapsed parts vanish."""
        kind = shapely.get_type_id(geometry)
        areal = keep & ((kind == POLYGON) | (kind == MULTIPOLYGON) | (kind == COLLECTION))
        for row in np.flatnonzero(areal & ~shapely.is_valid(geometry)):
            reason = shapely.is_valid_reason(geometry[row])
            fixed = shapely.make_valid(geometry[row], method="structure", keep_collapsed=False)
            parts = polygons_of(fixed) if kind[row] != COLLECTION else fixed
            if parts is None or parts.is_empty:
                keep[row] = False
                self._note("refused", ids, row, f"a polygon without area ({reason})")
            else:
                geometry[row] = parts
                self._note("repaired", ids, row, f"invalid polygon: {reason}")
        for row in np.flatnonzero(keep & areal & (kind != COLLECTION) & (shapely.area(geometry) == 0)):
            keep[row] = False
            self._note("refused", ids, row, "a polygon without area")


def polygons_of(geometry: Any) -> Any:
    """The polygonal parts of a geometry as Polygon or MultiPolygon, or None if there are none with area."""
    parts = shapely.get_parts(shapely.get_parts(geometry)) if geometry is not None else np.zeros(0, dtype=object)
    parts = np.concatenate([shapely.get_parts(part) for part in parts]) if len(parts) else parts
    kept = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    if not kept:
        return None
    return kept[0] if len(kept) == 1 else shapely.multipolygons(kept)


def _is_curved(wkb: bytes) -> bool:
    """Whether a WKB value is, or begins as, a circular string … surface (ISO 19125 codes 8–17, with Z and M variants)."""
    if _code(wkb) in range(8, 15):
        return True
    try:
        shapely.from_wkb(wkb, on_invalid="ignore")
    except NotImplementedError:
        return True
    return False


def _code(wkb: bytes) -> int:
    """The kind of geometry (ISO 19125 code) of a WKB value, or of the first in it where it is a collection; Z and M left out."""
    order: Literal["little", "big"] = "little" if wkb[:1] == b"\x01" else "big"
    code = (int.from_bytes(wkb[1:5], order) & 0x0FFFFFFF) % 1000
    return (int.from_bytes(wkb[10:14], order) & 0x0FFFFFFF) % 1000 if code == COLLECTION else code


def _fixed(wkb: bytes) -> Any:
    try:
        geometry = shapely.from_wkb(wkb, on_invalid="fix")
    except (shapely.errors.ShapelyError, NotImplementedError, TypeError):
        return None
    return geometry if geometry is not None and not geometry.is_empty else None
