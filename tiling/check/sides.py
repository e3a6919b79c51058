"""One of two tilesets that are compared: its files, where its contents stand, and what their features are."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import BadTileset

from .archive import ArchiveSource
from .glb import Model
from .gltf import open_gltf
from .issues import Report, Where
from .metadata_model import Property
from .positions import Feature, features_of, table_of
from .scene import F64
from .source import FolderSource, Source, fetch
from .structural_metadata import ids_of_tables
from .tables import PropertyTable
from .walk import Standing, Walker

I64 = NDArray[np.int64]
NOWHERE = 1e12
"""Metres: farther than anything that is drawn."""
TRIANGLES = 4
"""The first mode of glTF that draws faces."""


@dataclass(frozen=True)
class Drawn:
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
    def of(found: Feature) -> Drawn:
        """Of the decoded triangles (or points) of a content."""
        count = len(found.ids)
        owner = found.owner[found.triangles[:, 0]]
        ecef = np.where(np.abs(found.ecef) < NOWHERE, found.ecef, NOWHERE)  # a damaged tile may hold NaN, or what overflows
        a, b, c = (ecef[found.triangles[:, k]] for k in range(3))
        area = np.bincount(owner, np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2, count)
        edges = np.sum([np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (b, c), (c, a))], axis=0)
        distinct = np.unique(np.column_stack([found.owner, ecef]), axis=0)
        return Drawn(found.ids, distinct[:, 1:], distinct[:, 0].astype(np.int64), np.bincount(found.owner, minlength=count),
                      area.astype(np.float64), np.bincount(owner, edges, count).astype(np.float64))  # fmt: skip


@dataclass
class Side:
    """One of the two tilesets.

    Attributes:
        hashes: SHA-256 of every file that the tileset uses, by path. places: of every content with geometry, each time that it is drawn:
        whether nothing replaces it, and where it stands (as bytes). named: contents whose features have ids. ids: every feature.
        apart: features of the other contents; rows: their attributes; colors: of their faces without a texture, RGBA in 0 to 255.
        unnamed: contents with features that have no ids, or none at all. old: whether rows come from batch tables, which have no NaN and only whole numbers that JSON can hold.
    """

    name: str
    source: Source
    entry: str
    report: Report = field(default_factory=Report)
    hashes: dict[str, str] = field(default_factory=dict)
    places: dict[str, list[tuple[bool, bytes]]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    apart: list[Drawn] = field(default_factory=list)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    colors: dict[str, set[tuple[float, ...]]] = field(default_factory=dict)
    unnamed: int = 0
    old: bool = False

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, remembered by their hash."""
        data = self.source.read(path)
        if data is not None:
            self.hashes[path] = hashlib.sha256(data).hexdigest()
        return data

    def drawn_at(self, path: str) -> list[bytes]:
        """Where a content is drawn and nothing replaces it."""
        return sorted(place for finest, place in self.places.get(path, ()) if finest)

    def restart(self) -> None:
        """Forget what a walk found."""
        self.report = Report()
        for found in (self.hashes, self.places):
            found.clear()


def walk(side: Side, same: set[str] | None, known: dict[str, list[str] | None] | None = None) -> None:
    """Read one side: where its contents stand, and their hashes; then, with `same`, the features of all contents but those, of which only ids are read.

    Args:
        same: contents that are the same in both, at the same places; None: nothing is decoded.
        known: ids of those that were read for the other side, by path; None where features have none, empty where they are not to be had without decoding.

    Raises:
        BadTileset: it cannot be read.
    """
    side.restart()
    names = side.source.names() if isinstance(side.source, ArchiveSource | FolderSource) else []
    for name in names if "layer.json" in names else ():  # terrain: nothing in it has an identity
        if name.endswith(".terrain") or name == "layer.json":
            side.read(name)
    if side.entry == "layer.json":
        return
    quiet = Report()
    known = {} if known is None else known

    def skip(data: bytes, transform: F64, finest: bool, where: Where) -> bool:
        side.places.setdefault(where.uri, []).append((finest, transform.tobytes()))
        if same is None or (where.uri in same and not finest):
            return True
        if where.uri not in same:
            return False
        if where.uri not in known:
            known[where.uri] = _ids_of(data, Where(quiet, where.uri)) if where.uri.endswith(".glb") else []
        ids = known[where.uri]
        side.unnamed += ids is None
        if ids:
            side.named.add(where.uri)
            side.ids.update(ids)
        return ids is None or bool(ids)

    def see(model: Model, transform: F64, where: Where, standing: Standing) -> None:
        if standing.finest:
            keep(model, transform, where)

    def keep(model: Model, transform: F64, where: Where) -> None:
        found = features_of(model, transform, Where(quiet, where.uri))
        if found is None:
            side.unnamed += 1
            return
        side.old |= model.schema is None
        side.named.add(where.uri)
        side.ids.update(found.ids)
        if where.uri not in (same or ()):
            side.apart.append(Drawn.of(found))
            _keep_rows(model, set(found.ids), side.rows)
            _keep_colors(model, side.colors)

    def see_old(models: list[Model], transform: F64, where: Where) -> None:
        side.unnamed += not models
        for model in models:
            keep(model, transform, where)

    found = fetch(side, "", side.entry, Where(side.report, side.entry))
    with np.errstate(all="ignore"):  # absurd numbers become infinities
        tileset = None if found is None else Walker(side.report, None, laws=False, observe=see, observe_old=see_old, skip=skip).tileset(found[1], side.entry, side, "", None)
    if tileset is None:
        raise BadTileset(f"{side.name} cannot be read: {side.report.errors[0]}", "twin check lists every finding.")


