"""What differs between two tilesets: their files, and the features that they draw.

Files are compared by their bytes. Contents that are the same in both, at the same place, hold the same features; only the
others are compared feature by feature: attributes by value, geometry by distance. So features that merely moved to another
tile, or were encoded in another way, do not count as changed.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import BadTileset

from .archive import ArchiveSource, Paths, first_of, open_archive
from .glb import Model
from .issues import Report, Where
from .metadata_model import Property
from .positions import Feature, features_of, nearest, table_of, worst_of
from .scene import F64
from .source import FolderSource, Source, fetch
from .tables import PropertyTable
from .walk import Standing, Walker

I64 = NDArray[np.int64]
NOWHERE = 1e12
"""Metres: farther than anything that is drawn."""
TRIANGLES = 4
"""The first mode of glTF that draws faces."""
ROUNDED = 2.0
"""Of 255, by which a colour may be off that was rounded twice."""
TOLERANCE = 0.002
"""Metres: a tile holds every vertex within 1 mm of its source, so that of two tilesets of one source within 2 mm."""


@dataclass(frozen=True)
class _Drawn:
    """What a content draws of each of its features: enough to compare, a third of the decoded size.

    Attributes:
        ids: (F,). points: (V, 3) distinct ECEF vertices; owner: (V,) position in `ids`.
        vertices: (F,) number of vertices; area: (F,) m²; reach: (F,) length of all edges, m.
    """

    ids: list[str]
    points: F64
    owner: I64
    vertices: I64
    area: F64
    reach: F64

    @staticmethod
    def of(found: Feature) -> _Drawn:
        """Of the decoded triangles (or points) of a content."""
        count = len(found.ids)
        owner = found.owner[found.triangles[:, 0]]
        ecef = np.where(np.abs(found.ecef) < NOWHERE, found.ecef, NOWHERE)  # a damaged tile may hold NaN, or what overflows
        a, b, c = (ecef[found.triangles[:, k]] for k in range(3))
        area = np.bincount(owner, np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2, count)
        edges = np.sum([np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (b, c), (c, a))], axis=0)
        distinct = np.unique(np.column_stack([found.owner, ecef]), axis=0)
        return _Drawn(found.ids, distinct[:, 1:], distinct[:, 0].astype(np.int64), np.bincount(found.owner, minlength=count),
                      area.astype(np.float64), np.bincount(owner, edges, count).astype(np.float64))  # fmt: skip


@dataclass
class _Side:
    """One of the two tilesets.

    Attributes:
        hashes: SHA-256 of every file that the tileset uses, by path. transforms: of every decoded content, as bytes.
        same: contents that were taken to be the other side's too. ids: every feature.
        apart: features of the other contents; rows: their attributes; colors: of their faces without a texture, RGBA in 0 to 255.
        unnamed: contents with features that have no ids, or none at all.
    """

    name: str
    source: Source
    entry: str
    report: Report = field(default_factory=Report)
    hashes: dict[str, str] = field(default_factory=dict)
    transforms: dict[str, bytes] = field(default_factory=dict)
    same: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    apart: list[_Drawn] = field(default_factory=list)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    colors: dict[str, set[tuple[float, ...]]] = field(default_factory=dict)
    unnamed: int = 0

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, remembered by their hash."""
        data = self.source.read(path)
        if data is not None:
            self.hashes[path] = hashlib.sha256(data).hexdigest()
        return data

    def hash(self, path: str) -> str | None:
        """SHA-256 of a file, whether it is used or not; None where there is none."""
        if path in self.hashes:
            return self.hashes[path]
        data = self.source.read(path)
        return None if data is None else hashlib.sha256(data).hexdigest()

    def restart(self) -> None:
        """Forget what a walk found."""
        self.report, self.unnamed = Report(), 0
        for found in (self.hashes, self.transforms, self.same, self.ids, self.apart, self.rows, self.colors):
            found.clear()


