"""Shapes of elements: the process that makes them, as a context, and how two shapes of one element are compared."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from ingest_bim.geometry.host import Task, serve
from ingest_bim.geometry.polygons import cross
from ingest_bim.geometry.redrawn import prepared
from ingest_bim.geometry.start import LIVES, Forked, Started, died, spawned
from ingest_bim.pipes import receive, send

FAST, MIDDLE, REFERENCE = "hybrid-manifold-opencascade", "hybrid-cgal-simple-opencascade", "opencascade"
VOLUME_TOLERANCE = 0.005
BOX_TOLERANCE = 1e-3

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shape:
    """One element's triangles in its own frame (metres) and the matrix from there to the model's world (metres).

    Attributes:
        positions: (V, 3) float64.
        triangles: (T, 3) int32.
        rows: (T,) int32 into `materials`, −1 for none.
        materials: (name, rgba) as the file styles it.
        matrix: (4, 4) float64.
        kernel: which made it.
        missing: items that it lacks, in words.
    """

    positions: F64
    triangles: NDArray[np.int32]
    rows: NDArray[np.int32]
    materials: list[tuple[str, tuple[float, float, float, float]]]
    matrix: F64
    kernel: str
    missing: str = ""


@dataclass
class Shapes:
    """Everything that was shaped, by step id, and what was not: (state, reason)."""

    shapes: dict[int, Shape] = field(default_factory=dict)
    skipped: dict[int, tuple[str, str]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Host:
    """The geometry process (`ingest_bim.geometry.host`) as a context: `submit` elements, and ask for each `result`.

    One that dies is started once more and does what is not done yet.

    Args:
        source: the model's name, for messages.
        start: makes the process. first: what that is told before its tasks.
    """

    def __init__(self, source: str, start: Callable[[], Started], *first: Any) -> None:
        self.source, self._start, self._first = source, start, first
        self._lives, self._stopped = LIVES, threading.Event()
        self._open: dict[int, Task] = {}
        self.answers: SimpleQueue[Any] = SimpleQueue()
        self._begin()

    def _begin(self) -> None:
        self.process = self._start()
        # a thread empties the pipe, so that workers never wait for a parent that is busy with properties
        self.drain = threading.Thread(target=self._drain, args=(self.process.stdout,), daemon=True)
        self.drain.start()
        for message in self._first:
            self._tell(message)

    @classmethod
    def of_file(cls, source: str, path: Path, workers: int, seconds: float) -> Self:
        """One that opens the model itself, as the caller does at the same time."""
        return cls(source, partial(spawned, "ingest_bim.geometry.host"), (str(path.resolve()), workers, seconds))

    @classmethod
    def of_model(cls, source: str, model: Any, workers: int, seconds: float) -> Self:
        """A fork of this process, which has the model open and runs no other thread."""
        return cls(source, lambda: Forked(lambda commands, answers: serve(prepared(model), workers, seconds, commands, answers)))

    def _drain(self, stream: IO[bytes]) -> None:
        while (answer := receive(stream)) is not None:
            if answer != "ready":
                self.answers.put(answer)
        self.answers.put(None)

    def submit(self, tasks: list[Task]) -> None:
        """Queue tasks; their outcomes come by `results`."""
        self._open |= {task[0]: task for task in tasks}
        self._tell(tasks)

    def _tell(self, what: Any) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # that it is gone is told by the end of its answers
            send(self.process.stdin, what)

    def result(self) -> tuple[int, str, Any]:
        """The next outcome (number, state, shape or reason), in any order.

        Raises:
            UnreadableSource: the whole process died, twice (the model cannot be opened by the parser).
        """
        while (answer := self.answers.get()) is None:
            self._again()
        number, state, value = answer
        self._open.pop(number, None)
        return number, state, value

    def _again(self) -> None:
        """Start it once more, with what is not done."""
        status = self._ended()
        self._lives -= 1
        if self._lives <= 0 or self._stopped.is_set():
            self.answers.put(None)
            raise died(self.source, "geometry", status)
        self._begin()
        if self._stopped.is_set():  # meanwhile, by another thread
            self.process.kill()
        self._tell(list(self._open.values()))

    def _ended(self) -> int:
        """The exit status of the process, which is ending."""
        self.drain.join(timeout=5)
        status = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):  # what could not be sent any more
                    stream.close()
        return status

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """Say that there is no more to shape: the processes end by themselves."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def stop(self) -> None:
        """End it at once; whoever waits for an outcome is told that there is none."""
        self._stopped.set()
        self.process.kill()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        try:
            # the end of its input ends it and its workers; their CPU time then counts as ours
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._ended()


# --- measures ----------------------------------------------------------------------------------------------------


def compare(one: Shape, other: Shape) -> str:
    """What differs between two shapes of one element beyond the tolerances, "" if nothing."""
    low, high = one.positions.min(0), one.positions.max(0)
    apart = max(np.abs(low - other.positions.min(0)).max(), np.abs(high - other.positions.max(0)).max())
    if apart > BOX_TOLERANCE:
        return f"bounding boxes {apart * 1000:.1f} mm apart"
    center = (low + high) / 2
    volume, reference = volume_of(one, center), volume_of(other, center)
    if is_closed(other.triangles) and abs(reference) > 1e-9:
        difference = abs(abs(volume) - abs(reference)) / abs(reference)
        return f"volumes differ by {difference:.1%}" if difference > VOLUME_TOLERANCE else ""
    area, reference = area_of(one), area_of(other)
    difference = abs(area - reference) / max(reference, 1e-12)
    return f"areas differ by {difference:.1%}" if difference > VOLUME_TOLERANCE else ""


def volume_of(shape: Shape, origin: F64) -> float:
    """Signed volume of the tetrahedra between a point and the triangles: the volume if closed, positive if outward."""
    a, b, c = (shape.positions[shape.triangles[:, i]] - origin for i in range(3))
    return float(np.einsum("ij,ij->", a, cross(b, c)) / 6)


def area_of(shape: Shape) -> float:
    """Area of all triangles."""
    a, b, c = (shape.positions[shape.triangles[:, i]] for i in range(3))
    return float(np.linalg.norm(cross(b - a, c - a), axis=1).sum() / 2)


def is_closed(triangles: NDArray[np.int32]) -> bool:
    """Whether every edge is run through as often in one direction as in the other."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    n = int(edges.max()) + 1
    forward, backward = np.sort(edges[:, 0] * n + edges[:, 1]), np.sort(edges[:, 1] * n + edges[:, 0])
    return bool(np.array_equal(forward, backward))
