"""Where a tileset stands: its root's bounding volume as longitude, latitude and ellipsoidal height (3D Tiles 1.1, 7.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin import crs
from twin.errors import MissingReference, UnreadableSource
from twin.model import Bounds

F64 = NDArray[np.float64]
#: Metres from the earth's centre below (or above) which nothing is taken to be a place on the earth.
NEAREST, FARTHEST = 6.2e6, 6.6e6
#: Radii of the WGS 84 ellipsoid, and how far those of a tileset may be off.
RADII, OFF = (6378137.0, 6378137.0, 6356752.3), 25_000.0
HALF = 180.0
EARTH = Bounds(-180.0, -90.0, 180.0, 90.0, 0.0, 9000.0)


def bounds_of(root: dict[str, Any], where: str) -> Bounds | None:
    """The box of a root tile; None where it is not placed on the earth.

    A volume around the earth or much of it (the root of a tileset of the whole world), or of an extension, says little: then it is the box of what lies
    below it, down to the first volumes that are places, as far as they stand in the same file.

    Raises:
        UnreadableSource: its volume is none of the specification's, or not finite.
        KeyError, TypeError, ValueError: it is malformed.
    """
    found: list[Bounds] = []
    stack: list[tuple[dict[str, Any], F64]] = [(root, np.eye(4))]
    wide: list[Bounds] = []
    unknown = ""
    while stack:
        tile, above = stack.pop()
        matrix = above @ _numbers(tile.get("transform", np.eye(4).ravel()), 16, "transform").reshape(4, 4).T
        volume = tile["boundingVolume"]
        if "region" in volume:
            box = _of_region(volume["region"], where)
            if box.maxx - box.minx < HALF:
                found.append(box)
                continue
            wide.append(box)
        elif (corners := _corners(volume)) is None:
            unknown = unknown or ", ".join([*(key for key in volume if key != "extensions"), *(volume.get("extensions") or ())]) or "empty"
        else:
            placed = corners @ matrix[:3, :3].T + matrix[:3, 3]
            if not np.isfinite(placed).all():
                raise UnreadableSource(f"{where}: its root's volume or transform is not finite.", "Check its tileset.json.")
            if NEAREST < float(np.linalg.norm(placed.mean(axis=0))) < FARTHEST:
                found.append(Bounds.of(crs.ecef_to_geodetic(placed)))
                continue
            if float(np.linalg.norm(placed, axis=1).max()) < NEAREST:
                continue
            wide.append(EARTH)
        stack += [(child, matrix) for child in tile.get("children") or ()]
    if found:
        return Bounds.union(found)
    if wide:
        return wide[0]
    if unknown:
        raise UnreadableSource(f"{where}: its root's volume is {unknown}; region, box and sphere are read.", "Tile it again.")
    return None


def _of_region(values: Any, where: str) -> Bounds:
    region = _numbers(values, 6, "region")
    west, south, east, north = np.degrees(region[:4]).tolist()
    if not np.isfinite(region).all() or not -90.001 <= south <= north <= 90.001 or max(abs(west), abs(east)) > 360:
        hint = "Regions are in radians; these numbers may be degrees." if np.isfinite(region).all() and np.abs(region[:4]).max() > 6.3 else "Check its tileset.json."
        raise UnreadableSource(f"{where}: its root's region [{', '.join(f'{value:g}' for value in region[:4])}, …] is none: west, south, east, north.", hint)
    return Bounds(west, south, east, north, float(region[4]), float(region[5]))


def _corners(volume: dict[str, Any]) -> F64 | None:
    """(N, 3) outermost points of a box or a sphere, in the tile's own frame; None for other volumes."""
    if "box" in volume:
        axes = _numbers(volume["box"], 12, "box").reshape(4, 3)
        return np.asarray(axes[0] + (2 * np.indices((2, 2, 2)).reshape(3, 8).T - 1) @ axes[1:])
    if "sphere" in volume:
        x, y, z, radius = _numbers(volume["sphere"], 4, "sphere")
        return np.asarray(np.array([x, y, z]) + radius * np.concatenate([np.eye(3), -np.eye(3)]))
    return None


def _numbers(values: Any, count: int, what: str) -> F64:
    """(count,) numbers of a volume or transform; ValueError where they are not as many."""
    try:
        found = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"its root's {what} {str(values)[:60]} is no list of {count} numbers") from error
    if found.shape != (count,):
        raise ValueError(f"its root's {what} has {found.size} numbers and must have {count}")
    return found


def check_body(document: dict[str, Any], where: str) -> None:
    """Refuse what stands on another body than the earth (3DTILES_ellipsoid).

    Raises:
        MissingReference: the ellipsoid that it names is not the earth's.
    """
    said = (document.get("extensions") or {}).get("3DTILES_ellipsoid")
    if not isinstance(said, dict):
        return
    radii = [float(value) for value in said.get("radii") or ()]
    if any(abs(value - known) > OFF for value, known in zip(radii, RADII, strict=False)):
        raise MissingReference(f"{where} stands on {said.get('body') or 'a body'} with the radii {', '.join(f'{value:,.0f}' for value in radii)} m, not on the earth.",
                               "A city takes over tilesets of the earth alone.")  # fmt: skip
