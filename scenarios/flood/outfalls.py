"""Outfalls of the network inside the area: their water comes to the surface, and the water standing there backs up into the pipes.

An outfall that the file leaves free (FREE, NORMAL) is coupled where the terrain knows its outlet: its cell lies no higher than the crown of its
pipe, or is held at a level (river, tide). Its stage is the surface's level, or its own invert where the cell is dry (SWMM then takes the critical
depth, as for a free fall). One with a stage of its own (FIXED, TIDAL, TIMESERIES) keeps it, and its water leaves the model.
What SWMM lets flow back is taken from the cell; what the cell does not have is owed, taken as soon as it has, and part of the result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.contract import World
from scenarios.flood.domain import Domain
from scenarios.flood.solver import Solver

FREE = ("FREE", "NORMAL")
FILM = 0.001
"""m of water from which a cell counts as water at the outfall."""
Cells = tuple[NDArray[np.int64], NDArray[np.int64]]


def candidates(found: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """(outfalls without a stage of their own, those with one) of the file's sections."""
    free: list[str] = []
    staged: list[str] = []
    for line in found.get("OUTFALLS", []):
        words = line.split()
        (free if len(words) < 3 or words[2].upper() in FREE else staged).append(words[0])
    return free, staged


@dataclass
class Outfalls:
    """The coupled outfalls.

    Attributes:
        names: those that SWMM watches; cells: theirs (rows, columns); invert: m.
        coupled: (outfalls,) which of them exchange water with the surface.
        out, back, owed: (outfalls,) m³ that came to the surface, that went back, and that SWMM took before the cell had it.
        changes: (interval, outfall, stage m) of those that changed.
    """

    solver: Solver
    names: list[str]
    cells: Cells
    invert: NDArray[np.float64]
    coupled: NDArray[np.bool_]
    changes: list[tuple[int, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = len(self.names)
        self.out, self.back, self.owed, self.seen = (np.zeros(size) for _ in range(4))
        self.stage, self.when = np.full(size, np.nan), np.zeros(0)

    def stages(self, interval: int) -> NDArray[np.float64]:
        """(outfalls,) stage for the next interval, m, to the millimetre; NaN where the file's own boundary holds."""
        s = self.solver
        depth = np.maximum(s.depth[self.cells], 0).astype(np.float64)
        level = np.where(depth > FILM, np.maximum(s.bed[self.cells] + depth, self.invert), self.invert)
        stage = np.where(self.coupled, np.round(level, 3), np.nan)
        new = self.coupled & (stage != self.stage)
        self.changes.extend((interval, int(i), float(stage[i])) for i in np.flatnonzero(new))
        self.stage = stage
        return stage

    def move(self, left: NDArray[np.float64]) -> None:
        """Give the surface what has come out since the last call, and take what went back; `left`: m³ that has left through each since the start."""
        change, self.seen = left - self.seen, left.copy()
        for i in np.flatnonzero(self.coupled & ((change != 0) | (self.owed > 0))):
            cell = self.cells[0][i : i + 1], self.cells[1][i : i + 1]
            self.owed[i] += max(-change[i], 0.0)
            if change[i] > 0:
                settled = min(float(change[i]), float(self.owed[i]))  # what it still owes the surface stays there
                self.owed[i] -= settled
                self.back[i] += settled
                self.out[i] += settled
                depth = self.solver.dtype((change[i] - settled) / self.solver.cell**2)
                self.solver.add(cell, depth)
                self.out[i] += float(depth) * self.solver.cell**2
            if self.owed[i] > 0:
                taken = self.solver.take(cell, float(self.owed[i]))
                self.owed[i] -= taken
                self.back[i] += taken

    def facts(self) -> dict[str, Any]:
        """By coupled outfall, m³."""
        return {name: {"to_surface_m3": round(float(self.out[i]), 3), "from_surface_m3": round(float(self.back[i]), 3), "owed_m3": round(float(self.owed[i]), 3)}
                for i, name in enumerate(self.names) if self.coupled[i]}  # fmt: skip

    def saved(self) -> dict[str, NDArray[Any]]:
        """Volumes and the stages that were set."""
        return {"outfall_changes": np.array(self.changes, np.float64).reshape(-1, 3), "outfall_volumes": np.stack([self.out, self.back, self.owed, self.seen])}

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """The inverse of `saved`."""
        self.changes = [(int(k), int(i), float(stage)) for k, i, stage in saved["outfall_changes"]]
        self.out, self.back, self.owed, self.seen = (row.copy() for row in saved["outfall_volumes"])
        self.stage = np.full(len(self.names), np.nan)
        for _, i, stage in self.changes:
            self.stage[i] = stage

    def rewind(self) -> None:
        """Before a replay."""
        self.when = np.array([interval for interval, _, _ in self.changes], np.float64)

    def replayed(self, interval: int, now: NDArray[np.float64]) -> NDArray[np.float64]:
        """The stages of one interval of a replay, from those of the interval before."""
        stage = now.copy()
        first = np.searchsorted(self.when, [interval, interval + 1])
        for _, i, value in self.changes[first[0] : first[1]]:
            stage[i] = value
        return stage


def judge(outfalls: Outfalls, crown: NDArray[np.float64], held: NDArray[np.bool_], domain: Domain, world: World) -> None:
    """Couple those whose outlet the terrain knows, and say what becomes of each.

    Args:
        outfalls: to be coupled; crown: (outfalls,) m; held: (rows, columns) cells held at a level; domain: grid; world: report.
    """
    outfalls.coupled = (domain.bed[outfalls.cells] <= crown + 1e-6) | held[outfalls.cells]
    known = [name for name, yes in zip(outfalls.names, outfalls.coupled, strict=True) if yes]
    buried = [name for name, yes in zip(outfalls.names, outfalls.coupled, strict=True) if not yes]
    if known:
        world.report.note("assumed", few(known), f"{len(known)} outfalls give their water to the surface and feel its level (outfalls=file: they do not)")
    if buried:
        world.report.note("assumed", few(buried), f"{len(buried)} outfalls lie below the ground of their cells: the terrain does not know their outlet; their water leaves the model")


def few(names: list[str]) -> str:
    """The first twenty, and how many more."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
