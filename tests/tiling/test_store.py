"""Tables of a layer's attributes in files: what is read back is what Arrow itself puts together of the pieces."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tiling import shapes
from tiling.elements import Elements
from tiling.shapes import KINDS, Shapes
from tiling.store import Store
from twin import keys
from twin.model import Reference

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


def test_a_process_is_given_names_of_files(tmp_path: Path) -> None:
    """Every unit of work is given the elements of the layer: what they weigh there must not grow with it."""
    many = np.arange(50_000)
    store = Store(KINDS, tmp_path / "kept", 1 << 20)
    elements = Elements(Shapes(store, Reference("EPSG:4547"), {}, start=np.tile(many[:, None], (1, 4))), pa.table({"id": [str(i) for i in many]}), many,
                        np.append(many, 50_000), many[::-1].copy(), 2 * many)  # fmt: skip
    elements.save()
    elements.save()  # a build that is begun again
    data = pickle.dumps(elements)
    assert len(data) < 10_000
    other = pickle.loads(data)  # noqa: S301  ours
    for name, expected in (("feature", many), ("first", np.append(many, 50_000)), ("instance", many[::-1]), ("weight", 2 * many)):
        assert np.array_equal(getattr(other, name), expected)
        assert np.array_equal(getattr(elements, name), expected)
    assert np.array_equal(other.shapes.start[:, 3], many)
    assert other.table.column("id")[49_999].as_py() == "49999"


@pytest.mark.parametrize("alike", [False, True])
def test_places_of_many_ids_are_those_that_arrow_finds(monkeypatch: pytest.MonkeyPatch, alike: bool) -> None:
    """Also where different ids have one hash."""
    monkeypatch.setattr(shapes, "_CHUNK", 10)
    if alike:
        monkeypatch.setattr(shapes, "id_hash", lambda texts: np.array([len(t) for t in texts.to_pylist()], np.uint64))
    ids = pa.chunked_array([[f"房{i % 97}{'x' * (i % 5)}" for i in range(k, k + 100)] for k in (0, 100)] + [pa.array(["", "y"])])
    sought = pa.array(["y", "", *(ids[int(i)].as_py() for i in np.random.default_rng(1).integers(0, len(ids), 50))])
    assert shapes._places(ids)(sought).tolist() == pc.index_in(sought, ids).to_pylist()


def test_hashes_of_texts_do_not_depend_on_how_many_are_hashed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = pa.array([f"b{i}" * (i % 7) for i in range(100)])
    whole = keys.id_hash(ids)
    monkeypatch.setattr(keys, "_HASHED", 9)
    assert (keys.id_hash(ids) == whole).all()
    assert len(set(whole.tolist())) == len(set(ids.to_pylist()))
