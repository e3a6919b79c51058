"""Shapes of a model's elements: fast kernel first, checked against the reference kernel, nothing lost, nothing hangs.

The hybrid manifold kernel is 5–20 times faster than Open CASCADE, but it crashes on some solids and cuts some half
spaces wrongly; the simple CGAL kernel stands between them. So elements are grouped by how they are built (kinds of
solids, with or without openings), and each group climbs a ladder of kernels: a few of its elements are also shaped by
the reference kernel and compared: volume (area for open surfaces) within 0.5%, bounding box within 1 mm. A group that
differs goes to the next kernel, the last being the reference; so does every element that a kernel could not shape.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ingest_bim.geometry_host import Task, receive, send
from ingest_bim.step_access import DAMAGED, attribute, supertypes
from twin.errors import UnreadableSource

FAST, MIDDLE, REFERENCE = "hybrid-manifold-opencascade", "hybrid-cgal-simple-opencascade", "opencascade"
LADDERS = {"auto": (FAST, MIDDLE, REFERENCE), "fast": (FAST, MIDDLE, REFERENCE), "opencascade": (REFERENCE,)}
VOLUME_TOLERANCE = 0.005
BOX_TOLERANCE = 1e-3
SAMPLES = 2

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
    """

    positions: F64
    triangles: NDArray[np.int32]
    rows: NDArray[np.int32]
    materials: list[tuple[str, tuple[float, float, float, float]]]
    matrix: F64
    kernel: str


@dataclass
class Shapes:
    """Everything that was shaped, by step id, and what was not: (state, reason)."""

    shapes: dict[int, Shape] = field(default_factory=dict)
    skipped: dict[int, tuple[str, str]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Host:
    """The geometry process (`ingest_bim.geometry_host`) as a context; `run` shapes elements in it."""

    def __init__(self, path: Path, workers: int, seconds: float) -> None:
        command = [sys.executable, "-m", "ingest_bim.geometry_host", str(path), str(workers), str(seconds)]
        root = str(Path(__file__).resolve().parents[1])
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(root)
        )
        self.answers: SimpleQueue[Any] = SimpleQueue()
        # a thread empties the pipe, so that workers never wait for a parent that is busy with properties
        self.drain = threading.Thread(target=self._drain, daemon=True)
        self.drain.start()

    def _drain(self) -> None:
        assert self.process.stdout is not None
        while (answer := receive(self.process.stdout)) is not None:
            if answer != "ready":
                self.answers.put(answer)
        self.answers.put(None)

    def submit(self, tasks: list[Task]) -> None:
        """Queue tasks; their outcomes come by `results`."""
        assert self.process.stdin is not None
        try:
            send(self.process.stdin, tasks)
        except OSError:
            self.answers.put(None)

    def results(self, count: int) -> Iterator[tuple[int, str, Any]]:
        """`count` outcomes (number, state, shape or reason).

        Raises:
            UnreadableSource: the whole process ended (the model cannot be opened by the parser).
        """
        for _ in range(count):
            answer = self.answers.get()
            if answer is None:
                raise UnreadableSource("The geometry process ended unexpectedly.", "The file may be damaged; export it again.")
            yield answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            # the end of its input ends it and its workers; their CPU time then counts as ours
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.drain.join(timeout=5)
        self.process.stdout.close()


def _environment(root: str) -> dict[str, str]:
    import os  # noqa: PLC0415

    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # the geometry kernels' own threads would fight with our processes
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "TBB_NUM_THREADS": "1"}


Groups = dict[tuple[str, ...], list[int]]


def shape_all(host: Host, groups: Groups, kernel: str) -> Shapes:
    """Shape all elements (step ids by group) with a ladder of kernels: `auto` (guarded), `fast` (unguarded), `opencascade`."""
    ladder = LADDERS[kernel]
    work = _Work(host, guard=kernel == "auto")
    pending = dict(groups)
    for rung in ladder:
        # half spaces are what the fast kernel cuts wrongly, in too few elements for samples to tell, and the middle one
        # cuts no faster than the reference; and a group that its samples would exhaust needs no guess
        now = {g: m for g, m in pending.items() if rung == REFERENCE or not _skips(g, m, guard=work.guard)}
        work.shape(now, rung)
        if rung == REFERENCE:
            break
        pending = {g: m for g, m in pending.items() if g not in now} | work.unsure(now, rung)
    return work.result(groups, ladder)


def _skips(group: tuple[str, ...], members: list[int], *, guard: bool) -> bool:
    if guard and len(members) <= SAMPLES:
        return True
    return any(kind.startswith("IfcBoolean") for kind in group)


