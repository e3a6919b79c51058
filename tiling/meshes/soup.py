"""Triangles of many features in a tile's frame: placed vertex by vertex, and thinned on the way where they are very many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.encoding.drawables import Surface
from tiling.encoding.wide import bisected
from tiling.meshes.elements import Elements
from tiling.meshes.repeats import mirrored
from tiling.meshes.shapes import runs
from tiling.store import Store
from twin import crs
from twin.meshes import placed_alike
from twin.model import Material

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
WIDE = 8192.0
"""Metres from which on an edge is cut: float32 then holds every triangle within a millimetre, and lies at most 1.8 m below the curved earth."""
HALVINGS = 12
"""Grids that are tried, each half as coarse, for what is thinner than their cubes: the last has 1/2,048 of the first's."""
Items = I64
"""(N, 2) of what is to be placed: the number that stands in `owner`, the instance."""


@dataclass(frozen=True)
class Soup:
    """Triangles in a tile's frame, with what each carries.

    Attributes:
        positions: (V, 3) metres. triangles: (T, 3).
        owner: (T,) position of the feature in the tile's list of features. material: (T,) number in `looks`.
        uv: (T, 3, 2) of the corners, NaN where there are none; None where no triangle has any. colors: (T, 3, 4) uint8 or None.
        looks: the layer's materials, by number.
        heights: lowest and highest ellipsoidal height.
    """

    positions: F64
    triangles: I64
    owner: I64
    material: I64
    uv: NDArray[np.float32] | None
    colors: NDArray[np.uint8] | None
    looks: list[Material]
    heights: tuple[float, float]

    def take(self, triangles: I64, source: I64, corner: I64 | None = None) -> Soup:
        """Some triangles (rows of `positions`), each with what its `source` carries, or corner by corner what `corner` (T, 3) names."""
        def corners(column: NDArray[Any] | None) -> Any:
            if column is None:
                return None
            return column[source] if corner is None else column.reshape(-1, column.shape[2])[corner]

        return replace(self, triangles=triangles, owner=self.owner[source], material=self.material[source], uv=corners(self.uv), colors=corners(self.colors))

    @staticmethod
    def join(many: list[Soup]) -> Soup | None:
        """One after the other; None of none."""
        if len(many) <= 1:
            return many[0] if many else None
        first = np.cumsum([0, *(len(s.positions) for s in many)])
        counts = [len(s.triangles) for s in many]
        return Soup(
            np.concatenate([s.positions for s in many]), np.concatenate([s.triangles + k for s, k in zip(many, first, strict=False)]),
            np.concatenate([s.owner for s in many]), np.concatenate([s.material for s in many]), _joined([s.uv for s in many], counts, 2, np.nan, np.float32),
            _joined([s.colors for s in many], counts, 4, 255, np.uint8), many[0].looks,
            (min(s.heights[0] for s in many), max(s.heights[1] for s in many)),
        )  # fmt: skip


def _joined(columns: list[Any], counts: list[int], width: int, empty: float, kind: Any) -> Any:
    """Columns of corners one after the other, `empty` where there are none; None where none has any."""
    if all(column is None for column in columns):
        return None
    return np.concatenate([np.full((n, 3, width), empty, kind) if c is None else c for c, n in zip(columns, counts, strict=True)])


def plain(material: Material) -> Surface:
    """A material as glTF draws it, without texture."""
    return Surface(material.color, double_sided=material.double_sided)


def items(elements: Elements, pieces: I64, number: I64) -> Items:
    """Everything that some pieces draw; `number` (K,) is what stands in `owner` for each."""
    store = elements.store
    first = store.take("first", pieces)
    count = store.take("first", pieces + 1) - first
    return np.column_stack([np.repeat(number, count), store.take("instance", runs(first, count))])


