"""Opening a model in a thread: the parser lets go of the interpreter, so that meanwhile the text is scanned or libraries are loaded."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest_bim.ifc.step_access import parser
from ingest_bim.ifc.step_guard import StepFile, guarded
from twin.errors import UnreadableSource

if TYPE_CHECKING:
    from twin.model import Report


#: Level, rule and time at the beginning of what the parser says; the time would make two reports of one file differ.
_MARKS = re.compile(r"^(?:\[[^\]]*\]\s*)+")


#: Where the parser gave up.
_STOPPED = re.compile(r"\[error\].*at offset (\d+)")


@dataclass
class Opening:
    """A model that is being opened.

    Attributes:
        name: of the source.
        step: the plain STEP file.
    """

    name: str
    step: StepFile
    _found: Future[tuple[Any, str]]
    _pool: ThreadPoolExecutor

    def done(self) -> bool:
        """Whether `model` has not to wait."""
        return self._found.done()

    def model(self, report: Report) -> Any:
        """The parser's model, once it is there; then no thread is left. What the parser had to say goes into the report.

        Raises:
            UnreadableSource: the parser cannot read it.
        """
        try:
            model, log = self._found.result()
        except Exception as error:  # the parser raises many kinds; all mean that it cannot read the file
            reason = _where("\n".join(getattr(error, "__notes__", ())), self.step.path) or str(error)[:200].removesuffix(", check logs")
            raise UnreadableSource(f"{self.name} cannot be parsed: {reason}.", "Export the model again.") from error
        self._pool.shutdown()
        _note_log(log, report)
        report.facts |= {"driver": "ifcopenshell " + parser().version, "schema": self.step.schema, "bytes": self.step.size}
        return model


@contextmanager
def opening(source: Path, encoding: str | None) -> Iterator[Opening]:
    """Check a model (`step_guard`) and begin to open it.

    Raises:
        UnreadableSource, BadOption: as `guarded` does.
    """
    with guarded(source, encoding) as step, ThreadPoolExecutor(1, thread_name_prefix="open") as pool:
        parser()  # its import tampers with the standard output, so it is not for a thread
        yield Opening(source.name, step, pool.submit(_open, step.path), pool)


def _open(path: Path) -> tuple[Any, str]:
    """The model and what the parser says about it."""
    ifcopenshell = parser()
    log: Any = ifcopenshell.get_log
    log()  # of whatever was opened before
    try:
        return ifcopenshell.open(str(path)), str(log())
    except Exception as error:
        error.add_note(str(log()))
        raise


def _where(log: str, path: Path) -> str:
    """The line of a file that the parser stopped at, in words; "" where it does not say."""
    found = _STOPPED.search(log)
    if found is None:
        return ""
    with path.open("rb") as file:
        before = file.read(int(found[1]))
        line = before.rpartition(b"\n")[2] + file.readline()
    text, number = line.decode("utf-8", "replace").strip(), before.count(b"\n") + 1
    return f"line {number} of it is no STEP ({text[:80]!r}{' …' if len(text) > 80 else ''})"


def _note_log(log: str, report: Report) -> None:
    """The parser's errors and warnings: a few of each kind, and how many there were."""
    kinds: dict[str, list[str]] = defaultdict(list)
    said = [_MARKS.sub("", line) for line in log.splitlines() if "[error]" in line.lower() or "[warning]" in line.lower()]
    for text in dict.fromkeys(said):  # what is said in two seconds is one thing
        kinds[" ".join(text.split()[:4])].append(text[:200])
    for texts in kinds.values():
        for text in texts[:3]:
            report.note("warned", "", f"parser: {text}")
        if len(texts) > 3:
            report.note("warned", "", f"parser: … and {len(texts) - 3} more like the last one.")
