"""The flood solver: cell updates a second of a core with all cells wet, EA test 4 and rain on a city grid, against landlab in the same run."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import venv
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from twin.bench.measure import Cost, measure
from twin.errors import TwinError

BYTES = {"inertial": 47.4, "hllc": 40.0, "hllc2": 98.5}
"""Bytes that one cell update moves at least: state read and written, bed and roughness read (second order: two stages)."""
LIMIT = 240
"""s that a peer may take."""
NAMES = {"inertial": "local inertial", "hllc": "HLLC, first order", "hllc2": "HLLC, second order"}
CITED = {"inertial": "per core: itzi 10 M/s, landlab 11.7 M/s", "hllc": "per core: anuga DE0 2.3 M/s triangles", "hllc2": "per core: anuga DE1 1.3 M/s triangles"}


def updates(scheme: str, size: float) -> dict[str, Any]:
    """Cell updates a CPU-second of one thread, every cell wet; the bandwidth bound is measured in the same process."""
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as scratch:
        file = Path(scratch) / "case.npz"
        cost, one = _ours(["pool", scheme, str(size), str(file)], threads=1)
        _, both = _ours(["pool", scheme, str(size)])
        bound = one["bandwidth"] * 1e3 / BYTES[scheme]
        details = {"scheme": NAMES[scheme], "one thread": f"{one['core']:.1f} M/s a CPU-second, {one['wall']:.1f} M/s wall", f"{both['threads']} threads": f"{both['wall']:.1f} M/s wall",
                   "bandwidth of a core": f"{one['bandwidth']:.1f} GB/s, bound {bound:.0f} M/s, reached {one['core'] / bound:.0%}"}  # fmt: skip
        peer = _peer("speed", file, threads=1) if scheme == "inertial" else "only for the same equations"
    return _row(one["core"] * 1e6, f"cell updates/s of a core ({scheme})", cost, details, CITED[scheme], peer, lambda found: found["core"] * 1e6)


def ea4(size: float) -> dict[str, Any]:
    """EA SC120002 test 4 (breach on a plain, 5 m cells) to 7,260 s of model time: the local inertial scheme."""
    return _whole("ea4", "inertial", size, 7260.0, "itzi 12.5 s, landlab 26.5 s, anuga DE0 142 s to 7,260 s on two threads")


def city(size: float) -> dict[str, Any]:
    """70 mm/h on a 2 m city grid with buildings (TWIN_BENCH_DEM or generated), 1,800 s: the local inertial scheme."""
    return _whole("city", "inertial", size, 1800.0, "landlab 16.5 s, anuga 100 s, itzi 16.2 s (22% of water from nothing) on the 2 m grid of Newcastle on two threads")


def _whole(case: str, scheme: str, size: float, seconds: float, cited: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as scratch:
        file = Path(scratch) / "case.npz"
        cost, found = _ours([case, scheme, str(size), str(file)])
        end = max(60.0 if case == "city" else 300.0, seconds * size)
        details = {"scheme": NAMES[scheme], "threads": found["threads"], "model time": f"{end:.0f} s", "wall of the run": f"{found['wall']:.2f} s", "CPU-s of the run": f"{found['cpu']:.2f}",
                   "steps": found["steps"], "volume error": f"{found['mass']:.1e}"}  # fmt: skip
        peer = _peer("run", file)
        if isinstance(peer, dict):
            details["landlab"] = f"{peer['wall']:.2f} s wall, {peer['cpu']:.2f} CPU-s, volume error {peer['mass']:.1e}"
    return _row(end / found["wall"], "model seconds a second", cost, details, cited, peer, lambda one: end / one["wall"])


def _ours(arguments: list[str], threads: int = 0) -> tuple[Cost, dict[str, Any]]:
    environment = {**os.environ, **({"NUMBA_NUM_THREADS": str(threads)} if threads else {})}
    cost = measure([sys.executable, "-c", "from twin.bench.flood_runs import main; main()", *arguments], environment=environment)
    return cost, json.loads(cost.output.strip().splitlines()[-1])


def _peer(what: str, file: Path, threads: int = 0) -> dict[str, Any] | str:
    """What landlab found on the same case, or why it gives no figure."""
    python = landlab_python()
    if python is None:
        return "landlab could not be installed"
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", **({"OMP_NUM_THREADS": str(threads)} if threads else {})}  # threads wait asleep, as ours
    try:
        cost = measure(["timeout", str(LIMIT), python, str(Path(__file__).with_name("landlab_peer.py")), what, str(file)], environment=environment)
    except TwinError as error:
        return f"no result: {str(error).splitlines()[-1][-160:]}"
    found: dict[str, Any] = json.loads(cost.output.strip().splitlines()[-1])
    return found


@cache
def landlab_python() -> str | None:
    """A Python with landlab: in an environment of its own, made now and kept for later runs; None where it cannot be installed."""
    folder = Path(tempfile.gettempdir()) / f"twin-bench-landlab-{os.getuid()}"
    program = folder / "bin" / "python"
    try:
        if not program.exists():
            venv.create(folder, with_pip=True)
        if not list(folder.glob("lib/*/site-packages/landlab")):
            measure([str(program), "-m", "pip", "install", "--quiet", "landlab==2.11.0", "requireit==0.8.0"])
    except (TwinError, OSError):
        return None
    return str(program)


def _row(figure: float, unit: str, cost: Cost, details: dict[str, Any], cited: str, peer: dict[str, Any] | str, rate: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    found = rate(peer) if isinstance(peer, dict) else 0.0
    if isinstance(peer, str):
        details = {**details, "landlab": peer}
    return {"figure": figure, "unit": unit, "peer": "landlab OverlandFlow" if found else None, "peer_figure": found or None, "ratio": figure / found if found else None, "cited": cited,
            "wall_seconds": cost.wall, "cpu_seconds": cost.cpu, "peak_memory_mb": cost.peak_mb, "details": details}  # fmt: skip


def _work(scheme: str) -> Callable[[float], dict[str, Any]]:
    work = partial(updates, scheme)
    work.__doc__ = f"Cell updates a second of a core, all cells wet: {NAMES[scheme]}."
    return work


WORKS: dict[str, Callable[[float], dict[str, Any]]] = {**{f"flood-{scheme}": _work(scheme) for scheme in BYTES}, "ea4": ea4, "flood-city": city}
