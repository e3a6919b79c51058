"""The program `twin`: what its command line names may begin to be read (`twin.ahead`) before what reads a command line, and the commands, are loaded."""

from __future__ import annotations

import sys

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


if __name__ == "__main__":
    run()
