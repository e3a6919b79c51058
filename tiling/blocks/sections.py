"""A tileset of blocks as the sections that it is made in: what is near the root, and every piece (ADR 0050).

A piece is a function of what lies in its cell, of what is drawn of that above it, and of what all tiles depend on. So one of which none of that
changed is taken from the last build as it is told there (`tiling.blocks.pieces.Piece`): it is not planned, and none of its tiles is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tiling import partition
from tiling.blocks import masses
from tiling.blocks.mass_columns import COLUMNS
from tiling.blocks.pieces import Piece, is_piece
from tiling.boxes import enu_frames
from tiling.ledger import TILE, boxes_of
from tiling.levels import ABSENCE
from tiling.partition import Cell, Cells, Subtree, Top
from tiling.tree_text import Document, Rows, Tree, document

F64 = NDArray[np.float64]
TOGETHER = 16_384
"""Cells of a group: numbers of them take some 20 MB."""
_DROPPED = ("bottom", "top")
_SUMS = ("vertices", "triangles", "size")


@dataclass
class Section:
    """Tiles that are made together, with a plan of their own.

    Attributes:
        cells: of the plan, the first without a parent. piece: which they are, None near the root.
        subtree: which is yet to be planned, for a piece.
        others: near the root, the pieces by the cells that stand for them, which have no tiles here.
        first, end: their tiles among all that are wanted (`tiling.assembly`), and those of the masses.
        own: what the cells' tiles add to the masses above them, one behind the other.
        tiles: all of its tiles as rows of a ledger (`tiling.ledger.TILE`), the masses last, once they are made.
    """

    cells: Cells
    piece: Piece | None = None
    subtree: Subtree | None = None
    others: dict[int, Piece] = field(default_factory=dict)
    first: int = 0
    end: int = 0
    first_mass: int = 0
    end_mass: int = 0
    own: F64 = field(default_factory=lambda: np.zeros((0, COLUMNS)))
    tiles: pa.Table = field(default_factory=TILE.empty_table)

    def real(self) -> NDArray[np.int64]:
        """The cells that have a tile here."""
        every = np.arange(len(self.cells))
        return np.setdiff1d(every, np.fromiter(self.others, np.int64, len(self.others))) if self.others else every


@dataclass
class Group:
    """Sections that are summed up and told of together, since a call for each of them takes longer than the sums: what is near the root by itself, or some pieces.

    Attributes:
        cells: of all, one behind the other; starts: (K + 1,) where those of each begin. others: as in `Section`.
        far: the masses, if there are any; ends: (K + 1,) where those of each begin.
        tiles: of all as rows of a ledger, the masses of all last.
    """

    sections: Sequence[Section]
    cells: Cells
    starts: NDArray[np.int64]
    others: dict[int, Piece] = field(default_factory=dict)
    far: masses.Masses | None = None
    ends: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    tiles: pa.Table = field(default_factory=TILE.empty_table)

    @staticmethod
    def of(sections: Sequence[Section]) -> Group:
        """Of the section near the root alone, or of pieces."""
        starts = np.cumsum([0, *(len(one.cells) for one in sections)])
        cells = sections[0].cells if len(sections) == 1 else Cells.joined([_below(one.cells, -1, int(at)) for one, at in zip(sections, starts, strict=False)])
        return Group(sections, cells, starts, sections[0].others)

    @property
    def near(self) -> bool:
        """Whether it is what is near the root."""
        return self.sections[0].piece is None

    def real(self) -> NDArray[np.int64]:
        """The cells that have a tile here."""
        return np.concatenate([one.real() + at for one, at in zip(self.sections, self.starts, strict=False)])

    def collect(self, own: F64, ends: NDArray[np.int64]) -> None:
        """Sum up the masses. `own`, `ends`: what the tiles of the cells add to those above them, one behind the other, and where each begins; the pieces near the root have theirs."""
        if self.others:
            rows = [own[a:b] for a, b in pairwise(ends.tolist())]
            for at in sorted(self.others):
                rows.insert(at, np.frombuffer(bytes.fromhex(self.others[at].mass)).reshape(-1, COLUMNS))
            own, ends = np.concatenate([np.zeros((0, COLUMNS)), *rows]), np.cumsum([0, *map(len, rows)])
        self.far = masses.collect(self.cells, own, ends)
        self.ends = np.searchsorted(self.far.cell, self.starts)
        for section, root in zip(self.sections, self.far.roots, strict=False):  # a plan without cells has none
            if section.piece is not None:
                section.piece.mass = root.tobytes().hex()


def together(sections: Sequence[Section]) -> Iterator[Group]:
    """Pieces in their order, as many at a time as have `TOGETHER` cells (at least one)."""
    some: list[Section] = []
    for one in sections:
        if some and sum(len(other.cells) for other in (*some, one)) > TOGETHER:
            yield Group.of(some)
            some = []
        some.append(one)
    if some:
        yield Group.of(some)


def laid_out(found: Sequence[Top | Subtree], limit: float, key_of: Callable[[Subtree], str], same: Callable[[str, str, str], Piece | None]) -> tuple[Section, list[Section]]:
    """(what is near the root, the pieces that are to be made), of a plan from above.

    Args:
        limit: of pieces. key_of: a digest of what all tiles of a subtree depend on. same: the finished piece of that name, content and key, if there is one.
    """
    chunks: list[Cells] = []
    tops: list[int] = []
    others: dict[int, Piece] = {}
    fresh: list[Section] = []
    count = 0
    for node in found:
        above = tops[node.above] if node.above >= 0 else -1
        if isinstance(node, Subtree) and is_piece(node, limit):
            content, key = node.digest(), key_of(node)
            kept = same(node.name, content, key)
            others[count] = kept or Piece(node.name, content, key)
            if kept is None:
                fresh.append(Section(Cells.joined([]), others[count], node))
            cells = Cells.of(Cell(node.level, node.x, node.y, np.zeros(0, np.int64), -1, 0.0))
        else:
            if isinstance(node, Top):
                tops.append(count)
            cells = node.cells()
        chunks.append(cells if not chunks else _below(cells, above, count))
        count += len(cells)
    return Section(_behind(chunks), others=others), fresh


def _below(cells: Cells, above: int, number: int) -> Cells:
    return Cells(cells.level, cells.x, cells.y, np.where(cells.parent < 0, above, cells.parent + number), cells.error, cells.weight, cells.last, cells.rows, cells.mark)


def _behind(chunks: Sequence[Cells]) -> Cells:
    """Parts of a plan in one, with their features."""
    if len(chunks) < 2:
        return chunks[0] if chunks else Cells.joined([])
    columns = {name: np.concatenate([getattr(one, name) for one in chunks]) for name in ("level", "x", "y", "parent", "error", "weight", "rows", "mark")}
    before = np.cumsum([0, *(len(one.rows) for one in chunks)])
    return Cells(**columns, last=np.concatenate([one.last + at for one, at in zip(chunks, before, strict=False)]))


# --- what is told of them ---------------------------------------------------------------------------------------------


def tree_of(group: Group) -> Tree:
    """The cells, which add to those above them, and their masses; of several pieces one behind the other.

    With masses only the root adds; a mass tile is replaced by the cells below it and their mass tiles. The error of a mass tile is that of its
    blocks, or of the buildings that are absent as such (as in levels of meshes, ADR 0005). Pieces stand where they hang.
    """
    cells, far, others, built = group.cells, group.far, group.others, group.tiles
    real = group.real()
    count, extra = len(cells), [at for at, piece in others.items() if len(piece.entries) > 1]
    own = far.cell if far is not None else np.zeros(0, np.int64)
    masked = np.sort(np.concatenate([own, np.array(extra, np.int64)]))  # cells that have a mass tile, which stands right behind them
    rows = np.concatenate([real, count + np.searchsorted(masked, own)])  # of each tile that was built: its place among all cells and then all masses
    size = count + len(masked)
    low, high, errors, ready = np.full((size, 3), np.nan), np.full((size, 3), np.nan), np.zeros(size), np.zeros(size, bool)
    low[rows], high[rows] = boxes_of(built)
    names = np.full(size, "", object)
    names[rows] = [f"{name}.glb" if drawn else "" for name, drawn in zip(built.column("name").to_pylist(), built.column("drawn").to_pylist(), strict=True)]
    replaced = np.arange(size) >= count
    absent = ABSENCE * cells.error
    if far is None or (group.near and not len(masked)):
        errors[:count] = absent
    else:
        errors[rows[len(real) :]] = np.maximum(far.errors(), absent[own])
    if group.near:
        errors[0] = max(absent[0], ABSENCE * far.largest() if far is not None and len(own) else 0.0)
    for at, piece in others.items():
        for place, (lowest, highest, error, content) in zip((at, count + int(np.searchsorted(masked, at))), piece.entries, strict=False):
            ready[place], replaced[place], errors[place], names[place] = True, False, error, content
            if lowest is not None:
                low[place], high[place] = lowest, highest
    mine = np.arange(count) + np.searchsorted(masked, np.arange(count))
    theirs = mine[masked] + 1
    order = np.concatenate([mine, theirs]).argsort()  # cells, then masses → places in the tree
    below = mine.copy()  # where the children of each cell hang
    below[masked] = theirs
    above = np.where(cells.parent >= 0, below[np.maximum(cells.parent, 0)], -1)
    parents = np.concatenate([above, np.where(masked == 0, 0 if group.near else -1, above[masked])])
    side = np.exp2(cells.level)
    frames = enu_frames(*partition.unproject((cells.x + 0.5) / side, (cells.y + 0.5) / side))
    return Tree(frames[np.concatenate([np.arange(count), masked])[order]], errors[order], parents[order], low[order], high[order], names[order].tolist(), replaced[order], ready[order])


def tell(group: Group, about: Any) -> dict[str, Document]:
    """Write down in pieces what is told of them near the root; returns the documents of what hangs below the first cell of each, by its name, where that is one of several tiles."""
    rows, far, found, made = Rows.of(tree_of(group), about is not None), group.far, Facts.of(group.tiles), {}
    masked = far.cell if far is not None else np.zeros(0, np.int64)
    places = group.starts + np.searchsorted(masked, group.starts)  # in the tree, where masses stand behind their cells
    for number, (section, (first, end)) in enumerate(zip(group.sections, pairwise(places.tolist()), strict=True)):
        piece, start = section.piece, int(group.starts[number])
        if piece is None:
            raise ValueError("what is near the root is told of in tileset.json")
        entries = range(first, first + (2 if start in masked else 1))
        piece.entries = [[*((rows.placed.low[at].tolist(), rows.placed.high[at].tolist()) if rows.placed.full[at] else (None, None)), float(rows.errors[at]), rows.own.uri[at]] for at in entries]
        own, low, high = len(group.cells), int(group.ends[number]) if far is not None else 0, int(group.ends[number + 1]) if far is not None else 0
        piece.facts, piece.told = found.summed(slice(start, start + len(section.cells)), slice(own + low, own + high))
        last = entries[-1]
        if len(section.cells) > 1 and rows.placed.full[last]:
            made[piece.name] = document(rows, last, f"tileset-{piece.name.replace('/', '-')}.json", refine="REPLACE" if far is not None else "ADD", about=about, end=end)
            piece.entries[-1][-1] = made[piece.name].name
    return made


@dataclass(frozen=True)
class Facts:
    """Tiles as columns that are summed up, `told` among them: whether there is something to tell of the features of each."""

    columns: dict[str, NDArray[Any]]

    @staticmethod
    def of(tiles: pa.Table) -> Facts:
        """Of rows of a ledger."""
        told = pc.not_equal(pc.fill_null(tiles.column("notes"), ""), "")
        return Facts({name: tiles.column(name).to_numpy() for name in ("drawn", "kept", *_SUMS, *_DROPPED)} | {"told": told.to_numpy()})

    def summed(self, own: slice, masses: slice) -> tuple[dict[str, Any], bool]:
        """(sums over tiles that show buildings and those that show masses, whose feet are rounded; whether there is something to tell)."""
        drawn = self.columns["drawn"]
        bottom, top = (self.columns[name][own][drawn[own]] for name in _DROPPED)
        sums = {name: sum(int(self.columns[name][some][drawn[some]].sum()) for some in (own, masses)) for name in _SUMS}
        kept = sum(int(self.columns["kept"][some].sum()) for some in (own, masses))
        facts = {"tiles": int(drawn[own].sum()) + int(drawn[masses].sum()), "kept": kept, **sums,
                 "bottom": float(bottom.min()) if len(bottom) else None, "top": float(top.max()) if len(top) else None}  # fmt: skip
        return facts, bool(self.columns["told"][own].any() or self.columns["told"][masses].any())


def facts_of(tiles: pa.Table, own: int) -> dict[str, Any]:
    """`Facts.summed` of tiles of which the first `own` show buildings, the others masses."""
    return Facts.of(tiles).summed(slice(0, own), slice(own, len(tiles)))[0]


def summed(many: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`facts_of` of all."""
    heights = {name: [one[name] for one in many if one[name] is not None] for name in _DROPPED}
    return {name: sum(one[name] for one in many) for name in ("tiles", "kept", *_SUMS)} | {"bottom": min(heights["bottom"], default=0.0), "top": max(heights["top"], default=0.0)}


def every(near: Section, fresh: Sequence[Section]) -> Iterator[tuple[Piece, Section | None]]:
    """All pieces in the order of the plan, with the section of those that are made."""
    made = {section.piece.name: section for section in fresh if section.piece is not None}
    for _, piece in sorted(near.others.items()):
        yield piece, made.get(piece.name)
