"""Shaping beside the rest of the reading: in a fork of the reading process where that has no other thread, else in a thread of it.

What this program shapes itself (plain bodies), the digests that find equal shapes and the groups take as long as the properties do. In threads of one
process they would take turns; in a fork they have the other core. Where hardly anything is drawn neither is worth its while.
"""

from __future__ import annotations

import os
import re
import select
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NoReturn, Self

from ingest_bim.geometry.host import DIRECT, Task, own, without
from ingest_bim.geometry.start import LIVES, Forked, died
from ingest_bim.ifc.cache import ShapeCache
from ingest_bim.ifc.geometry import REFERENCE, Host, Shape, Shapes
from ingest_bim.ifc.groups import Group, groups_of
from ingest_bim.ifc.ladder import Shaper
from ingest_bim.ifc.plain import PlainShapes
from ingest_bim.ifc.products import Products
from ingest_bim.ifc.sent import packed, unpacked
from ingest_bim.ifc.shapes import shape_model
from ingest_bim.ifc.sharing import Plan, plan_of
from ingest_bim.ifc.step_access import DAMAGED, parser
from ingest_bim.ifc.step_guard import StepFile
from ingest_bim.ifc.step_scan import StepText
from ingest_bim.ifc.structure import Structure
from ingest_bim.ifc.units import Units
from ingest_bim.pipes import Exact, receive, send
from twin.errors import Cancelled, TwinError

if TYPE_CHECKING:
    from ingest_bim.ifc.options import Options

#: Part of the cache's key: what is kept from one release is not shape for another.
CODE_VERSION = "12"
#: Seconds between two tellings of how much is done.
PAUSE = 0.5
FEW = 8
"""Elements up to which hardly anything is drawn, and their bodies."""
SMALL = 1 << 18
"""Bytes of text of all their triangles, which are then made in some milliseconds."""
_TRIANGLES = frozenset(("IfcTriangulatedFaceSet", "IfcTriangulatedIrregularNetwork"))
#: The type of a representation that has no body in it (its third attribute): context, identifier, type.
_LINES = re.compile(rb"\s*+(?:\$|#\d++)\s*+,\s*+(?:\$|'[^']*+')\s*+,\s*+'(?:Point|PointCloud|Curve|Curve2D|Curve3D|Segment|Annotation2D|GeometricCurveSet|Text)'")

Progress = Callable[[int, int], None]
"""Told how many shapes there are, and of how many at most. What it raises ends the shaping."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """What is seen of the elements before any is shaped.

    Attributes:
        count: of those that may have triangles. idle: step id → why one that has a shape is not drawn.
        adrift: step ids of those that may have triangles and have no place of their own.
        beside: step ids of those that have bodies in several contexts → names of the representations that are not drawn.
    """

    count: int
    idle: dict[int, str]
    adrift: list[int]
    beside: dict[int, list[int]]


def grouped(structure: Structure, products: Products) -> tuple[dict[int, Group], Grouped]:
    """How each element is built, and what is to be said of the others."""
    drawable, idle = groups_of(structure, products)
    steps = [step for element in structure.elements if (step := element.id()) in drawable]
    beside = {step: others for step in steps if (others := _beside(step, products))}
    return drawable, Grouped(len(drawable), idle, [step for step in steps if not products.named(step)[0]], beside)


def _beside(step: int, products: Products) -> list[int]:
    """Names of an element's bodies in other contexts than that of the first, which stands for it."""
    try:
        parts = products.bodies(step)
    except DAMAGED:
        return []
    if len(parts) < 2:
        return []
    bodies = [part for part in parts if part.identifier == "Body"]
    return [part.name for part in bodies if part.context != bodies[0].context]