def place(elements: Elements, wanted: Items, frame: F64) -> Soup | None:
    """Triangles, transformed vertex by vertex through the map CRS (law 4) into a tile's frame; None where there are none.

    Args:
        frame: (4, 4) the tile's frame → ECEF.
    """
    shapes, store = elements.shapes, elements.store
    owner, instance = wanted.T
    first, size = shapes.rows_of(instance)
    drawn = np.flatnonzero((size[:, 0] > 0) & (size[:, 1] > 0))
    if not len(drawn):
        return None
    first, size, t = first[drawn], size[drawn], store.take("transform", instance[drawn])
    start, placed = np.cumsum(size[:, 0]) - size[:, 0], np.empty((int(size[:, 0].sum()), 3))
    vertices = store.take("positions", runs(first[:, 0], size[:, 0]))
    for some, where in placed_alike(vertices, start, size[:, 0], t):
        placed[start[some][:, None] + np.arange(where.shape[1])] = where
    rows, turned = runs(first[:, 1], size[:, 1]), np.repeat(mirrored(t), size[:, 1])
    triangles = store.take("triangles", rows).astype(np.int64)
    triangles[turned] = triangles[turned, ::-1]
    triangles += np.repeat(start, size[:, 1])[:, None]
    positions, heights = _framed(elements, placed, frame)
    uv, colors = (_corners(store, name, first[:, k], size[:, [1, k]], turned, empty) for name, k, empty in (("uv", 2, np.nan), ("colors", 3, 255)))
    soup = Soup(positions, triangles, np.repeat(owner[drawn], size[:, 1]), shapes.rank[store.take("materials", rows)], uv, colors, elements.materials, heights)
    return _cut(soup, elements, placed, frame)


def _framed(elements: Elements, placed: F64, frame: F64) -> tuple[F64, tuple[float, float]]:
    """((N, 3) places of the layer's reference in a tile's frame, lowest and highest ellipsoidal height)."""
    geodetic = crs.to_geodetic(elements.reference, placed)
    return (crs.geodetic_to_ecef(geodetic) - frame[:3, 3]) @ frame[:3, :3], (float(geodetic[:, 2].min(initial=np.inf)), float(geodetic[:, 2].max(initial=-np.inf)))


def _cut(soup: Soup, elements: Elements, placed: F64, frame: F64) -> Soup:
    """Triangles with edges of more than `WIDE` metres in pieces that lie where the layer's own coordinates say: they follow the earth (ADR 0067).

    Between ends that lie together on the earth and far apart on a map (on its both sides) an edge is straight.
    """
    if not len(soup.positions) or float(np.linalg.norm(np.ptp(soup.positions, axis=0))) <= WIDE:
        return soup
    places, (low, high) = [placed], soup.heights
    round_earth = crs.crs_of(elements.reference.horizontal).is_geographic

    def middle(ends: I64, positions: F64) -> F64:
        nonlocal low, high
        known = np.concatenate(places)
        total = known[ends[:, 0]] + known[ends[:, 1]]
        if round_earth:  # over the 180th meridian the short way
            total[:, 0] += 360.0 * (np.abs(known[ends[:, 0], 0] - known[ends[:, 1], 0]) > 180)
        places[:] = [known, total / 2]
        found, heights = _framed(elements, places[1], frame)
        a, b = positions[ends[:, 0]], positions[ends[:, 1]]
        astray = ~(np.linalg.norm(found - (a + b) / 2, axis=1) <= np.linalg.norm(b - a, axis=1) / 2)
        found[astray], places[1][astray] = ((a + b) / 2)[astray], np.nan
        if not astray.any():
            low, high = min(low, heights[0]), max(high, heights[1])
        return found

    positions, triangles, source, share = bisected(soup.positions, soup.triangles, WIDE, middle)
    if not len(share):
        return soup
    cut = soup.take(triangles, source)
    return replace(cut, positions=positions, uv=_shared(cut.uv, share), colors=_shared(cut.colors, share), heights=(low, high))


