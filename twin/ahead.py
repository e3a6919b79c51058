"""A tiler's code is loaded aside while the source of its layer is still being read.

Compiled kernels take up to a second to load, nearly as long as the whole of a small layer, and most readers wait for
libraries that use one core. A tiler that gains by it names a function in its line of the registry.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module

from twin.registry import Entry


def start(entry: Entry | None) -> None:
    """Call `entry.ahead` ("module:function") in a thread of its own; nobody waits for it, and what is wrong shows again where the code is used."""
    if entry is not None and entry.ahead:
        threading.Thread(target=_load, args=(entry.ahead,), name=f"ahead-{entry.name}").start()


def _load(name: str) -> None:
    module, _, function = name.partition(":")
    with suppress(Exception):
        getattr(import_module(module), function)()