@dataclass(frozen=True, slots=True)
class Work:
    """A model that is open, and how its elements are to be shaped.

    Attributes:
        name: of the source.
        text: None for a file that is too large to be looked through: it shares nothing, and every element is shaped by a kernel.
        cache: folder of the shapes that are kept, None for none.
    """

    name: str
    model: Any
    step: StepFile
    text: StepText | None
    structure: Structure
    products: Products
    units: Units
    options: Options
    workers: int
    cache: Path | None

    def shapes_kept(self) -> ShapeCache | None:
        """Where shapes are kept for the next time."""
        return ShapeCache(self.cache) if self.cache is not None else None

    def shaped(self, host: Shaper, drawable: dict[int, Group], told: Callable[[int], None]) -> tuple[Shapes, dict[bytes, Shape]]:
        """The shapes, and by key those that are not kept yet."""
        plan = self._plan(drawable)
        plain = PlainShapes(self.model, self.structure, self.text, plan, self.units.length) if self.text is not None else None
        return shape_model(host, plan, self.options.kernel, self.shapes_kept(), told, plain)

    def _plan(self, drawable: dict[int, Group]) -> Plan:
        """What is shaped and what is placed."""
        if self.text is None:
            return Plan(drawable)
        angle = self.units.by_type["PLANEANGLEUNIT"].factor if "PLANEANGLEUNIT" in self.units.by_type else 1.0
        salt = f"{CODE_VERSION} {parser().version} {self.options.kernel} {self.units.length!r} {angle!r} {self.step.schema}"
        return plan_of(self.structure, self.products, drawable, self.text, self.units.length, salt)


class Aside:
    """Shaping in a thread, with a geometry process that opens the model itself: for a process that has other threads, and so is not copied.

    Args:
        later: takes what may wait until everything is delivered (keeping the shapes).
    """

    def __init__(self, work: Work, host: Host, later: ExitStack) -> None:
        self.host, self.later, self.kept = host, later, work.shapes_kept()
        drawable, self._grouped = grouped(work.structure, work.products)
        self._done, self._stopped = 0, Event()
        self._pool = ThreadPoolExecutor(1)
        self._task = self._pool.submit(work.shaped, host, drawable, self._told)

    def _told(self, count: int) -> None:
        if self._stopped.is_set():
            raise Cancelled("Shaping was stopped.")
        self._done = count

    def grouped(self) -> Grouped:
        """See `Grouped`."""
        return self._grouped

    def shapes(self, progress: Progress) -> Shapes:
        """All shapes, once they are made."""
        while not wait_for((self._task,), timeout=PAUSE).done:
            progress(self._done, self._grouped.count)
        self.host.close()
        shapes, fresh = self._task.result()
        if self.kept is not None:
            self.later.callback(self.kept.put, fresh)
        return shapes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # reading ends early: the thread would go on to the last element
            self._stopped.set()
            self.host.stop()
        self._pool.shutdown()


class Within:
    """Shaping in this process, when the shapes are asked for: of a model of which hardly anything is drawn (`hardly`).

    After a fork every page is copied that either process touches, and objects are counted where they lie: 0.1 CPU-s of a model of 90,000 values and one surface (ADR 0060).

    Args:
        later: as for `Aside`.
    """

    def __init__(self, work: Work, found: tuple[dict[int, Group], Grouped], later: ExitStack) -> None:
        self.work, self.later = work, later
        self._drawable, self._grouped = found
        self._outcomes: deque[tuple[int, str, Any]] = deque()
        self._host: Host | None = None

    def grouped(self) -> Grouped:
        """See `Grouped`."""
        return self._grouped

    def shapes(self, progress: Progress) -> Shapes:
        """All shapes, made now."""
        shapes, fresh = self.work.shaped(self, self._drawable, lambda count: progress(count, self._grouped.count))
        if (kept := self.work.shapes_kept()) is not None:
            self.later.callback(kept.put, fresh)
        return shapes

    def submit(self, tasks: list[Task]) -> None:
        """Shape elements; what is not for our own evaluator (of damaged triangles) is for kernels, in processes that are forked for that."""
        model = self.work.model
        others = [task for task in tasks if task[2] != DIRECT]
        for number, step, *_ in (task for task in tasks if task[2] == DIRECT):
            try:
                self._outcomes.append((number, *own(model, None, model.by_id(step), DIRECT)))
            except Exception as error:  # noqa: BLE001  as a worker does
                self._outcomes.append((number, *without(error)))
        if others:
            if self._host is None:
                self._host = Host.of_model(self.work.name, model, self.work.workers, self.work.options.element_seconds)
            self._host.submit(others)

    def result(self) -> tuple[int, str, Any]:
        """The next outcome; as `Host.result`."""
        if self._outcomes or self._host is None:
            return self._outcomes.popleft()
        return self._host.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._host is not None:
            self._host.__exit__(kind, value, trace)


