"""A folder of IFC files as one table for docs/benchmarks.md: `python -m twin.bench.ifc_table FILE…` prints a row as soon as it is measured."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from twin.bench.bim import figures
from twin.bench.measure import Cost
from twin.errors import TwinError

HEAD = """| file | MB | elements | open | properties | geometry | tiles | ours, whole: wall s (CPU-s, MB) | with the cache | py3dtiles[ifc] | × | iterator alone | ours / it |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def row(path: Path, found: dict[str, Any]) -> str:
    """One line of the table; a peer without a figure is a dash with its reason."""
    ours, peer, bare, stages = found["ours"], found["peer"], found["bare"], found["stages"]
    cells = [path.name, f"{found['bytes'] / 1e6:.1f}", f"{found['elements']:,}", *(f"{stages[name]:.2f}" for name in ("open", "properties", "geometry", "tiles")),
             f"{ours.wall:.2f} ({ours.cpu:.1f}, {ours.peak_mb:.0f})", f"{found['again'].wall:.2f}"]  # fmt: skip
    cells += [f"{peer.wall:.2f} ({peer.cpu:.1f}, {peer.peak_mb:.0f})", f"{peer.wall / ours.wall:.1f}"] if isinstance(peer, Cost) else [f"– ({peer})", "–"]
    cells += [f"{bare[0]:.2f} ({bare[1]:.1f})", f"{ours.wall / bare[0]:.2f}"] if not isinstance(bare, str) else [f"– ({bare})", "–"]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def main() -> None:
    """Measure the files that are named."""
    print(HEAD)  # noqa: T201
    for name in sys.argv[1:]:
        try:
            line = row(Path(name), figures(Path(name)))
        except TwinError as error:  # a refusal is a row too: what the file is, and why it is not read
            line = f"| {Path(name).name} | {Path(name).stat().st_size / 1e6:.1f} | – {_reason(error)} |" + " – |" * 10
        print(line, flush=True)  # noqa: T201


def _reason(error: TwinError) -> str:
    """What the command said, out of the JSON in which it says so."""
    told = re.search(r'"message": "((?:[^"\\]|\\.)*)"', str(error))
    return (told.group(1) if told else str(error))[:300].replace("|", "/").replace("\n", " ")


if __name__ == "__main__":
    main()