@dataclass
class _Work:
    """What has been shaped so far, by (step id, kernel)."""

    host: Host
    guard: bool
    made: dict[tuple[int, str], Shape] = field(default_factory=dict)
    lost: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    compared: int = 0
    numbers: int = 0

    def shape(self, groups: Groups, kernel: str) -> None:
        """Shape the members of groups that this kernel has not seen, and wait for the outcomes."""
        tasks: list[Task] = []
        for group, members in groups.items():
            for step in members:
                if (step, kernel) not in self.made and (step, kernel) not in self.lost:
                    tasks.append((self.numbers, step, kernel, "+".join(group)))
                    self.numbers += 1
        if not tasks:
            return
        self.host.submit(tasks)
        steps = {number: step for number, step, _, _ in tasks}
        for number, state, value in self.host.results(len(tasks)):
            if state == "ok":
                self.made[steps[number], kernel] = Shape(*value, kernel)  # type: ignore[call-arg]
            else:
                self.lost[steps[number], kernel] = (state, value)

    def unsure(self, groups: Groups, kernel: str) -> Groups:
        """Groups whose samples differ from the reference, and the elements lost in the others: for the next kernel."""
        picked = {g: self._pick(members, kernel) for g, members in groups.items()} if self.guard else {}
        self.shape(picked, REFERENCE)
        again: Groups = {}
        for group, members in groups.items():
            bad = self._worst(picked.get(group, []), kernel)
            lost = [s for s in members if (s, kernel) in self.lost and self.lost[s, kernel][0] != "empty"]
            name = f"{' + '.join(group)}, {len(members)} elements: {kernel}"
            if bad:
                self.findings.append(f"{name} differs from {REFERENCE} ({bad}): not used")
                again[group] = members
                for step in members:
                    self.made.pop((step, kernel), None)
            elif lost:
                states = sorted({self.lost[s, kernel][0] for s in lost})
                self.findings.append(f"{name} {' and '.join(states)} on {len(lost)}: those by another kernel")
                again[group] = lost
        return again

    def _pick(self, members: list[int], kernel: str) -> list[int]:
        """Samples of a group: the quartiles by number of triangles (heavy ones would cost what the fast kernel saves)."""
        shaped = sorted((len(self.made[s, kernel].triangles), s) for s in members if (s, kernel) in self.made)
        return [shaped[i * len(shaped) // (SAMPLES + 1)][1] for i in range(1, SAMPLES + 1)] if shaped else []

    def _worst(self, samples: list[int], kernel: str) -> str:
        for step in samples:
            one, other = self.made.get((step, kernel)), self.made.get((step, REFERENCE))
            self.compared += 1
            if one is not None and other is not None and (difference := compare(one, other)):
                return f"#{step}: {difference}"
        return ""

    def result(self, groups: Groups, ladder: tuple[str, ...]) -> Shapes:
        """Of each element the most trusted shape there is, or why there is none."""
        result = Shapes(findings=self.findings)
        counts: dict[str, int] = defaultdict(int)
        for step in (s for members in groups.values() for s in members):
            kernel = next((k for k in reversed(ladder) if (step, k) in self.made), None)
            if kernel is not None:
                result.shapes[step] = self.made[step, kernel]
                counts[kernel] += 1
            else:
                result.skipped[step] = next(self.lost[step, k] for k in reversed(ladder) if (step, k) in self.lost)
        result.facts = {"kernels": dict(counts), "samples_compared": self.compared, "guard": self.findings}
        return result


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
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def area_of(shape: Shape) -> float:
    """Area of all triangles."""
    a, b, c = (shape.positions[shape.triangles[:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def is_closed(triangles: NDArray[np.int32]) -> bool:
    """Whether every edge is run through as often in one direction as in the other."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    n = int(edges.max()) + 1
    forward, backward = np.sort(edges[:, 0] * n + edges[:, 1]), np.sort(edges[:, 1] * n + edges[:, 0])
    return bool(np.array_equal(forward, backward))


def signature(product: Any) -> tuple[str, ...]:
    """How an element is built: the kinds of its solids and surfaces, whether openings are cut from it, whether they are several.

    Empty for an element without solids or surfaces (lines, points and texts are not drawn).
    """
    kinds: set[str] = set()
    count = 0
    try:
        for part in attribute(product.Representation, "Representations", ()):
            if part.RepresentationIdentifier not in NOT_BODY:
                for item in _items(part, 0):
                    if not supertypes(item.is_a(True)) & _LINES:
                        kinds.add(item.is_a())
                        count += 1
    except DAMAGED:
        return ("damaged",)  # the kernels say what is wrong with it
    if kinds and attribute(product, "HasOpenings"):
        kinds.add("openings")
    if count > 1:
        kinds.add("several")
    return tuple(sorted(kinds))


NOT_BODY = ("Axis", "FootPrint", "Box", "Annotation", "CoG", "Profile", "Clearance", "Lighting", "Plan")
_LINES = frozenset(("IfcCurve", "IfcSegment", "IfcPoint", "IfcPlacement", "IfcTextLiteral", "IfcBoundingBox", "IfcVector", "IfcDirection"))


def _items(part: Any, depth: int) -> Iterator[Any]:
    """The items of a representation; those of mapped ones and of geometric sets instead of the map or set itself."""
    for item in part.Items or ():
        kind = item.is_a()
        if kind == "IfcMappedItem" and depth < 8:
            yield from _items(item.MappingSource.MappedRepresentation, depth + 1)
        elif kind in ("IfcGeometricSet", "IfcGeometricCurveSet"):
            yield from item.Elements or ()
        else:
            yield item
