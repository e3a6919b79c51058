# mypy: disable-error-code="untyped-decorator"
"""The ground of a terrain layer over the whole globe: its rasters, finest first, above a sea at the EGM96 geoid.

The first raster with data all around a place counts. (That this makes no step is the reader's work: it has dressed every finer
raster with a rim that runs out into the coarser one.) The last, coarsest one is
filled and falls to the sea outside; so do the others where even that one has nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiling.terrain.heights import HeightField
from tiling.terrain.quantized_mesh import QUANTA
from tiling.terrain.rtin import STEPS
from twin import crs
from twin.compiled import njit
from twin.errors import MissingReference
from twin.ground import raster_parts, reference_of
from twin.lake import Lake
from twin.model import ABOVE_GROUND, ELLIPSOID, LayerVersion

F64 = NDArray[np.float64]
#: A raster is used on levels whose lattice is at most so many times coarser than its whole width.
SPECK = 2.0


@dataclass
class Surface:
    """Ellipsoidal heights made of one or several rasters.

    Attributes:
        fields: finest first.
    """

    fields: list[HeightField]

    @classmethod
    def of(cls, version: LayerVersion, lake: Lake, apron: float, fill: bool) -> Surface:
        """The surface of a terrain version.

        Raises:
            BadFeature: it holds no raster.
            MissingReference: heights without a datum.
        """
        fields = []
        for part in raster_parts(version):
            reference = reference_of(version, part)
            if reference.vertical in ("", ABOVE_GROUND):
                raise MissingReference(f"{version.layer}: heights without a vertical datum cannot be placed.", "Ingest it again with --vertical.")
            fields.append(HeightField(lake.path(part.key), reference, apron, fill))
        return cls(fields)

    def close(self) -> None:
        """Close all files."""
        for field in self.fields:
            field.close()

    @staticmethod
    def counts(field: HeightField, spacing: float) -> bool:
        """Whether a finer raster shows at all where lattice points are `spacing` metres apart."""
        return bool(spacing < SPECK * field.cell[0] * field.size[0])

    def sample(self, lon: F64, lat: F64, z: int, spacing: float) -> F64:
        """(rows, columns) ellipsoidal metres at the lattice of WGS 84 degrees lon (columns,) × lat (rows,) of tile level z.

        Both hold 64 n + 1 positions of whole tiles; `spacing` is their distance in metres.
        """
        total, rest = np.zeros((len(lat), len(lon))), np.ones((len(lat), len(lon)))
        ellipsoidal = np.zeros_like(rest) if any(f.reference.vertical == ELLIPSOID for f in self.fields) else None
        steps: Iterable[tuple[HeightField, bool]] = [*((f, True) for f in self.fields[:-1] if self.counts(f, spacing)), (self.fields[-1], False),
                                                     *((f, False) for f in self.fields[:-1])]  # fmt: skip
        for field, own in steps:
            before = rest.copy() if ellipsoidal is not None and field.reference.vertical == ELLIPSOID else None
            field.add(lon, lat, z, spacing, total, rest, own=own)
            if before is not None and ellipsoidal is not None:
                ellipsoidal += before - rest
        if ellipsoidal is None:
            add_geoid(lon, lat, total)
            return total
        sea = np.zeros_like(total)
        add_geoid(lon, lat, sea)
        return np.asarray(total + (1 - ellipsoidal) * sea)


def lattice(first: int, last: int, z: int, south: float) -> F64:
    """Degrees of the lattice positions of tiles first … last (ends included, shared ends once) from −180 or −90."""
    whole = np.arange(first, last + 1)[:, None] + QUANTA[None, :STEPS] / 32767
    return np.asarray(np.append(whole.ravel(), last + 1.0) * (180 / 2**z) + south)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_bilinear(corners: F64, x: F64, y: F64, out: F64) -> None:
    """out += the bilinear value of a grid at fractional columns x and rows y."""
    rows, columns = corners.shape
    for i in range(y.size):
        r = int(y[i])
        v = y[i] - r
        r1 = min(r + 1, rows - 1)
        for j in range(x.size):
            c = int(x[j])
            u = x[j] - c
            c1 = min(c + 1, columns - 1)
            across = corners[r, c] * (1 - u) + corners[r, c1] * u
            out[i, j] += across * (1 - v) + (corners[r1, c] * (1 - u) + corners[r1, c1] * u) * v


def add_geoid(lon: F64, lat: F64, out: F64) -> None:
    """out (rows, columns) += undulation of EGM96 at degrees lon (columns,) × lat (rows,), as `crs.undulation` gives it.

    That is bilinear in 5′ cells, so on a fine lattice it is asked only at the cells' corners, and compared at a few places:
    should it ever be made finer, the lattice is asked point by point again.
    """
    first = (math.floor((lon[0] + 180) * 12), math.floor((lat[0] + 90) * 12))
    counts = (math.floor((lon[-1] + 180) * 12) - first[0] + 2, math.floor((lat[-1] + 90) * 12) - first[1] + 2)
    if counts[0] * counts[1] * 8 < len(lon) * len(lat):
        corner_lon = (first[0] + np.arange(counts[0])) / 12 - 180
        corner_lat = np.minimum((first[1] + np.arange(counts[1])) / 12 - 90, 90.0)
        corners = crs.undulation(*np.meshgrid(corner_lon, corner_lat))
        x, y = (lon + 180) * 12 - first[0], (lat + 90) * 12 - first[1]
        r, c = np.linspace(0, len(lat) - 1, 7).astype(int), np.linspace(0, len(lon) - 1, 7).astype(int)
        probe = np.zeros(7)
        for k in range(7):
            _add_bilinear(corners, x[c[k] : c[k] + 1], y[r[k] : r[k] + 1], probe[k : k + 1, None])
        if np.abs(probe - crs.undulation(lon[c], lat[r])).max() < 1e-6:
            _add_bilinear(corners, x, y, out)
            return
    out += crs.undulation(np.broadcast_to(lon, out.shape), np.broadcast_to(lat[:, None], out.shape))
