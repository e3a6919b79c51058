"""Tiles of an updated layer: the bytes of a full build, whatever the edits; only what changed is built."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tiling import ledger
from tiling.blocks import anchors, masses, pieces
from tiling.blocks import tiler as blocks
from tiling.blocks import tiles as block_tiles
from tiling.blocks.census import Census
from tiling.digest_kernel import hash_bytes, hash_words
from tiling.digests import digests
from tiling.encoding.arrow_bytes import offsets_and_data
from twin import parts
from twin.bench.cities import generate_buildings
from twin.errors import TwinError
from twin.lake import Lake
from twin.model import Features, Layer, LayerVersion, Reference, Report
from twin.processes import uncollected
from twin.registry import Previous, TileJob

REFERENCE = Reference("EPSG:4547", "above ground")
X, Y = 405_000.0, 2_498_000.0


def build(lake: Lake, version: LayerVersion, out: str, previous: Previous | None = None, about: Layer | None = None, **options: Any) -> tuple[bytes, dict[str, Any]]:
    job = TileJob(lake, lake.root / out, blocks.Options(**{"ground": 5.0, "budget": 400, **options}), previous=previous, about=about)
    facts = blocks.tile(version, job)
    return job.out.read_bytes(), facts


def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many tiles were built and how many rows measured, from now on."""
    counts = {"tiles": 0, "rows": 0, "masses": 0}
    real_tile, real_measure, real_mass = block_tiles.build_tile, anchors.measure, masses.build

    def build_tile(*args: Any) -> Any:
        counts["tiles"] += 1
        return real_tile(*args)

    def mass(*args: Any) -> Any:
        counts["masses"] += 1
        return real_mass(*args)

    def measure(task: Any) -> Any:
        counts["rows"] += sum(task[0].rows.groups[number][3] for number in range(task[2], task[3]))
        return real_measure(task)

    monkeypatch.setattr(block_tiles, "build_tile", build_tile)
    monkeypatch.setattr(anchors, "measure", measure)
    monkeypatch.setattr(masses, "build", mass)
    return counts


def of(rows: dict[str, dict[str, Any]]) -> Features:
    """Rows (x, y, side and attributes by id) as a batch."""
    ids = list(rows)
    geometry = np.array([shapely.box(X + r["x"], Y + r["y"], X + r["x"] + r["side"], Y + r["y"] + r["side"]) for r in rows.values()], object)
    table = pa.table({
        "height": pa.array([r["height"] for r in rows.values()], pa.float64()), "use": pa.array([r["use"] for r in rows.values()], pa.string()),
        "floors": pa.array([r["floors"] for r in rows.values()], pa.int8()), "note": pa.array([r["note"] for r in rows.values()], pa.string()),
    })  # fmt: skip
    return Features(REFERENCE, pa.array(ids, pa.string()), geometry, table)


def store(lake: Lake, batch: Features) -> LayerVersion:
    return parts.write_version(lake, "b", "blocks", [batch], Report("t"), provenance={}, style={"height": "height"})


def row(rng: np.random.Generator) -> dict[str, Any]:
    return {"x": float(rng.uniform(0, 3000)), "y": float(rng.uniform(0, 3000)), "side": float(rng.uniform(4, 30)), "height": float(rng.uniform(3, 60)),
            "use": str(rng.choice(["住宅", "商业", "工业"])), "floors": int(rng.integers(1, 20)), "note": f"n{rng.integers(0, 70)}"}  # fmt: skip


EDITS = ("move", "height", "attribute", "enum", "null", "extreme", "add", "delete", "shrink", "refuse")


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[tuple[str, int]]]:
    """Rounds of edits: (what, number of the feature)."""
    return draw(st.lists(st.lists(st.tuples(st.sampled_from(EDITS), st.integers(0, 299)), min_size=1, max_size=6), min_size=1, max_size=3))


