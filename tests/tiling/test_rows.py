"""Row groups of a version as columns: what is found is what a plain list holds, and a unit of work carries little of it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from tiling.rows import Groups, Rows
from twin import parts
from twin.lake import Lake
from twin.model import Features, Reference, Report


def test_groups_are_those_of_a_list() -> None:
    counts = [(Path("a"), [3, 1, 7]), (Path("empty"), []), (Path("b"), [2]), (Path("c"), [5, 5])]
    plain, first = [], 0
    for path, rows in counts:
        for number, some in enumerate(rows):
            plain.append((path, number, first, some))
            first += some
    groups = Groups.of(counts)
    assert [groups[number] for number in range(len(groups))] == plain
    assert [groups.paths[groups.file(number)] for number in range(len(groups))] == [one[0] for one in plain]
    for wrong in (-1, len(plain)):
        with pytest.raises(IndexError):
            groups[wrong]


def test_a_unit_of_work_carries_little_of_a_large_layer() -> None:
    """It was some 33 bytes and a microsecond a row group, for each of which there is a unit."""
    rows = Rows(Groups.of([(Path(f"/lake/{part:02x}/{part:064x}.parquet"), [1024] * 256) for part in range(100)]), [], [])
    assert len(pickle.dumps(rows)) < 10 * len(rows.groups)


def test_rows_are_taken_from_any_part(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP", 7)
    monkeypatch.setattr(parts, "PART_ROWS", 50)
    rng = np.random.default_rng(2)

    def batch(names: list[str]) -> Features:
        return Features(Reference("EPSG:4547", ""), pa.array(names), shapely.points(rng.uniform(404_000, 405_000, len(names)), 2_497_000), pa.table({"n": [len(name) for name in names]}))

    def stored(names: list[str]):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return parts.write_version(lake, "x", "vector", [batch(names)], Report("t"), provenance={})

    version = parts.without(lake, parts.merge(lake, stored([f"a{i}" for i in range(120)]), stored(["a5", "a60", "new"])), ["a7", "a90"])
    rows = Rows.of(lake, version)
    whole = pa.concat_tables([rows.span(first, last) for first, last in zip(rows.groups.begin, rows.groups.begin[1:], strict=False)])
    assert len(whole) == len(rows) == 123
    wanted = rng.permutation(123)[:60]
    assert rows.take(wanted).column("id").to_pylist() == whole.column("id").take(pa.array(wanted)).to_pylist()
    shown = []
    for first, last in zip(rows.groups.begin, rows.groups.begin[1:], strict=False):
        ids = rows.span(first, last).column("id")
        shown += ids.filter(pa.array(rows.alive(first, last, ids))).to_pylist()
    assert sorted(shown) == sorted({f"a{i}" for i in range(120)} - {"a7", "a90"} | {"new"})
