"""One tile of a mesh layer: its pieces as they are (a leaf), or everything below it in a coarser form (an inner tile).

An inner tile takes the largest features first. Each is simplified to a share of the tile's extent, or of its own size where that
is less, and the distance between that form and the finest is measured; a feature whose form misses by too much is tried finer,
and in the end drawn as it is. What is too small for the tile, or does not fit into its budget, is absent. The tile's geometric error
is the largest of the distances and of `ABSENCE` × the sizes of the absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiling import metadata, normals
from tiling.elements import Elements
from tiling.gltf import TOLERANCE, Compression, Instanced, Primitive, Surface, extremes, glb
from tiling.instancing import Group, share
from tiling.levels import ABSENCE
from tiling.primitives import primitives
from tiling.soup import Soup, gathered, items, place
from tiling.textures import Quality
from tiling.tileset import Finished
from twin import crs
from twin.archive import pack

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
DETAIL = 128.0
"""An inner tile's forms may be off by about its diagonal over this: it then covers 2,000 pixels when a client asks for more."""
LIKENESS = 16.0
"""A feature's form may be off by its own size over this, so that it is still the same thing."""
MISS = 3.0
"""A form that is off by more than this many times what was aimed at is made again, finer."""
PIXELS = 16.0
"""Pixels that a tile's error covers when a client asks for more: a texel need not be finer than one of them."""
CHUNK = 8
"""Budgets of vertices that are simplified at a time."""


@dataclass(frozen=True)
class Wanted:
    """What a tile is to draw.

    Attributes:
        centre: longitude and latitude of its frame. pieces: (K,). leaf: whether as they are.
        size: (K,) metres, tie: (K,) of each piece's feature; extent: the diagonal of all pieces. (Not used for a leaf.)
        hidden: metres that stand for features which are not seen from outside and so not among the pieces.
    """

    centre: tuple[float, float]
    pieces: I64
    leaf: bool
    size: F64
    tie: NDArray[np.uint64]
    extent: float
    hidden: float = 0.0


@dataclass(frozen=True)
class Style:
    """How tiles are encoded: the layer's schema, the crease angle (degrees), the compression, the budget of vertices, the textures."""

    schema: metadata.Schema
    crease: float
    compression: Compression
    budget: int
    textures: Quality = field(default_factory=Quality)


def bake(elements: Elements, style: Style, wanted: Wanted) -> Finished:
    """One tile: a pure function of its features and the options."""
    if not wanted.leaf:
        return coarse(elements, style, wanted)
    features, number = np.unique(elements.feature[wanted.pieces], return_inverse=True)
    frame = crs.enu_frame(*wanted.centre)
    alone, groups = share(elements, items(elements, wanted.pieces, number), frame)
    return encode(elements, style, place(elements, alone, frame), groups, features)


