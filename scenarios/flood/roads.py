"""Roads in pieces, and to whom each is closed over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from shapely.ops import substring

from scenarios.contract import World
from scenarios.flood import impact
from scenarios.flood.domain import Domain, move
from scenarios.flood.params import Params
from scenarios.flood.solver import Solver
from twin.model import Batch, Features, Table

EVERY = 60.0
"""Seconds between looks at the roads: the resolution of closures."""
CLOSURE = ((0.15, "open", "可通行"), (0.3, "slow", "缓行"), (0.5, "closed to cars", "小汽车禁行"), (np.inf, "closed", "全部禁行"))
"""Depth limits of the worst state: speed falls from 0.15 m, cars stop at 0.3 m (Pregnolato et al. 2017, doi:10.1016/j.trd.2017.06.020), high vehicles at 0.5 m."""


@dataclass
class Roads:
    """Pieces of roads on the grid and their closures so far; C vehicle classes, S pieces.

    Attributes:
        chunks: the pieces as features; ids `<road>#1`, … where a road was cut, `parents` the road.
        cells: (rows, columns) under the pieces, sorted by piece; first: (S + 1,) where each piece's cells begin.
        since: (C, S) time at which the present closure began, −1 where open; events: (class, piece, from s, until s) of past closures.
    """

    params: Params
    domain: Domain
    solver: Solver
    chunks: list[Features]
    cells: tuple[NDArray[np.int64], NDArray[np.int64]]
    owner: NDArray[np.int64]
    count: int
    events: list[tuple[int, int, float, float]] = field(default_factory=list)
    due: float = 0.0

    def __post_init__(self) -> None:
        self.since = np.full((len(self.params.vehicles), self.count), -1.0)
        self.first = np.flatnonzero(np.diff(self.owner, prepend=-1))  # of the pieces that have cells
        self.held = self.owner[self.first]

    @staticmethod
    def build(p: Params, world: World, domain: Domain, solver: Solver) -> Roads:
        """Cut the roads of the layer and find their cells."""
        chunks: list[Features] = []
        rows, columns, owners, count = [], [], [], 0
        for chunk in world.features(p.roads):
            cut = pieces(chunk, domain, p.road_segment_m)
            r, c, owner = impact.cells_along(cut, domain)
            chunks.append(cut)
            rows.append(r)
            columns.append(c)
            owners.append(owner + count)
            count += len(cut)
        empty = [np.zeros(0, np.int64)]
        owner = np.concatenate(owners or empty)
        order = np.argsort(owner, kind="stable")
        return Roads(p, domain, solver, chunks, (np.concatenate(rows or empty)[order], np.concatenate(columns or empty)[order]), owner[order], count)

    def record(self, time: float) -> None:
        """Look which pieces are closed to whom at `time`; at most every `EVERY` seconds, and at the end."""
        end = time >= self.params.hours * 3600 - 1e-6
        if not len(self.owner) or (time < self.due - 1e-6 and not end):
            return
        self.due = (np.floor(time / EVERY + 1e-9) + 1) * EVERY
        depth, product = self._flow()
        deepest, strongest = np.zeros(self.count), np.zeros(self.count)
        deepest[self.held] = np.maximum.reduceat(depth, self.first)
        strongest[self.held] = np.maximum.reduceat(product, self.first)
        for k, vehicle in enumerate(self.params.vehicles):
            shut = (deepest > vehicle.depth_m) | (strongest > vehicle.depth_speed_m2_s)
            now = self.since[k] >= 0
            opened = now & ~shut
            self.events.extend((k, int(i), float(self.since[k, i]), time) for i in np.flatnonzero(opened))
            self.since[k, opened] = -1
            self.since[k, shut & ~now] = time

    def _flow(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(depth m, depth × speed m²/s) at the cells of the pieces."""
        s = self.solver
        g = s.ghost
        r, c = self.cells[0] + g, self.cells[1] + g
        qu, qv = s.state[1, r, c].astype(np.float64), s.state[2, r, c].astype(np.float64)
        if s.scheme == "inertial":
            qu, qv = (qu + s.state[1, r, c - 1]) / 2, (qv + s.state[2, r - 1, c]) / 2
        return np.maximum(s.state[0, r, c], 0).astype(np.float64), np.hypot(qu, qv)

    def closures(self) -> list[tuple[int, int, float, float]]:
        """All closures: (class, piece, from s, until s); until is infinite where the piece is closed still."""
        still = [(int(k), int(i), float(self.since[k, i]), float("inf")) for k, i in np.argwhere(self.since >= 0)]
        return sorted(self.events + still, key=lambda row: (row[1], row[0], row[2]))

    def features(self, best: NDArray[np.float32], threshold: float, now: float) -> list[Batch]:
        """Flooded pieces with their greatest depth, entry, worst state and, by class, when they were closed first, reopened last, and for how long.

        The table `closures` lists every closure: road, vehicle, from_s, until_s (null: closed still at the end).
        """
        arrival = np.where(best[3] < 0, np.inf, best[3])
        spans: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for k, i, begin, until in self.closures():
            spans.setdefault((k, i), []).append((begin, until))
        found: list[Batch] = []
        names: list[str] = []
        start = 0
        for chunk in self.chunks:
            deepest, entry = impact.along(chunk, self.domain, best[0], arrival)
            hit = deepest >= threshold
            names.extend(chunk.ids.to_pylist())
            if hit.any():
                grade = np.searchsorted([limit for limit, _, _ in CLOSURE[:-1]], deepest[hit], side="right")
                columns = {"flood_depth": (np.round(deepest[hit], 3), "m", "路面最大水深", "Greatest depth on the road"),
                           "flood_entry": (np.round(entry[hit], 0), "s", "上水时间", "Time when water reaches the road"),
                           "flood_closure": (np.array([CLOSURE[g][1] for g in grade]), "", "通行状态", "Closure"),
                           "flood_closure_zh": (np.array([CLOSURE[g][2] for g in grade]), "", "通行状态（中文）", "Closure (Chinese)"),
                           **self._closed(start + np.flatnonzero(hit), spans, now)}  # fmt: skip
                found.append(impact.chosen(chunk, hit, columns))
            start += len(chunk)
        if found:
            rows = self.closures()
            schema = pa.schema([("road", pa.string()), ("vehicle", pa.string()), pa.field("from_s", pa.float64(), metadata={"unit": "s"}), pa.field("until_s", pa.float64(), metadata={"unit": "s"})])
            vehicles = [v.name for v in self.params.vehicles]
            found.append(Table("closures", pa.table([[names[i] for _, i, _, _ in rows], [vehicles[k] for k, _, _, _ in rows], [a for _, _, a, _ in rows],
                                                     [b if np.isfinite(b) else None for _, _, _, b in rows]], schema=schema)))  # fmt: skip
        return found

    def _closed(self, pieces: NDArray[np.int64], spans: dict[tuple[int, int], list[tuple[float, float]]], now: float) -> dict[str, tuple[Any, str, str, str]]:
        """Columns by vehicle class; null where a piece was never closed to it, or (reopened) is closed still."""
        out: dict[str, tuple[Any, str, str, str]] = {}
        for k, vehicle in enumerate(self.params.vehicles):
            mine = [spans.get((k, int(i)), []) for i in pieces]
            begin = [a[0][0] if a else None for a in mine]
            until = [a[-1][1] if a and np.isfinite(a[-1][1]) else None for a in mine]
            total = [sum(min(b, now) - a for a, b in each) for each in mine]
            zh, en = vehicle.zh or vehicle.name, vehicle.name.replace("_", " ")
            out[f"closed_{vehicle.name}_from"] = pa.array(begin, pa.float64()), "s", f"{zh}：开始中断", f"Closed to {en} from"
            out[f"closed_{vehicle.name}_until"] = pa.array(until, pa.float64()), "s", f"{zh}：恢复通行", f"Open to {en} again"
            out[f"closed_{vehicle.name}_s"] = pa.array(total, pa.float64()), "s", f"{zh}：中断历时", f"Closed to {en} for"
        return out

    def saved(self) -> dict[str, NDArray[Any]]:
        """Closures so far."""
        return {"since": self.since, "events": np.array(self.events, np.float64).reshape(-1, 4), "due": np.array(self.due)}

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """The inverse of `saved`."""
        self.since, self.due = saved["since"].copy(), float(saved["due"])
        self.events = [(int(k), int(i), float(a), float(b)) for k, i, a, b in saved["events"]]


