"""What a build of a point cloud leaves for the next: a part of the octree whose files did not change is copied, and they are not read.

The cube is cut into units: its cells of at most a bucket's points (at most `COUNT_LEVEL` levels deep). What becomes of a unit depends on
its points and on what all tiles share, and its points on the files that reach it: their bytes, reference and filter. So the key of a unit is
a digest of these names, and no point is looked at to know it; which files reach it is known from a count of each file's points by
cells, which is left too. For the tiles above the units their chosen points are left (ADR 0020).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tiling.ledger import Ledger
from tiling.points.glb import Look
from tiling.points.octree import Choice, Top, cell_name
from tiling.points.runs import Cells, Cloud, Columns, Spool
from tiling.reuse import LEDGER, Past, common_key
from tiling.tileset import Finished
from twin.archive import ArchiveWriter, Packed
from twin.errors import NotFound
from twin.lake import Lake, digest

CELLS, TOPS = "point cells", "point tops"


@dataclass(frozen=True)
class Unit:
    """A cell of the cube that is made or copied as a whole: octree level, Morton code, points, the files that reach it, its key."""

    level: int
    prefix: int
    count: int
    files: tuple[int, ...]
    key: bytes

    @property
    def name(self) -> str:
        """As the tiles are named."""
        return cell_name(self.level, self.prefix)


@dataclass(frozen=True)
class Branch:
    """What became of a bucket: the points that it hands upwards, the names of its tiles in order, how many points lie where another does."""

    top: Top
    tiles: list[str]
    coincident: int


def marks_of(sources: list[Cloud], frame: Any) -> list[str]:
    """Of each file, a digest of all that decides where its points lie in the cube and what is known of them."""
    return [common_key({"part": [c.part.key, c.part.count, c.part.properties], "unit": c.patches.unit, "nodes": hashlib.sha256(c.patches.nodes.tobytes()).hexdigest(),
                        "frame": np.asarray(frame).tolist(), "cube": [c.cube.low.tolist(), c.cube.step, c.cube.bits]}).hex() for c in sources]  # fmt: skip


def shared(code: str, options: Any, choice: Choice, look: Look) -> bytes:
    """A digest of what all tiles of a cloud depend on besides its points."""
    palette = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(look.palette).items()}
    columns = {name: [bytes(c.values).hex(), bytes(c.string_offsets).hex() if c.string_offsets is not None else ""] for name, c in look.table.columns.items()}
    return common_key({"code": code, "options": options, "grid": choice.grid, "palette": palette, "classes": look.class_row.tolist(), "schema": look.table.schema,
                       "columns": columns, "rest": [look.intensity, look.meshopt, look.point_class, len(look.table)]})  # fmt: skip


def units(spool: Spool, most: int, marks: list[str], common: bytes) -> list[Unit]:
    """All units, in Morton order; together every point once."""
    found = []
    for level, prefix, count in spool.cells_of(most):
        files = tuple(k for k, cells in enumerate(spool.files) if cells is not None and cells.meets(level, prefix))
        told = json.dumps([level, prefix, [marks[k] for k in files]]).encode()
        found.append(Unit(level, prefix, count, files, hashlib.blake2b(common + told, digest_size=16).digest()))
    return found


class PointPast:
    """What the last build left of a cloud, as far as it is there and whole."""

    def __init__(self, past: Past, lake: Lake) -> None:
        self.past = past
        self._cells = self._tops = None
        if past.archives:
            self._cells, self._tops = _whole(lake, past.sidecars.get(CELLS)), _whole(lake, past.sidecars.get(TOPS))

    def cells(self, mark: str) -> Cells | None:
        """Where the points of a file lie, if it was part of the last build."""
        place = self.past.notes.get("cells", {}).get(mark)
        if place is None or self._cells is None:
            return None
        body = np.fromfile(self._cells, np.uint32, 2 * place[1], offset=8 * place[0])
        return Cells(body[: place[1]], body[place[1] :].astype(np.int64))

    def knows(self, unit: Unit) -> bool:
        """Whether the last build made the same unit."""
        noted = self.past.notes.get("units", {}).get(unit.name)
        if noted is None or self._tops is None or noted[0] != unit.key.hex():
            return False
        return all(self.past.find(name, unit.key) >= 0 for branch in noted[1] for name in branch[-1])

    def branches(self, unit: Unit) -> list[Branch]:
        """What became of a unit that it knows."""
        assert self._tops is not None
        found = []
        for level, prefix, error, crumb, coincident, at, count, tiles in self.past.notes["units"][unit.name][1]:
            with self._tops.open("rb") as file:
                file.seek(18 * at)
                places, colors, intensity = np.fromfile(file, np.int32, 3 * count), np.fromfile(file, np.uint8, 4 * count), np.fromfile(file, np.uint16, count)
            points = Columns(places.reshape(-1, 3), colors.reshape(-1, 4), intensity)
            found.append(Branch(Top(level, prefix, points, error, crumb=crumb, mark=mark_of(unit, level, prefix)), tiles, coincident))
        return found


def mark_of(unit: Unit, level: int, prefix: int) -> bytes:
    """A digest of everything in a bucket of a unit."""
    return hashlib.blake2b(unit.key + cell_name(level, prefix).encode(), digest_size=16).digest()


def _whole(lake: Lake, key: str | None) -> Path | None:
    """A sidecar's file, if it is what it was."""
    try:
        path = lake.path(key) if key is not None else None
        return path if path is not None and key is not None and key.startswith(digest(path)) else None
    except (NotFound, OSError):
        return None


