"""Buildings of some tiles as finished glb files: what a worker does with a unit of work.

Outlines become solids for all tiles of a unit at once. Nothing of a tile may depend on its unit: a tile that is built alone
has the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from tiling import partition
from tiling.blocks import kernels, masses, solids
from tiling.blocks.anchors import numbers
from tiling.blocks.glb import primitives
from tiling.boxes import enu_frames
from tiling.encoding import metadata
from tiling.encoding.arrow_bytes import whole
from tiling.encoding.drawables import Surface
from tiling.encoding.gltf import Compression, glb
from tiling.encoding.table_slices import Slices
from tiling.rows import HELD, Rows
from tiling.tileset import Finished
from twin import crs
from twin.archive import pack
from twin.ground import Ground
from twin.model import Reference
from twin.processes import give_back

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
_WIDEST = 1e6
"""Metres: no building reaches farther, and beyond twice that neither its plane nor 32-bit steps of a millimetre hold."""
_GROUND_CELL = 0.02
"""Degrees: the terrain is read in windows of about this size, so that a city-wide tile never loads a city-wide raster."""
SURFACE = Surface((0.86, 0.85, 0.83, 1.0), name="block")

Wanted = tuple[partition.Cell, I64]
"""A tile to be built: its cell, its rows."""


@dataclass(frozen=True)
class Source:
    """What a worker needs of the layer and the options."""

    rows: Rows
    reference: Reference
    height: str
    base: str | None
    ground: Ground | None
    level: float | None
    compression: Compression = "none"


@dataclass(frozen=True)
class Made:
    """Solids of the rows of a unit.

    Attributes:
        names: their ids. slices: their attributes. foot, top: ellipsoidal heights in metres. spoilt: whether a corner cannot be used.
        before, lost: how many parts a row had, and how many of them are nothing.
        owner: the row of each solid of `shape`, ascending. masses: (N, columns) what each row adds to the masses.
    """

    names: pa.Array
    slices: Slices
    foot: F64
    top: F64
    spoilt: NDArray[np.bool_]
    before: NDArray[Any]
    lost: NDArray[Any]
    owner: I64
    shape: solids.Solids
    masses: F64


@dataclass(frozen=True)
class Outlines:
    """The rows of a unit, and where they stand: what is read of files, which one thread has to do.

    Attributes:
        table: N rows, tile after tile. rings: of their outlines; lon, lat: (C,) degrees of the corners of these; foot: (N,) ellipsoidal height in metres, NaN where none is known.
    """

    table: pa.Table
    rings: solids.Rings
    lon: F64
    lat: F64
    foot: F64


def outlines(source: Source, wanted: list[Wanted]) -> Outlines:
    """Read the rows of some tiles."""
    table = source.rows.take(np.concatenate([rows for _, rows in wanted]))
    rings, xy = solids.outlines(whole(table.column("geometry")))
    lon, lat = crs.to_lonlat(source.reference.horizontal, xy[:, 0], xy[:, 1])
    return Outlines(table, rings, lon, lat, _feet(source, table, rings.owner[rings.polygon[rings.ring]], lon, lat))


Unit = tuple[Source, metadata.Schema, list[Wanted], Outlines | None]
"""Tiles to be built together: what they are made from, how their columns are stored, which they are, and their rows where those have been read."""


def build_unit(task: Unit) -> list[Finished]:
    """The tiles of one unit of work, finished and deflated. Threads may do this for units whose rows have been read."""
    source, schema, wanted, found = task
    found = found or outlines(source, wanted)
    table, rings, lon, lat, foot = found.table, found.rings, found.lon, found.lat, found.foot
    count = [len(rows) for _, rows in wanted]
    first = np.concatenate([[0], np.cumsum(count)])
    owner = rings.owner[rings.polygon[rings.ring]]
    height = numbers(table, source.height)
    frames = np.repeat(enu_frames(*np.array([cell.centre() for cell, _ in wanted]).T), count, axis=0)
    base, up, plan = np.empty((len(lon), 3)), np.empty((len(lon), 3)), np.empty((len(lon), 2))
    kernels.place_corners(lon, lat, foot, frames, owner, crs.WGS84_A, crs.WGS84_E2, base, up, plan)
    # a row with one unusable corner is refused whole: half a building would be a lie
    spoilt = np.zeros(len(table), bool)
    spoilt[owner[~(np.isfinite(base).all(axis=1) & np.isfinite(height[owner]) & (np.abs(plan) < _WIDEST).all(axis=1))]] = True
    whole_rows = ~spoilt[owner]
    before = np.bincount(rings.owner, minlength=len(table))
    # rings and polygons keep their numbers; those without corners are dropped by `clean`
    rings, order = solids.clean(solids.Rings(rings.ring[whole_rows], rings.polygon, rings.hole, rings.owner), plan[whole_rows])
    order = np.flatnonzero(whole_rows)[order]
    shape = solids.extrude(rings, plan[order], base[order], height[owner[order]], up[order])
    lost = before - np.bincount(rings.owner, minlength=len(table))
    made = Made(whole(table.column("id")), Slices(schema, table), foot, foot + height, spoilt, before, lost, rings.owner, shape,
                masses.buildings(shape, rings.owner, lon[order], lat[order], foot, height))  # fmt: skip
    tiles = [build_tile(source, made, cell, int(a), int(b)) for (cell, _), (a, b) in zip(wanted, pairwise(first), strict=True)]
    if source.rows.held == HELD and len(table) > HELD:  # in a full build; an update waits for its few tiles
        give_back()
    return tiles


def build_tile(source: Source, made: Made, cell: partition.Cell, a: int, b: int) -> Finished:
    """The solids of rows a to b of a unit as a packed glb; each row ends up kept, or in `notes` with the reason."""
    built = Finished()
    low, high = (int(p) for p in np.searchsorted(made.owner, (a, b)))
    rows, owner = slice(a, b), made.owner[low:high] - a
    present = np.zeros(b - a, bool)
    present[owner] = True
    _tell(built, made, a, b, present)
    if not present.any():
        return built
    flawed = made.shape.flawed
    for p in flawed[(flawed >= low) & (flawed < high)]:
        built.notes.append(("warned", made.names[int(made.owner[p])].as_py(), "its outline crosses itself: roof and floor are not exact"))
    number = np.cumsum(present) - 1
    built.low, built.high = made.shape.extremes(low, high)
    ready = primitives(made.shape, low, high, number[owner], built.low, built.high)
    table = made.slices.encode(a, b) if present.all() else made.slices.schema.encode(made.slices.table.slice(a, b - a).filter(pa.array(present)))
    built.packed = pack(glb((), [SURFACE], table, compression=source.compression, ready=ready))
    built.heights = (float(made.foot[rows][present].min()), float(made.top[rows][present].max()))
    built.mass = masses.summary(made.masses[a:b][present], (cell.level, cell.x, cell.y), single=True).tobytes()
    built.kept, built.vertices, built.triangles = int(present.sum()), sum(len(one.steps) for one in ready), sum(len(one.triangles) for one in ready)
    return built


def _tell(built: Finished, made: Made, a: int, b: int, present: NDArray[np.bool_]) -> None:
    """Name the buildings that could not be built, and those of which only some parts could."""
    foot, spoilt, before, lost = made.foot[a:b], made.spoilt[a:b], made.before[a:b], made.lost[a:b]
    for i in np.flatnonzero(~present):
        if spoilt[i] and not np.isfinite(foot[i]):
            reason = "no terrain under it; extend the terrain or give --option ground=METRES"
        elif spoilt[i]:
            reason = "coordinates that are not finite, or more than 1,000 km apart"
        else:
            reason = "its outline has no area"
        built.notes.append(("refused", made.names[a + int(i)].as_py(), reason))
    for i in np.flatnonzero((lost > 0) & present):
        built.notes.append(("repaired", made.names[a + int(i)].as_py(), f"{int(lost[i])} of {int(before[i])} parts have no area and were left out"))


# --- where they stand ---------------------------------------------------------------------------------------------


def _feet(source: Source, table: pa.Table, owner: I64, lon: F64, lat: F64) -> F64:
    """(N,) ellipsoidal height on which each row stands, NaN where none is known.

    Its own base, else the lowest ground under its corners and its centroid (so that no gap shows on a slope), else the option's.
    """
    foot = np.full(len(table), np.nan)
    first = np.searchsorted(owner, np.arange(len(table)))
    known = first < len(owner)
    if source.base is not None:
        own = numbers(table, source.base)
        at = first[known]
        foot[known] = own[known] * source.reference.vertical_unit + crs.datum_shift(source.reference, lon[at], lat[at])
    missing = np.isnan(foot)
    if source.ground is not None and missing.any():
        geometry = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False)[missing & known])
        middle = shapely.get_coordinates(shapely.centroid(geometry))
        mid_lon, mid_lat = crs.to_lonlat(source.reference.horizontal, middle[:, 0], middle[:, 1])
        wanted = missing[owner]
        who = np.concatenate([owner[wanted], np.flatnonzero(missing & known)])
        z = _ground(source.ground, np.concatenate([lon[wanted], mid_lon]), np.concatenate([lat[wanted], mid_lat]))
        lowest = np.full(len(table), np.inf)
        np.fmin.at(lowest, who, z)
        foot[missing] = np.where(np.isfinite(lowest), lowest, np.nan)[missing]
    if source.level is not None:
        foot[np.isnan(foot)] = source.level
    return foot


def _ground(ground: Ground, lon: F64, lat: F64) -> F64:
    """Ground heights, window by window."""
    z = np.full(len(lon), np.nan)
    finite = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    cell = np.floor(np.column_stack([lon[finite], lat[finite]]) / _GROUND_CELL).astype(np.int64)
    _, which = np.unique(cell, axis=0, return_inverse=True)
    order = np.argsort(which, kind="stable")
    for here in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
        rows = finite[here]
        z[rows] = ground.ellipsoidal(lon[rows], lat[rows])
    return z
