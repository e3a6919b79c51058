"""Time and memory of a command, over all its processes."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from twin.errors import TwinError

SELDOM = 20
"""Times that a look at the memory took until the next: what is measured must not be slowed by measuring."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took, and what it printed.

    `wall` and `cpu` (user + system, with all children) in seconds; `peak_mb`: the highest sum of the memory of all its
    processes at one moment (proportional set size, sampled every 20 ms, or so seldom that looking takes a twentieth of the time of one core:
    to look at a process of 300 MB takes 3 ms, in which it can take no memory).
    """

    wall: float
    cpu: float
    peak_mb: float
    output: str


def measure(command: list[str], *, cwd: Path | None = None, environment: dict[str, str] | None = None) -> Cost:
    """Run a command to its end.

    Raises:
        TwinError: it failed; its last words are in the message.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak, stop = [0.0], threading.Event()
    sampler = threading.Thread(target=_sample, args=(process.pid, peak, stop), daemon=True)
    sampler.start()
    output, _ = process.communicate()
    wall = time.perf_counter() - start
    stop.set()
    sampler.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise TwinError(f"{' '.join(command[:6])} … ended with {process.returncode}: {output[-800:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, peak[0], output)


def _sample(root: int, peak: list[float], stop: threading.Event) -> None:
    pause = 0.02
    while not stop.wait(pause):
        start = time.thread_time()
        peak[0] = max(peak[0], sum(_pss(pid) for pid in _tree(root)) / 1024)
        pause = max(0.02, SELDOM * (time.thread_time() - start))


def _tree(root: int) -> list[int]:
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                queue.extend(int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def _pss(pid: int) -> float:
    """Proportional set size in kB; shared pages count once over all processes. 0 for a process that has ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
    except OSError:
        pass
    return 0.0


def disk_floor(read: int, written: int, folder: Path) -> float:
    """Seconds that this disk needs just to write and sync `written` bytes and to read `read` bytes (page cache allowed)."""
    block = os.urandom(1 << 20)
    path = folder / "floor.bin"
    start = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(max(1, max(read, written) >> 20)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass
    took = time.perf_counter() - start
    path.unlink()
    return took