@dataclass
class PointRecord:
    """Tiles into an archive in their order, made or copied, and what the next build wants to know of them.

    `rewritten`: the archive becomes an implicit one afterwards, as was the last; then `placed` is told where the contents went.
    """

    archive: ArchiveWriter
    past: Past
    tops: BinaryIO
    rewritten: bool
    ledger: Ledger = field(default_factory=Ledger)
    _units: dict[str, Any] = field(default_factory=dict)
    _held: int = 0
    _waiting: dict[str, int] = field(default_factory=dict)

    def copy(self, name: str, key: bytes) -> Finished | None:
        """Take a tile over from the last build, if that has it."""
        row = self.past.find(name, key)
        if row < 0:
            return None
        one, check = self.past.finished[row], self.past.checks[row]
        if one.packed is not None and self.rewritten:
            self.archive.add_packed(f"{name}.glb", self.past.stored(name))
        elif one.packed is not None:
            self._waiting[f"{name}.glb"] = check
        self.ledger.add(name, key, check, one)
        return one

    def add(self, name: str, key: bytes, one: Finished) -> None:
        """Write a tile that was made, and forget its bytes."""
        self.flush()
        check = 0
        if one.packed is not None:
            check = one.packed.check
            self.archive.add_packed(f"{name}.glb", one.packed)
            one.packed = Packed(b"", 0, one.packed.size, False)
        self.ledger.add(name, key, check, one)

    def flush(self) -> None:
        """Write what was to be copied.

        Raises:
            Spoilt: it is not there any more, or damaged.
        """
        wanted, self._waiting = self._waiting, {}
        self.past.copy(self.archive, wanted)

    def branch(self, unit: Unit, branch: Branch) -> None:
        """Write down what became of a bucket."""
        top = branch.top
        for column in (top.points.places, top.points.colors, top.points.intensity):
            self.tops.write(np.ascontiguousarray(column).tobytes())
        noted = self._units.setdefault(unit.name, [unit.key.hex(), []])
        noted[1].append([top.level, top.prefix, top.error, top.crumb, branch.coincident, self._held, len(top.points), branch.tiles])
        self._held += len(top.points)

    def known(self, uri: str) -> Packed | None:  # noqa: ARG002
        """All contents of the explicit archive are whole: see `tiling.implicit`."""
        return None

    def placed(self, uri: str, name: str, check: int) -> None:
        """A content went to another place."""
        self.ledger.places[uri.removesuffix(".glb")] = name, check

    def save(self, lake: Lake, spool: Spool, marks: list[str]) -> dict[str, str]:
        """The sidecars: their keys in the lake by name."""
        self.tops.close()
        body, places, at = [], {}, 0
        for mark, cells in zip(marks, spool.files, strict=True):
            if cells is not None:
                places[mark] = [at, len(cells.codes)]
                body.append(np.concatenate([cells.codes, cells.counts.astype(np.uint32)]))
                at += len(cells.codes)
        self.ledger.notes = {"cells": places, "units": self._units}
        return {LEDGER: self.ledger.save(lake), CELLS: lake.put_bytes(np.concatenate(body).tobytes(), ".cells"),
                TOPS: lake.put_file(Path(self.tops.name), ".tops", move=True)}  # fmt: skip


