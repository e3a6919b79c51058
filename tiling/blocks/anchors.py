"""The first look at a layer of blocks: where each building is, how large, what it weighs, and what the columns hold.

What is known from the last build (`tiling.reuse`) is not read again: of an updated layer only the new part is, and the
rows that were hidden since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tiling.blocks.census import Census
from tiling.digests import digests
from tiling.partition import LIMIT, Places, project
from tiling.pool import Pool
from tiling.reuse import Index, Past, recipe
from tiling.rows import Rows, id_hash
from twin import crs
from twin.angles import sine_cosine
from twin.errors import TwinError
from twin.keys import among
from twin.lake import Lake
from twin.model import Reference

F64 = NDArray[np.float64]
SPAN = 16_384
"""Rows of a unit of reading."""
MAPPED = 65_536
"""Rows of a layer from which on what was learned of them is mapped from its file instead of kept."""
_VERSION = "1"


@dataclass(frozen=True)
class Look:
    """What is looked at: the rows of a version, their reference and the column of heights."""

    rows: Rows
    reference: Reference
    height: str


@dataclass(frozen=True)
class Anchors:
    """A layer as the plan needs it.

    Attributes:
        places: of each part, what is shown (rows numbered through the layer). largest: size in metres, heft: weight of all that is shown.
        census: of the rows shown that can be drawn.
        read: rows shown; refused: (id, reason) of those that cannot be drawn.
        sidecars, notes: what the next build wants to know.
    """

    places: list[Places]
    largest: float
    heft: float
    census: Census
    read: int
    refused: list[tuple[str, str]]
    sidecars: dict[str, str]
    notes: dict[str, Any]


def look(what: Look, lake: Lake, past: Past, pool: Pool, begin: Callable[[list[Places]], None]) -> Anchors:
    """Read, or take from the last build, what the plan needs; `begin` is told the places as soon as they are known, before the census is."""
    rows, made_by = what.rows, recipe({"reference": what.reference.horizontal, "height": what.height, "version": _VERSION})
    names = _names(rows)
    indexes = [past.index(f"{made_by}:{part.key}") for part, _, _ in rows.parts]
    before = past.notes.get("dead", {})
    new = sum(part.count for name, (part, _, _) in zip(names, rows.parts, strict=True) if name not in before)
    known = bool(before) and set(before) <= set(names) and new <= max(SPAN, len(rows) // 8)
    known = known and all(index is not None for name, index in zip(names, indexes, strict=True) if name in before)
    told = _told(past) if known else None
    wanted = [number for number, index in enumerate(indexes) if index is None or told is None]
    sidecars: dict[str, str] = {}
    censuses: list[Census] = []
    for number, fresh, census in _read(what, wanted, pool):
        censuses.append(census)
        key = sidecars[f"{made_by}:{rows.parts[number][0].key}"] = fresh.save(lake)
        indexes[number] = mapped = Index.load(lake, key) if len(rows) > MAPPED else fresh  # in memory it is 40 bytes a building for as long as these are tiled
        mapped.places.release()
    found = [index for index in indexes if index is not None]
    for part, _, _ in rows.parts:
        name = f"{made_by}:{part.key}"
        if name not in sidecars:
            sidecars[name] = past.sidecars[name]
    dead = [_dead(rows, number, index) for number, index in enumerate(found)]
    places = [_shown(index.places, gone, first) for index, gone, (_, _, first) in zip(found, dead, rows.parts, strict=True)]
    begin(places)
    census = Census.merged(censuses) if told is None else _updated(told, what, past, dict(zip(names, dead, strict=True)), found, places)
    refused = [(id_, reason) for index, gone in zip(found, dead, strict=True) for row, id_, reason in index.refused if row not in set(gone.tolist())]
    read = sum(part.count for part, _, _ in rows.parts) - sum(map(len, dead))
    notes = {"dead": {name: gone.tolist() for name, gone in zip(names, dead, strict=True)}, "census": census.to_json()}
    largest, heft = max(one.largest() for one in places), sum(one.heft() for one in places)
    if len(rows) > LIMIT:
        for one in places:
            one.release()
    return Anchors(places, largest, heft, census, read, refused, sidecars, notes)


def _names(rows: Rows) -> list[str]:
    """Names of the parts of a version; the same part may occur twice."""
    seen: Counter[str] = Counter()
    result = []
    for part, _, _ in rows.parts:
        seen[part.key] += 1
        result.append(f"{part.key}#{seen[part.key]}")
    return result


def _shown(places: Places, dead: NDArray[np.int64], first: int) -> Places:
    """What a part shows, its rows numbered through the layer."""
    hidden = np.zeros(0, np.int64)
    if len(dead):
        gone = np.zeros(int(max(places.row.max(initial=0), dead.max())) + 1, bool)
        gone[dead] = True
        hidden = np.flatnonzero(gone[places.row])
    return replace(places, base=first, gone=hidden)


def ids(lake: Lake, sidecars: dict[str, str], part: str) -> list[tuple[NDArray[np.uint64], NDArray[np.int64]]] | None:
    """Hashes of the ids of a part (`id_hash`) and their rows in it, from what a build left (all of them, in one or two arrays); None where that does not tell of the part."""
    key = next((key for name, key in sidecars.items() if name.endswith(f":{part}")), None)
    if key is None:
        return None
    try:
        index = Index.load(lake, key)
    except (TwinError, OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError):
        return None
    found = [(index.places.tie, index.places.row)]
    if index.refused:
        found.append((id_hash(pa.array([id_ for _, id_, _ in index.refused], pa.string())), np.array([row for row, _, _ in index.refused], np.int64)))
    return found


# --- which rows are hidden ---------------------------------------------------------------------------------------


def _dead(rows: Rows, number: int, index: Index) -> NDArray[np.int64]:
    """Rows of a part that the version does not show, ascending. By the hashes of their ids, where each is there exactly once."""
    part, start, _ = rows.parts[number]
    gone = rows.dead[number]
    if not gone:
        return np.zeros(0, np.int64)
    refused = {id_: row for row, id_, _ in index.refused}
    wanted = id_hash(pa.array([id_ for id_ in gone if id_ not in refused], pa.string()))
    hit = among(index.places.tie, wanted)
    if gone == part.hidden and len(hit) == len(wanted) == len(np.unique(index.places.tie[hit])):
        # all are in the part (that is what `hidden` means), and no two rows have the hash of one: so these are they
        return np.sort(np.concatenate([index.places.row[hit].astype(np.int64), np.array([refused[i] for i in gone if i in refused], np.int64)]))
    return np.flatnonzero(~rows.alive(start, start + 1, rows.column("id", number)))


def _told(past: Past) -> Census | None:
    """The census of the last build; None where there is none, or of another release's kind."""
    try:
        return Census.from_json(past.notes["census"])
    except (KeyError, TypeError):
        return None


