"""What differs between two tilesets, or between two versions of a layer as they are drawn.

The comparison itself is a pipeline (`registry.CHECKER`); this finds the archives and says the result in words.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twin import registry
from twin.city import City
from twin.errors import BadOption, NotFound

SHOWN = 20


def diff(city: Callable[[], City], a: str, b: str, tolerance: float | None = None) -> dict[str, Any]:
    """Compare two tilesets.

    Args:
        city: opened only where a target is a layer.
        a, b: a folder, tileset.json or .3tz that exists; else a layer's name (its published tiles), or NAME@VERSION.
        tolerance: metres that vertices may be off, None for the checker's own.

    Returns:
        a, b, and what `tiling.check.diff_tilesets` says.

    Raises:
        NotFound: neither a file nor a layer with tiles. BadTileset: one of them cannot be read.
    """
    paths = [_archive(city, target) for target in (a, b)]
    options = {} if tolerance is None else {"tolerance": tolerance}
    result: dict[str, Any] = {"a": a, "b": b, **registry.checker().diff_tilesets(*paths, **options)}
    return result


def _archive(city: Callable[[], City], target: str) -> Path | list[Path]:
    if Path(target).exists():
        return Path(target)
    if "/" in target or target.endswith((".3tz", ".json")):
        raise NotFound(f"There is no file {target}.", "Give a tileset.json, a folder with one, a .3tz, or the name of a layer.")
    name, _, number = target.partition("@")
    home = city()
    if number:
        if not number.isdigit():
            raise BadOption(f"{target}: {number!r} is no version number.", f"List them with: twin versions {name}")
        row = home.catalog.version(name, int(number))
        derivation = home.catalog.tileset_of(name, row.number)
    else:
        _, _, derivation = home.published(name)
    if derivation is None:
        raise NotFound(f"There are no tiles of {target}.", f"Make them with: twin tile {name}")
    return [home.lake.path(key) for key in derivation.archives]


def as_text(result: dict[str, Any]) -> str:
    """The result for people: a line for tiles, a line for features, and the first of what changed."""
    if result["equal"]:
        return f"{result['a']} and {result['b']} are the same: {result['tiles']['same']:,} files."
    tiles, features = result["tiles"], result["features"]
    lines = [f"{result['a']} → {result['b']}", f"  files: {_counts(tiles)}" + ("; the tileset's own JSON differs" if result["entry_changed"] else "")]
    if features is None:
        lines.append("  features: none has an id, so only files were compared")
    else:
        lines.append(f"  features: {_counts(features)} (beyond {result['tolerance_m'] * 1000:g} mm or in an attribute)")
        lines += _listed("+", features["added"]) + _listed("-", features["removed"]) + _listed("~", [_change(c) for c in features["changed"]])
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
    return f"{change['id']}: {'; '.join(how)}"


def _listed(sign: str, items: list[str]) -> list[str]:
    more = [f"    … {len(items) - SHOWN:,} more (--json lists all)"] if len(items) > SHOWN else []
    return [f"    {sign} {item}" for item in items[:SHOWN]] + more
