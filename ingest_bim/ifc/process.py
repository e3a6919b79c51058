"""What the process does that `ingest_bim.ifc.early` starts: it reads one model and sends what it reads.

Messages in: (options, names of those that were given, cache folder), later answers to questions. Out: ("batch", Batch), ("report", Report),
("progress", …), ("ask", (name, arguments)), ("failed", error), ("end", None).
"""

from __future__ import annotations

import gc
import os
import signal
import traceback
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NoReturn

from ingest_bim.geometry.start import standard_pipes
from ingest_bim.ifc.open import opening
from ingest_bim.ifc.step_guard import remove_copies
from ingest_bim.pipes import Exact, receive, send
from twin.errors import TwinError
from twin.processes import keep_memory, spare_pandas


class Asker:
    """The city's side of `twin.reading.Surroundings`, asked through the pipe."""

    def __init__(self, questions: IO[bytes], answers: Exact) -> None:
        self.questions, self.answers = questions, answers

    def ask(self, name: str, *arguments: Any) -> Any:
        """One question and its answer; an error there is an error here."""
        send(self.questions, ("ask", (name, arguments)))
        told = receive(self.answers)
        if told is None:
            raise SystemExit(1)
        fine, value = told
        if not fine:
            raise value
        return value

    def feature(self, name: str) -> Any:
        """See `Surroundings`."""
        return self.ask("feature", name)

    def ground(self, lon: float, lat: float) -> Any:
        """See `Surroundings`."""
        return self.ask("ground", lon, lat)


def read(source: Path, encoding: str | None, out: IO[bytes], answers: Exact) -> None:
    """Read a model, sending everything; an error is sent too. What may wait is done after that."""
    with ExitStack() as later:
        _read(source, encoding, out, answers, later)


def _read(source: Path, encoding: str | None, out: IO[bytes], answers: Exact, later: ExitStack) -> None:
    report: Any = None
    ended: tuple[str, Any] = ("end", None)
    try:
        with opening(source, encoding) as opened:
            from ingest_bim.ifc import reading as ifc_reading  # noqa: PLC0415  loaded while the parser works, and while who asks checks the options
            from twin import reading  # noqa: PLC0415
            from twin.model import Report  # noqa: PLC0415

            asked = receive(answers)
            if asked is None:
                return
            values, given, cache = asked
            # the options were checked by who asks; their model takes as long to load as the parser
            options: Any = SimpleNamespace(**values, model_fields_set=set(given))
            report, asker = Report(), Asker(out, answers)
            around = reading.Surroundings(progress=lambda *told: send(out, ("progress", told)), cache=Path(cache), feature=asker.feature, ground=asker.ground)
            with reading.given(around):
                for batch in ifc_reading.read(opened, options, report, later, alone=True):
                    send(out, ("batch", batch))
    except Exception as error:  # noqa: BLE001  raised again where the model was asked for
        if not isinstance(error, TwinError):
            error.add_note("".join(traceback.format_exception(error)))
        ended = ("failed", error)
    if report is not None:
        send(out, ("report", report))
    send(out, ended)


def _end(*_: object) -> NoReturn:
    """End at once. An exception would have to pass through the parser where that has called Python, and crashes it there."""
    remove_copies()
    os._exit(1)


def serve(source: Path, encoding: str | None, answers: Exact, out: IO[bytes]) -> None:
    """The whole of the process: reads, and returns or ends."""
    signal.signal(signal.SIGTERM, _end)
    gc.disable()  # what it makes stays until it ends
    try:
        read(source, encoding, out, answers)
    except (SystemExit, BrokenPipeError):
        os._exit(1)


def main() -> None:
    """For a reading that is begun anew: the source and its encoding are told first."""
    answers, out = standard_pipes()
    asked = receive(answers)
    if asked is not None:
        keep_memory()
        spare_pandas(compute=False)
        source, encoding = asked
        serve(source, encoding, answers, out)
    os._exit(0)  # as a fork does


if __name__ == "__main__":
    main()
