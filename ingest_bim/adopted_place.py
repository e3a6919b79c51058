"""Where a tileset stands: its root's bounding volume as longitude, latitude and ellipsoidal height (3D Tiles 1.1, 7.4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from twin import crs
from twin.errors import UnreadableSource
from twin.model import Bounds

#: Metres from the earth's centre below (or above) which nothing is taken to be a place on the earth.
NEAREST, FARTHEST = 6.2e6, 6.6e6


def bounds_of(root: dict[str, Any], where: str) -> Bounds | None:
    """The box of a root tile; None where it is not placed on the earth.

    Raises:
        UnreadableSource: its volume is none of the specification's, or not finite.
        KeyError, TypeError, ValueError: it is malformed.
    """
    volume = root["boundingVolume"]
    if "region" in volume:
        region = np.array(volume["region"], np.float64).reshape(6)
        west, south, east, north = np.degrees(region[:4]).tolist()
        if not np.isfinite(region).all() or not -90.001 <= south <= north <= 90.001 or max(abs(west), abs(east)) > 360:
            raise UnreadableSource(f"{where}: its root's region is not one.", "Check its tileset.json.")
        return Bounds(west, south, east, north, float(region[4]), float(region[5]))
    matrix = np.array(root.get("transform", np.eye(4).ravel()), np.float64).reshape(4, 4).T
    if "box" in volume:
        axes = np.array(volume["box"], np.float64).reshape(4, 3)
        corners = axes[0] + (2 * np.indices((2, 2, 2)).reshape(3, 8).T - 1) @ axes[1:]
    elif "sphere" in volume:
        x, y, z, radius = np.array(volume["sphere"], np.float64)
        corners = np.array([x, y, z]) + radius * np.concatenate([np.eye(3), -np.eye(3)])
    else:
        stated = ", ".join([*(key for key in volume if key != "extensions"), *(volume.get("extensions") or ())])
        raise UnreadableSource(f"{where}: its root's volume is {stated or 'empty'}; region, box and sphere are read.", "Tile it again.")
    placed = corners @ matrix[:3, :3].T + matrix[:3, 3]
    if not np.isfinite(placed).all():
        raise UnreadableSource(f"{where}: its root's volume or transform is not finite.", "Check its tileset.json.")
    middle = float(np.linalg.norm(placed.mean(axis=0)))
    if not NEAREST < middle < FARTHEST:
        return None
    return Bounds.of(crs.ecef_to_geodetic(placed))
