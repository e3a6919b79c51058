"""One tile of a mesh layer: its pieces as they are (a leaf), or everything below it in a coarser form (an inner tile).

An inner tile takes the largest features first. Each is simplified to a share of the tile's extent, or of its own size where that
is less, and the distance between that form and the finest is measured; a feature whose form misses by too much is tried finer,
and in the end drawn as it is. What is too small for the tile, or does not fit into its budget, is absent. The tile's geometric error
is the largest of the distances and of `ABSENCE` × the sizes of the absent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tiling.blocks.largest import Largest
from tiling.encoding import metadata
from tiling.encoding.drawables import Instanced, Primitive, Surface
from tiling.encoding.gltf import TOLERANCE, Compression, extremes, glb
from tiling.levels import ABSENCE, Rows
from tiling.meshes import normals
from tiling.meshes.elements import Elements
from tiling.meshes.instancing import Group, share
from tiling.meshes.primitives import primitives
from tiling.meshes.soup import Soup, gathered, items, place
from tiling.meshes.textures import Quality
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
"""Budgets of vertices from which on one feature is thinned before it is simplified."""


@dataclass(frozen=True)
class Wanted:
    """What a tile is to draw.

    Attributes:
        centre: longitude and latitude of its frame. rows: the places of its pieces in the plan (`Elements.placed`). leaf: whether as they are.
        extent: the diagonal of all pieces. (Not used for a leaf.)
        hidden: metres that stand for features which are not seen from outside and so not among the pieces.
    """

    centre: tuple[float, float]
    rows: Rows
    leaf: bool
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
    pieces = elements.placed("piece", wanted.rows)
    features, number = np.unique(elements.feature[pieces], return_inverse=True)
    frame = crs.enu_frame(*wanted.centre)
    alone, groups = share(elements, items(elements, pieces, number), frame)
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
        result.notes = _notes(elements.table.ids, features, before, after, solid)
    present = np.flatnonzero(solid)
    if not len(present):
        return result
    number = np.cumsum(solid) - 1
    shared = [(group, one) for group, one in shared if not one.sliver.all()]
    look = _Look(elements, replace(style.textures, texel=texel))
    made = [] if soup is None or shaded is None else look.made(soup, shaded, solid, number)
    many = [Instanced(look.made(g.soup, s, np.ones(1, bool), np.zeros(1, np.int64)), g.translation, g.rotation, g.scale, number[g.owner]) for g, s in shared]
    result.notes.extend(("warned", "", problem) for problem in look.problems if notes)
    table = style.schema.encode(elements.table.take(features[present]))
    result.packed = pack(glb(made, tuple(look.surfaces), table, tolerance=tolerance, compression=style.compression, instanced=many))
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
    surfaces: dict[Surface, int] = field(default_factory=dict)
    """With their numbers."""
    problems: list[str] = field(default_factory=list)

    def made(self, soup: Soup, shaded: normals.Surfaces, solid: NDArray[np.bool_], number: I64) -> list[Primitive]:
        """Primitives of the features of a soup that are `solid`; `number` is the row of each."""
        owner = soup.owner[shaded.source]
        rows = np.flatnonzero(solid[owner])
        made, surfaces, problems = primitives(shaded, rows, number[owner[rows]], soup, self.elements.shapes.images, self.how)
        self.problems += problems
        places = [self.surfaces.setdefault(surface, len(self.surfaces)) for surface in surfaces]
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


def _notes(ids: Callable[[I64], list[str]], features: I64, before: I64, after: I64, solid: NDArray[np.bool_]) -> list[tuple[str, str, str]]:
    """What happened to triangles without area; `ids` tells the ids of some features."""
    lost = [("repaired", i, f"{before[i] - after[i]} of {before[i]} triangles have no area and were left out") for i in np.flatnonzero((after < before) & solid)]
    none = [("refused", i, "none of its triangles has an area") for i in np.flatnonzero(~solid)]
    notes = lost + none
    names = ids(features[[i for _, i, _ in notes]]) if notes else []
    return [(action, name, reason) for (action, _, reason), name in zip(notes, names, strict=True)]


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
    form, frame = _Form(), crs.enu_frame(*wanted.centre)
    largest, done = Largest(elements, wanted.rows, style.budget), 0
    while form.weight <= style.budget:
        first, done = done, largest.run(done, aim / ABSENCE, style.budget)
        if first == done:
            break
        held = largest.held
        count = np.diff(held.first[first : done + 1])
        own, number = held.piece[held.first[first] : held.first[done]], np.repeat(np.arange(done - first), count)
        soup, moved = gathered(elements, items(elements, own, number), frame, aim, CHUNK * style.budget)
        if soup is None:
            continue
        features, size = held.feature[first:done], held.size[first:done]
        _add(form, soup, features, np.minimum(aim, size / LIKENESS), count < elements.count_of(features), style.budget, moved)
    left = len(form.features)
    absent = ABSENCE * float(largest.held.size[left]) if largest.has(left + 1) else 0.0
    off = max(form.errors, default=0.0)
    error = max(off, absent, wanted.hidden)
    tolerance = max(TOLERANCE, 0.01 * min(aim, error))
    result = encode(elements, style, Soup.join(form.soups), [], np.array(form.features, np.int64), tolerance, notes=False, texel=error / PIXELS)
    result.error = error + tolerance + TOLERANCE
    return result


def _add(form: _Form, soup: Soup, features: I64, tolerance: F64, pinned: NDArray[np.bool_], budget: int, moved: float) -> None:
    """Simplify some features and add as many as the budget still holds, the first in any case; their vertices were `moved` before, by up to that."""
    from tiling.meshes.simplified import simplified  # noqa: PLC0415  numba takes half a second to load: small models never need it

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
