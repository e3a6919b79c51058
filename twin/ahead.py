"""What can be begun in good time: a tiler's code is loaded while the source of its layer is still being read, a model is read while the program is still loading.

Compiled kernels take up to a second to load, nearly as long as the whole of a small layer, and most readers wait for
libraries that use one core. Who gains by it names a function in its line of the table (`twin.entries`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from twin.entries import READERS, Entry


def start(entry: Entry | None) -> None:
    """Call a tiler's `ahead` in a thread of its own; nobody waits for it, and what is wrong shows again where the code is used."""
    if entry is not None and entry.ahead:
        threading.Thread(target=_load, args=(entry.ahead,), name=f"ahead-{entry.name}").start()


def reading(sources: Sequence[Path], options: Mapping[str, str], cache: Path, readers: Sequence[Entry] = READERS) -> None:
    """Call `ahead` of the readers that a source's suffix names, here and now, before the rest of the program is loaded: it begins what then goes on by itself.

    Args:
        sources: as given on the command line; only a single one tells.
        options: of the reader, as given there.
        cache: folder for what readers keep (`twin.reading.Surroundings`).
    """
    if len(sources) != 1:
        return
    for entry in readers:
        if entry.ahead and sources[0].name.lower().endswith(entry.suffixes):
            _load(entry.ahead, sources[0], options, cache)


def _load(name: str, *arguments: object) -> None:
    module, _, function = name.partition(":")
    with suppress(Exception):
        getattr(import_module(module), function)(*arguments)
