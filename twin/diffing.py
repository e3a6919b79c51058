"""What differs between two tilesets, or between two versions of a layer.

The comparison of tiles is a pipeline (`registry.CHECKER`); this finds the archives, compares of two versions also the rows of what no tile
draws (a building whose surfaces are drawn), and says the result in words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from twin import parts, registry
from twin.city import City
from twin.errors import BadOption, NotFound
from twin.lake import Lake
from twin.model import LayerVersion, Part

SHOWN = 20


def diff(city: Callable[[], City], a: str, b: str, tolerance: float | None = None) -> dict[str, Any]:
    """Compare two tilesets.

    Args:
        city: opened only where a target is a layer.
        a, b: a folder, tileset.json or .3tz that exists; else a layer's name (its published tiles), or NAME@VERSION.
        tolerance: metres that vertices may be off, None for the checker's own.

    Returns:
        a, b, and what `tiling.check.diff_tilesets` says; of two layers with features also `rows` (added, removed, changed): what differs in
        the layers' own rows and not in what is drawn.

    Raises:
        NotFound: neither a file nor a layer with tiles. BadTileset: one of them cannot be read.
    """
    (first, mine), (second, theirs) = (_target(city, target) for target in (a, b))
    options = {} if tolerance is None else {"tolerance": tolerance}
    result: dict[str, Any] = {"a": a, "b": b, **registry.checker().diff_tilesets(first, second, **options)}
    if mine is not None and theirs is not None and result["features"] is not None:
        told = {id_ for kind in ("added", "removed") for id_ in result["features"][kind]} | {change["id"] for change in result["features"]["changed"]}
        result["rows"] = _rows(city().lake, mine, theirs, told)
        result["equal"] = result["equal"] and not any(result["rows"].values())
    return result


def _rows(lake: Lake, a: LayerVersion, b: LayerVersion, told: set[str]) -> dict[str, list[Any]]:
    """Rows that came, went or have other attributes, by id, but for those of `told`."""
    mine, theirs = _table(lake, a, b), _table(lake, b, a)
    row_of = {id_: row for row, id_ in enumerate(mine.column("id").to_pylist())}
    ids = theirs.column("id").to_pylist()
    both = [(row_of[id_], row) for row, id_ in enumerate(ids) if id_ in row_of]
    before, after = (table.take(pa.array([pair[side] for pair in both], pa.int64())) for side, table in enumerate((mine, theirs)))
    changed: dict[str, list[str]] = {}
    for name in sorted({*before.column_names, *after.column_names} - {"id"}):
        for row in np.flatnonzero(_differ(before, after, name)).tolist():
            changed.setdefault(ids[both[row][1]], []).append(name)
    return {"added": sorted(id_ for id_ in ids if id_ not in row_of and id_ not in told), "removed": sorted(row_of.keys() - set(ids) - told),
            "changed": [{"id": id_, "attributes": names, "moved_m": None, "recolored": False} for id_, names in sorted(changed.items()) if id_ not in told]}  # fmt: skip


def _table(lake: Lake, version: LayerVersion, other: LayerVersion) -> pa.Table:
    """Id, parent and attributes of every row of a version, but for those that the other version shows from the same part."""
    chunks = []
    for part in version.parts:
        wanted = _lacking(part, version, other)
        if wanted is not None and not len(wanted):
            continue
        for chunk in parts.read_features(lake, replace(version, parts=(part,))):
            table = chunk.attributes.append_column("id", chunk.ids).append_column("parent", chunk.parents)
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


def _target(city: Callable[[], City], target: str) -> tuple[Path | list[Path], LayerVersion | None]:
    """(its archives; the version, of a layer)."""
    if Path(target).exists():
        return Path(target), None
    if "/" in target or target.endswith((".3tz", ".json")):
        raise NotFound(f"There is no file {target}.", "Give a tileset.json, a folder with one, a .3tz, or the name of a layer.")
    name, _, number = target.partition("@")
    home = city()
    if number:
        if not number.isdigit():
            raise BadOption(f"{target}: {number!r} is no version number.", f"List them with: twin versions {name}")
        row = home.catalog.version(name, int(number))
        version, derivation = home.manifest(row.manifest), home.catalog.tileset_of(name, row.number)
    else:
        _, version, derivation = home.published(name)
    if derivation is None:
        raise NotFound(f"There are no tiles of {target}.", f"Make them with: twin tile {name} {number}".rstrip())
    return [home.lake.path(key) for key in derivation.archives], version


def as_text(result: dict[str, Any]) -> str:
    """The result for people: a line for tiles, a line for features, and the first of what changed."""
    if result["equal"]:
        return f"{result['a']} and {result['b']} are the same: {result['tiles']['same']:,} files."
    tiles, features = result["tiles"], result["features"]
    lines = [f"{result['a']} → {result['b']}", f"  files: {_counts(tiles)}" + ("; the tileset's own JSON differs" if result["entry_changed"] else "")]
    if features is None:
        lines.append("  features: none has an id that can be read, in one or both, so only files were compared")
        lines += _listed("+", tiles["added"]) + _listed("-", tiles["removed"]) + _listed("~", tiles["changed"])
    else:
        lines.append(f"  features: {_counts(features)} (beyond {result['tolerance_m'] * 1000:g} mm, in an attribute or a colour)")
        lines += _listed("+", features["added"]) + _listed("-", features["removed"]) + _listed("~", [_change(c) for c in features["changed"]])
    if any((rows := result.get("rows") or {}).values()):
        lines.append("  rows that no tile shows to be different: " + ", ".join(f"{len(rows[kind]):,} {kind}" for kind in ("added", "removed", "changed")))
        lines += _listed("+", rows["added"]) + _listed("-", rows["removed"]) + _listed("~", [_change(c) for c in rows["changed"]])
    if result["not_compared"]:
        lines.append(f"  {result['not_compared']:,} contents have no feature ids: only their files were compared")
    lines += [f"  {side} has problems: {found[0]}" for side, found in result["problems"].items()]
    return "\n".join(lines)


def _counts(part: dict[str, Any]) -> str:
    return f"{len(part['added']):,} added, {len(part['removed']):,} removed, {len(part['changed']):,} changed, {part['same']:,} the same"


def _change(change: dict[str, Any]) -> str:
    moved = change["moved_m"]
    how = [", ".join(change["attributes"])] if change["attributes"] else []
    if moved is not None:
        how.append("another shape" if moved == "shape" else f"geometry by {moved:g} m")
    if change["recolored"]:
        how.append("another colour")
    return f"{change['id']}: {'; '.join(how)}"


def _listed(sign: str, items: list[str]) -> list[str]:
    more = [f"    … {len(items) - SHOWN:,} more (--json lists all)"] if len(items) > SHOWN else []
    return [f"    {sign} {item}" for item in items[:SHOWN]] + more