def encode(
    elements: Elements, style: Style, soup: Soup | None, groups: list[Group], features: I64, tolerance: float = TOLERANCE, *, notes: bool = True, texel: float = 0.0,
) -> Finished:  # fmt: skip
    """Triangles with what they carry → a glb: shaded, one primitive a material, a feature id a vertex or an instance.

    Args:
        groups: what is drawn many times.
        features: rows of the layer's table; `owner` of soup and groups counts in them.
        tolerance: metres by which a vertex may be moved.
        notes: say which features lost triangles.
        texel: metres that a texel of its textures may span.
    """
    result = Finished()
    shaded = None if soup is None else _shade(soup, style.crease)
    shared = [(group, _shade(group.soup, style.crease)) for group in groups]
    before, after, solid = _balance(soup, shaded, shared, len(features))
    if notes:
        result.notes = _notes(elements.table.column("id"), features, before, after, solid)
    present = np.flatnonzero(solid)
    if not len(present):
        return result
    number = np.cumsum(solid) - 1
    shared = [(group, one) for group, one in shared if not one.sliver.all()]
    look = _Look(elements, replace(style.textures, texel=texel))
    made = [] if soup is None or shaded is None else look.made(soup, shaded, solid, number)
    many = [Instanced(look.made(g.soup, s, np.ones(1, bool), np.zeros(1, np.int64)), g.translation, g.rotation, g.scale, number[g.owner]) for g, s in shared]
    result.notes.extend(("warned", "", problem) for problem in look.problems if notes)
    table = style.schema.encode(elements.table.take(pa.array(features[present])))
    result.packed = pack(glb(made, look.surfaces, table, tolerance=tolerance, compression=style.compression, instanced=many))
    low, high = extremes(*(p.positions for p in made), *(group.corners for group, _ in shared))
    moved = tolerance - TOLERANCE  # the tileset's own margin is for what a leaf is moved by
    result.low, result.high = low - moved, high + moved
    heights = [one.heights for one in [*([] if soup is None else [soup]), *(group.soup for group, _ in shared)]]
    result.heights, result.kept = (min(h[0] for h in heights), max(h[1] for h in heights)), len(present)
    result.vertices = sum(len(p.positions) for p in made) + sum(len(p.positions) for m in many for p in m.primitives)
    result.triangles = int(after[solid].sum())
    return result


def _shade(soup: Soup, crease: float) -> normals.Surfaces:
    """Vertices and normals; features and materials never share a vertex."""
    return normals.smooth(soup.positions, soup.triangles, soup.owner * len(soup.looks) + soup.material, crease)


@dataclass
class _Look:
    """The surfaces of a tile as its primitives are made, and what went wrong with its textures."""

    elements: Elements
    how: Quality
    surfaces: list[Surface] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def made(self, soup: Soup, shaded: normals.Surfaces, solid: NDArray[np.bool_], number: I64) -> list[Primitive]:
        """Primitives of the features of a soup that are `solid`; `number` is the row of each."""
        owner = soup.owner[shaded.source]
        rows = np.flatnonzero(solid[owner])
        made, surfaces, problems = primitives(shaded, rows, number[owner[rows]], soup, self.elements.shapes.images, self.how)
        self.problems += problems
        places = []
        for surface in surfaces:
            if surface not in self.surfaces:
                self.surfaces.append(surface)
            places.append(self.surfaces.index(surface))
        return [replace(p, surface=places[p.surface]) if p.surface is not None else p for p in made]


def _balance(
    soup: Soup | None, shaded: normals.Surfaces | None, shared: list[tuple[Group, normals.Surfaces]], count: int,
) -> tuple[I64, I64, NDArray[np.bool_]]:  # fmt: skip
    """(triangles of each feature, those that are left, whether any has an area)."""
    before, after, solid = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    if soup is not None and shaded is not None:
        owner = soup.owner[shaded.source]
        before += np.bincount(soup.owner, minlength=count)
        after += np.bincount(owner, minlength=count)
        solid += np.bincount(owner[~shaded.sliver], minlength=count)
    for group, one in shared:
        times = np.bincount(group.owner, minlength=count)
        before += times * len(group.soup.owner)
        after += times * len(one.source)
        solid += times * int((~one.sliver).sum())
    return before, after, solid > 0


def _notes(ids: pa.ChunkedArray, features: I64, before: I64, after: I64, solid: NDArray[np.bool_]) -> list[tuple[str, str, str]]:
    """What happened to triangles without area."""
    lost = [("repaired", i, f"{before[i] - after[i]} of {before[i]} triangles have no area and were left out") for i in np.flatnonzero((after < before) & solid)]
    none = [("refused", i, "none of its triangles has an area") for i in np.flatnonzero(~solid)]
    return [(action, ids[int(features[i])].as_py(), reason) for action, i, reason in lost + none]


# --- coarse forms -------------------------------------------------------------------------------------------------


@dataclass
class _Form:
    """The features drawn by an inner tile, as far as it is made: forms, features (rows of the table) and how far each is off."""

    soups: list[Soup] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    weight: int = 0


