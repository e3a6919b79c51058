"""The flow over a grid: buffers, tiles, time steps, edges and the ledger of water. Knows numbers, not layers.

Heights are kept relative to the run's datum (the lowest bed) in float32; water is summed in float64 over the field itself.
State: 3 (second order) or 2 buffers of 16 bytes, bed, roughness and rain weight: 60 or 44 bytes a cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scenarios.kernels import inertial, lines, shallow, sources
from twin.errors import BadInput

Scheme = Literal["hllc", "hllc2", "inertial"]
SIDES = ("north", "south", "west", "east")
CFL = {"hllc": 0.45, "hllc2": 0.4, "inertial": 0.62}
CFL_LIMIT = {"hllc": 0.5, "hllc2": 0.5, "inertial": 0.66}
"""Courant numbers aimed at, and those beyond which a step is taken again, shorter. Local inertial: without friction a checkerboard of the
surface grows from √(θ/2) = 0.6708 on (two dimensions; θ = 0.9), by von Neumann's analysis of λ² − (a + 1 − 8C²)λ + a = 0, a = 2θ − 1."""
LONGEST_STEP = 10.0
LONGEST_STRIP, FEWEST_STRIPS = 8, 16
"""Most tiles that are computed as one strip; strips are shorter where a grid would have fewer than so many, which its threads share."""
DEEP = 1e-12


