"""`twin bench`: what the product does per second and per megabyte, beside its peers.

Every work runs as a user would run it (a fresh process, its start counted). A peer is measured in the same run and gives
a ratio; one that cannot be installed is cited and gives none.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from twin import __version__
from twin.bench import bim, works
from twin.errors import NotFound

WORKS: dict[str, Callable[[float], dict[str, Any]]] = {**works.WORKS, **bim.WORKS}


def names() -> dict[str, str]:
    """Name and one line of every work."""
    return {name: (work.__doc__ or "").splitlines()[0] for name, work in WORKS.items()}


def run(name: str | None, size: float = 1.0) -> list[dict[str, Any]]:
    """Measure one work, or all; each row has figure, unit, peer, peer_figure, ratio, cpu_seconds, peak_memory_mb.

    Raises:
        NotFound: no such work.
    """
    if name is not None and name not in WORKS:
        raise NotFound(f"There is no benchmark {name!r}.", f"Known: {', '.join(WORKS)}.")
    rows = []
    for key in [name] if name else list(WORKS):
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        rows.append({"work": key, "size": size, "at": started, **WORKS[key](size)})
    return rows


def as_text(rows: list[dict[str, Any]]) -> str:
    """Rows for people."""
    lines = []
    for row in rows:
        ratio = f", {row['ratio']:.2f} × {row['peer']} ({row['peer_figure']:,.0f})" if row.get("ratio") else ""
        lines.append(f"{row['work']}: {row['figure']:,.0f} {row['unit']}{ratio}; {row['wall_seconds']:.1f} s wall, {row['cpu_seconds']:.1f} CPU-s, "
                     f"{row['peak_memory_mb']:,.0f} MB over all processes")  # fmt: skip
        lines.extend(f"    {key}: {value}" for key, value in row.get("details", {}).items())
        if row.get("cited"):
            lines.append(f"    cited: {row['cited']}")
    return "\n".join(lines)


def write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """docs/benchmarks.md: machine, versions, figures; hand-written notes below the marker line are kept."""
    marker = "<!-- notes below are kept -->"
    notes = path.read_text("utf-8").partition(marker)[2] if path.exists() else "\n"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pyarrow", "shapely", "numba", "ifcopenshell", "laspy"))
    lines = ["# Benchmarks", "", f"Wuyi Twin {__version__}, Python {platform.python_version()}, {libraries}; {_machine()}.",
             "Made by `twin bench --write`; a fresh process for every figure, its start counted.", "",
             "| work | figure | peer in the same run | ratio | wall s | CPU-s | peak MB (all processes) |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        peer = f"{row['peer']}: {row['peer_figure']:,.0f}" if row.get("peer_figure") else f"cited: {row['cited']}" if row.get("cited") else "–"
        ratio = f"{row['ratio']:.2f}" if row.get("ratio") else "–"
        lines.append(f"| {row['work']} (size {row['size']:g}) | {row['figure']:,.0f} {row['unit']} | {peer} | {ratio} | {row['wall_seconds']:.1f} | "
                     f"{row['cpu_seconds']:.1f} | {row['peak_memory_mb']:,.0f} |")  # fmt: skip
    lines.append("")
    lines.extend(f"- **{row['work']}**: " + "; ".join(f"{key} {value}" for key, value in row.get("details", {}).items()) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + f"\n\n{marker}{notes}", "utf-8")


def _machine() -> str:
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next((line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")), "")
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores {model}".strip()




__all__ = ["WORKS", "as_text", "names", "run", "write_table"]
