"""Reading a model in a process of its own, begun before the program that asks for it has loaded its libraries.

`begin` is called by the program first of all (`twin.ahead`). It loads what reading and the rest of the program have in common (NumPy,
Arrow, PROJ) and divides: a fork of this process (`ingest_bim.ifc.process`) loads the parser, reads, and sends batches, report and
progress; meanwhile this one loads what a job and a tiler need, on the other core. A parser that crashes takes no city with it.
"""

from __future__ import annotations

import atexit
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from ingest_bim.geometry.start import LIVES, Forked, Started, died, spawned
from ingest_bim.pipes import Exact, Packed, opened, packed, send
from twin.processes import keep_memory, spare_pandas

if TYPE_CHECKING:
    from ingest_bim.ifc.folded import Sent
    from ingest_bim.ifc.options import Options
    from twin.model import Batch, Report

PATIENCE = 3.0
"""Seconds in which a reading that is given up may tidy up after itself."""


class Early:
    """A reading that has begun elsewhere.

    Attributes:
        process: where.
        source: the model's path, absolute. encoding: of its raw text, if that is given.
        options: once they are checked.
        spare: set when it has said something or ended: until then it opens the file and looks through its text, on two cores.
    """

    def __init__(self, source: Path, encoding: str | None) -> None:
        self.source, self.encoding = source.resolve(), encoding
        self.options: Options | None = None
        self.spare = threading.Event()
        self._cache = Path()
        self._begin(Forked(partial(_read, self.source, encoding)))

    def _begin(self, process: Started) -> None:
        self.process = process
        self._messages: SimpleQueue[Packed | None] = SimpleQueue()
        # a thread empties the pipe, so that the other process never waits for one that is busy loading
        threading.Thread(target=self._drain, args=(process, self._messages), name="early-reading", daemon=True).start()

    def begin(self, options: Options, cache: Path) -> None:
        """Let it read: until now it loaded libraries and opened the file."""
        self.options, self._cache = options, cache
        self._send((options.model_dump(), sorted(options.model_fields_set), str(cache)))

    def _again(self, options: Options) -> None:
        """Read once more, in a process that is started afresh: this one has threads by now. What the other left goes."""
        import tempfile  # noqa: PLC0415  nothing that is seldom needed is loaded before the fork

        from twin import scratch  # noqa: PLC0415

        scratch.sweep(Path(tempfile.gettempdir()), scratch.TWIN)
        self._begin(spawned("ingest_bim.ifc.process"))
        self._send((self.source, self.encoding))
        self.begin(options, self._cache)

    def _drain(self, process: Started, messages: SimpleQueue[Packed | None]) -> None:
        assert process.stdout is not None
        while (message := packed(process.stdout)) is not None:
            messages.put(message)
            self.spare.set()
        self.spare.set()
        process.wait()  # its CPU time then counts as ours
        messages.put(None)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):  # what could not be sent any more
                    stream.close()

    def _send(self, message: Any) -> None:
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):  # that it is gone is told by the end of its messages
            send(self.process.stdin, message)

    def batches(self, report: Report) -> Iterator[Batch]:
        """What the other process reads; its report becomes this one, its progress ours.

        Raises:
            TwinError: as the reading did. UnreadableSource: the process died, twice.
        """
        from ingest_bim.ifc.folded import unfolded  # noqa: PLC0415  loads the libraries that the other process was started ahead of

        yield from unfolded(self._sent(report))

    def _sent(self, report: Report) -> Iterator[Sent]:
        """Batches as they are sent, each once.

        Raises:
            TwinError: as the reading did. UnreadableSource: the process died, twice.
        """
        from twin import reading  # noqa: PLC0415

        around = reading.current()
        ended, lives = False, LIVES
        given = again = 0  # batches that were handed on, and those that come once more
        try:
            while not ended:
                message = self._messages.get()
                if message is None:
                    lives -= 1
                    if not lives or self.options is None:
                        raise died(self.source.name, "reading", self.process.wait())
                    self._again(self.options)
                    again = given
                    continue
                kind, what = opened(message)
                if kind == "progress":
                    around.progress(*what)
                elif kind == "ask":
                    self._send(answer(around, *what))
                elif kind == "report":
                    source = report.source
                    for name, value in vars(what).items():
                        setattr(report, name, value)
                    report.source = source or what.source
                elif kind == "batch" and again:
                    again -= 1
                elif kind == "batch":
                    given += 1
                    yield what
                elif kind == "failed":
                    raise what
                else:
                    ended = True  # it ends by itself, and the thread waits for that
                    atexit.register(self.process.wait)  # it may still be keeping shapes for the next time
        finally:
            if not ended:  # or the caller wants no more
                self.stop()

    def stop(self) -> None:
        """End it, if it still runs; it may put away its temporary files first."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()


def _read(source: Path, encoding: str | None, answers: Exact, out: IO[bytes]) -> None:
    from ingest_bim.ifc import process as ifc_process  # noqa: PLC0415  for that process alone

    ifc_process.serve(source, encoding, answers, out)


def answer(around: Any, name: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """What the city says to a question of the reader (`twin.reading.Surroundings`), or the error that it answers with."""
    try:
        return True, getattr(around, name)(*arguments)
    except Exception as error:  # noqa: BLE001  raised again where it was asked
        return False, error


_READY: list[Early] = []
"""A reading that nobody asked for yet, at most one."""


def begin(source: Path, texts: Mapping[str, str], cache: Path | None) -> threading.Event | None:
    """Begin to read, or (`cache` None: what is wanted is not known yet) to open. It ends by itself when this process does.

    Options that are refused are for the one who asks for the reading to refuse.

    Returns:
        `Early.spare` of what is read.
    """
    early = _begun(source, texts.get("encoding"))
    if early is None or cache is None:
        return None
    from ingest_bim.ifc.options import Options  # noqa: PLC0415  while the other process loads

    try:
        options = Options.model_validate({name: text for name, text in texts.items() if name in Options.model_fields})
    except ValueError:
        _give_up()
        return None
    early.begin(options, cache)
    return early.spare


def _begun(source: Path, encoding: str | None) -> Early | None:
    """A reading of this file that waits to be told how: that which has begun, else a new one. None where one is told already, or none can begin."""
    if _READY:
        early = _READY[0]
        if early.options is not None:
            return None
        if (early.source, early.encoding) == (source.resolve(), encoding):
            return early
        _give_up()
    if not source.is_file() or threading.active_count() > 1:  # a copy would lack the threads
        return None
    keep_memory()
    spare_pandas(compute=False)
    from twin import crs  # noqa: F401, PLC0415  here once instead of in both

    early = Early(source, encoding)
    _READY.append(early)
    atexit.register(_give_up)
    return early


def _give_up() -> None:
    """End a reading that nobody asked for."""
    while _READY:
        _READY.pop().stop()


def take(source: Path, options: Options) -> Early | None:
    """The reading that has begun, if it is of this model with these options; one that is not is ended."""
    while _READY:
        early = _READY.pop()
        if early.source == source.resolve() and early.options == options:
            return early
        early.stop()
    return None