@dataclass
class Solver:
    """Flow over a grid of square cells, row 0 in the north.

    Attributes:
        bed: (rows, columns) float64 ground, m.
        cell: size, m.
        roughness: Manning's n, one number or (rows, columns).
        scheme: `hllc` (first order), `hllc2` (second order) or `inertial`.
        blocked: (rows, columns) cells that are walls.
        open_sides: sides where water may leave freely; the others are walls.
        rain_weight: (rows, columns) share of rain that a cell gets; None: 1 everywhere.
        dtype: float32, or float64 for tests.
    """

    bed: NDArray[np.float64]
    cell: float
    roughness: Any = 0.03
    scheme: Scheme = "hllc"
    blocked: Any = None
    open_sides: tuple[str, ...] = ()
    rain_weight: NDArray[Any] | None = None
    dtype: Any = np.float32
    cfl: float = 0.0
    dry: float = 1e-5
    time: float = 0.0
    steps: int = 0
    rejected: int = 0
    edge_volume: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SIDES, 0.0))

    def __post_init__(self) -> None:
        self.shape = rows, columns = self.bed.shape
        self.ghost = g = inertial.GHOST if self.scheme == "inertial" else shallow.GHOST
        self.cfl = self.cfl or CFL[self.scheme]
        wall = self.blocked if self.blocked is not None else np.zeros(self.shape, np.bool_)
        self.blocked = wall
        self.datum = float(np.min(self.bed[~wall])) if (~wall).any() else 0.0
        z = np.full((rows + 2 * g, columns + 2 * g), shallow.WALL, self.dtype)
        self.inside = (slice(g, -g), slice(g, -g))
        z[self.inside] = np.where(wall, shallow.WALL, self.bed - self.datum)
        self.z = _open_beds(z, g, self.open_sides)
        self.n = np.zeros_like(z)
        self.n[:] = np.pad(np.broadcast_to(np.asarray(self.roughness, self.dtype), self.shape), g, mode="edge")
        self.weight = np.zeros_like(z)
        self.weight[self.inside] = np.where(wall, 0.0, 1.0) if self.rain_weight is None else self.rain_weight
        self.buffers = [np.zeros((4, *z.shape), self.dtype) for _ in range(3 if self.scheme == "hllc2" else 2)]
        self.state = self.buffers[0]
        self.edges = np.zeros(2 * (rows + columns))
        down, across = shallow.TILE_ROWS, shallow.TILE_COLUMNS
        self.tile_grid = -(-rows // down), -(-columns // across)
        self.all_tiles = np.array([(r + g, min(r + down, rows) + g, c + g, min(c + across, columns) + g)
                                   for r in range(0, rows, down) for c in range(0, columns, across)], np.int64)  # fmt: skip
        self.wet = np.zeros(len(self.all_tiles), np.bool_)
        self.mask = np.zeros((0, 0), np.uint8)
        self.all_lined = np.zeros(len(self.all_tiles), np.bool_)
        self.dt = LONGEST_STEP
        self.tried = self.state
        self._list_tiles()

    # --- the field ---------------------------------------------------------------------------------------------

    def saved(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs to go on to the bit."""
        return {"state": self.state, "wet": self.wet, "dt": np.array(self.dt), "time": np.array(self.time), "steps": np.array([self.steps, self.rejected]),
                "edge_volume": np.array([self.edge_volume[side] for side in SIDES])}  # fmt: skip

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """Go on from `saved`."""
        for buffer in self.buffers:
            buffer[:] = saved["state"]
        self.wet = saved["wet"].copy()
        self.dt, self.time = float(saved["dt"]), float(saved["time"])
        self.steps, self.rejected = (int(v) for v in saved["steps"])
        self.edge_volume = {side: float(v) for side, v in zip(SIDES, saved["edge_volume"], strict=True)}
        self._list_tiles()

    @property
    def depth(self) -> NDArray[Any]:
        """(rows, columns) view of the depth, m."""
        return self.state[(0, *self.inside)]

    def level(self) -> NDArray[np.float64]:
        """(rows, columns) water level (bed where dry), m in the bed's datum."""
        return np.asarray(self.bed + np.maximum(self.depth, 0).astype(np.float64))

    def velocity(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """(u, v) at cell centres: to the east, and to growing rows (south), m/s; 0 below the dry depth."""
        qu, qv = self.state[(1, *self.inside)], self.state[(2, *self.inside)]
        if self.scheme == "inertial":
            g = self.ghost
            qu, qv = (qu + self.state[1, g:-g, g - 1 : -g - 1]) / 2, (qv + self.state[2, g - 1 : -g - 1, g:-g]) / 2
        deep = self.depth > self.dry
        h = np.where(deep, self.depth, 1)
        return np.where(deep, qu / h, 0), np.where(deep, qv / h, 0)

    def volume(self) -> float:
        """Water in the field, m³: float64 sum of depth and what its rounding withholds."""
        total = np.sum(self.depth, dtype=np.float64) + np.sum(self.state[(3, *self.inside)], dtype=np.float64)
        return float(total) * self.cell**2

    def set_depth(self, depth: NDArray[Any]) -> None:
        """Fill the field with `depth` (m); walls stay empty."""
        for buffer in self.buffers:
            buffer[(0, *self.inside)] = np.where(self.blocked, 0, depth)
            buffer[1:] = 0
        self.mark_wet()

    def set_level(self, level: float | NDArray[np.float64]) -> None:
        """Fill up to `level` (m in the bed's datum) wherever the bed is lower.

        Levels are rounded with the bed (to the field's type) first, so that a lake is as flat as the type can say.
        """
        surface = np.asarray(np.asarray(level, np.float64) - self.datum).astype(self.dtype)
        self.set_depth(np.maximum(surface - self.z[self.inside], 0))

    def set_velocity(self, u: NDArray[Any], v: NDArray[Any]) -> None:
        """Start with a moving field (full schemes only), m/s."""
        self.state[(1, *self.inside)] = self.depth * u
        self.state[(2, *self.inside)] = self.depth * v

    def add(self, cells: tuple[NDArray[np.int64], NDArray[np.int64]], depth: Any) -> None:
        """Add `depth` (m; one number or one a cell) to the cells named by (rows, columns), each once, with compensation."""
        at = (cells[0] + self.ghost, cells[1] + self.ghost)
        old = self.state[(0, *at)]
        change = (self.state[(3, *at)] + np.asarray(depth)).astype(self.dtype)
        new = old + change
        self.state[(3, *at)] = change - (new - old)
        self.state[(0, *at)] = new
        self.touch(cells)

    def take(self, cells: tuple[NDArray[np.int64], NDArray[np.int64]], volume: float) -> float:
        """Remove up to `volume` (m³) from the cells, each in proportion to its water, never more than there is; returns what was removed.

        The water that goes takes its momentum along.
        """
        at = (cells[0] + self.ghost, cells[1] + self.ghost)
        there = np.maximum(self.state[(0, *at)], 0)
        total = float(np.sum(there, dtype=np.float64)) * self.cell**2
        if total <= 0 or volume <= 0:
            return 0.0
        amount = np.minimum(there * self.dtype(min(volume / total, 1.0)), there)
        if self.scheme != "inertial":
            keep = 1 - amount / np.where(there > 0, there, 1)
            self.state[(1, *at)] *= keep
            self.state[(2, *at)] *= keep
        self.add(cells, -amount)
        return float(np.sum(amount, dtype=np.float64)) * self.cell**2

    def highest(self, cells: tuple[NDArray[np.int64], NDArray[np.int64]]) -> float:
        """Highest water level over the cells (bed where dry), m in the bed's datum."""
        at = (cells[0] + self.ghost, cells[1] + self.ghost)
        return float(np.max(self.z[at].astype(np.float64) + np.maximum(self.state[(0, *at)], 0))) + self.datum

    def touch(self, cells: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
        """Say that water has come to these cells."""
        tile = (cells[0] // shallow.TILE_ROWS) * self.tile_grid[1] + cells[1] // shallow.TILE_COLUMNS
        if not self.wet[tile].all():
            self.wet[tile] = True
            self._list_tiles()

    def hold_level(self, cells: tuple[NDArray[np.int64], NDArray[np.int64]], level: float) -> float:
        """Set the cells to a water level (m in the bed's datum, empty where the bed is higher); returns the volume this added, m³."""
        at = (cells[0] + self.ghost, cells[1] + self.ghost)
        before = float(np.sum(self.state[(0, *at)], dtype=np.float64) + np.sum(self.state[(3, *at)], dtype=np.float64))
        depth = np.maximum(self.dtype(level - self.datum) - self.z[at], 0).astype(self.dtype)
        self.state[(0, *at)], self.state[(3, *at)] = depth, 0
        dry = tuple(a[depth <= 0] for a in at)
        self.state[(1, *dry)] = self.state[(2, *dry)] = 0
        self.touch((cells[0][depth > 0], cells[1][depth > 0]))
        return (float(np.sum(depth, dtype=np.float64)) - before) * self.cell**2

    def close_faces(self, east: NDArray[np.bool_], south: NDArray[np.bool_]) -> None:
        """Let no water pass the faces to the next column (`east`) and the next row (`south`), both (rows, columns); replaces earlier ones."""
        g = self.ghost
        self.mask = np.zeros(self.z.shape, np.uint8)
        self.mask[self.inside] = east * np.uint8(lines.EAST) | south * np.uint8(lines.SOUTH)
        self.all_lined = np.array([self.mask[r0 - g : r1 + g, c0 - g : c1 + g].any() for r0, r1, c0, c1 in self.all_tiles])
        self._list_tiles()

    def mark_wet(self) -> None:
        """Look for water in all tiles (after the field was changed from outside)."""
        rows, columns = self.tile_grid
        padded = np.zeros((rows * shallow.TILE_ROWS, columns * shallow.TILE_COLUMNS), np.bool_)
        padded[: self.shape[0], : self.shape[1]] = self.depth > 0
        found = padded.reshape(rows, shallow.TILE_ROWS, columns, shallow.TILE_COLUMNS).any(axis=(1, 3)).ravel()
        if (found & ~self.wet).any():
            self.wet |= found
            self._list_tiles()

    def _list_tiles(self) -> None:
        active = ndimage.binary_dilation(self.wet.reshape(self.tile_grid), np.ones((3, 3))).ravel()
        self.active = np.flatnonzero(active)
        self.result = np.zeros((len(self.active), 2))
        self.strips = self._join()
        # a thread without a strip only spins
        self.threads = max(1, min(numba.config.NUMBA_NUM_THREADS, len(self.strips)))

    def _join(self) -> NDArray[np.int64]:
        """Active tiles that lie beside each other as strips (see `shallow.advance`): memory is read several times as fast along whole rows as by tiles.

        Their length depends on the grid alone and not on the threads, so that any number of these gives the same bits; tiles with closed faces
        and without are kept apart.
        """
        if not len(self.active):
            return np.zeros((0, 6), np.int64)
        longest = max(1, min(LONGEST_STRIP, len(self.all_tiles) // FEWEST_STRIPS))
        lined, index = self.all_lined[self.active], np.arange(len(self.active))
        new = np.ones(len(self.active), np.bool_)
        new[1:] = (np.diff(self.active) > 1) | (self.active[1:] % self.tile_grid[1] == 0) | (lined[1:] != lined[:-1])
        begin = np.flatnonzero(new)
        runs = np.diff(begin, append=len(index))
        even = -(-runs // -(-runs // longest))  # a run of 9 becomes 5 + 4, not 8 + 1
        first = np.flatnonzero((index - np.repeat(begin, runs)) % np.repeat(even, runs) == 0)
        last = np.append(first[1:], len(index)) - 1
        tiles = self.all_tiles[self.active]
        return np.ascontiguousarray(np.column_stack([tiles[first, :3], tiles[last, 3], first, lined[first]]))

    # --- time --------------------------------------------------------------------------------------------------

    def step(self, longest: float) -> float:
        """One time step of at most `longest` seconds; returns its length.

        Raises:
            BadInput: the step that stability allows has shrunk below a millionth of a second; names the cell.
        """
        if not len(self.strips):
            dt = min(longest, LONGEST_STEP)
            self.time += dt
            return dt
        dt = min(self.dt, longest)
        numba.set_num_threads(self.threads)
        while True:
            speed = self._try(dt)
            tried = self.tried
            allowed = self.cfl * self.cell / max(speed, DEEP)
            if speed * dt <= CFL_LIMIT[self.scheme] * self.cell:
                break
            self.rejected += 1
            dt = min(allowed, dt / 2)
            if not dt > 1e-6:  # also true for a speed that is not a number
                raise BadInput(f"The flow broke down at t = {self.time:.3f} s: waves of {speed:.3g} m/s in {self._worst(tried)}.", "Look at the bed and the sources there.")
        self.time += dt
        self.steps += 1
        self.dt = min(allowed, LONGEST_STEP)
        now_wet = self.result[:, 1] > 0
        if not self.wet[self.active[now_wet]].all():
            self.wet[self.active[now_wet]] = True
            self._list_tiles()
        return dt

    def _try(self, dt: float) -> float:
        """Compute the state after `dt`; it becomes the present only if the caller's check of the returned wave speed holds."""
        now = self.state
        self.tried = after = next(b for b in self.buffers if b is not now)
        self._fill_edges(now)
        self.edges[:] = 0
        if self.scheme == "inertial":
            inertial.advance(now, after, self.z, self.n, self.strips, dt, self.cell, self.dry, self.edges, self.result, self.mask)
            speed, flows = float(self.result[:, 0].max()), self.edges
        elif self.scheme == "hllc":
            shallow.advance(now, now, after, self.z, self.n, self.strips, dt, self.cell, self.dry, 1.0, False, self.edges, self.result, self.mask)
            speed, flows = float(self.result[:, 0].max()), self.edges
        else:
            last = next(b for b in self.buffers if b is not now and b is not after)
            shallow.advance(now, now, after, self.z, self.n, self.strips, dt, self.cell, self.dry, 1.0, True, self.edges, self.result, self.mask)
            speed = float(self.result[:, 0].max())
            if speed * dt <= CFL_LIMIT[self.scheme] * self.cell:
                self._fill_edges(after)
                shallow.advance(now, after, last, self.z, self.n, self.strips, dt, self.cell, self.dry, 0.5, True, self.edges, self.result, self.mask)
                speed = max(speed, float(self.result[:, 0].max()))
            flows, after = self.edges / 2, last
        if speed * dt <= CFL_LIMIT[self.scheme] * self.cell:
            self.state = after
            rows, columns = self.shape
            sums = np.add.reduceat(flows, (0, columns, 2 * columns, 2 * columns + rows))
            for side, part in zip(SIDES, sums.tolist(), strict=True):
                self.edge_volume[side] += part * dt * self.cell
        return speed

    def _fill_edges(self, state: NDArray[Any]) -> None:
        if self.open_sides:
            sources.open_edges(state, self.ghost, *(side in self.open_sides for side in SIDES), self.scheme == "inertial")

    def _worst(self, tried: NDArray[Any]) -> str:
        """The cell that moves fastest, before the step or (where it was still at rest) in the trial that failed."""
        for state in (self.state, tried):
            h, qu, qv, _ = state[(slice(None), *self.inside)].astype(np.float64)
            with np.errstate(all="ignore"):
                speed = np.hypot(qu, qv) / np.maximum(h, self.dry) + np.sqrt(9.81 * np.maximum(h, 0))
            speed = np.where(np.isnan(speed), np.inf, speed)
            if speed.max() > 0:
                break
        row, column = np.unravel_index(int(np.argmax(speed)), speed.shape)
        return f"row {row}, column {column} (from the north-west)"


def _open_beds(z: NDArray[Any], g: int, sides: tuple[str, ...]) -> NDArray[Any]:
    """Beds of the ghosts beside open sides: the slope goes on where it falls outwards, else level."""
    views = {"north": z[:, :], "south": z[::-1], "west": z.T, "east": z.T[::-1]}
    for side in sides:
        v = views[side]
        fall = np.where((v[g] < shallow.HALF_WALL) & (v[g + 1] < shallow.HALF_WALL), np.minimum(v[g] - v[g + 1], 0), 0)
        for k in range(1, g + 1):
            v[g - k] = np.where(v[g] < shallow.HALF_WALL, v[g] + k * fall, v[g])
    return z
