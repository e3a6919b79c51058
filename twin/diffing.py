"""What differs between two tilesets, or between two versions of a layer.

The comparison of tiles is a pipeline (`registry.CHECKER`); this finds the archives, compares of two versions also the rows of what no tile
draws (a building whose surfaces are drawn), and says the result in words.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twin import diffing_rows, registry
from twin.city import City
from twin.errors import BadOption, NotFound
from twin.model import LayerVersion

SHOWN = 20
WITH_GEOMETRY = ("vector", "blocks")
"""Kinds of layers whose rows hold their whole geometry."""

Side = tuple[str, LayerVersion | None, Path | list[Path] | None]
"""What was named, its version, its archives."""


def diff(city: Callable[[], City], a: str, b: str, tolerance: float | None = None) -> dict[str, Any]:
    """Compare two tilesets.

    Args:
        city: opened only where a target is a layer.
        a, b: a folder, tileset.json or .3tz that exists; else a layer's name (its published tiles), or NAME@VERSION.
        tolerance: metres that vertices may be off, None for the checker's own.

    Returns:
        a, b, and what `tiling.check.diff_tilesets` says; of two layers with features also `rows` (added, removed, changed): what differs in
        the layers' own rows and not in what is drawn. Where a layer of features has no tiles, `tiles` is None and the rows are compared, geometry and all.

    Raises:
        NotFound: neither a file nor a layer with tiles. BadTileset: one of them cannot be read.
    """
    (first, mine), (second, theirs) = (_target(city, target) for target in (a, b))
    if first is None or second is None:
        return {"a": a, "b": b, **_without_tiles(city, (a, mine, first), (b, theirs, second), diffing_rows.TOLERANCE if tolerance is None else tolerance)}
    options = {} if tolerance is None else {"tolerance": tolerance}
    result: dict[str, Any] = {"a": a, "b": b, **registry.checker().diff_tilesets(first, second, **options)}
    if mine is not None and theirs is not None and result["features"] is not None:
        told = {id_ for kind in ("added", "removed") for id_ in result["features"][kind]} | {change["id"] for change in result["features"]["changed"]}
        result["rows"] = diffing_rows.rows(city().lake, mine, theirs, told)
        result["equal"] = result["equal"] and not any(result["rows"].values())
    return result


def _without_tiles(city: Callable[[], City], a: Side, b: Side, tolerance: float) -> dict[str, Any]:
    """Two versions of which one has no tiles (maps have none, a delivery that is not published has none yet): their rows, with their geometries.

    Raises:
        NotFound: there are no rows with geometries to compare.
    """
    for target, version, files in (a, b):
        if version is None or version.kind not in WITH_GEOMETRY:
            lacking = target if files is None else (a if a[2] is None else b)[0]
            name, _, number = lacking.partition("@")
            kind = next((one.kind for _, one, archives in (a, b) if archives is None and one is not None), "")
            advice = f"Make them with: twin tile {name} {number}".rstrip() + "." if kind in {entry.kind for entry in registry.tilers().values()} else f"A layer of kind {kind} has none; compare two layers or versions of features."
            raise NotFound(f"There are no tiles of {lacking}.", advice)
    if a[1] is None or b[1] is None:
        raise ValueError("a file has tiles")
    features = diffing_rows.features(city().lake, a[1], b[1], tolerance)
    return {"equal": not (features["added"] or features["removed"] or features["changed"]), "tolerance_m": tolerance, "entry_changed": False, "tiles": None, "features": features,
            "not_compared": 0, "problems": {}}  # fmt: skip


def _target(city: Callable[[], City], target: str) -> tuple[Path | list[Path] | None, LayerVersion | None]:
    """(its archives, None of a layer without; the version, of a layer)."""
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
    return None if derivation is None else [home.lake.path(key) for key in derivation.archives], version


def as_text(result: dict[str, Any]) -> str:
    """The result for people: a line for tiles, a line for features, and the first of what changed."""
    if result["equal"]:
        return f"{result['a']} and {result['b']} are the same: " + (f"{tiles['same']:,} files." if (tiles := result["tiles"]) else f"{result['features']['same']:,} features.")
    tiles, features = result["tiles"], result["features"]
    lines = [f"{result['a']} → {result['b']}", ("  files: " + _counts(tiles) if tiles else "  files: not compared, since one or both have no tiles") + ("; the tileset's own JSON differs" if result["entry_changed"] else "")]
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
