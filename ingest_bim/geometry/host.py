"""The process that turns IFC elements into triangles, so that no element can hang or crash the reader.

Run as ``python -m ingest_bim.geometry.host``, where it is told (model, workers, seconds) first and opens the model once; or as a fork of a process that has the
model open (`ingest_bim.geometry.start`). It forks workers from there (a fork costs milliseconds, another opening up to a second). Each worker limits itself with kernel timers before
each element (CPU seconds, and twenty times that in wall time, as a busy machine is no fault of the element): a stuck
kernel never returns to Python, but the signal ends the process. The host then knows which element it was, says so,
and forks a new worker for the rest.

Messages (`pipes`). In: a list of (number, step id, kernel, group of like
elements, share of the time limit). Out, in any order: (number, "ok", Shape fields) or (number, "empty" | "failed" | "stalled" |
"crashed", reason).
"""

from __future__ import annotations

import math
import os
import resource
import select
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.geometry.clip import Evaluator, body_items
from ingest_bim.geometry.copies import copied, is_copied
from ingest_bim.geometry.faces import look, material_style, tessellated
from ingest_bim.geometry.items import left_out
from ingest_bim.geometry.redrawn import prepared, redraw
from ingest_bim.geometry.start import standard_pipes
from ingest_bim.ifc.frames import leads_nowhere, local_matrix
from ingest_bim.ifc.step_access import DAMAGED, attribute, parser
from ingest_bim.ifc.units import Units
from ingest_bim.pipes import Exact, receive, send
from twin.processes import die_with_parent, ending

MEMORY = 3 << 30  # address space that a worker may take beyond what it begins with (the model): a shape that wants more is a failure, not the machine's end
TOO_LARGE = f"it needs more than {MEMORY >> 30} GiB of memory beside the model; model it in parts"
CHUNK = 8
WALL = 20
GIVE_UP = 8  # stalls and crashes of one kernel in one group of elements, after which the rest is not tried
OUTSIDE = (signal.SIGKILL, signal.SIGTERM)  # of these no element is the reason: the system is short of memory, or somebody ended it
Task = tuple[int, int, str, str, float]
OUTLINES = "opencascade"
"""The reference: it draws the outlines of profiles, and what is left out of an element when none is left to ask."""
DIRECT, CLIP, PLAIN = "tessellation", "half spaces", "plain solids"
"""Evaluators of our own, beside the parser's kernels: `ingest_bim.geometry.faces`, `ingest_bim.geometry.clip` and, in the reading process, `ingest_bim.geometry.plain`."""


class Worker:
    """A forked process that shapes the elements it is sent, one after the other."""

    def __init__(self, model: Any, settings: Any, seconds: float) -> None:
        down_read, down_write = os.pipe()
        up_read, up_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(down_write)
                os.close(up_read)
                work(model, settings, seconds, os.fdopen(down_read, "rb"), os.fdopen(up_write, "wb"))
            finally:
                os._exit(0)
        os.close(down_read)
        os.close(up_write)
        self.tasks, self.results = os.fdopen(down_write, "wb"), Exact(up_read)
        self.pending: list[Task] = []

    def give(self, tasks: list[Task]) -> None:
        """Send elements to shape."""
        self.pending = tasks
        with suppress(BrokenPipeError):  # it was killed while it had nothing to do, which the end of its results tells
            send(self.tasks, tasks)

    def end(self) -> int:
        """Kill the process (if it still runs) and return its wait status."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return self.reap()

    def reap(self) -> int:
        """The wait status of a process that has ended by itself."""
        status = os.waitpid(self.pid, 0)[1]
        with suppress(BrokenPipeError):  # of tasks that it did not take any more
            self.tasks.close()
        self.results.close()
        return status


def work(model: Any, settings: Any, seconds: float, tasks: IO[bytes], results: IO[bytes]) -> None:
    """A worker's loop: receive chunks, shape each element under the time limit, send the outcome."""
    die_with_parent()
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    limit = _held() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (chunk := receive(tasks)) is not None:
        for number, step, kernel, _, share in chunk:
            signal.setitimer(signal.ITIMER_PROF, seconds * share)
            signal.setitimer(signal.ITIMER_REAL, seconds * share * WALL)
            outcome = shape(model, settings, step, kernel)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            send(results, (number, *outcome))