def edited(what: str, old: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    changes = {"move": {"x": float(rng.uniform(0, 3000)), "y": float(rng.uniform(0, 3000))}, "height": {"height": float(rng.uniform(3, 200))},
               "attribute": {"note": "新的 note"}, "enum": {"use": f"use {rng.integers(0, 99)}"}, "null": {"use": None, "floors": None},
               "extreme": {"floors": int(rng.choice([-128, 127, -127]))}, "shrink": {"side": 1.0, "height": 2.0}, "refuse": {"height": -1.0}}  # fmt: skip
    return old | changes[what]


def versions(lake: Lake, seed: int, rounds: list[list[tuple[str, int]]]) -> Iterator[LayerVersion]:
    """The layer after each round, as `twin ingest --update` and `twin delete` make it."""
    rng = np.random.default_rng(seed)
    now = {f"b{i}": row(rng) for i in range(300)}
    version = store(lake, of(now))
    yield version
    for number, edits in enumerate(rounds):
        change: dict[str, dict[str, Any]] = {}
        gone = set()
        for what, k in edits:
            id_ = f"b{k}"
            if what == "add":
                change[f"new{number}-{k}"] = row(rng)
            elif id_ in now and id_ not in gone and id_ not in change:
                if what == "delete":
                    gone.add(id_)
                else:
                    change[id_] = edited(what, now[id_], rng)
        if change:
            version = parts.merge(lake, version, store(lake, of(change)))
        if gone:
            version = parts.without(lake, version, gone)
        now = {k: v for k, v in (now | change).items() if k not in gone}
        yield version


@contextmanager
def large() -> Iterator[None]:
    """Everything lies on disk and is worked through a few rows at a time, as of a city that is a hundred thousand times larger."""
    with pytest.MonkeyPatch.context() as patch:
        for place, name, value in ((blocks, "HELD", 0), (ledger, "RUN", 5), (masses, "RUN", 3), (anchors, "MAPPED", 0), (anchors, "LIMIT", 0)):
            patch.setattr(place, name, value)
        yield


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(deliveries(), st.integers(0, 1000), st.sampled_from(("explicit", "implicit", "pieces", "disk")))
def test_any_edits_give_the_bytes_of_a_full_build(lake: Lake, monkeypatch: pytest.MonkeyPatch, rounds: list[list[tuple[str, int]]], seed: int, way: str) -> None:
    previous, subdivision = None, "implicit" if way == "implicit" else "explicit"
    monkeypatch.setattr(pieces, "LEAST", 2048 if way == "pieces" else 1 << 22)  # the keys of pieces are among the facts
    for version in versions(lake, seed, rounds):
        full, facts = build(lake, version, "full.3tz", subdivision=subdivision)
        with large() if way == "disk" else nullcontext():
            fast, quick = build(lake, version, "fast.3tz", previous, subdivision=subdivision, in_memory=40 if way == "disk" else 1 << 20)
        assert fast == full
        assert quick["report"] == facts["report"]
        assert {k: v for k, v in quick.items() if k != "sidecars"} == {k: v for k, v in facts.items() if k != "sidecars"}
        (lake.root / "before.3tz").write_bytes(fast)
        previous = Previous((lake.root / "before.3tz",), quick["sidecars"])


@pytest.mark.parametrize("subdivision", ["explicit", "implicit"])
def test_only_what_changed_is_read_and_built(lake: Lake, monkeypatch: pytest.MonkeyPatch, subdivision: str) -> None:
    options = {"budget": 1000, "subdivision": subdivision}
    rng = np.random.default_rng(3)
    rows = {f"b{i}": row(rng) for i in range(5000)}
    version = store(lake, of(rows))
    _, facts = build(lake, version, "a.3tz", **options)
    changed = {id_: edited("height", rows[id_], rng) for id_ in ("b17", "b4711")}
    update = parts.merge(lake, version, store(lake, of(changed)))
    full, _ = build(lake, update, "full.3tz", **options)
    counts = counted(monkeypatch)
    fast, _ = build(lake, update, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]), **options)
    assert fast == full
    assert counts["rows"] == 2
    assert 1 <= counts["tiles"] <= 12
    assert counts["masses"] == 0 if subdivision == "implicit" else 1 <= counts["masses"] <= 12, "those above the two"
    assert facts["tiles"] > 200


