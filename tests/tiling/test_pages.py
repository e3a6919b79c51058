"""What is mapped from a file does not stay in memory once it has been read, and reads the same afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiling import partition
from tiling.partition import Places
from tiling.reuse import Index
from twin import keys
from twin.lake import Lake

COUNT = 400_000
pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells which pages are in memory")


def resident(path: Path) -> int:
    """Bytes of a mapped file that are in memory here."""
    total, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def test_keys(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 1 << 62, (COUNT, 2)).astype(np.uint64)
    path = tmp_path / "k.keys"
    values.tofile(path)
    mapped = np.memmap(path, np.uint64, "r").reshape(-1, 2)
    rows, most = [], 0
    for some in keys.in_order(mapped[:, 0], COUNT // 8):
        most = max(most, resident(path))
        rows.append(some)
    assert np.array_equal(np.concatenate(rows), np.argsort(values[:, 0], kind="stable"))
    assert most < values.nbytes // 4
    assert int(mapped[:, 1].max()) == int(values[:, 1].max())
    assert resident(path) >= values.nbytes, "that is how it is seen"


def test_places_of_a_plan(lake: Lake) -> None:
    rng = np.random.default_rng(2)
    code = np.sort(rng.integers(0, 1 << 50, COUNT).astype(np.uint64))
    places = Places(code, rng.uniform(1, 9, COUNT).astype(np.float32), np.full(COUNT, 36, np.int32), rng.integers(0, 1 << 60, COUNT).astype(np.uint64),
                    np.arange(COUNT, dtype=np.int32), rng.integers(0, 1 << 60, COUNT).astype(np.uint64)).sorted()  # fmt: skip
    key = Index(places).save(lake)
    path, found = lake.path(key), Index.load(lake, key).places
    size = path.stat().st_size
    found.release()
    cells = []
    for piece in partition.pieces([found], budget=16_000, share=16_000 / 3, limit=COUNT // 16):
        cells += [piece.cell(at) for at in range(len(piece))]
    assert resident(path) < size // 8
    expected = list(partition.stream([places], budget=16_000, share=16_000 / 3))
    assert [(one.name, one.parent, one.error) for one in cells] == [(one.name, one.parent, one.error) for one in expected]
    assert all(np.array_equal(one.rows, two.rows) and np.array_equal(one.mark, two.mark) for one, two in zip(cells, expected, strict=True))
