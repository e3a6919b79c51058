"""Tables on their way into parts: how many are under way at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from twin import parts, query
from twin.errors import NotFound, StorageError
from twin.lake import Lake
from twin.model import Features, Reference, Report


class _Waiting(Lake):
    """A lake whose disk takes nothing until so many wait for it."""

    def __init__(self, root: Path, several: int) -> None:
        super().__init__(root)
        self.barrier = threading.Barrier(several)

    def put_file(self, source: Path, suffix: str = "", *, move: bool = False) -> str:
        self.barrier.wait(10)
        return super().put_file(source, suffix, move=move)


def test_the_disk_is_waited_for_by_several_small_tables_at_once(tmp_path: Path) -> None:
    with parts._Writing(_Waiting(tmp_path, parts.SYNCED)) as writing:
        made = [writing.put(f"table:{n}", pa.table({"n": [n]}), None, {}) for n in range(parts.SYNCED)]
        assert [one.result().role for one in made] == [f"table:{n}" for n in range(parts.SYNCED)]


def test_few_large_tables_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are written and wait for that; the next is not taken before the first is on the disk."""
    monkeypatch.setattr(parts, "HELD", 8)
    lake, few = _Waiting(tmp_path, 2 * parts.WRITERS + 1), 2 * parts.WRITERS
    with parts._Writing(lake) as writing:
        for n in range(few):
            writing.put(f"table:{n}", pa.table({"n": [n]}), None, {})
        taken = threading.Thread(target=lambda: writing.put("table:last", pa.table({"n": [9]}), None, {}))
        taken.start()
        taken.join(0.3)
        assert taken.is_alive()
        lake.barrier.wait(10)  # in place of the one that is not there
        taken.join(10)
        assert not taken.is_alive()
        lake.barrier.abort()


def test_a_table_that_cannot_be_stored_is_said_by_the_next_ones_at_the_latest(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.temporary.rmdir()
    with parts._Writing(lake) as writing:
        made = writing.put("table:a", pa.table({"n": [1]}), None, {})
        with pytest.raises(StorageError, match=r"Writing the table a of a layer: .*No such file"):
            made.result()
        with pytest.raises(StorageError, match="table a of a layer"):
            writing.put("table:b", pa.table({"n": [2]}), None, {})


def test_a_very_long_id_is_shortened_in_messages(tmp_path: Path) -> None:
    lake, long = Lake(tmp_path / "lake"), "x" * 100_000
    rows = Features(Reference("EPSG:4547"), pa.array(["a", long]), np.asarray(shapely.points([[4e5, 2.5e6], [4e5, 2.6e6]]), dtype=object), pa.table({"n": [1, 2]}))
    report = Report(source="x", read=2, kept=2)
    report.note("warned", long, "why")
    version = parts.write_version(lake, "l", "vector", [rows], report, provenance={})
    assert len(version.report["notes"][0]["feature"]) < 300
    for refused in (lambda: query.item(lake, version, "y" + long), lambda: parts.without(lake, version, ["y" + long])):
        with pytest.raises(NotFound) as raised:
            refused()
        assert len(str(raised.value)) < 300