def test_a_change_that_does_not_count_from_afar_ends_where_it_is(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    rows = {f"b{i}": row(rng) for i in range(3000)}
    version = store(lake, of(rows))
    _, facts = build(lake, version, "a.3tz")
    changed = {id_: rows[id_] | {"height": rows[id_]["height"] + 0.02} for id_ in (f"b{i}" for i in range(0, 3000, 150))}
    update = parts.merge(lake, version, store(lake, of(changed)))
    full, _ = build(lake, update, "full.3tz")
    counts = counted(monkeypatch)
    fast, _ = build(lake, update, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full
    assert counts["tiles"] >= 15
    assert counts["masses"] <= 3


def test_ids_are_found_wherever_they_lie(lake: Lake) -> None:
    """Those that a delivery replaces, against a plain search: in the order of place or in none, of any length, in parts that hold none."""
    rng = np.random.default_rng(4)
    names = [f"b{i:05}" for i in range(4000)] + [f"{i}" * 3000 for i in range(5)] + [f"街{i}" for i in rng.permutation(900)]
    rows = {name: row(rng) | {"x": float(3 * number % 3000), "y": float(number // 100 * 20)} for number, name in enumerate(names)}
    version = store(lake, of(rows))
    for wanted in (names[70:90], rng.choice(names, 40, replace=False).tolist(), ["街899", "4" * 3000]):
        update = parts.merge(lake, version, store(lake, of({name: rows[name] for name in wanted} | {"new": row(rng)})))
        assert [sorted(part.hidden) for part in update.parts] == [sorted(wanted), []]
        assert sorted(parts.without(lake, version, wanted).parts[0].hidden) == sorted(wanted)


@pytest.mark.parametrize("damage", ["", "flipped", "gone"])
def test_ids_are_found_by_what_a_build_left(lake: Lake, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    """As without it, those of buildings that could not be drawn among them; of a part, no more row groups are read than hold one."""
    rng = np.random.default_rng(6)
    rows = {f"b{i:05}": row(rng) | {"x": float(rng.integers(0, 3000)), "y": float(rng.integers(0, 3000))} for i in range(5000)}
    rows["b00007"]["height"] = float("nan")
    version = store(lake, of(rows))
    _, facts = build(lake, version, "a.3tz")
    index = next(key for name, key in facts["sidecars"].items() if name.endswith(f":{version.parts[0].key}"))
    if damage == "flipped":
        flip(lake.path(index), 0.5)
    elif damage == "gone":
        lake.delete(index)
    known = partial(blocks.ids, lake, facts["sidecars"])
    read: list[int] = []
    real = pq.ParquetFile.read_row_groups

    def groups(self: Any, numbers: list[int], columns: Any = None, **named: Any) -> Any:
        read.extend(numbers if columns == ["id"] else [])
        return real(self, numbers, columns=columns, **named)

    for wanted in (["b00007"], rng.choice(sorted(rows), 3, replace=False).tolist()):
        change = store(lake, of({name: rows[name] for name in wanted} | {"new": row(rng)}))
        plain, bare = parts.merge(lake, version, change), parts.without(lake, version, wanted)
        with monkeypatch.context() as patched:
            patched.setattr(pq.ParquetFile, "read_row_groups", groups)
            assert parts.to_json(parts.merge(lake, version, change, lambda part: known(part.key))) == parts.to_json(plain)
            assert parts.to_json(parts.without(lake, version, wanted, lambda part: known(part.key))) == parts.to_json(bare)
        assert sorted(plain.parts[0].hidden) == sorted(wanted)
        if not damage:
            assert len(read) <= 2 * len(wanted), "of five row groups each"
        read.clear()


def test_a_whole_new_delivery_is_read_again_but_its_tiles_are_not_built_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    rows = {f"b{i}": row(rng) for i in range(2000)}
    _, facts = build(lake, store(lake, of(rows)), "a.3tz")
    rows["b5"] = edited("attribute", rows["b5"], rng)
    order = rng.permutation(2000)
    shuffled = store(lake, of({f"b{i}": rows[f"b{i}"] for i in order}))
    full, _ = build(lake, shuffled, "full.3tz")
    counts = counted(monkeypatch)
    fast, _ = build(lake, shuffled, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full
    assert counts == {"rows": 2000, "tiles": 1, "masses": 0}, "its attributes changed, not its shape"


def test_other_options_or_ground_reuse_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    version = store(lake, of({f"b{i}": row(rng) for i in range(300)}))
    _, facts = build(lake, version, "a.3tz")
    counts = counted(monkeypatch)
    previous = Previous((lake.root / "a.3tz",), facts["sidecars"])
    assert build(lake, version, "b.3tz", previous, ground=6.0)[0] == build(lake, version, "c.3tz", ground=6.0)[0]
    assert counts["tiles"] + counts["masses"] == 2 * facts["tiles"]


@pytest.mark.parametrize("damage", ["archive body", "archive gone", "archive cut", "ledger", "index", "sidecars gone"])
def test_a_damaged_past_means_a_full_build(lake: Lake, damage: str) -> None:
    rng = np.random.default_rng(3)
    rows = {f"b{i}": row(rng) for i in range(600)}
    version = store(lake, of(rows))
    _, facts = build(lake, version, "a.3tz")
    sidecars = dict(facts["sidecars"])
    update = parts.merge(lake, version, store(lake, of({"b3": edited("height", rows["b3"], rng)})))
    full, _ = build(lake, update, "full.3tz")
    ledger = sidecars["ledger"]
    index = next(key for name, key in sidecars.items() if name != "ledger")
    if damage == "archive body":
        flip(lake.root / "a.3tz", 0.4)
    elif damage == "archive gone":
        (lake.root / "a.3tz").unlink()
    elif damage == "archive cut":
        data = (lake.root / "a.3tz").read_bytes()
        (lake.root / "a.3tz").write_bytes(data[: len(data) // 2])
    elif damage == "sidecars gone":
        lake.delete(ledger)
        lake.delete(index)
    else:
        flip(lake.path(ledger if damage == "ledger" else index), 0.5)
    fast, quick = build(lake, update, "fast.3tz", Previous((lake.root / "a.3tz",), sidecars))
    assert fast == full
    said = [note["reason"] for note in quick["report"]["notes"]]
    assert damage == "index" or any("made anew" in reason for reason in said), said


@pytest.mark.parametrize("how", ["knows less", "knows more"])
def test_a_survey_of_another_release_is_made_again(lake: Lake, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """One without counts of the extremes is in doubt where they may have gone; one with what is not known here is not used. Tiles are copied all the same."""
    rng = np.random.default_rng(3)
    rows = {f"b{i}": row(rng) for i in range(300)}
    version = store(lake, of(rows))
    change = {"knows less": {"lows": 0, "highs": 0}, "knows more": {"modes": 1}}[how]
    plain = Census.to_json

    def told(census: Census) -> dict[str, Any]:
        value = plain(census)
        return {**value, "columns": {name: survey | change for name, survey in value["columns"].items()}}

    with monkeypatch.context() as then:
        then.setattr(Census, "to_json", told)
        _, facts = build(lake, version, "a.3tz")
    update = parts.merge(lake, version, store(lake, of({"b3": edited("height", rows["b3"], rng)})))
    full, _ = build(lake, update, "full.3tz")
    counts = counted(monkeypatch)
    assert build(lake, update, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]))[0] == full
    assert counts["tiles"] < facts["tiles"]


def flip(path: Path, where: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 0x10
    path.write_bytes(data)


def test_memory_does_not_show(lake: Lake) -> None:
    """Planned with the places of 40 buildings in memory at a time: the same bytes."""
    version = store(lake, next(iter(generate_buildings(1500, 3, centre=(X, Y)))))
    assert build(lake, version, "a.3tz", in_memory=40)[0] == build(lake, version, "b.3tz")[0]


def plain_hash(text: bytes) -> int:
    """The hash of `tiling.digest_kernel` in whole numbers."""
    total = len(text) * 0xBF58476D1CE4E5B9 % 2**64
    for at in range(0, len(text), 8):
        total = (total ^ int.from_bytes(text[at : at + 8], "little")) * 0x9FB21C651E98DF25 % 2**64
        total ^= total >> 32
    return total * 0xBF58476D1CE4E5B9 % 2**64


def test_digests_tell_rows_apart() -> None:
    batch = next(iter(generate_buildings(3000, 3)))
    table = batch.attributes.append_column("id", batch.ids).append_column("wkb", pa.array(shapely.to_wkb(batch.geometry), pa.binary()))
    table = table.append_column("list", pa.array([[i % 7, None] if i % 3 else None for i in range(3000)]))
    found = digests(table)
    assert (digests(table.slice(100, 50)) == found[100:150]).all()
    assert len(np.unique(found)) == 3000
    for name in table.column_names:  # any one value changed changes the digest
        values = table.column(name).to_pylist()
        values[7] = None if values[7] is not None else values[[v is not None for v in values].index(True)]
        other = table.set_column(table.column_names.index(name), name, pa.array(values, table.schema.field(name).type))
        assert np.flatnonzero(digests(other) != found).tolist() == [7], name


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_texts_are_hashed_as_the_plain_form_does(texts: list[bytes]) -> None:
    result = np.empty(len(texts), np.uint64)
    hash_bytes(*offsets_and_data(pa.array(texts, pa.binary())), result)
    assert result.tolist() == [plain_hash(text) for text in texts]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=5), min_size=1, max_size=8))
def test_rows_of_words_are_hashed_as_the_plain_form_does(runs: list[list[int]]) -> None:
    result = np.empty((len(runs), 2), np.uint64)
    heads = np.arange(3 * len(runs), dtype=np.uint64).reshape(-1, 3)
    hash_words(heads, np.cumsum([len(run) for run in runs]), np.array([word for run in runs for word in run], np.uint64), result)
    prime, scramble, every = 0x9FB21C651E98DF25, 0xBF58476D1CE4E5B9, 2**64 - 1
    for head, run, found in zip(heads.tolist(), runs, result.tolist(), strict=True):
        one = len(run) * scramble & every
        two = one ^ every
        for word in head + run:
            one, two = (one ^ word) * prime & every, (two ^ word) * scramble & every
            one, two = one ^ one >> 32, two ^ two >> 32
        assert found == [one * scramble & every, two * prime & every]


def test_hidden_ids_that_cannot_be_told_by_hash_are_looked_up(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    rows = {f"b{i}": row(rng) for i in range(300)}
    version = store(lake, of(rows))
    _, facts = build(lake, version, "a.3tz")
    gone = replace(version, tombstones=("b7", "never there"))
    full, _ = build(lake, gone, "full.3tz")
    assert build(lake, gone, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]))[0] == full
    monkeypatch.setattr(anchors, "id_hash", lambda ids: np.zeros(len(ids), np.uint64))
    hidden = parts.without(lake, version, {"b9"})
    assert build(lake, hidden, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]))[0] == build(lake, hidden, "full.3tz")[0]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_survey_is_kept_up_to_date_and_made_again_only_in_doubt(data: st.DataObject) -> None:
    """Values at the extremes come and go; what was not surveyed again is what a survey of all says."""
    value = st.one_of(st.none(), st.integers(-2, 2))
    stay, gone, come = (data.draw(st.lists(value, min_size=1, max_size=6)) for _ in range(3))
    tables = [pa.table({"n": pa.array(rows, pa.int32())}) for rows in (stay + gone, gone, come, stay + come)]
    asked: list[str] = []

    def again(column: str) -> Census:
        asked.append(column)
        return Census.of(tables[3])

    found = Census.of(tables[0]).updated(tables[1], tables[2], again)
    assert found == Census.of(tables[3])
    numbers = [[n for n in rows if n is not None] for rows in (stay + gone, gone, come)]
    if all(numbers) and min(numbers[2]) <= min(numbers[0]) and max(numbers[2]) >= max(numbers[0]):
        assert not asked, "those that came reach as far"
    if all(numbers):
        ends = [(end(numbers[0]), numbers[0].count(end(numbers[0])), numbers[1].count(end(numbers[0]))) for end in (min, max)]
        if all(there > went for _, there, went in ends):
            assert not asked, "some of those that reach as far stay"


def test_the_collector_is_as_it_was() -> None:
    """An update runs without it; whatever comes out, it is on again afterwards."""
    with suppress(TwinError), uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
        raise TwinError("no")
    assert gc.isenabled()