def diff_tilesets(a: Paths, b: Paths, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Compare two tilesets (a folder with a tileset.json, that file, a .3tz or several of one; terrain archives by their files only).

    Args:
        tolerance: metres that a vertex may be off before its feature counts as changed.

    Returns:
        equal: whether nothing differs; tolerance_m; tiles: {added, removed, changed: paths, same: number};
        entry_changed: whether tileset.json (bounds, errors, schema) differs;
        features: {added, removed: ids, changed: [{id, attributes: names of the columns that differ, moved_m: the distance,
        "shape" where faces came or went, null where the geometry is the same, recolored: whether faces without a texture have another colour}], same: number}, None where one of the two draws something and no feature of it has an id that is read (b3dm's are not);
        not_compared: contents without feature ids, whose files alone were compared; problems: findings while reading.

    Raises:
        BadTileset: one of them cannot be read.
    """
    with ExitStack() as stack:
        sides = (_open(a, stack), _open(b, stack))
        elsewhere: set[str] = set()
        while True:
            for side, other in (sides, sides[::-1]):
                _walk(side, other, elsewhere)
            # the same bytes at another place, or drawn by one side only, are not the same tile: compare those too
            moved = {path for path in sides[0].same | sides[1].same if sides[0].transforms.get(path) != sides[1].transforms.get(path)}
            if not moved:
                break
            elsewhere |= moved
        return _result(*sides, elsewhere, tolerance)


def _open(paths: Paths, stack: ExitStack) -> _Side:
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
    return _Side(path.name, source, entry)


def _walk(side: _Side, other: _Side, elsewhere: set[str]) -> None:
    """Read one side whole: its files, and the features of contents that the other side lacks."""
    side.restart()
    names = side.source.names() if isinstance(side.source, ArchiveSource | FolderSource) else []
    for name in names if "layer.json" in names else ():  # terrain: nothing in it has an identity
        if name.endswith(".terrain") or name == "layer.json":
            side.read(name)
    if side.entry == "layer.json":
        return
    quiet = Report()

    def see(model: Model, transform: F64, where: Where, standing: Standing) -> None:
        if not standing.finest:
            return
        side.transforms[where.uri] = side.transforms.get(where.uri, b"") + transform.tobytes()
        found = features_of(model, transform, Where(quiet, where.uri))
        if found is None:
            side.unnamed += 1
            return
        side.ids.update(found.ids)
        # a .gltf draws from files beside it, so its own bytes do not tell
        if where.uri.endswith(".glb") and where.uri not in elsewhere and side.hash(where.uri) == other.hash(where.uri) is not None:
            side.same.add(where.uri)
        else:
            side.apart.append(_Drawn.of(found))
            _keep_rows(model, set(found.ids), side.rows)
            _keep_colors(model, side.colors)

    found = fetch(side, "", side.entry, Where(side.report, side.entry))
    with np.errstate(all="ignore"):  # absurd numbers become infinities
        tileset = None if found is None else Walker(side.report, None, laws=False, observe=see).tileset(found[1], side.entry, side, "", None)
    if tileset is None:
        raise BadTileset(f"{side.name} cannot be read: {side.report.errors[0]}", "twin check lists every finding.")


def _keep_rows(model: Model, wanted: set[str], rows: dict[str, dict[str, Any]]) -> None:
    """Attributes of the features of one content, nulls left out."""
    for table in {id(t): t for p in model.primitives if (t := table_of(p)) is not None}.values():
        names = table.columns.get(table.semantics.get("ID", "id"))
        columns = _columns(table, model.schema.classes.get(table.class_id, {}) if model.schema else {})
        for row, name in enumerate(names if names is not None else ()):
            if name in wanted:
                rows[name] = {key: value for key, (column, nothing) in columns.items() if not nothing[row] and (value := _plain(column[row])) is not None}


def _columns(table: PropertyTable, properties: dict[str, Property]) -> dict[str, tuple[Any, NDArray[np.bool_]]]:
    """The columns of a table by name, each with the rows where it holds nothing: how that is told depends on which values a layer has, and is no difference by itself."""
    titled = {str(prop.given.get("name", name)): name for name, prop in properties.items()}
    known = {}  # of columns without a value to spare for nulls, the one that says where they hold something
    for name, prop in properties.items():
        of = titled.get(str(prop.given.get("name", "")).removesuffix(" known"), name)
        if prop.type == "BOOLEAN" and of != name and name.startswith(f"{of}_known") and table.columns.get(name) is not None:
            known[of] = name
    found = {}
    for name, column in table.columns.items():
        if column is None or name in known.values():
            continue
        nothing, given = np.zeros(table.count, bool), properties[name].given if name in properties else {}
        if name in known:
            nothing = ~np.asarray(table.columns[known[name]], bool)
        elif isinstance(column, np.ndarray) and "noData" in given and not properties[name].normalized and not {"offset", "scale"} & given.keys():
            nothing = (column == np.asarray(given["noData"])).reshape(table.count, -1).all(axis=1)
        found[name] = column, nothing
    return found


def _keep_colors(model: Model, colors: dict[str, set[tuple[float, ...]]]) -> None:
    """Colours of the features of one content; what a texture covers is left out, whose pixels lie otherwise in every atlas."""
    for primitive in model.primitives:
        table, sets = table_of(primitive), primitive.instance_feature_ids or primitive.feature_ids
        names = table.columns.get(table.semantics.get("ID", "id")) if table is not None else None
        _, _, mesh, _, number = primitive.pointer.split("/")
        stated = model.gltf.json["meshes"][int(mesh)]["primitives"][int(number)].get("material")
        surface = model.gltf.json["materials"][stated].get("pbrMetallicRoughness", {}) if stated is not None else {}
        if names is None or primitive.mode < TRIANGLES or "baseColorTexture" in surface:
            continue
        factor = np.array(surface.get("baseColorFactor", [1.0] * 4))
        own = primitive.attributes.get("COLOR_0") if not primitive.instance_feature_ids else None
        rows = sets[0].ids if own is not None else np.unique(sets[0].ids)
        rgba = np.tile(factor, (len(rows), 1))
        if own is not None:
            rgba[:, : own.shape[1]] *= own
        for row, *color in np.unique(np.column_stack([rows, np.rint(255 * rgba)]), axis=0).tolist():
            colors.setdefault(names[int(row)], set()).add(tuple(color))


def _recolored(mine: set[tuple[float, ...]], theirs: set[tuple[float, ...]]) -> bool:
    """Whether a colour of one side is none of the other's; it may be rounded once more there."""
    if not mine or not theirs:
        return False  # a texture took its place, or it was not to be read
    apart = np.abs(np.array(sorted(mine))[:, None] - np.array(sorted(theirs))[None]).max(axis=2)
    return bool(apart.min(axis=0).max() > ROUNDED or apart.min(axis=1).max() > ROUNDED)


def _plain(value: Any) -> Any:
    """A value as Python's own, so that equal ones are equal (NaN too; truth values as the names of an enum, which they are where some are null)."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bool):
        return str(value).lower()
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


# --- comparing --------------------------------------------------------------------------------------------------------


def _result(a: _Side, b: _Side, elsewhere: set[str], tolerance: float) -> dict[str, Any]:
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


def _features(a: _Side, b: _Side, tolerance: float) -> dict[str, Any]:
    both = a.ids & b.ids
    suspects = sorted(both & (a.rows.keys() | b.rows.keys()))
    distance = _distances(a, b, suspects, tolerance)
    changed = []
    for name, far in zip(suspects, distance.tolist(), strict=True):
        # a feature of several tiles has its row in each: one that only one side had to read is the same in the other
        mine, theirs = a.rows.get(name), b.rows.get(name)
        columns = [] if mine is None or theirs is None else sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
        recolored = _recolored(a.colors.get(name, set()), b.colors.get(name, set()))
        if columns or recolored or far > tolerance:
            moved = None if far <= tolerance else round(far, 6) if np.isfinite(far) else "shape"
            changed.append({"id": name, "attributes": columns, "moved_m": moved, "recolored": recolored})
    return {"added": sorted(b.ids - a.ids), "removed": sorted(a.ids - b.ids), "changed": changed, "same": len(both) - len(changed)}


def _distances(a: _Side, b: _Side, names: list[str], tolerance: float) -> F64:
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


def _gather(drawn: list[_Drawn], number: dict[str, int]) -> _Drawn:
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
    return _Drawn(list(number), np.concatenate(points), np.concatenate(owners), vertices, area, reach)
