"""The ledger of a build: what is stored comes back, and the masses of its tiles are not held."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tiling import ledger
from tiling.blocks.mass_columns import COLUMNS
from tiling.ledger import KINDS, TILE, Ledger, gathered, load_tiles
from tiling.store import Store
from tiling.tileset import Finished
from twin.archive import Packed
from twin.lake import Lake


def rows_of(number: int) -> np.ndarray:
    """What a tile adds to the masses: none to sixteen rows."""
    rng = np.random.default_rng(number)
    return rng.normal(size=(int(rng.integers(0, 17)), COLUMNS))


def filled(folder: Path, numbers: range, limit: int) -> Ledger:
    found = Ledger(masses=Store(KINDS, folder, limit), notes={"名": [1, 2.5]})
    for number in numbers:
        drawn = number % 5 > 0
        packed, corner = (Packed(b"", 0, number, False), np.full(3, float(number))) if drawn else (None, None)
        told = [("warned", f"b{number}", "斜")] if number % 9 == 0 else []
        found.add(f"3/{number}/0", number.to_bytes(16, "big"), number, Finished(packed, corner, corner, notes=told, kept=number, mass=rows_of(number).tobytes()))
    return found


@pytest.mark.parametrize("limit", [0, 1 << 25])
@pytest.mark.parametrize("run", [1, 7, 1 << 14])
def test_what_is_stored_comes_back(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch, run: int, limit: int) -> None:
    monkeypatch.setattr(ledger, "RUN", run)
    monkeypatch.setattr(ledger, "_TOGETHER", 13)
    numbers = range(100)
    expected = [rows_of(number) for number in numbers]
    found = filled(tmp_path / "store", numbers, limit)
    table = found.table()
    assert table.schema == TILE
    assert table.column("masses").to_pylist() == [len(rows) for rows in expected]
    own, first = gathered(np.arange(100), (np.zeros(0, np.int64), []), (table.column("masses").to_numpy(), found.masses))
    assert own.flags.writeable, "or compiled loops would be compiled once more"
    assert all(np.array_equal(own[a:b], rows) for a, b, rows in zip(first[:-1], first[1:], expected, strict=True))
    again, masses, notes = load_tiles(lake, found.save(lake, table, own))
    assert again.schema == TILE
    assert notes == {"名": [1, 2.5]}
    assert again.drop_columns(["west", "low", "south", "east", "north", "high"]).to_pylist() == table.drop_columns(["west", "low", "south", "east", "north", "high"]).to_pylist()
    assert np.array_equal(again.column("west").to_numpy(), table.column("west").to_numpy(), equal_nan=True)
    assert np.array_equal(np.concatenate(masses), np.concatenate(expected))
    # of tiles of that build and of another one, in any order
    more = filled(tmp_path / "more", range(100, 160), limit)
    order = np.random.default_rng(1).permutation(160)[:90]
    own, first = gathered(order, (again.column("masses").to_numpy(), masses), (more.table().column("masses").to_numpy(), more.masses))
    assert own.flags.writeable
    assert all(np.array_equal(own[a:b], rows_of(int(at))) for a, b, at in zip(first[:-1], first[1:], order, strict=True))


def test_an_empty_ledger(tmp_path: Path, lake: Lake) -> None:
    table, masses, notes = load_tiles(lake, Ledger().save(lake))
    assert (len(table), sum(map(len, masses)), notes) == (0, 0, {})
    assert len(gathered(np.zeros(0, np.int64), (np.zeros(0, np.int64), []), (np.zeros(0, np.int64), Store(KINDS, tmp_path / "s", 0)))[0]) == 0


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
def test_damage_is_found(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch, where: float) -> None:
    monkeypatch.setattr(ledger, "RUN", 50)
    found = filled(tmp_path / "store", range(300), 0)
    own = found.masses["made"] if found.masses is not None and found.table() is not None else None
    key = found.save(lake, found.table(), own)
    path = lake.path(key)
    data = bytearray(path.read_bytes())
    at = int(len(data) * where)
    data[at : at + 64] = bytes(byte ^ 0x5A for byte in data[at : at + 64])
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises((ValueError, OSError)):
        load_tiles(lake, key)


def test_masses_are_not_held(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of 40,000 tiles take 33 MB."""
    monkeypatch.setattr(ledger, "RUN", 1024)
    tracemalloc.start()
    try:
        found = Ledger(masses=Store(KINDS, tmp_path / "store", 1 << 20))
        mass = np.arange(8 * COLUMNS, dtype=float).tobytes()
        for number in range(40_000):
            found.add(f"9/{number}/1", b"k", 0, Finished(mass=mass))
        table = found.table()
        own, first = gathered(np.arange(40_000), (np.zeros(0, np.int64), []), (table.column("masses").to_numpy(), found.masses))
        found.save(lake, table, own)
        assert len(own) == first[-1] == 320_000
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
