"""Starting a process that reads or shapes: as a program of its own, or as a fork of one that has one thread and what the other needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from ingest_bim.pipes import Exact
from twin.errors import UnreadableSource
from twin.processes import die_with_parent, ending

PIPE = 1 << 20
"""Bytes on their way from a fork."""
LIVES = 2
"""How often a process is started that dies before it has done its work."""


class Started(Protocol):
    """What `subprocess.Popen` and `Forked` have in common."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; subprocess.TimeoutExpired if that takes longer."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Forked:
    """A copy of this process that runs `serve(commands, answers)` and ends; it reads nothing else and prints nothing. For processes of one thread alone."""

    def __init__(self, serve: Callable[[Exact, IO[bytes]], None]) -> None:
        self._waiting = threading.Lock()
        down_read, down_write = os.pipe()
        up_read, up_write = os.pipe()
        _widen(up_write)
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(down_write)
                os.close(up_read)
                die_with_parent(parent)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is interrupted at the keyboard ends this one
                nothing = os.open(os.devnull, os.O_RDWR)
                for standard in range(3):
                    os.dup2(nothing, standard)
                serve(Exact(down_read), os.fdopen(up_write, "wb"))
                os._exit(0)
            finally:
                os._exit(1)
        os.close(down_read)
        os.close(up_write)
        self.stdin: IO[bytes] | None = os.fdopen(down_write, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(up_read, "rb")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """See `Started`."""
        with self._waiting:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """See `Started`."""
        end = time.monotonic() + (1e9 if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("geometry", timeout or 0.0)
            time.sleep(0.002)
        return status

    def terminate(self) -> None:
        """See `Started`."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """See `Started`."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _widen(pipe: int) -> None:
    """Let a pipe hold a megabyte, where the system can (64 kB else).

    A message of that size is then written at once, not in turns with a reader that has other things to do.
    """
    with suppress(ImportError, AttributeError, OSError):
        import fcntl  # noqa: PLC0415  not everywhere

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


def died(source: str, which: str, status: int) -> UnreadableSource:
    """What is said of a process of a model's reading that died as often as it is started."""
    how, remedy = ending(status)
    return UnreadableSource(f"{source}: the {which} process was started twice, and the last time it {how}.", remedy)


def spawned(module: str) -> subprocess.Popen[bytes]:
    """A process of a module's `main`, which is told the rest on its standard input (`standard_pipes`). Nothing is imported from the current folder."""
    command = [sys.executable, "-P", "-m", module]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment())


def standard_pipes() -> tuple[Exact, IO[bytes]]:
    """In a process that was `spawned`: what is sent to it, and where it answers. What C++ prints goes to its standard error."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is interrupted at the keyboard ends this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return Exact(os.dup(0)), answers


def _environment() -> dict[str, str]:
    paths = [str(Path(__file__).resolve().parents[1]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # the geometry kernels' own threads would fight with our processes
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "TBB_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
