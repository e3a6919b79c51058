"""The plan: law 6 on random layers, locality, independence of history."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiling import partition, places
from tiling.partition import DEPTH, Cell, Places, Subtree, Top, deinterleave, interleave, nodes, plan, project, units, unproject
from tiling.partition_kernels import prefix
from tiling.rows import id_hash


def layer(count: int, seed: int, spread: float = 0.05) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    lon, lat = 113.0 + rng.normal(0, spread, count), 22.5 + rng.normal(0, spread, count)
    ids = pa.array([f"b{seed}-{i}" for i in range(count)])
    return {"code": project(lon, lat), "size": np.round(rng.lognormal(2.5, 0.6, count), 1), "weight": rng.integers(12, 200, count),
            "tie": id_hash(ids)}  # fmt: skip


def keyed(cells: list[Cell], tie: np.ndarray) -> dict[str, tuple]:
    return {c.name: (tuple(tie[c.rows]), cells[c.parent].name if c.parent >= 0 else "", c.error) for c in cells}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 10**6), st.sampled_from([1e-7, 1e-3, 0.05, 30.0]), st.integers(100, 20_000))
def test_law_six(count: int, seed: int, spread: float, budget: int) -> None:
    data = layer(count, seed, spread)
    cells = plan(**data, budget=budget, share=budget / 4)
    drawn = np.concatenate([c.rows for c in cells])
    assert sorted(drawn) == list(range(count)), "each feature in exactly one tile"
    assert len({c.name for c in cells}) == len(cells)
    for position, cell in enumerate(cells):
        x, y = deinterleave(int(data["code"][cell.rows[0]]) >> (2 * (DEPTH - cell.level)))
        assert (x, y) == (cell.x, cell.y), "features lie in their cell"
        assert (np.diff(data["code"][cell.rows].astype(np.int64)) >= 0).all()
        below = [c for c in cells if c.parent == position]
        if not below:
            assert cell.error == 0
            assert data["weight"][cell.rows].sum() <= budget or cell.level == DEPTH
        else:
            assert cell.error > 0
            assert data["size"][cell.rows].min() >= cell.error, "what is drawn first is larger"
        for child in below:
            assert position < cells.index(child), "parents come first"
            assert child.error <= cell.error
            assert child.level > cell.level
            assert (child.x >> (child.level - cell.level), child.y >> (child.level - cell.level)) == (cell.x, cell.y)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 2000), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_show(count: int, seed: int, random: object) -> None:
    data = layer(count, seed)
    order = np.random.default_rng(seed + 1).permutation(count)
    shuffled = {name: column[order] for name, column in data.items()}
    a, b = (plan(**d, budget=2000, share=500) for d in (data, shuffled))
    assert keyed(a, data["tie"]) == keyed(b, shuffled["tie"])
    assert [c.name for c in a] == [c.name for c in b]


def test_an_edit_touches_only_its_own_tiles() -> None:
    """Changing the size of one small feature in 20,000 changes at most its own tile and the path above it."""
    data = layer(20_000, 7)
    before = keyed(plan(**data, budget=4000, share=1000), data["tie"])
    touched = []
    for row in np.random.default_rng(1).integers(0, 20_000, 20):
        changed = {**data, "size": data["size"].copy()}
        changed["size"][row] *= 1.02
        after = keyed(plan(**changed, budget=4000, share=1000), data["tie"])
        touched.append(sum(before.get(name) != value for name, value in after.items()))
    assert max(touched) <= 2 * 10
    assert len(before) > 300


def test_same_place_many_features() -> None:
    """A thousand features at one point, far over the budget: one deepest tile, no endless recursion."""
    data = layer(1000, 1)
    data["code"][:] = data["code"][0]
    cells = plan(**data, budget=100, share=10)
    assert [c.level for c in cells] == [DEPTH]
    assert len(cells[0].rows) == 1000


def test_grid_against_the_published_tile_formula() -> None:
    """OpenStreetMap's slippy tile numbers: Jiangmen at zoom 12 computed by the formula of their wiki."""
    lon, lat = 113.08, 22.58
    n = 2**12
    x = int((lon + 180) / 360 * n)
    y = int((1 - np.log(np.tan(np.radians(lat)) + 1 / np.cos(np.radians(lat))) / np.pi) / 2 * n)
    code = int(project(np.array([lon]), np.array([lat]))[0])
    assert deinterleave(code >> (2 * (DEPTH - 12))) == (x, y)
    west, north = unproject(x / n, y / n)
    east, south = unproject((x + 1) / n, (y + 1) / n)
    assert west <= lon < east
    assert south < lat <= north