def _updated(told: Census, what: Look, past: Past, dead: dict[str, NDArray[np.int64]], indexes: list[Index], places: list[Places]) -> Census:
    """The census after what came and went since the last build."""
    gone, come = [], []
    for (name, now), (_, _, first), index in zip(dead.items(), what.rows.parts, indexes, strict=True):
        drawn = np.sort(index.places.row).astype(np.int64) if name not in past.notes["dead"] else None
        before = np.array(past.notes["dead"].get(name, []), np.int64)
        less = np.setdiff1d(now, before)
        more = np.setdiff1d(drawn, now) if drawn is not None else np.setdiff1d(before, now)
        gone.append(_drawable(less, index) + first)
        come.append(_drawable(more, index) + first)

    @cache
    def here() -> list[NDArray[np.int64]]:
        return [np.sort(one.shown().row) for one in places]

    def again(column: str) -> Census:
        tables = [pa.table({column: what.rows.column(column, number).take(pa.array(rows - first))})
                  for number, (rows, (_, _, first)) in enumerate(zip(here(), what.rows.parts, strict=True)) if len(rows)]  # fmt: skip
        return Census.merged([Census.of(table) for table in tables])

    what.rows.expect(np.concatenate([*gone, *come]))
    went, came = (_described(what.rows.take(np.concatenate(some))) for some in (gone, come))
    return told.updated(went, came, again)


def _drawable(rows: NDArray[np.int64], index: Index) -> NDArray[np.int64]:
    refused = np.array([row for row, _, _ in index.refused], np.int64)
    return np.setdiff1d(rows, refused)


