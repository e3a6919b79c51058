"""A command that reads files in a fork, watched by the process that was started (docs/adr/0075).

A library that crashes on a file, or the system that ends what takes too much memory, says nothing to who gave the command.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What somebody ends a command by."""
GRACE = 0.3
"""Seconds in which a command ends that got the signal, too: terminals and `timeout` send it to all processes of a command."""

_WATCHED: list[int] = []
"""Of a fork that is watched, by whom."""


def apart(arguments: Sequence[str]) -> None:
    """Go on in a fork of this process if the command is `ingest`; this one waits, ends as the fork does, and says what has crashed.

    To be called before anything starts a thread or another process; a fork that is watched stays one. Where the system cannot wait for signals (all but Linux and BSD) nothing happens.
    """
    if _WATCHED or "ingest" not in arguments or not hasattr(signal, "sigtimedwait") or not hasattr(os, "fork"):
        return
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*ASKED, signal.SIGCHLD))
    child = os.fork()
    if child == 0:
        from twin.processes import die_with_parent  # noqa: PLC0415  loads ctypes

        die_with_parent(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _WATCHED.append(parent)
        return
    _ended(_wait(child), arguments)


def _wait(child: int) -> int:
    """The exit status of the fork as `subprocess` counts it; signals are handed on where it has not got them itself."""
    while True:
        got = signal.sigwaitinfo((*ASKED, signal.SIGCHLD)).si_signo
        if got != signal.SIGCHLD:
            signal.sigtimedwait((signal.SIGCHLD,), GRACE)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if got != signal.SIGCHLD:
            os.kill(child, got)


def _ended(status: int, arguments: Sequence[str]) -> NoReturn:
    """End as the fork did; what no command ends by is told."""
    if -status in ASKED:
        signal.signal(-status, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (-status,))
        os.kill(os.getpid(), -status)
    if status < 0:
        from twin.processes import ending  # noqa: PLC0415

        how, remedy = ending(status)
        message = f"{_sources(arguments)}: the process that reads it {how}. The layer shows what it showed before."
        if "--json" in arguments:
            print(json.dumps({"error": {"type": "ReaderCrashed", "message": message, "remedy": remedy}}, ensure_ascii=False))  # noqa: T201  click is not loaded
        else:
            print(f"Error: {message}\n       {remedy}", file=sys.stderr)  # noqa: T201
        sys.stdout.flush()
    os._exit(status if status >= 0 else 128 - status)


def _sources(arguments: Sequence[str]) -> str:
    """The files (or folders) that are named, or the first of them."""
    behind = dict(zip(arguments[1:], arguments, strict=False))
    found = [Path(text).name for text in arguments if text != "ingest" and not text.startswith("-") and behind.get(text) != "--home" and Path(text).exists()]
    return (found[0] + (f" (and {len(found) - 1} more)" if found[1:] else "")) if found else "the source"