def _held() -> int:
    """Bytes of address space that this process has (a guess where the system does not say)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return MEMORY


def shape(model: Any, settings: Any, step: int, kernel: str) -> tuple[str, Any]:
    """One element's triangles: ("ok", (positions, triangles, material rows, materials, matrix and, if a kernel left something out, what)) or (state, reason)."""
    import ifcopenshell.geom  # noqa: PLC0415  already loaded by the host; kept out of the parent's import

    made: Any
    create: Any = ifcopenshell.geom.create_shape
    try:
        product = model.by_id(step)
        meshed = redraw(model, product, lambda item: create(settings, item, geometry_library=OUTLINES))
        if kernel in (DIRECT, CLIP):
            return own(model, settings, product, kernel)
        if meshed:
            with suppress(*DAMAGED):  # it is made of other items too, which are for a kernel (that takes seconds for so many triangles)
                return own(model, settings, product, DIRECT)
        if reason := leads_nowhere(product.ObjectPlacement):  # the kernels follow a circle until they crash
            return "failed", reason
        if is_copied(product) and (frame := world(model, product)) is not None:
            with suppress(*DAMAGED):  # what it is not made for is for the kernel as a whole
                return "ok", (*copied(product, _length(model), lambda item: _mesh(create(settings, item, geometry_library=kernel))), frame)
        made = create(settings, product, geometry_library=kernel)
    except Exception as error:  # noqa: BLE001  the kernel raises bare RuntimeErrors of many texts; each is reported
        return without(error)
    geometry = made.geometry
    positions, triangles = _mesh(geometry)
    if not len(triangles):
        return "empty", "no surface (curves or points only)"
    if not np.isfinite(positions).all():
        return "failed", "coordinates that are not finite"
    missing = ""
    with suppress(*DAMAGED):
        missing = left_out(product, geometry)
    if missing and kernel != OUTLINES:
        return "failed", f"it draws nothing of {missing}"
    rows = np.frombuffer(geometry.material_ids_buffer, np.int32).copy()
    matrix = np.frombuffer(made.transformation_buffer, np.float64).reshape(4, 4, order="F").copy()
    return "ok", (positions, triangles, rows, [style(model, product, m) for m in geometry.materials], matrix, *([missing] if missing else []))


def without(error: Exception) -> tuple[str, str]:
    """The outcome of an element whose shape was not made: state and reason."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or text == "std::bad_alloc":
        return "failed", TOO_LARGE
    if text.startswith("No suitable IfcRepresentation"):
        return "empty", "no representation with a surface or solid"
    return "failed", text.split(" Product: ")[0][:200].rstrip(".")


def own(model: Any, settings: Any, product: Any, kernel: str) -> tuple[str, Any]:
    """The outcome of the two evaluators of our own, which need no kernel for the whole element."""
    key, length, matrix = id(model), _length(model), world(model, product)
    if matrix is None:
        return "failed", "its placement is not a chain of local placements"
    if kernel == DIRECT:
        made = tessellated(product, body_items(product), length)
        if not len(made[1]):
            return "empty", "no surface (all its faces are empty)"
    else:
        if key not in _EVALUATORS:
            _EVALUATORS[key] = Evaluator(settings, length)
        made = _EVALUATORS[key].element(product, matrix)
    return "ok", (*made, matrix)


def world(model: Any, product: Any) -> NDArray[np.float64] | None:
    """(4, 4) from an element's frame to the model's world, metres; None where its placement is not a chain of local ones."""
    matrix = local_matrix(product.ObjectPlacement) if product.ObjectPlacement is not None else np.eye(4)
    if matrix is None:
        return None
    matrix = matrix.copy()
    matrix[:3, 3] *= _length(model)
    return matrix


def _length(model: Any) -> float:
    """Metres of a unit of the model."""
    if id(model) not in _LENGTHS:
        _LENGTHS[id(model)] = Units(model).length
    return _LENGTHS[id(model)]


def _mesh(geometry: Any) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """(positions, triangles) of what a kernel made, copied: its buffers end with it."""
    positions = np.frombuffer(geometry.verts_buffer, np.float64).reshape(-1, 3).copy()
    return positions, np.frombuffer(geometry.faces_buffer, np.int32).reshape(-1, 3).copy()


_LENGTHS: dict[int, float] = {}
_EVALUATORS: dict[int, Evaluator] = {}


def style(model: Any, product: Any, material: Any) -> tuple[str, tuple[float, float, float, float]]:
    """(name, rgba 0–1) of a surface style; where the kernel found none that of the element's material (which it does not know in a list), else the parser's default for the class."""
    name = str(material.name)
    if material.instance_id() <= 0:
        with suppress(*DAMAGED):
            if (worn := material_style(product)) is not None:
                return worn
    if material.instance_id() > 0:
        with suppress(*DAMAGED):
            instance = model.by_id(material.instance_id())
            name = attribute(instance, "Name", name)
            if (found := look(instance)) is not None:
                return str(name), found[1]
    color = material.diffuse
    values = (color.r(), color.g(), color.b(), 1.0 - material.transparency if material.has_transparency() else 1.0)
    r, g, b, a = (min(max(v, 0.0), 1.0) if math.isfinite(v) else 0.8 for v in values)
    return str(name), (r, g, b, a)


def geometry_settings() -> Any:
    """Local coordinates in metres, float64, welded, no normals (the tiler makes them)."""
    import ifcopenshell.geom  # noqa: PLC0415

    make: Any = ifcopenshell.geom.settings
    settings = make()
    settings.set("no-normals", True)
    settings.set("use-world-coords", False)
    return settings


def describe(status: int, seconds: float) -> tuple[str, str]:
    """What a worker's wait status says about the element it was shaping."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in OUTSIDE:
            return "crashed", f"the process that shapes it {ending(-number)[0]}"
        if number in (signal.SIGPROF, signal.SIGALRM):
            return "stalled", f"no result after {seconds:g} s"
        return "crashed", f"the geometry kernel crashed ({signal.Signals(number).name})"
    return "crashed", f"the geometry kernel ended with code {os.WEXITSTATUS(status)}"