@given(st.integers(0, 2**28 - 1), st.integers(0, 2**28 - 1))
def test_interleave(x: int, y: int) -> None:
    assert deinterleave(int(interleave(np.array([x], np.uint64), np.array([y], np.uint64))[0])) == (x, y)


def test_units_cover_all_tiles_in_order() -> None:
    data = layer(5000, 3)
    cells = plan(**data, budget=2000, share=500)
    runs = units(cells, data["weight"], 20_000)
    assert [i for run in runs for i in run] == list(range(len(cells)))
    assert len(runs) > 5


def test_hashes_are_of_the_text_alone() -> None:
    ids = pa.array(["", "a", "ab", "ba", "编号-1", "编号-2", "a" * 300])
    whole = id_hash(ids)
    assert len(set(whole.tolist())) == 7
    assert (id_hash(ids.slice(2, 3)) == whole[2:5]).all()
    assert len(set(id_hash(pa.array([str(i) for i in range(200_000)])).tolist())) == 200_000


@pytest.mark.parametrize("lat", [-90.0, 90.0])
def test_poles_do_not_break(lat: float) -> None:
    assert len(plan(project(np.array([0.0]), np.array([lat])), np.ones(1), np.ones(1), np.zeros(1, np.uint64), budget=1, share=1)) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), min_size=1, max_size=2500), st.integers(0, 20_000))
def test_the_largest_are_those_of_a_plain_sort(features: list[tuple[int, int]], share: int) -> None:
    """Many equal sizes, shares from less than one feature to all of them."""
    size, weight = (np.array(column, np.float64) for column in zip(*features, strict=True))
    ranked, count = prefix(size, weight, float(share))
    order = sorted(range(len(size)), key=lambda i: (-size[i], i))
    within = max(1, sum(total <= share for total in np.cumsum(weight[order])))
    assert count == within
    assert ranked.tolist() == order[: within + 1]
    tiles = plan(np.arange(len(size), dtype=np.uint64), size, weight, np.zeros(len(size), np.uint64), budget=weight.sum() - 1, share=float(share))
    if len(size) > 1:
        assert tiles[0].rows.tolist() == sorted(order[:within])
        assert tiles[0].error == (size[order[within]] if within < len(size) else 0)
        assert tiles[0].weight == weight[order[:within]].sum()


def test_the_largest_of_very_many() -> None:
    size = np.random.default_rng(2).lognormal(2, 1, 300_000)
    for values in (size, np.sort(size), np.sort(size)[::-1].copy()):
        ranked, count = prefix(values, np.full(len(values), 30.0), 5333.0)
        assert (count, ranked.tolist()) == (177, np.argsort(-values, kind="stable")[:178].tolist())
    for wanted in (1, 16, 10**6):  # however many were thought to be enough; among them sizes of no bit, and far apart
        values = np.concatenate([np.zeros(500), size[:2000], [1e300, 1e-300, 5e-324]])
        ranked, count = prefix(values, np.full(len(values), 30.0), 5333.0, wanted)
        assert (count, ranked.tolist()) == (177, np.argsort(-values, kind="stable")[:178].tolist())


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 5), st.integers(1, 60), st.sampled_from([0, 512]))
def test_parts_laid_between_one_another_are_as_if_sorted(seed: int, chain: int, updates: int, spread: int, few: int) -> None:
    """Parts one behind the other, some overlapping ones, rows left out, places that several share: in the order of code and tie, each once."""
    rng = np.random.default_rng(seed)
    parts, start = [], 0
    for number in range(chain + updates):
        low, high = (number * spread, number * spread + spread) if number < chain else (0, chain * spread)
        count = int(rng.integers(1, 40))
        one = Places(rng.integers(low, high, count).astype(np.uint64), rng.random(count).astype(np.float32), rng.integers(1, 9, count).astype(np.int32),
                     rng.permutation(10_000)[:count].astype(np.uint64) * np.uint64(97) + np.uint64(number), np.arange(count, dtype=np.int32),
                     rng.integers(0, 9, count).astype(np.uint64)).sorted()  # fmt: skip
        parts.append(replace(one, base=start, gone=np.flatnonzero(rng.random(count) < 0.2)))
        start += count
    parts = [parts[at] for at in rng.permutation(len(parts))]
    shown = [one.shown() for one in parts]
    plain = {name: np.concatenate([getattr(one, name) for one in shown]) for name in ("code", "size", "weight", "tie", "row", "mark")}
    order = np.lexsort((plain["tie"], plain["code"]))
    with mock.patch.object(places, "_FEW", few):  # or sorted in fact
        found = Places.merged(parts)
    for name, values in plain.items():
        assert getattr(found, name).tolist() == values[order].tolist(), name


