"""Worker processes that die with their parent, however it dies."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, cast

PR_SET_PDEATHSIG = 1
TERMINATED = 128 + signal.SIGTERM
"""Exit status of a process that SIGTERM ends, as shells count."""


def die_with_parent(parent: int | None = None) -> None:
    """Called first in a child: be killed when its parent ends, even by SIGKILL.

    Linux does it in the kernel; elsewhere a thread watches. `parent`, the number of the process that started this one,
    catches the parent that ended before this call.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
    if sys.platform != "linux":
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def spare_pandas(*, compute: bool = True) -> None:
    """Keep pyarrow from loading pandas, which it does on the first conversion of a list and which takes half a second; load pyarrow.compute quickly, unless it is not asked for.

    Nor does it load dateutil then (3 ms), whose intervals nobody has. What asks for pandas afterwards (`to_pandas`, geopandas) still gets it: pyarrow then looks again.
    """
    if "pandas" in sys.modules:
        return
    with without("pandas"), without("dateutil"):
        import pyarrow as pa  # noqa: PLC0415  slow import, and most commands that need it call this first

        pa.array([0])
    if compute:
        _without_texts()


@contextmanager
def without(name: str) -> Iterator[None]:
    """In here an import of a library that is not loaded yet fails, in this thread alone: for others that load it where they can do without."""
    finder = _Refused(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _without_texts() -> None:
    """Load pyarrow.compute without taking the help texts of its 300 functions apart, which is half of the time it takes and which nobody reads here."""
    if "pyarrow.compute" not in sys.modules:
        with standing_in("pyarrow.vendored.docscrape", NumpyDocString=lambda text: {"Parameters": []}):
            import pyarrow.compute  # noqa: F401, PLC0415


@contextmanager
def standing_in(name: str, **members: Any) -> Iterator[None]:
    """In here an import of a module that is not loaded yet gives one of these members, for others that load it and need no more; later imports give the module itself."""
    if name in sys.modules:
        yield
        return
    finder = _StandIn(name, members)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.modules.pop(name, None)


def collect_seldom() -> None:
    """For a command that makes a great many objects that stay and then ends: look for cyclic garbage after 100,000 new objects instead of 700.

    Loading the libraries alone costs forty looks at everything loaded so far; what cycles there are is small.
    """
    gc.set_threshold(100_000, 50, 50)


def give_back() -> None:
    """Hand memory that is free back to the system, which glibc and Arrow keep for later: some milliseconds, for after what took much more than what follows."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_memory() -> None:
    """For a process that ends soon, before it loads Arrow: glibc takes memory from the system in large pieces and keeps what is freed.

    Every page that it gets anew costs microseconds. Arrow takes its memory from glibc, too: its own allocator asks for huge pages, for which the system
    may have to make room first (a column of 2 MB: 2 to 60 ms).
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    change = getattr(_libc(), "mallopt", None)
    if change is not None:
        for option, value in ((-1, 1 << 30), (-2, 16 << 20), (-3, 32 << 20)):  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD
            change(option, value)


@lru_cache(maxsize=1)
def _libc() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector of cyclic garbage, for work that makes a great many small objects that stay: it would look at all of them over and over (a sixth of a model's reading, a fifth of an update)."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def leave(status: int) -> NoReturn:
    """End this process as `sys.exit` does, without taking every module and object apart first (0.1 s): the system takes the memory back anyhow.

    What is registered to be done at the end is done and the output is flushed. Where a thread still runs, it is an ordinary `sys.exit`, which waits.
    """
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.exit(status)
    atexit._run_exitfuncs()  # noqa: SLF001  as the interpreter itself does
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(status)  # the interpreter says what is wrong with the output
    if status == TERMINATED:  # by the signal itself, which who manages services takes for a clean end
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    os._exit(status)


class _Refused:
    """Says to one thread that a library is not installed."""

    def __init__(self, name: str) -> None:
        self.name, self.thread = name, threading.get_ident()

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Refuse the library, leave the rest to the next finder."""
        del path, target
        if fullname == self.name and threading.get_ident() == self.thread:
            raise ImportError(fullname)


class _StandIn:
    """Finds and loads one module: an empty one with some members. What else is asked of it afterwards is the module's own."""

    def __init__(self, name: str, members: dict[str, Any]) -> None:
        self.name, self.members = name, members

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The stand-in, and nothing else."""
        del path, target
        return ModuleSpec(fullname, cast("Any", self)) if fullname == self.name else None

    def create_module(self, spec: ModuleSpec) -> None:
        """As the import system makes them."""

    def exec_module(self, module: ModuleType) -> None:
        """Give it its members."""

        def later(name: str) -> Any:
            if sys.modules.get(self.name) is module:
                raise AttributeError(name)
            return getattr(import_module(self.name), name)

        vars(module).update(self.members, __getattr__=later)


def ending(status: int) -> tuple[str, str]:
    """How a process ended, in words, and what to do, from its exit status as `subprocess` counts them (a signal is negative)."""
    if status == -signal.SIGKILL:
        return "was killed (SIGKILL), most likely because the machine ran out of memory", "Free memory, or use a machine that has more, and run it again."
    if status in (-signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT):
        return f"was ended from outside ({signal.Signals(-status).name})", "Run it again."
    how = f"crashed ({signal.Signals(-status).name})" if -status in signal.valid_signals() else f"ended unexpectedly (exit status {status})"
    return how, "The file may be damaged: export it again."


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def identity(pid: int | None = None) -> str:
    """`host|boot|pid|start`: names one process of one boot of one machine, so that a reused number is not mistaken for it."""
    number = os.getpid() if pid is None else pid
    return f"{os.uname().nodename}|{_boot()}|{number}|{started(number)}"


def is_gone(owner: str) -> bool:
    """Whether the process of an `identity` is known to have ended: False when it runs, or ran on another machine."""
    host, boot, pid, since = owner.split("|")
    if host != os.uname().nodename:
        return False
    return boot != _boot() or started(int(pid)) != since


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "?"


def started(pid: int) -> str:
    """Start time of a process in clock ticks since boot (proc(5), field 22), "" when it is gone or a zombie, "?" where the system has no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if sys.platform == "linux" else "?"
    return "" if fields[0] == "Z" else fields[19]
