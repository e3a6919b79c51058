"""Columns that may hold ids are counted, and files are read, in memory that does not grow with them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely

from ingest_gis import distinct, ids
from ingest_gis.geoparquet import open_parquet
from ingest_gis.rows import Rows
from twin.model import Report


def counted(*runs: pa.Array) -> tuple[int, int, int]:
    """By `distinct.count`, which must say what Arrow says of the whole."""
    column = pa.chunked_array(list(runs))
    found = distinct.count(lambda: (pa.chunked_array([run]) for run in runs))
    assert found == (len(column), column.null_count, pc.count_distinct(column, mode="only_valid").as_py())
    return found


def test_counts_are_exact() -> None:
    assert counted(pa.array(["一", "", None, "一"]), pa.array(["", " ", "b"])) == (7, 1, 4)
    assert counted(pa.array([None, None], pa.string())) == (2, 2, 0)
    assert counted(pa.array([], pa.string())) == (0, 0, 0)
    assert counted(pa.array(["a", None], pa.large_string()), pa.array(["c", "c"], pa.large_string())) == (4, 1, 2)
    assert counted(pa.array([2**63 - 1, -(2**63), -1, -1, None]), pa.array([0, -1])) == (7, 1, 4)
    assert counted(pa.array([2**64 - 1, 0, None, 0], pa.uint64())) == (4, 1, 2)


def test_counts_are_exact_where_hashes_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Different texts of one hash are told apart by themselves."""
    texts = pa.array([f"t{i}" for i in range(300)] + ["t7"] * 5)
    monkeypatch.setattr(distinct, "id_hash", lambda some: np.array([int(one[1:]) % 50 for one in some.to_pylist()], np.uint64))
    assert counted(texts.slice(0, 100), texts.slice(100)) == (305, 0, 300)


def test_counts_in_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "RANGE", 100)
    monkeypatch.setattr(distinct, "FEW", 40)
    numbers = np.random.default_rng(3).integers(0, 2000, 5000)
    counted(pa.array(numbers))
    counted(pa.array(numbers.astype(str)))
    counted(pa.array(np.arange(5000).astype(str)))


def test_a_large_file_is_read_a_piece_at_a_time(tmp_path: Path) -> None:
    """Arrow keeps all bytes of a Parquet file that it may read ahead, and a column of ids took a hundred bytes a row to look through."""
    count, groups = 8192, 40
    path = tmp_path / "large.parquet"
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}}}
    schema = pa.schema([("gid", pa.string()), ("noise", pa.binary(100)), ("geometry", pa.binary())], {b"geo": json.dumps(geo).encode()})
    point = shapely.to_wkb(shapely.Point(113, 22))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in range(groups):
            noise = np.random.default_rng(group).bytes(100 * count)
            names = [f"B{group * count + i:012d}" for i in range(count)]
            writer.write_table(pa.table([names, pa.FixedSizeBinaryArray.from_buffers(pa.binary(100), count, [None, pa.py_buffer(noise)]), [point] * count], schema=schema))
    before, most, read = pa.total_allocated_bytes(), 0, 0
    source = open_parquet(path)
    assert ids.choose(source, None, Report(source="x")).text == "column gid"
    for rows in source.chunks():
        read += len(rows.wkb)
        most = max(most, pa.total_allocated_bytes() - before)
    assert read == count * groups
    assert most < 24 << 20  # one batch of 65,536 rows takes 9 MB; with all of the file it was 45 MB


@pytest.mark.parametrize("longest", [1, 40, 1 << 20])
def test_what_came_before(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "LONGEST", longest)
    rng, seen, known = np.random.default_rng(9), distinct.Seen(), set()
    for size in (30, 1, 0, 50, 20, 90, 3, 100):
        keys = rng.integers(0, 400, size).astype(np.uint64)
        expected = []
        for key in keys.tolist():
            expected.append(key in known)
            known.add(key)
        assert seen.add(keys).tolist() == expected


def test_features_without_ids_are_named_by_their_outlines() -> None:
    """Over several chunks, as one look-up of all would name them; some have no geometry."""
    rng = np.random.default_rng(4)
    outlines = np.array([shapely.to_wkb(shapely.Point(x, 0)) for x in rng.integers(0, 60, 200)] + [None] * 9, object)
    rng.shuffle(outlines)
    expected, count = [], Counter[bytes]()
    for row, wkb in enumerate(outlines):
        name = f"row-{row}" if wkb is None else hashlib.blake2b(wkb, digest_size=10).hexdigest()
        count[wkb] += 1
        expected.append(f"{name}-{count[wkb]}" if wkb is not None and count[wkb] > 1 else name)
    report = Report(source="x")
    names = ids._Hashes(report)  # noqa: SLF001
    found = [names(Rows(at, outlines[at : at + 37], pa.table({}))).to_pylist() for at in range(0, len(outlines), 37)]
    assert [name for some in found for name in some] == expected
    assert len(set(expected)) == len(expected)
    assert sum(note.action == "warned" for note in report.notes) == sum(times - 1 for wkb, times in count.items() if wkb is not None)
