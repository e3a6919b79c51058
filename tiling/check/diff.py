"""What differs between two tilesets: their files, and the features that they draw.

Files are compared by their bytes. Contents that are the same in both, at the same place, hold the same features; only the
others are compared feature by feature: attributes by value, geometry by distance. So features that merely moved to another
tile, or were encoded in another way, do not count as changed.
"""

from __future__ import annotations

import math
import operator
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import BadTileset

from .archive import Paths, first_of, open_archive
from .issues import Report, Where
from .positions import nearest, worst_of
from .scene import F64
from .sides import Drawn, Side, walk
from .source import FolderSource, Source

I64 = NDArray[np.int64]
ALONE = (".glb", ".b3dm")
"""Contents that tell all by themselves; a .gltf draws from files beside it."""
ROUNDED = 2.0
"""Of 255, by which a colour may be off that was rounded twice."""
NO_JSON = ("NaN", math.inf, -math.inf)
"""Numbers that JSON does not have: batch tables hold null in their place."""
TOLERANCE = 0.002
"""Metres: a tile holds every vertex within 1 mm of its source, so that of two tilesets of one source within 2 mm."""


def diff_tilesets(one: Paths, other: Paths, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Compare two tilesets (a folder with a tileset.json, that file, a .3tz or several of one; terrain archives by their files only).

    Args:
        tolerance: metres that a vertex may be off before its feature counts as changed.

    Returns:
        equal: whether nothing differs; tolerance_m; tiles: {added, removed, changed: paths, same: number};
        entry_changed: whether tileset.json (bounds, errors, schema) differs;
        features: {added, removed: ids, changed: [{id, attributes: names of the columns that differ, moved_m: the distance,
        "shape" where faces came or went, null where the geometry is the same, recolored: whether faces without a texture have another colour}], same: number}, None where one of the two draws something and no feature of it has an id that is read;
        not_compared: contents without feature ids, whose files alone were compared; problems: findings while reading (contents that are the same in both are not decoded).

    Raises:
        BadTileset: one of them cannot be read.
    """
    with ExitStack() as stack:
        sides = a, b = _open(one, stack), _open(other, stack)
        for side in sides:
            walk(side, None)
        equal = {path for path in a.places.keys() & b.places.keys() if a.hashes.get(path) == b.hashes.get(path) is not None}
        same = {path for path in equal if path.endswith(ALONE) and sorted(a.places[path]) == sorted(b.places[path])}
        known: dict[str, list[str] | None] = {}
        for side in sides:
            walk(side, same, known)
        # the same bytes at another place, or drawn by one side only, are not the same tile
        elsewhere = {path for path in equal & (a.named | b.named) if a.drawn_at(path) != b.drawn_at(path)}
        return _result(a, b, elsewhere, tolerance)


def _open(paths: Paths, stack: ExitStack) -> Side:
    report, path = Report(), first_of(paths)
    source: Source | None = None
    entry = "tileset.json"
    if path.is_dir():
        source = FolderSource(path)
        entry = "tileset.json" if (path / entry).is_file() else "layer.json"
    elif path.suffix.lower() == ".3tz" and path.is_file():
        archive = open_archive(paths, Where(report, path.name), "")
        if archive is not None:
            stack.callback(archive.close)
            source, entry = archive, "tileset.json" if "tileset.json" in archive.names() else "layer.json"
    elif path.is_file():
        source, entry = FolderSource(path.parent), path.name
    if source is None or source.read(entry) is None:
        reason = f" {report.errors[0]}" if report.errors else ""
        raise BadTileset(f"{path.name} is no tileset: there is no {entry} in it.{reason}", "Give a folder, its tileset.json, or a .3tz.")
    return Side(path.name, source, entry)


# --- comparing --------------------------------------------------------------------------------------------------------


def _result(a: Side, b: Side, elsewhere: set[str], tolerance: float) -> dict[str, Any]:
    files = [{path: value for path, value in side.hashes.items() if path != side.entry} for side in (a, b)]
    changed = sorted(path for path in files[0].keys() & files[1].keys() if files[0][path] != files[1][path] or path in elsewhere)
    tiles = {"added": sorted(files[1].keys() - files[0].keys()), "removed": sorted(files[0].keys() - files[1].keys()),
             "changed": changed, "same": len(files[0].keys() & files[1].keys()) - len(changed)}  # fmt: skip
    nameless = [side.report.contents if not side.ids else side.unnamed for side in (a, b)]  # b3dm and the like are seen by nobody
    features = _features(a, b, tolerance) if (a.ids or b.ids) and all(side.ids or not side.report.contents for side in (a, b)) else None
    entry = a.hashes.get(a.entry) != b.hashes.get(b.entry)
    differs = any(part[k] for part in (tiles, features or {}) for k in ("added", "removed", "changed") if k in part)
    problems = {name: [str(f) for f in side.report.errors[:20]] for name, side in (("a", a), ("b", b)) if side.report.errors}
    return {"equal": not (differs or entry), "tolerance_m": tolerance, "entry_changed": entry, "tiles": tiles, "features": features,
            "not_compared": sum(nameless), "problems": problems}  # fmt: skip


def _recolored(mine: set[tuple[float, ...]], theirs: set[tuple[float, ...]]) -> bool:
    """Whether a colour of one side is none of the other's; it may be rounded once more there."""
    if not mine or not theirs:
        return False  # a texture took its place, or it was not to be read
    apart = np.abs(np.array(sorted(mine))[:, None] - np.array(sorted(theirs))[None]).max(axis=2)
    return bool(apart.min(axis=0).max() > ROUNDED or apart.min(axis=1).max() > ROUNDED)


def _features(a: Side, b: Side, tolerance: float) -> dict[str, Any]:
    both = a.ids & b.ids
    suspects = sorted(both & (a.rows.keys() | b.rows.keys()))
    distance = _distances(a, b, suspects, tolerance)
    changed = []
    alike = _alike_in_old if a.old != b.old else operator.eq
    for name, far in zip(suspects, distance.tolist(), strict=True):
        # a feature of several tiles has its row in each: one that only one side had to read is the same in the other
        mine, theirs = a.rows.get(name), b.rows.get(name)
        columns = [] if mine is None or theirs is None else sorted(k for k in mine.keys() | theirs.keys() if not alike(mine.get(k), theirs.get(k)))
        recolored = _recolored(a.colors.get(name, set()), b.colors.get(name, set()))
        if columns or recolored or far > tolerance:
            moved = None if far <= tolerance else round(far, 6) if np.isfinite(far) else "shape"
            changed.append({"id": name, "attributes": columns, "moved_m": moved, "recolored": recolored})
    return {"added": sorted(b.ids - a.ids), "removed": sorted(a.ids - b.ids), "changed": changed, "same": len(both) - len(changed)}


def _alike_in_old(mine: Any, theirs: Any) -> bool:
    """Whether two values are the same where one of them stood in a batch table: as JSON, without NaN, whole numbers beyond 2^53 as texts."""
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(_alike_in_old, mine, theirs))
    if isinstance(mine, int) != isinstance(theirs, int) and isinstance(mine, int | str) and isinstance(theirs, int | str):
        return str(mine) == str(theirs)
    return bool(mine == theirs or all(value in (None, *NO_JSON) for value in (mine, theirs)))