def coarse(elements: Elements, style: Style, wanted: Wanted) -> Finished:
    """An inner tile: the largest of its features in a coarser form, with the error of that."""
    aim = wanted.extent / DETAIL
    features, size, pieces = _by_size(elements, wanted, aim)
    form, frame = _Form(), crs.enu_frame(*wanted.centre)
    for first, last in _chunks(elements.weight, pieces, CHUNK * style.budget):
        run = np.arange(first, last)
        own = np.concatenate([pieces[i] for i in run])
        soup, moved = gathered(elements, items(elements, own, np.repeat(run - first, [len(pieces[i]) for i in run])), frame, aim, CHUNK * style.budget)
        if soup is None:
            continue
        pinned = np.array([len(pieces[i]) < elements.count_of(int(features[i])) for i in run])
        _add(form, soup, features[run], np.minimum(aim, size[run] / LIKENESS), pinned, style.budget, moved)
        if form.weight > style.budget:
            break
    left = len(form.features)
    absent = ABSENCE * float(size[left]) if left < len(size) else 0.0
    off = max(form.errors, default=0.0)
    error = max(off, absent, wanted.hidden)
    tolerance = max(TOLERANCE, 0.01 * min(aim, error))
    result = encode(elements, style, Soup.join(form.soups), [], np.array(form.features, np.int64), tolerance, notes=False, texel=error / PIXELS)
    result.error = error + tolerance + TOLERANCE
    return result


def _by_size(elements: Elements, wanted: Wanted, aim: float) -> tuple[I64, F64, list[I64]]:
    """(features with the largest first, their sizes, and of those that are not too small the pieces of each that lie below this tile); one has any in any case."""
    order = np.lexsort((wanted.pieces, wanted.tie, elements.feature[wanted.pieces]))
    owner = elements.feature[wanted.pieces[order]]
    starts = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    size, tie = np.maximum.reduceat(wanted.size[order], starts), wanted.tie[order][starts]
    by_size = np.lexsort((tie, -size))
    size, drawn, ends = size[by_size], wanted.pieces[order], np.append(starts[1:], len(order))
    fits = by_size[: max(int((ABSENCE * size > aim).sum()), 1)].tolist()
    return owner[starts][by_size], size, [drawn[starts[i] : ends[i]] for i in fits]


def _chunks(weights: I64, pieces: list[I64], most: int) -> Iterator[tuple[int, int]]:
    """Runs of features of about `most` vertices: what is in memory at a time."""
    first, total = 0, 0
    for i, own in enumerate(pieces):
        weight = int(weights[own].sum())
        if total and total + weight > most:
            yield first, i
            first, total = i, 0
        total += weight
    if first < len(pieces):
        yield first, len(pieces)


def _add(form: _Form, soup: Soup, features: I64, tolerance: F64, pinned: NDArray[np.bool_], budget: int, moved: float) -> None:
    """Simplify some features and add as many as the budget still holds, the first in any case; their vertices were `moved` before, by up to that."""
    from tiling.simplified import simplified  # noqa: PLC0415  numba takes half a second to load: small models never need it

    shape, errors = simplified(soup, tolerance, pinned, MISS)
    weight = form.weight + np.cumsum(2 * np.bincount(shape.owner, minlength=len(features)))
    count = max(int(np.searchsorted(weight, budget, side="right")), 0 if form.features else 1)
    form.weight = int(weight[count - 1]) if count == len(features) else budget + 1
    if count:
        keep = np.flatnonzero(shape.owner < count)
        kept = shape.take(shape.triangles[keep], keep)
        form.soups.append(Soup(kept.positions, kept.triangles, kept.owner + len(form.features), kept.material, kept.uv, kept.colors, kept.looks, kept.heights))
        form.features.extend(features[:count].tolist())
        form.errors.extend((errors[:count] + moved).tolist())