def in_parts(whole: Places, rng: np.random.Generator, count: int) -> list[Places]:
    """The same features in some parts, with others that are not shown."""
    own = rng.integers(0, count, len(whole))
    parts, start = [], 0
    for number in range(count):
        some = whole.part(own == number)
        extra = replace(some, mark=some.mark + np.uint64(7), row=some.row)
        both = replace(Places(*(np.concatenate([getattr(some, name), getattr(extra, name)]) for name in ("code", "size", "weight", "tie")),
                              np.arange(2 * len(some)), np.concatenate([some.mark, extra.mark])), gone=np.arange(len(some), 2 * len(some)))  # fmt: skip
        order = np.argsort(both.code, kind="stable")
        place = np.argsort(order)
        parts.append(replace(both.part(order), base=start, gone=np.sort(place[both.gone])))
        start += 2 * len(some)
    return parts


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 2000), st.integers(0, 10**6), st.sampled_from([1e-7, 1e-3, 0.05, 30.0]), st.integers(1, 5), st.sampled_from([300.0, 3000.0, 30_000.0]), st.sampled_from([2, 60, 10**6]),
       st.sampled_from([40, 10**6]))
def test_the_plan_from_above_is_that_of_all_at_once(count: int, seed: int, spread: float, many: int, heavy: float, tall: int, limit: int) -> None:
    """From any parts, whatever a cell may weigh that is looked at whole, and however few of the largest are at hand; and a subtree's digest is that of its features."""
    rng = np.random.default_rng(seed)
    data = layer(count, seed, spread)
    whole = Places(data["code"], np.round(data["size"]), data["weight"], data["tie"], np.arange(count), rng.integers(0, 2**63, count).astype(np.uint64)).sorted()
    expected = list(partition.stream([whole], budget=1500, share=400))
    with mock.patch.object(partition, "_TALL", tall):
        found = list(nodes(in_parts(whole, rng, many), budget=1500, share=400, limit=limit, heavy=heavy))
        again = list(nodes(in_parts(whole, rng, many + 1), budget=1500, share=400, limit=10**6, heavy=heavy))
    names: list[str] = []
    tops: list[str] = []
    for node in found:
        cells = node.cells()
        above = tops[node.above] if node.above >= 0 else ""
        for at in range(len(cells)):
            cell, plain = cells.cell(at), expected[len(names)]
            names.append(cell.name)
            assert (cell.name, cell.mark.tolist(), cell.error, cell.weight) == (plain.name, plain.mark.tolist(), plain.error, plain.weight)
            parent = cells.cell(cell.parent).name if cell.parent >= 0 else above
            assert parent == (expected[plain.parent].name if plain.parent >= 0 else "")
        if isinstance(node, Top):
            tops.append(cells.names()[0])
        else:
            assert node.name == cells.names()[0]
            assert node.weight == cells.weight.sum()
    assert len(names) == len(expected)
    if limit > 2 * len(whole):  # else subtrees end where so many are looked at, shown or not
        digests = {node.name: node.digest() for node in found if isinstance(node, Subtree)}
        assert {node.name: node.digest() for node in again if isinstance(node, Subtree)} == digests
        changed = int(rng.integers(0, count))
        other = replace(whole, mark=np.where(np.arange(count) == changed, whole.mark + np.uint64(1), whole.mark))
        differ = [node.name for node in nodes([other], budget=1500, share=400, heavy=heavy) if isinstance(node, Subtree) and node.digest() != digests[node.name]]
        assert len(differ) <= 1
        assert bool(differ) or any(whole.mark[changed] in node.cell.mark for node in found if isinstance(node, Top))


@given(st.integers(1, 200), st.integers(0, 10**6), st.sampled_from([3, 50, 10**6]))
def test_what_is_taken_above_is_left_out_of_a_view_as_what_is_hidden(count: int, seed: int, spread: int) -> None:
    """Features that share places, rows with a base, some hidden already; others of the same rows or codes that are not of the view do not matter."""
    rng = np.random.default_rng(seed)
    code, row, base = np.sort(rng.integers(0, spread, count).astype(np.uint64)), rng.permutation(count), int(rng.integers(0, 9))
    gone = np.sort(rng.choice(count, int(rng.integers(0, count)), replace=False))
    view = Places(code, rng.random(count), rng.random(count), rng.permutation(count).astype(np.uint64), row, base=base, gone=gone)
    shown = view.shown()
    taken = shown.part(np.sort(rng.choice(len(shown), int(rng.integers(0, len(shown))), replace=False)))
    strange = Places(code[:1], np.ones(1), np.ones(1), np.zeros(1, np.uint64), np.array([count + base]))
    left = view.without(Places.merged([taken, strange]) if len(taken) else strange).shown()
    assert left.row.tolist() == [one for one in shown.row.tolist() if one not in set(taken.row.tolist())]
