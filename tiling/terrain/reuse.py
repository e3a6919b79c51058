"""Which blocks of a terrain's tiles are as they were in the build before, so that their bytes are copied.

A block's tiles depend on the rasters that reach them and on nothing else of the layer: on every finer raster whose cells lie
among them, and on the coarsest one, which is the ground of all. (Where that one has gaps, or ends, the others come in from
farther away: they count within their aprons there.) The key of a block is a hash of these rasters, of its water, of what lies
below it, and of code and options; equal keys mean equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.ledger import Ledger
from tiling.reuse import LEDGER, Past
from tiling.terrain.glb import GroundTile
from tiling.terrain.levels import Block
from tiling.terrain.surface import Surface, lattice
from tiling.tileset import Finished
from twin.archive import Packed
from twin.ground import raster_parts, reference_of
from twin.model import Bounds, LayerVersion
from twin.registry import TileJob

MOST_KEPT = 500_000
"""Tiles of a terrain beyond which no ledger is written, since it is held in memory: the next build is a full one."""


@dataclass(frozen=True)
class Inputs:
    """The rasters of a version, in order, as far as keys need them: what names each, and whether the last one has no gaps."""

    names: list[str]
    whole: bool

    @classmethod
    def of(cls, version: LayerVersion) -> Inputs:
        """What the keys of a version's blocks are made of."""
        parts = raster_parts(version)
        return cls([json.dumps([p.key, asdict(reference_of(version, p))], sort_keys=True) for p in parts], parts[-1].properties.get("voids") == 0)

    def reaching(self, surface: Surface, block: Block, spacing: float) -> list[Any]:
        """The rasters that may reach a block: name, whether its own cells may, whether its fill and apron may.

        One that is too small to show so far up changes no tile there, but it is what the tiles' error is measured against.
        """
        lon, lat = lattice(block.x0 - 1, block.x1 + 1, block.z, -180.0), np.clip(lattice(block.y0 - 1, block.y1 + 1, block.z, -90.0), -90.0, 90.0)
        last = surface.fields[-1]
        covered = self.whole and last.covers(lon, lat)
        found = []
        for name, one in zip(self.names, surface.fields, strict=True):
            own = one is not last and surface.counts(one, spacing) and one.touches(lon, lat, 2 * max(one.cell))
            rest = one is last or (not covered and one.touches(lon, lat, 1.05 * one.apron))
            if own or rest or _meets(one.extent, lon, lat):
                found.append([name, own, rest])
        return found


def _meets(box: Bounds, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> bool:
    """Whether a box of degrees (its east may lie beyond 180) and a lattice overlap; between two of its positions a small raster has room."""
    return bool(lat[0] <= box.maxy and lat[-1] >= box.miny and any(lon[0] <= box.maxx + turn and lon[-1] >= box.minx + turn for turn in (-360.0, 0.0, 360.0)))


def key_of(common: bytes, block: Block, depends: Any) -> bytes:
    """The key of a block; `depends`: JSON values."""
    return hashlib.blake2b(common + json.dumps([astuple(block), depends], sort_keys=True).encode(), digest_size=16).digest()


@dataclass
class Record:
    """What a build writes down for the next: the ledger of its tiles, and what was measured of every block."""

    ledger: Ledger = field(default_factory=Ledger)
    blocks: dict[str, Any] = field(default_factory=dict)
    copied: int = 0

    def add(self, block: Block, key: bytes, checks: dict[str, int], stats: Sequence[float], grounds: Sequence[GroundTile]) -> None:
        """Write down a block: its key, its files with the CRCs of their stored bytes, what was measured, its 3D tiles."""
        self.blocks[_name(block)] = [list(stats), [[g.z, g.x, g.y, g.frame.tolist(), g.low.tolist(), g.high.tolist()] for g in grounds]]
        for name, check in checks.items():
            self.ledger.add(name, key, check, Finished(Packed(b"", 0, 0, False)))

    def save(self, job: TileJob, tiles: int) -> dict[str, str]:
        """The sidecars; none for a terrain of too many tiles."""
        if tiles > MOST_KEPT:
            return {}
        self.ledger.notes = {"blocks": self.blocks}
        return {LEDGER: self.ledger.save(job.lake)}


def known(past: Past, block: Block, key: bytes, names: Sequence[str]) -> tuple[dict[str, int], list[float], list[GroundTile]] | None:
    """(files with their CRCs, measurements, 3D tiles) of a block that the last build made with the same key."""
    noted = past.notes.get("blocks", {}).get(_name(block)) if past.archives else None
    found = [past.find(name, key) for name in names] if noted is not None else []
    if noted is None or -1 in found:
        return None
    checks = {name: past.checks[row] for name, row in zip(names, found, strict=True)}
    grounds = [GroundTile(z, x, y, np.array(frame), np.array(low), np.array(high)) for z, x, y, frame, low, high in noted[1]]
    return checks, noted[0], grounds


def _name(block: Block) -> str:
    return f"{block.z}/{block.x0}/{block.y0}"
