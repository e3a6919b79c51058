"""What can be begun in good time: a tiler's code is loaded while the source of its layer is still being read, a model is read while the program is still loading.

Compiled kernels take up to a second to load, nearly as long as the whole of a small layer, and most readers wait for
libraries that use one core. Who gains by it names a function in its line of the table (`twin.entries`).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from twin.entries import READERS, TILERS, Entry

LARGE = 3 << 20
"""Bytes of a source from which on its reading takes longer than all that is loaded meanwhile."""
GIVES_WAY = 5
"""How much nicer than others a thread is that loads that (setpriority(2))."""


def prepare() -> None:
    """For a process that ingests and ends: before NumPy and the rest of the libraries are loaded."""
    from twin.processes import collect_seldom  # noqa: PLC0415

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of numpy: starting them costs more than an ingest has for them to do
    collect_seldom()


def start(entry: Entry | None) -> None:
    """Call a tiler's `ahead` in a thread of its own; nobody waits for it, and what is wrong shows again where the code is used."""
    if entry is not None and entry.ahead:
        threading.Thread(target=_load, args=(entry.ahead,), name=f"ahead-{entry.name}").start()


def named(arguments: Sequence[str], readers: Sequence[Entry] = READERS) -> None:
    """Call `ahead` of the reader that a command line asks for, before anything reads that: `ingest`, and one file of its suffixes, where no reader is named.

    It is a guess (the file may be an option's value); `reading` tells what was meant, and what was begun in vain is ended.
    """
    if arguments[:1] != ["ingest"] or any(text.partition("=")[0] == "--reader" for text in arguments):
        return
    options = dict(text.removeprefix("--option=").partition("=")[::2] for text in arguments if "=" in text)
    for entry in readers:
        files = [text for text in arguments[1:] if entry.ahead and text.lower().endswith(entry.suffixes) and Path(text).is_file()]
        if len(files) == 1:
            prepare()
            _load(entry.ahead, Path(files[0]), options, None)


class Begun(NamedTuple):
    """A reading that goes on by itself.

    `spare` is set as soon as it leaves a core to others; None for a reader that does not say.
    """

    entry: Entry
    source: Path
    spare: threading.Event | None


def reading(sources: Sequence[Path], options: Mapping[str, str], cache: Path, readers: Sequence[Entry] = READERS) -> Begun | None:
    """Call `ahead` of the reader that a source's suffix names, here and now, before the rest of the program is loaded: it begins what then goes on by itself.

    Args:
        sources: as given on the command line; only a single one tells.
        options: of the reader, as given there.
        cache: folder for what readers keep (`twin.reading.Surroundings`).
    """
    if len(sources) != 1:
        return None
    for entry in readers:
        if entry.ahead and sources[0].name.lower().endswith(entry.suffixes):
            return Begun(entry, sources[0], _load(entry.ahead, sources[0], options, cache))
    return None


def load(begun: Begun) -> None:
    """Load what a job of this reader will need, giving way to the process that reads a large source meanwhile.

    That has work for two cores while it opens the source, and it is what is waited for: only then does loading begin.
    """
    try:
        large = begun.source.stat().st_size >= LARGE
    except OSError:  # whoever reads it says what is wrong with it
        return
    if sys.platform != "linux" or not large:  # elsewhere a priority is not a thread's
        return
    names = ["twin.tasks", *(tiler.module for tiler in TILERS if tiler.kind == begun.entry.kind)]
    if begun.spare is not None:
        begun.spare.wait()

    def each() -> None:
        from twin.processes import spare_pandas  # noqa: PLC0415

        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), GIVES_WAY)  # it cannot be taken back, so the thread is one for this alone
        spare_pandas()
        for name in names:
            with suppress(Exception):  # what is wrong shows again where it is used
                import_module(name)

    thread = threading.Thread(target=each, name="ahead-load")
    thread.start()
    thread.join()


def _load(name: str, *arguments: object) -> Any:
    module, _, function = name.partition(":")
    with suppress(Exception):
        return getattr(import_module(module), function)(*arguments)
    return None