def hardly(work: Work) -> tuple[dict[int, Group], Grouped] | None:
    """How the elements of a model are built of which hardly anything is drawn: a few elements, whose bodies are triangles already. None for all others.

    No more representations are looked at than it takes to see that there are too many bodies. What the kernels' copy of the model would be changed for
    (several bodies, places on a grid: `ingest_bim.geometry.redrawn`) is for a fork, and so is what the reference kernel is asked for by name.
    """
    text, products = work.text, work.products
    if text is None or work.options.kernel == REFERENCE:
        return None
    bodies = 0
    for name in text.kinds.get(b"IFCSHAPEREPRESENTATION", ()):
        bodies += _LINES.match(text.rows[name][1]) is None
        if bodies > FEW:
            return None
    try:
        drawable, told = grouped(work.structure, products)
        if len(drawable) > FEW:
            return None
        size = 0
        for step, group in drawable.items():
            parts, place = products.bodies(step), products.named(step)[0]
            if not _TRIANGLES.issuperset(group) or len(parts) > 1 or (place and products.world(place) is None):
                return None
            items = [name for part in parts for name in part.items]
            if not _TRIANGLES.issuperset(map(products.kind, items)):  # maps of triangles
                return None
            size += sum(len(text.rows[name][1]) for name in items)
    except DAMAGED:  # said where it has its place
        return None
    return (drawable, told) if size <= SMALL else None


class Apart:
    """Shaping in a fork of this process, which has no other thread; kernels are forks of that. It keeps the shapes for the next time when it has sent them.

    A fork that dies before that is made once more.

    Args:
        later: as for `Aside` (waiting for the process's end).
    """

    def __init__(self, work: Work, later: ExitStack) -> None:
        self.work, self.later, self._done, self._lives = work, later, 0, LIVES
        self._grouped: Grouped | None = None
        self._begin()

    def _begin(self) -> None:
        self.process = Forked(partial(_serve, self.work))
        assert self.process.stdout is not None
        self._answers = Exact(os.dup(self.process.stdout.fileno()))

    def grouped(self) -> Grouped:
        """See `Grouped`."""
        if self._grouped is None:
            self._grouped = self._next("grouped", lambda done, count: None)
        return self._grouped

    def shapes(self, progress: Progress) -> Shapes:
        """All shapes, once they are made."""
        self.grouped()
        shapes = unpacked(self._next("shapes", progress))
        self.later.callback(self.process.wait)
        return shapes

    def _next(self, wanted: str, progress: Progress) -> Any:
        """The next message of this kind; errors are raised here.

        Raises:
            UnreadableSource: the process died, twice.
        """
        while True:
            if not select.select([self._answers], [], [], PAUSE)[0]:
                progress(self._done, self._grouped.count if self._grouped else 0)
                continue
            message = receive(self._answers)
            if message is None:
                self._lives -= 1
                if not self._lives:
                    raise died(self.work.name, "shaping", self.process.wait())
                self._close()
                self._begin()
                continue
            kind, what = message
            if kind == "failed":
                raise what
            if kind == wanted:
                return what
            if kind == "progress":
                self._done = what
            progress(self._done, self._grouped.count if self._grouped else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.process.kill()
        self._close()

    def _close(self) -> None:
        self._answers.close()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def _serve(work: Work, commands: Exact, answers: IO[bytes]) -> NoReturn:
    """The whole of the shaping process."""
    del commands
    last = [time.monotonic()]

    def told(count: int) -> None:
        if (now := time.monotonic()) - last[0] > PAUSE:
            last[0] = now
            send(answers, ("progress", count))

    fresh: dict[bytes, Shape] = {}
    try:
        with Host.of_model(work.name, work.model, work.workers, work.options.element_seconds) as host:
            drawable, found = grouped(work.structure, work.products)
            send(answers, ("grouped", found))
            shapes, fresh = work.shaped(host, drawable, told)
            send(answers, ("shapes", packed(shapes)))
    except Exception as error:  # noqa: BLE001  raised again where the shapes are waited for
        if not isinstance(error, TwinError):
            error.add_note("".join(traceback.format_exception(error)))
        send(answers, ("failed", error))
    kept = work.shapes_kept()
    if kept is not None:
        kept.put(fresh)
    os._exit(0)  # at once: what it holds need not be taken apart
