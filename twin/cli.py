"""The program `twin`: what its command line names may begin to be read (`twin.ahead`) before what reads a command line, and the commands, are loaded."""

from __future__ import annotations

import sys
from typing import Any

from twin import ahead


def run() -> None:
    """The command as a process of its own."""
    ahead.named(sys.argv[1:])
    from twin.commands import main  # noqa: PLC0415
    from twin.processes import leave  # noqa: PLC0415

    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            leave(end.code or 0)
        raise


def __getattr__(name: str) -> Any:
    """`main`, the group of all commands, for who calls them in a process of his own: loaded when asked for."""
    if name != "main":
        raise AttributeError(name)
    from twin import commands  # noqa: PLC0415

    return commands.main


if __name__ == "__main__":
    run()
