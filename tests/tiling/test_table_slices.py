"""tiling.encoding.table_slices: the tables of tiles cut from a unit's columns are those that `Schema.encode` makes one by one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiling.encoding.metadata import plan
from tiling.encoding.survey import survey
from tiling.encoding.table_slices import Slices

TEXT = st.text(max_size=6) | st.sampled_from(["", "五邑", "蓬江区", "x"])
KINDS: list[tuple[Any, Any]] = [
    (pa.int8(), st.integers(-128, 127)), (pa.uint16(), st.integers(0, 65_535)), (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float32(), st.floats(width=32)), (pa.float64(), st.floats()), (pa.bool_(), st.booleans()), (pa.string(), TEXT),
    (pa.string(), st.sampled_from(["住宅", "商业", "工业"])), (pa.list_(pa.int32()), st.lists(st.integers(0, 9), max_size=3)),
]  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 30))
    columns: dict[str, pa.Array] = {"id": pa.array([f"b{i}" for i in range(rows)])}
    for k, (kind, values) in enumerate(draw(st.lists(st.sampled_from(KINDS), max_size=5))):
        cell = values | st.none() if draw(st.booleans()) else values
        columns[f"c{k}"] = pa.array(draw(st.lists(cell, min_size=rows, max_size=rows)), kind)
    return pa.table(columns)


@settings(max_examples=200, deadline=None)
@given(tables(), st.data())
def test_slices_are_what_encode_makes(table: pa.Table, data: st.DataObject) -> None:
    schema = plan("t", table.schema, survey(table))
    slices = Slices(schema, table)
    edges = sorted({0, len(table), *data.draw(st.lists(st.integers(0, len(table)), max_size=4))})
    for a, b in itertools.pairwise(edges):
        found, expected = slices.encode(a, b), schema.encode(table.slice(a, b - a))
        assert found.columns == expected.columns
        assert found.schema == expected.schema
        assert (found.class_id, found.name, len(found)) == (expected.class_id, expected.name, len(expected))


def test_nulls_that_nobody_saw_are_an_error() -> None:
    table = pa.table({"id": ["a"], "h": [1.0]})
    schema = plan("t", table.schema, survey(table))
    with pytest.raises(ValueError, match="nulls"):
        Slices(schema, pa.table({"id": ["a"], "h": pa.array([None], pa.float64())}))
    assert np.frombuffer(Slices(schema, table).encode(0, 1).columns["h"].values)[0] == 1.0
