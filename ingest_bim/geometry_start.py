"""Starting the geometry process, perhaps before it is needed: its libraries take a third of a second to load, on the other core.

`begin` is called by the command line before anything large is loaded (`twin.ahead`), so this module loads nothing large either.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_READY: list[subprocess.Popen[bytes]] = []
"""A process that nobody uses yet, at most one."""


def begin(options: Mapping[str, str]) -> None:
    """Start a geometry process that waits for its model. It ends by itself when this one does."""
    if options.get("kernel") != "none" and not _READY:
        _READY.append(_started())


def take() -> subprocess.Popen[bytes]:
    """A geometry process of one's own: the one that waits, if it still does, else a new one. It is told its model on its standard input."""
    while _READY:
        process = _READY.pop()
        if process.poll() is None:
            return process
    return _started()


def _started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ingest_bim.geometry_host"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment())


def _environment() -> dict[str, str]:
    paths = [str(Path(__file__).resolve().parents[1]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # the geometry kernels' own threads would fight with our processes
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "TBB_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