def pieces(chunk: Features, domain: Domain, longest: float) -> Features:
    """Lines cut into equal pieces of at most `longest` m (in the grid's CRS); ids and parents as `Roads` says. Other geometries stay whole."""
    moved = move(chunk.geometry, chunk.reference.horizontal, domain.horizontal)
    counts = [max(int(np.ceil(shape.length / longest - 1e-9)), 1) if shape is not None and shape.geom_type == "LineString" else 1 for shape in moved]
    if max(counts, default=1) == 1:
        return chunk
    parents = chunk.parents.to_pylist() if chunk.parents is not None else [None] * len(chunk)
    ids, shapes, owners, rows = [], [], [], []
    for i, (name, shape, count) in enumerate(zip(chunk.ids.to_pylist(), chunk.geometry, counts, strict=True)):
        for k in range(count):
            ids.append(name if count == 1 else f"{name}#{k + 1}")
            shapes.append(shape if count == 1 else substring(shape, k / count, (k + 1) / count, normalized=True))
            owners.append(parents[i] if count == 1 else name)
            rows.append(i)
    geometry = np.empty(len(shapes), dtype=object)
    geometry[:] = shapes
    return Features(chunk.reference, pa.array(ids), geometry, chunk.attributes.take(pa.array(rows)), pa.array(owners, pa.string()))
