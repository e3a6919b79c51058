"""malloc from large pages: the heap that comes next is asked for as such, and is used by what is allocated next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc
from twin.processes import give_back, roomy_heap
roomy = {roomy}
if roomy:
    roomy_heap(64 << 20)
def heaps():
    parts, at = [], None
    for line in open("/proc/self/smaps"):
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            at = [line.split()[-1] == "[heap]", 0, False]
            parts.append(at)
        elif line.startswith("Rss:"):
            at[1] = int(line.split()[1])
        elif line.startswith("VmFlags:"):
            at[2] = "hg" in line.split()
    return [(size, large) for heap, size, large in parts if heap]
def large():
    return sum(size for size, large in heaps() if large)
before = large()
blocks = [bytes(1_000_000) + b"1" for _ in range(30)]
filled = large()
del blocks
give_back()
print(before, filled, large())
"""


def _kilobytes(*, roomy: bool) -> list[int]:
    """kB in heaps of large pages: before 30 MB are allocated, then, and after they are freed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(roomy=roomy)], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux" or not Path("/sys/kernel/mm/transparent_hugepage").is_dir(), reason="large pages are Linux's")
def test_the_next_blocks_lie_in_large_pages_and_are_given_back():
    before, filled, after = _kilobytes(roomy=True)
    assert before < 6_000  # address space alone was taken
    assert filled - before > 25_000
    assert after < before + 6_000
    assert _kilobytes(roomy=False) == [0, 0, 0]
