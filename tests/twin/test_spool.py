"""twin.keys and twin.spool: sorting on disk gives what sorting in memory gives."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from twin import keys, parts
from twin.bench.cities import generate_buildings
from twin.errors import BadFeature, StorageError
from twin.lake import Lake
from twin.model import Features, Part, Reference, Report
from twin.spool import Spool


@given(hnp.arrays(np.uint64, st.integers(0, 300), elements=st.integers(0, 40)), st.integers(1, 50))
def test_in_order_is_a_stable_sort_whatever_the_memory(values: np.ndarray, limit: int) -> None:
    runs = list(keys.in_order(values, limit))
    whole = np.concatenate(runs) if runs else np.zeros(0, np.int64)
    assert whole.tolist() == np.argsort(values, kind="stable").tolist()
    for a, b in pairwise(runs):
        assert values[a].max() < values[b].min(), "equal keys are in one run"


def test_runs_are_bounded() -> None:
    values = np.random.default_rng(1).integers(0, 2**63, 100_000).astype(np.uint64)
    assert max(map(len, keys.in_order(values, 5000))) <= 5000


def spooled(path: Path, lake: Lake, in_memory: int, twice: int = 1) -> list[Part]:
    spool = Spool(path)
    for batch in list(generate_buildings(3000, 4)) * twice:
        spool.add(batch)
    try:
        return list(spool.write_parts(lake, "source", part_rows=1000, group_rows=128, in_memory=in_memory))
    finally:
        spool.remove()


def test_parts_do_not_depend_on_memory_and_follow_the_curve(lake: Lake, tmp_path: Path) -> None:
    parts = spooled(tmp_path / "a.arrow", lake, 10_000)
    assert [part.key for part in parts] == [part.key for part in spooled(tmp_path / "b.arrow", lake, 100)]
    assert [part.count for part in parts] == [1000, 1000, 1000]
    table = pa.concat_tables([pq.read_table(lake.path(part.key)) for part in parts])
    assert sorted(table["id"].to_pylist()) == sorted(next(iter(generate_buildings(3000, 4))).ids.to_pylist())
    box = table["bbox"].combine_chunks()
    from pyproj import Transformer

    x, y = ((np.asarray(box.field(a)) + np.asarray(box.field(b))) / 2 for a, b in (("xmin", "xmax"), ("ymin", "ymax")))
    lon, lat = Transformer.from_crs("EPSG:4547", "EPSG:3857", always_xy=True).transform(x, y)
    world = 2 * np.pi * 6378137
    i, j = ((lon / world + 0.5) * 2**20).astype(int), ((0.5 - lat / world) * 2**20).astype(int)
    morton = [sum((a >> k & 1) << 2 * k | (b >> k & 1) << 2 * k + 1 for k in range(20)) for a, b in zip(i.tolist(), j.tolist(), strict=True)]
    assert morton == sorted(morton)
    assert not list(tmp_path.glob("*.keys"))


@pytest.mark.parametrize("in_memory", [100, 100_000])
def test_an_id_twice_is_found_on_disk_too(lake: Lake, tmp_path: Path, in_memory: int) -> None:
    with pytest.raises(BadFeature, match="occurs more than once"):
        spooled(tmp_path / "a.arrow", lake, in_memory, twice=2)


def test_nothing_is_left_where_the_disk_is_full(tmp_path: Path) -> None:
    """`/dev/full` answers each write as a full disk does; the files end, and the keys go, though ending them fails too."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    spool = Spool(tmp_path / "rows.arrow")
    (tmp_path / "rows.arrow").symlink_to("/dev/full")
    batch = next(iter(generate_buildings(3000, 4)))
    with pytest.raises(StorageError, match="Writing the features of a layer: the disk is full"):
        spool.add(batch)
    spool.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["rows.arrow"]


def test_a_column_of_nothing_but_nulls(lake: Lake, tmp_path: Path) -> None:
    """Of Arrow's type null, as a reader makes it where no row has a value."""
    spool = Spool(tmp_path / "n.arrow")
    for batch in generate_buildings(100, 4):
        spool.add(replace(batch, attributes=batch.attributes.append_column("empty", pa.nulls(len(batch.ids)))))
    try:
        (part,) = spool.write_parts(lake, "source", part_rows=1000, group_rows=128, in_memory=1000)
    finally:
        spool.remove()
    assert pq.read_table(lake.path(part.key))["empty"].null_count == 100


def test_a_column_of_categories_is_stored_as_its_values(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    kinds = pa.array(["house", None, "house", "school"]).dictionary_encode()
    rows = Features(Reference("EPSG:4547"), pa.array(list("abcd")), np.asarray(shapely.points([[4e5 + i, 2.5e6] for i in range(4)]), dtype=object), pa.table({"kind": kinds}))
    version = parts.write_version(lake, "l", "vector", [rows], Report(source="x", read=4, kept=4), provenance={})
    found = {id_: kind for chunk in parts.read_features(lake, version) for id_, kind in zip(chunk.ids.to_pylist(), chunk.attributes.column("kind").to_pylist(), strict=True)}
    assert found == {"a": "house", "b": None, "c": "house", "d": "school"}
    assert [column.type for column in version.columns] == ["string"]
