"""What is known of a layer's elements, in files: what is found of it is what NumPy and Arrow find in memory."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tiling.blocks import largest
from tiling.blocks.largest import Largest
from tiling.meshes import attributes, owners
from tiling.meshes.attributes import Attributes
from tiling.meshes.elements import COLUMNS, Elements
from tiling.meshes.shapes import Shapes
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
@pytest.mark.parametrize("room", [0, 100, 1 << 20])
def test_attributes_are_what_arrow_puts_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, parents: bool) -> None:
    monkeypatch.setattr(attributes, "ROWS", 64)
    expected = pa.concat_tables([SCHEMA.empty_table(), *pieces(parents=parents)], promote_options="default").combine_chunks()
    expected = expected if parents else expected.drop_columns(["parent"])
    found = Attributes.gather(SCHEMA, pieces(parents=parents), tmp_path / "kept" / "rows", room)
    assert (tmp_path / "kept" / "rows").exists() == (room < 1000)
    rows = np.random.default_rng(1).integers(0, len(expected), 200)
    if room > 1000:
        with pytest.raises(ValueError, match="another process"):
            pickle.dumps(found)
    found.save()
    for one in (found, pickle.loads(pickle.dumps(found))):  # noqa: S301  what another process is given
        assert len(one) == len(expected)
        assert pa.concat_tables(one.batches()).combine_chunks().equals(expected)
        assert one.take(rows).equals(expected.take(pa.array(rows)).combine_chunks())
        assert all(column.num_chunks == 1 for column in one.take(rows).columns)
        assert one.take(rows[:0]).equals(expected.slice(0, 0))
        assert one.ids([502, 0]) == ["d499", "a"]
        assert one.texts("use") == expected.column("use").to_pylist()


def test_a_process_is_given_names_of_files(tmp_path: Path) -> None:
    """Every unit of work is given the elements of the layer: what they weigh there must not grow with it."""
    many = np.arange(50_000)
    store = Store(COLUMNS, tmp_path / "kept", 1 << 20)
    for name, column in (("feature", many), ("first", np.append(many, 50_000)), ("instance", many[::-1]), ("weight", 2 * many), ("start", np.tile(many[:, None], (1, 4)))):
        store.add(name, column)
    table = Attributes.gather(pa.schema([("id", pa.string())]), [pa.table({"id": [str(i) for i in many]})], tmp_path / "kept" / "rows", store.room)
    elements = Elements(Shapes(store, Reference("EPSG:4547"), {}), table)
    elements.save()
    elements.save()  # a build that is begun again
    data = pickle.dumps(elements)
    assert len(data) < 10_000
    other = pickle.loads(data)  # noqa: S301  ours
    for name, expected in (("feature", many), ("first", np.append(many, 50_000)), ("instance", many[::-1]), ("weight", 2 * many)):
        assert np.array_equal(getattr(other, name), expected)
        assert np.array_equal(getattr(elements, name), expected)
    assert np.array_equal(other.store["start"][:, 3], many)
    assert other.table.ids([49_999]) == ["49999"]


def test_a_column_can_be_filled_again(tmp_path: Path) -> None:
    """What was handed out before stays as it is, in memory and in a file."""
    for limit in (0, 1 << 20):
        store = Store({"n": ("<i8", ())}, tmp_path / str(limit), limit)
        store.add("n", np.arange(5))
        before = store["n"]
        store.drop("n")
        assert len(store["n"]) == 0
        store.add("n", np.arange(7, 9))
        assert store["n"].tolist() == [7, 8]
        assert before.tolist() == [0, 1, 2, 3, 4]
        assert [tuple(store["n"][a:b]) for a, b in store.spans("n", 1)] == [(7,), (8,)]


@pytest.mark.parametrize("limit", [3, 20, 1000])
def test_keys_are_found_among_keys_a_few_at_a_time(limit: int) -> None:
    rng = np.random.default_rng(limit)
    known, sought = rng.integers(0, 150, 200).astype(np.uint64), rng.integers(0, 170, 300).astype(np.uint64)
    seen = []
    for at, place, again in keys.matches(known, sought, limit):
        for i, k, twice in zip(at.tolist(), place.tolist(), again.tolist(), strict=True):
            equal = np.flatnonzero(known == sought[i])
            assert k == (equal[0] if len(equal) else -1)
            assert twice == (len(equal) > 1)
            seen.append(i)
    assert sorted(seen) == list(range(300))
    assert [len(found[0]) for found in keys.matches(known[:0], sought, 1000)] == [300]


def test_ids_of_one_hash_are_told_apart_by_their_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    def hashed(texts: pa.Array) -> Any:
        return np.array([len(t) for t in texts.to_pylist()], np.uint64)

    monkeypatch.setattr(owners, "id_hash", hashed)
    ids = [pa.array([f"房{i}{'x' * (i % 5)}" for i in range(k, k + 100)]) for k in (0, 100)] + [pa.array(["", "y"])]
    whole = pa.concat_arrays(ids)
    features = [whole.take(pa.array(np.random.default_rng(k).integers(0, len(whole), 40))) for k in (1, 2)]
    sought = np.concatenate([hashed(some) for some in features])
    instances = np.arange(5, 80, 3)
    expected = pc.index_in(pa.concat_arrays(features).take(pa.array(instances)), whole).to_pylist()
    assert owners.exact(lambda: iter(ids), lambda: iter(features), sought, instances).tolist() == expected
    assert owners.exact(lambda: iter(ids[:1]), lambda: iter([pa.array(["n"])]), sought[:1], np.array([0])).tolist() == [-1]


@pytest.mark.parametrize("look", [7, 1000])
def test_the_largest_features_come_first_however_many_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: int) -> None:
    monkeypatch.setattr(largest, "LOOK", look)
    rng = np.random.default_rng(1)
    feature = np.sort(rng.integers(0, 60, 100))
    size, tie = np.round(rng.random(60), 1)[feature], rng.integers(0, 5, 60).astype(np.uint64)[feature]
    order = rng.permutation(100)
    store = Store(COLUMNS, tmp_path / "kept", 1 << 20)
    for name, column in (("feature", feature), ("placed_piece", order), ("placed_size", size[order]), ("placed_tie", tie[order])):
        store.add(name, column)
    elements = Elements(Shapes(store, Reference("EPSG:4547"), {}), Attributes([SCHEMA.empty_table()], tmp_path / "rows"))
    rows = np.flatnonzero(rng.random(100) < 0.8)
    for places, own in ((slice(10, 95), order[10:95]), (rows, order[rows])):
        expected = sorted({(-size[p], tie[p], feature[p]) for p in own.tolist()})
        for most in (5, 30, 500):
            queue = Largest(elements, places, most)
            assert len(queue.held.size) < len(expected) or most == 500
            assert queue.has(len(expected))
            assert not queue.has(len(expected) + 1)
            assert [(-s, f) for s, f in zip(queue.held.size.tolist(), queue.held.feature.tolist(), strict=True)] == [(s, f) for s, _, f in expected]
            for k, f in enumerate(queue.held.feature.tolist()):
                assert queue.held.piece[queue.held.first[k] : queue.held.first[k + 1]].tolist() == sorted(p for p in own.tolist() if feature[p] == f)


def test_hashes_of_texts_do_not_depend_on_how_many_are_hashed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = pa.array([f"b{i}" * (i % 7) for i in range(100)])
    whole = keys.id_hash(ids)
    monkeypatch.setattr(keys, "_HASHED", 9)
    assert (keys.id_hash(ids) == whole).all()
    assert len(set(whole.tolist())) == len(set(ids.to_pylist()))
