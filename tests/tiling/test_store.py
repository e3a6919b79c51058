"""Tables of a layer's attributes in files: what is read back is what Arrow itself puts together of the pieces."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from tiling.store import Store

SCHEMA = pa.schema([("id", pa.string()), ("height", pa.float64()), ("use", pa.string()), ("parent", pa.string())])


def pieces(*, parents: bool) -> list[pa.Table]:
    """Three pieces; the second lacks a column, the third is empty."""
    first = pa.table({"id": ["a", "b", "c"], "height": [1.0, None, 3.0], "use": ["住宅", None, "x"], "parent": pa.array([None, "a" if parents else None, None], pa.string())})
    second = pa.table({"id": [f"d{i}" for i in range(500)], "use": ["办公"] * 500, "parent": pa.nulls(500, pa.string())})
    return [first, second, SCHEMA.empty_table()]


@pytest.mark.parametrize("parents", [True, False])
@pytest.mark.parametrize("limit", [0, 100, 1 << 20])
def test_rows_come_back_in_one_chunk_each_column(tmp_path: Path, limit: int, parents: bool) -> None:
    store = Store({"n": ("<i8", ())}, tmp_path / "kept", limit)
    found = store.gather("rows", SCHEMA, pieces(parents=parents))
    expected = pa.concat_tables([SCHEMA.empty_table(), *pieces(parents=parents)], promote_options="default")
    assert found.equals(expected if parents else expected.drop_columns(["parent"]))
    assert all(column.num_chunks == 1 for column in found.columns)
    assert sorted(path.name for path in tmp_path.rglob("rows*")) == ([f"rows.{i}" for i in range(3 + parents)] if limit < 1000 else [])
    store.write()
    assert store.keep_table("rows", found).equals(found)
    assert pickle.loads(pickle.dumps(store)).table("rows").equals(found)  # noqa: S301  what another process is given