def _distances(a: Side, b: Side, names: list[str], tolerance: float) -> F64:
    """(N,) by how many metres the drawn parts of features differ; infinite where faces or points came or went.

    Faces are told by their area alone: other faces of the same area over the same corners count as the same shape.
    """
    number = {name: i for i, name in enumerate(names)}
    mine, theirs = _gather(a.apart, number), _gather(b.apart, number)
    points = np.concatenate([mine.points[:1], theirs.points[:1], np.zeros((1, 3))])[0]  # an origin: fewer digits to lose
    here, there = mine.points - points, theirs.points - points
    far = np.maximum(
        worst_of(nearest(here, mine.owner, there, theirs.owner), mine.owner, len(names)),
        worst_of(nearest(there, theirs.owner, here, mine.owner), theirs.owner, len(names)),
    )
    # the same corners may be spanned by other faces; an area changes by at most its outline times the tolerance
    reach = np.maximum(mine.reach, theirs.reach)
    lost = np.abs(mine.area - theirs.area) > reach * tolerance + 1e-6
    lost |= (reach == 0) & (mine.vertices != theirs.vertices)
    return np.where(lost & (far <= tolerance), np.inf, far)


def _gather(drawn: list[Drawn], number: dict[str, int]) -> Drawn:
    """The numbered features of all contents together."""
    count = len(number)
    points, owners = [np.zeros((0, 3))], [np.zeros(0, np.int64)]
    vertices, area, reach = np.zeros(count, np.int64), np.zeros(count), np.zeros(count)
    for one in drawn:
        place = np.array([number.get(name, -1) for name in one.ids], np.int64)
        wanted, owner = place >= 0, place[one.owner]
        points.append(one.points[owner >= 0])
        owners.append(owner[owner >= 0])
        for total, part in ((vertices, one.vertices), (area, one.area), (reach, one.reach)):
            np.add.at(total, place[wanted], part[wanted])
    return Drawn(list(number), np.concatenate(points), np.concatenate(owners), vertices, area, reach)