def serve(model: Any, count: int, seconds: float, commands: Exact, answers: IO[bytes]) -> None:
    """Hand tasks to workers and their outcomes upwards until `commands` ends."""
    settings = geometry_settings()
    workers: list[Worker] = []
    queue: list[Task] = []
    failures: Counter[tuple[str, str]] = Counter()
    killed: set[Task] = set()
    try:
        while True:
            queue = give_up(queue, failures, answers)
            for worker in workers:
                if queue and not worker.pending:
                    feed(worker, queue, count)
            while queue and len(workers) < count:
                workers.append(Worker(model, settings, seconds))
                feed(workers[-1], queue, count)
            waiting: list[Any] = [w.results for w in workers if w.pending]
            for stream in select.select([*waiting, commands], [], [])[0]:
                if stream is commands:
                    tasks = receive(commands)
                    if tasks is None:
                        return  # the reader is gone or has all it wants
                    queue.extend(tasks)
                else:
                    collect(next(w for w in workers if w.results is stream), workers, queue, answers, seconds, failures, killed)
    finally:
        for worker in workers:
            worker.end()


def feed(worker: Worker, queue: list[Task], count: int) -> None:
    """Give a worker a chunk: small near the end, so that all workers finish together."""
    size = max(1, min(CHUNK, len(queue) // (2 * count)))
    worker.give(queue[:size])
    del queue[:size]


def give_up(queue: list[Task], failures: Counter[tuple[str, str]], answers: IO[bytes]) -> list[Task]:
    """The queue without elements whose kind has stalled or crashed this kernel too often; each is answered."""
    if not any(count >= GIVE_UP for count in failures.values()):
        return queue
    left = []
    for task in queue:
        if failures[task[2:4]] >= GIVE_UP:
            send(answers, (task[0], "stalled", f"not tried: {GIVE_UP} like elements stalled or crashed the kernel"))
        else:
            left.append(task)
    return left


def collect(
    worker: Worker, workers: list[Worker], queue: list[Task], answers: IO[bytes], seconds: float, failures: Counter[tuple[str, str]], killed: set[Task]
) -> None:
    """Pass one outcome on; of a worker that died, blame the element it was at and queue the rest again.

    That it is killed from outside is the element's fault only the second time: until then its shape is what it would have been.
    """
    outcome = receive(worker.results)
    if outcome is not None:
        worker.pending.pop(0)
        send(answers, outcome)
        return
    status = worker.reap()
    workers.remove(worker)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in OUTSIDE and worker.pending[0] not in killed:
        killed.add(worker.pending[0])
        queue[:0] = worker.pending
        return
    state, reason = describe(status, seconds * worker.pending[0][4])
    failures[worker.pending[0][2:4]] += 1
    send(answers, (worker.pending[0][0], state, reason))
    queue[:0] = worker.pending[1:]


def main() -> None:
    """Load the libraries, open the model that is named and serve over stdin and stdout; what the C++ side prints goes to stderr."""
    commands, answers = standard_pipes()
    parser()
    import ifcopenshell.geom  # noqa: F401, PLC0415  before the model is known, so that it need not wait

    asked = receive(commands)
    if asked is not None:
        path, count, seconds = asked
        model = prepared(parser().open(path))
        send(answers, "ready")
        serve(model, count, seconds, commands, answers)
    os._exit(0)  # its objects need not be taken apart: nothing waits to be written


if __name__ == "__main__":
    main()
