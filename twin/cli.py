"""The program `twin`: what its command line names may begin to be read (`twin.ahead`) before what reads a command line, and the commands, are loaded."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from twin import ahead

CPUINFO = Path("/proc/cpuinfo")


def run() -> None:
    """The command as a process of its own."""
    from twin import watching  # noqa: PLC0415
    from twin.processes import leave  # noqa: PLC0415

    watching.apart(sys.argv[1:])
    signal.signal(signal.SIGTERM, partial(_terminated, os.getpid()))
    try:
        plain_products()
        ahead.named(sys.argv[1:])
        from twin.commands import main  # noqa: PLC0415

        main()
    except KeyboardInterrupt:  # while the program is loaded; a command says it itself
        print("Interrupted; run the command again to go on.", file=sys.stderr)  # noqa: T201  click may not be there yet
        leave(130)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            leave(end.code or 0)
        raise


def _terminated(process: int, number: int, frame: object) -> None:  # noqa: ARG001  as signal handlers are called
    """End as at any other end: temporary files go, and the job stays as that of a process that is gone, so the same command takes it up again."""
    if os.getpid() != process:
        os._exit(128 + number)
    print("Terminated; run the command again to go on.", file=sys.stderr)  # noqa: T201
    raise SystemExit(128 + number)


def plain_products() -> None:
    """Let NumPy multiply matrices in the same way on every processor that has AVX2 (since 2013), in this process and all that it starts.

    OpenBLAS has other kernels where there is AVX-512, which round otherwise: models then had other vertices, in the last place, on another machine
    (docs/adr/0056). It reads this variable when NumPy is loaded; who has set it is left alone, and so is a processor without AVX2.
    """
    try:
        with CPUINFO.open("rb") as file:
            able = {b"avx2", b"fma"} <= set(file.read(4096).split())
    except OSError:  # not Linux
        return
    if able:
        os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")


def __getattr__(name: str) -> Any:
    """`main`, the group of all commands, for who calls them in a process of his own: loaded when asked for."""
    if name != "main":
        raise AttributeError(name)
    from twin import commands  # noqa: PLC0415

    return commands.main


if __name__ == "__main__":
    run()