def _shared(column: Any, share: F64) -> Any:
    """A column of corners of which the last triangles carry what those do that they were cut from: at each corner its `share` (C, 3, 3) of that."""
    if column is None:
        return None
    own = share @ column[-len(share) :].astype(np.float64)
    return np.concatenate([column[: -len(share)], (own if column.dtype.kind == "f" else np.rint(own)).astype(column.dtype)])


def _corners(store: Store, name: str, first: I64, size: I64, turned: NDArray[np.bool_], empty: float) -> Any:
    """(T, 3, …) a column of corners for all triangles, `empty` where a shape has none; None where no shape has any.

    Args:
        size: (K, 2) of each shape, how many triangles it has, and how many of them have the column (all or none).
    """
    if not size[:, 1].any():
        return None
    found = store.take(name, runs(first, size[:, 1]))
    result = np.full((len(turned), *found.shape[1:]), empty, found.dtype)
    result[np.repeat(size[:, 1] > 0, size[:, 0])] = found
    result[turned] = result[turned, ::-1]
    return result


def gathered(elements: Elements, wanted: Items, frame: F64, aim: float, most: int) -> tuple[Soup | None, float]:
    """(`place`, metres that vertices were moved by at most): what is more than `most` vertices is thinned while it is placed.

    Corners then go to the middles of a grid of cubes that is the same for all tiles (so that no gaps open between them), of at most
    half of `aim` a side; triangles that vanish or repeat are left out. So memory holds what the grid can hold. Cubes are halved for what is
    so thin (a railing of many bars) that nothing would be left of it: then it was not drawn, however long it is.
    """
    weights = np.cumsum(2 * elements.shapes.triangles_of(wanted[:, 1]))
    if weights[-1] <= most:
        return place(elements, wanted, frame), 0.0
    for side in 2.0 ** (np.floor(np.log2(aim / 2)) - np.arange(HALVINGS)):
        soups, thinned = (place(elements, wanted[weights // most == k], frame) for k in range(int(weights[-1] // most) + 1)), []
        owners, left = set[int](), set[int]()
        for soup in soups:
            if soup is not None:
                thinned.append(_snapped(soup, frame, side))
                owners.update(np.unique(soup.owner).tolist())
                left.update(np.unique(thinned[-1].owner).tolist())
        if left == owners:
            break
    return Soup.join(thinned), float(side) * np.sqrt(3) / 2


def _snapped(soup: Soup, frame: F64, side: float) -> Soup:
    """Vertices moved to the middles of the earth-fixed cubes of a grid."""
    cell = np.floor((soup.positions @ frame[:3, :3].T + frame[:3, 3]) / side).astype(np.int64)
    first, place_of = _distinct(cell - cell.min(axis=0))
    triangles = place_of[soup.triangles]
    good = np.flatnonzero((triangles != triangles[:, [1, 2, 0]]).all(axis=1))
    turn = triangles[good].argmin(axis=1)
    turned = triangles[good[:, None], (turn[:, None] + np.arange(3)) % 3]
    _, same = _distinct(turned)
    _, once = np.unique(soup.owner[good] * (len(good) + 1) + same, return_index=True)
    kept = good[np.sort(once)]
    positions = ((cell[first] + 0.5) * side - frame[:3, 3]) @ frame[:3, :3]
    return replace(soup.take(triangles[kept], kept), positions=positions)


def _distinct(rows: I64) -> tuple[I64, I64]:
    """(the first of each of the different rows of three numbers ≥ 0, in their order; (N,) which of them each row is)."""
    span = rows.max(axis=0, initial=0) + 1
    if float(span[0]) * float(span[1]) * float(span[2]) < 2**63:  # many times faster than rows
        _, first, which = np.unique((rows[:, 0] * span[1] + rows[:, 1]) * span[2] + rows[:, 2], return_index=True, return_inverse=True)
    else:
        _, first, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, which.ravel()