def _described(table: pa.Table) -> pa.Table:
    """The columns that tiles may hold."""
    return table.drop_columns([name for name in ("geometry", "bbox") if name in table.column_names])


# --- reading -----------------------------------------------------------------------------------------------------


def _read(what: Look, wanted: list[int], pool: Pool) -> Iterator[tuple[int, Index, Census]]:
    """(number, index, census of the rows shown) of some parts, read in spans over the pool."""
    spans = [(number, start, stop) for number in wanted for start, stop in _spans(what.rows, number)]
    pieces: list[tuple[Places, list[tuple[int, str, str]], Census]] = []
    for at, piece in enumerate(pool.map(measure, ((what, *span) for span in spans))):
        number = spans[at][0]
        pieces.append(piece)
        if at + 1 == len(spans) or spans[at + 1][0] != number:
            places = Places.merged([places for places, _, _ in pieces])
            yield number, Index(places, [row for _, refused, _ in pieces for row in refused]), Census.merged([census for _, _, census in pieces])
            pieces = []


def _spans(rows: Rows, number: int) -> list[tuple[int, int]]:
    """The row groups of a part in runs of about `SPAN` rows."""
    start = rows.parts[number][1]
    end = rows.parts[number + 1][1] if number + 1 < len(rows.parts) else len(rows.groups)
    edges, room = [start], SPAN
    for group in range(start, end):
        if group > edges[-1] and rows.groups[group][3] > room:
            edges.append(group)
            room = SPAN
        room -= rows.groups[group][3]
    return list(zip(edges, [*edges[1:], end], strict=True)) if end > start else []


def measure(task: tuple[Look, int, int, int]) -> tuple[Places, list[tuple[int, str, str]], Census]:
    """(places, refused, census of the rows shown) of some row groups of a part; from boxes and heights alone."""
    what, number, start, stop = task
    table = what.rows.span(start, stop)
    rows = what.rows.groups[start][2] - what.rows.parts[number][2] + np.arange(len(table))
    box = table.column("bbox").combine_chunks()
    west, south, east, north = (box.field(n).to_numpy(zero_copy_only=False) for n in ("xmin", "ymin", "xmax", "ymax"))
    height = numbers(table, what.height)
    lon, lat = crs.to_lonlat(what.reference.horizontal, (west + east) / 2, (south + north) / 2)
    placed = np.isfinite(lon) & np.isfinite(lat)
    with np.errstate(invalid="ignore"):
        good = placed & np.isfinite(height) & (height > 0)
    ids = table.column("id")
    refused = [(int(rows[i]), ids[int(i)].as_py(), "no outline" if not placed[i] else f"its height is {height[i]:g} m") for i in np.flatnonzero(~good)]
    along = _metres(what.reference.horizontal, lat)
    size = np.sqrt(((east - west) * along[0]) ** 2 + ((north - south) * along[1]) ** 2 + height**2)
    # a corner takes 16 bytes in WKB and 6 vertices in the solid; a ring repeats its first corner
    corners = pc.binary_length(table.column("geometry")).combine_chunks().to_numpy(zero_copy_only=False) / 16
    marks = digests(table.drop_columns(["bbox"]))
    places = Places(
        project(lon[good], lat[good]), size[good].astype(np.float32), np.maximum(6 * (corners[good] - 1), 1).astype(np.int32),
        id_hash(ids.filter(pa.array(good)).combine_chunks()), rows[good].astype(np.int32), marks[good],
    ).sorted()  # fmt: skip
    return places, refused, Census.of(_described(table.filter(pa.array(good & what.rows.alive(start, stop, ids)))))


def numbers(table: pa.Table, column: str) -> F64:
    """A numeric column as float64, nulls as NaN."""
    values = table.column(column).combine_chunks().cast(pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def _metres(horizontal: str, lat: F64) -> tuple[F64, F64]:
    """Metres per unit of x and y; near enough to rank sizes by."""
    system = crs.crs_of(horizontal)
    if system.is_geographic:
        return 111_320.0 * sine_cosine(lat)[1], np.full(lat.shape, 110_574.0)
    unit = system.axis_info[0].unit_conversion_factor if system.axis_info else 1.0
    return np.full(lat.shape, unit), np.full(lat.shape, unit)