def _ids_of(data: bytes, where: Where) -> list[str] | None:
    """Ids of the features that a glb draws, for which it is not decoded: they are those of its tables where these say so by their numbers of features.

    None where something that is drawn has no id; empty where only decoding would tell.
    """
    gltf = open_gltf(data, lambda uri, at: None, where)
    if gltf is None:
        return []
    tables = ids_of_tables(gltf) if gltf.extension("EXT_structural_metadata") is not None else []
    nodes, meshes = gltf.json.get("nodes", []), gltf.json.get("meshes", [])
    whole: dict[int, bool] = {}
    for node in nodes:
        if "mesh" not in node:
            continue
        for primitive in meshes[node["mesh"]]["primitives"] if node["mesh"] < len(meshes) else ():
            first = _first_set(node, "EXT_instance_features") or _first_set(primitive, "EXT_mesh_features")
            table = first.get("propertyTable", -1)
            if not isinstance(table, int) or not 0 <= table < len(tables) or (ids := tables[table]) is None:
                return None
            if "nullFeatureId" in first:
                return []
            whole[table] = whole.get(table, False) or first.get("featureCount") == len(ids)
    drawn = {node["mesh"] for node in nodes if "mesh" in node}
    if not all(whole.values()) or len(drawn) < len(meshes) or len(gltf.json.get("scenes", ())) > 1:
        return []
    return [id_ for table in whole for id_ in tables[table] or ()]


def _first_set(holder: dict[str, Any], extension: str) -> dict[str, Any]:
    """The first feature id set of a node or a primitive; nothing where there is none that is sound."""
    own = holder.get("extensions", {}).get(extension)
    sets = own.get("featureIds") if isinstance(own, dict) else None
    return sets[0] if isinstance(sets, list) and sets and isinstance(sets[0], dict) else {}


def _keep_rows(model: Model, wanted: set[str], rows: dict[str, dict[str, Any]]) -> None:
    """Attributes of the features of one content, nulls left out."""
    for table in {id(t): t for p in model.primitives if (t := table_of(p)) is not None}.values():
        names = table.columns.get(table.semantics.get("ID", "id"))
        columns = _columns(table, model.schema.classes.get(table.class_id, {}) if model.schema else {})
        for row, name in enumerate(names if names is not None else ()):
            if name in wanted:
                rows[name] = {key: value for key, (column, nothing) in columns.items() if not nothing[row] and (value := _plain(column[row])) is not None}


def _columns(table: PropertyTable, properties: dict[str, Property]) -> dict[str, tuple[Any, NDArray[np.bool_]]]:
    """The columns of a table by the names that people gave them (batch tables have no others), each with the rows where it holds nothing: how that is told depends on which values a layer has, and is no difference by itself."""
    titled = {str(prop.given.get("name", name)): name for name, prop in properties.items()}
    known = {}  # of columns without a value to spare for nulls, the one that says where they hold something
    for name, prop in properties.items():
        of = titled.get(str(prop.given.get("name", "")).removesuffix(" known"), name)
        if prop.type == "BOOLEAN" and of != name and name.startswith(f"{of}_known") and table.columns.get(name) is not None:
            known[of] = name
    found = {}
    names = {name: str(properties[name].given.get("name", name)) if name in properties else name for name in table.columns}
    distinct = len(set(names.values())) == len(names)  # else names of a class's own tell which is which
    for name, column in table.columns.items():
        if column is None or name in known.values():
            continue
        nothing, given = np.zeros(table.count, bool), properties[name].given if name in properties else {}
        if name in known:
            nothing = ~np.asarray(table.columns[known[name]], bool)
        elif isinstance(column, np.ndarray) and "noData" in given and not properties[name].normalized and not {"offset", "scale"} & given.keys():
            nothing = (column == np.asarray(given["noData"])).reshape(table.count, -1).all(axis=1)
        found[names[name] if distinct else name] = column, nothing
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


def _plain(value: Any) -> Any:
    """A value as Python's own, so that equal ones are equal (NaN too; truth values as the names of an enum, which they are where some are null)."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bool):
        return str(value).lower()
    return "NaN" if isinstance(value, float) and math.isnan(value) else value
