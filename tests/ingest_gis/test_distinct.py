"""Columns that may hold ids are counted, and files are read, in memory that does not grow with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely

from ingest_gis import distinct, ids
from ingest_gis.geoparquet import open_parquet
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
