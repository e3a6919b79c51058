"""Large tilesets in pieces: the same tiles, each once; an update touches the pieces that it changes, whatever became of the others."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from threading import current_thread
from time import sleep
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiling.test_incremental import build, counted, edited, flip, of, row, store
from tests.twin.test_exporting import city_with
from tiling import assembly
from tiling.blocks import pieces, sections
from tiling.blocks import tiler as blocks
from tiling.check import check_tileset
from tiling.ledger import load_tiles
from tiling.partition import Places, Subtree, nodes, project
from tiling.partition import pieces as planned
from twin import archive_set, exporting, intake, parts, tasks
from twin.api.app import create_app
from twin.archive import Archive, ArchiveWriter
from twin.archive_set import ArchiveSet
from twin.errors import StorageError
from twin.lake import Lake
from twin.model import Layer
from twin.registry import Previous, TileJob


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LEAST", 2048)


def rows(count: int, seed: int = 3) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return {f"b{i}": row(rng) for i in range(count)}


def files(lake: Lake, near: Path, facts: dict[str, Any]) -> dict[str, list[str]]:
    """Names in each archive of a tileset."""
    return {path.name: Archive(path).names() for path in (near, *map(lake.path, facts.get("pieces", ())))}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 10**6), st.sampled_from([1e-3, 0.05, 30.0]), st.sampled_from([1 << 11, 1 << 14, 1 << 30]))
def test_a_piece_is_a_whole_subtree_within_its_limit(count: int, seed: int, spread: float, limit: int) -> None:
    rng = np.random.default_rng(seed)
    code = project(113.0 + rng.normal(0, spread, count), 22.5 + rng.normal(0, spread / 2, count))
    places = Places(code, rng.lognormal(2.5, 0.6, count), rng.integers(12, 200, count), np.arange(count, dtype=np.uint64), np.arange(count)).sorted()
    (cells,) = planned([places], budget=1000, share=300)
    names = cells.names()
    below: list[set[str]] = [{name} for name in names]
    for at in range(len(cells) - 1, 0, -1):
        below[cells.parent[at]] |= below[at]
    weights = dict(zip(names, cells.weight.tolist(), strict=True))
    found = [node for node in nodes([places], budget=1000, share=300, heavy=limit) if isinstance(node, Subtree) and pieces.is_piece(node, limit)]
    assert bool(found) <= (sum(weights.values()) > limit), "a small layer is not cut"
    inside: list[str] = []
    for piece in found:
        made = piece.cells()
        own = names.index(piece.name)
        assert set(made.names()) == below[own]
        assert all(np.array_equal(made.cell(at).rows, cells.cell(names.index(name)).rows) for at, name in enumerate(made.names()))
        inside += made.names()
        assert piece.weight == sum(weights[name] for name in made.names())
        assert limit / pieces.SHARE <= piece.weight <= limit
        assert sum(weights[name] for name in below[cells.parent[own]]) > limit, "and no larger one would do"
    assert len(inside) == len(set(inside))


def test_limits_follow_the_layer_in_steps() -> None:
    assert pieces.limit_of(0) == pieces.limit_of(pieces.LEAST * pieces.SHARE) == pieces.LEAST
    assert pieces.limit_of(pieces.LEAST * pieces.SHARE + 1) == 2 * pieces.LEAST
    assert pieces.limit_of(1e15) == pieces.MOST


@pytest.mark.usefixtures("small_pieces")
def test_the_tiles_are_those_of_one_archive(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    version = store(lake, of(rows(400)))
    _, facts = build(lake, version, "pieces.3tz")
    monkeypatch.setattr(pieces, "LEAST", 1 << 30)
    _, plain = build(lake, version, "whole.3tz")
    assert len(facts["pieces"]) > 3
    assert "pieces" not in plain
    assert {k: v for k, v in facts.items() if k not in ("sidecars", "pieces", "bytes")} == {k: v for k, v in plain.items() if k not in ("sidecars", "bytes")}
    found = files(lake, lake.root / "pieces.3tz", facts)
    documents = [name for names in found.values() for name in names if name.startswith("tileset-")]
    with ArchiveSet([Archive(lake.root / "pieces.3tz"), *(Archive(lake.path(key)) for key in facts["pieces"])]) as tiles, Archive(lake.root / "whole.3tz") as single:
        assert Counter(name for names in found.values() for name in names) - Counter(documents) == Counter(single.names()), "each once"
        assert all(tiles.read(name) == single.read(name) for name in single.names() if name != "tileset.json")
        assert set(documents) <= set(found["pieces.3tz"]), "what is told of a piece is not kept in it"
        assert 1 < len(documents) <= len(facts["pieces"]), "one for each piece of several tiles"
        one, whole = json.loads(tiles.read("tileset.json")), json.loads(single.read("tileset.json"))
        assert list(one["statistics"]) == list(whole["statistics"])
        assert in_one(one["root"], tiles) == in_one(whole["root"], single)
        archive_set.merge(tiles.archives, lake.root / "merged.3tz")
    assert check_tileset(lake.root / "merged.3tz").ok


def in_one(tile: dict[str, Any], tiles: Any) -> dict[str, Any]:
    """A tile with all below it, external documents in their places; every tile's own refinement."""
    uri = tile.get("content", {}).get("uri", "")
    if uri.endswith(".json"):
        document = json.loads(tiles.read(uri))
        assert document["geometricError"] == tile["geometricError"]
        tile = {key: value for key, value in tile.items() if key == "transform"} | document["root"]
    return tile | {"children": [in_one(child, tiles) for child in tile.get("children", ())]}


@pytest.mark.usefixtures("small_pieces")
def test_what_an_update_does_not_touch_is_not_even_read(lake: Lake) -> None:
    now = rows(600)
    version = store(lake, of(now))
    _, facts = build(lake, version, "a.3tz")
    update = parts.merge(lake, version, store(lake, of({"b3": edited("attribute", now["b3"], np.random.default_rng(1))})))
    full, wanted = build(lake, update, "full.3tz")
    old, new = set(facts["pieces"]), set(wanted["pieces"])
    assert len(new - old) == 1, "one building, one piece"
    for key in new - old:
        lake.delete(key)
    kept = old & new
    for key in kept:
        flip(lake.path(key), 0.3)
    fast, quick = build(lake, update, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full
    assert quick["pieces"] == wanted["pieces"], "in their order"
    assert not quick["report"]["notes"], "the damage in what it had no need of went unseen"


@pytest.mark.usefixtures("small_pieces")
def test_what_an_update_does_not_touch_is_not_planned_and_what_is_known_of_it_shows_no_history(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    now = rows(600)
    version = store(lake, of(now))
    _, facts = build(lake, version, "a.3tz")
    update = parts.merge(lake, version, store(lake, of({"b3": edited("attribute", now["b3"], np.random.default_rng(1))})))
    full, wanted = build(lake, update, "full.3tz")
    planned: list[str] = []
    real = Subtree.cells

    def cells(self: Subtree) -> Any:
        planned.append(self.name)
        return real(self)

    monkeypatch.setattr(Subtree, "cells", cells)
    fast, quick = build(lake, update, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full
    ledgers, expected, before = ({name: key for name, key in one["sidecars"].items() if name.startswith("ledger:")} for one in (quick, wanted, facts))
    assert ledgers == expected
    (near, masses, notes), (near_, masses_, notes_) = (load_tiles(lake, one["sidecars"]["ledger"]) for one in (quick, wanted))
    assert near.to_pylist() == near_.to_pylist()
    assert np.array_equal(np.concatenate(masses), np.concatenate(masses_))
    assert notes["pieces"] == notes_["pieces"], "the survey's lower bounds alone tell of history"
    touched = [name for name in ledgers if ledgers[name] != before[name]]
    assert len(touched) == 1
    names = {name.removeprefix("ledger:") for name in ledgers}
    assert len(names) > 3
    assert names & set(planned) == {name.removeprefix("ledger:") for name in touched}


@pytest.mark.usefixtures("small_pieces")
def test_what_is_told_of_a_piece_does_not_depend_on_those_beside_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces are summed up and told of together, as many at a time as there is room for: alone, in groups or all at once."""
    version = store(lake, of(rows(600)))
    found = []
    for room in (1, 100, 1 << 20):
        monkeypatch.setattr(sections, "TOGETHER", room)
        made: list[int] = []
        monkeypatch.setattr(blocks, "tell", lambda group, about, made=made: made.append(len(group.sections)) or sections.tell(group, about))
        found.append((*build(lake, version, f"{room}.3tz"), len(made)))
    assert found[0][:2] == found[1][:2] == found[2][:2]
    assert found[0][2] == len(found[0][1]["pieces"]) > found[1][2] > found[2][2] == 1


@pytest.mark.usefixtures("small_pieces")
def test_a_piece_goes_to_the_disk_when_the_next_begins_and_when_it_is_whole(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not a third time when its masses are written, moments before it is whole."""
    synced: Counter[str] = Counter()
    real = ArchiveWriter.sync

    def sync(self: ArchiveWriter) -> None:
        synced[self.path.name] += 1
        real(self)

    monkeypatch.setattr(ArchiveWriter, "sync", sync)
    _, facts = build(lake, store(lake, of(rows(600))), "out.3tz")
    of_pieces = [count for name, count in synced.items() if name != "out.3tz"]
    assert len(of_pieces) == len(facts["pieces"]) > 3
    assert sorted(of_pieces)[:2] == [1, 2]
    assert max(of_pieces) == 2


@pytest.mark.usefixtures("small_pieces")
def test_threads_build_what_one_does(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of an update that are built side by side, a few at a time."""
    now = rows(600)
    version = store(lake, of(now))
    _, facts = build(lake, version, "a.3tz")
    rng = np.random.default_rng(4)
    update = parts.merge(lake, version, store(lake, of({f"b{at}": edited("attribute", now[f"b{at}"], rng) for at in range(0, 600, 40)})))
    full, wanted = build(lake, update, "full.3tz")
    monkeypatch.setattr(blocks, "ALONE", 0)
    monkeypatch.setattr(blocks, "UNIT", 1)
    threads: set[str] = set()
    real = blocks.build_unit

    def build_unit(task: Any) -> Any:
        threads.add(current_thread().name)
        sleep(0.02)  # so that both have something to do
        return real(task)

    monkeypatch.setattr(blocks, "build_unit", build_unit)
    monkeypatch.setattr(blocks, "HERE", 1 << 10)
    job = TileJob(lake, lake.root / "fast.3tz", blocks.Options(ground=5.0, budget=400), workers=2, previous=Previous((lake.root / "a.3tz",), facts["sidecars"]))
    quick = blocks.tile(update, job)
    assert threads == {"beside_0", "beside_1"}
    assert job.out.read_bytes() == full
    assert quick["pieces"] == wanted["pieces"]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("grows", [True, False])
def test_a_layer_that_is_cut_otherwise_keeps_its_tiles(lake: Lake, monkeypatch: pytest.MonkeyPatch, grows: bool) -> None:
    """Pieces are of another size once a layer has grown, or shrunk: the tiles that are as they were are found in pieces of other names, and near the root."""
    few, more = rows(1100), {f"c{i}": row(np.random.default_rng(i)) | {"x": 9000.0 + i} for i in range(900)}
    small = store(lake, of(few))
    large = parts.merge(lake, small, store(lake, of(more)))
    before, after = (small, large) if grows else (large, parts.without(lake, large, list(more)))
    _, facts = build(lake, before, "a.3tz")
    full, wanted = build(lake, after, "full.3tz")
    names = [{name for name in one["sidecars"] if name.startswith("ledger:")} for one in (facts, wanted)]
    assert names[0] - names[1]
    assert names[1] - names[0]
    counts = counted(monkeypatch)
    fast, quick = build(lake, after, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full
    assert quick["pieces"] == wanted["pieces"]
    assert counts["tiles"] < wanted["tiles"] / 2


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("what", ["title", "ledger gone", "ledger damaged"])
def test_pieces_that_cannot_be_left_as_they_are(lake: Lake, what: str) -> None:
    """Another title is told in every document, and a piece of which nothing is known any more is made anew."""
    now = rows(600)
    version = store(lake, of(now))
    _, facts = build(lake, version, "a.3tz")
    update = parts.merge(lake, version, store(lake, of({"b3": edited("attribute", now["b3"], np.random.default_rng(1))})))
    about = Layer("b", "blocks", {"en": "Other"}) if what == "title" else None
    full, wanted = build(lake, update, "full.3tz", about=about)
    touched = next(name for name, key in facts["sidecars"].items() if name.startswith("ledger:") and wanted["sidecars"][name] != key)
    others = [name for name, key in facts["sidecars"].items() if name.startswith("ledger:") and name != touched]
    if what == "ledger gone":
        lake.delete(facts["sidecars"][others[0]])
    elif what == "ledger damaged":
        flip(lake.path(facts["sidecars"][touched]), 0.5)
    fast, quick = build(lake, update, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]), about=about)
    assert fast == full
    assert quick["pieces"] == wanted["pieces"]
    assert any("made anew" in note["reason"] for note in quick["report"]["notes"]) == (what != "title")


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_piece_that_is_needed_means_a_full_build(lake: Lake, damage: str) -> None:
    now = rows(600)
    version = store(lake, of(now))
    _, facts = build(lake, version, "a.3tz")
    update = parts.merge(lake, version, store(lake, of({"b3": edited("attribute", now["b3"], np.random.default_rng(1))})))
    full, wanted = build(lake, update, "full.3tz")
    (touched,) = set(facts["pieces"]) - set(wanted["pieces"])
    path = lake.path(touched)
    if damage == "flipped":
        flip(path, 0.3)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.unlink()
    fast, quick = build(lake, update, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full
    assert quick["pieces"] == wanted["pieces"]
    assert any("made anew" in note["reason"] for note in quick["report"]["notes"])


@pytest.mark.usefixtures("small_pieces")
def test_a_full_disk_leaves_no_half_piece(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    version = store(lake, of(rows(600)))
    real, calls = Lake.put_file, []

    def full(*args: Any, **named: Any) -> str:
        calls.append(args)
        if len(calls) >= 3:
            raise StorageError("the disk is full")
        return real(*args, **named)

    monkeypatch.setattr(Lake, "put_file", full)
    with pytest.raises(StorageError, match="full"):
        build(lake, version, "out.3tz")
    assert not list(lake.root.glob("out*.3tz"))


@pytest.mark.usefixtures("small_pieces")
def test_a_slow_disk_changes_no_byte_and_holds_the_builder_up(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces are finished on a thread of their own while others are written; no more than one tile that was built waits where there is room for one byte."""
    now = rows(600)
    version = store(lake, of(now))
    _, facts = build(lake, version, "a.3tz")
    update = parts.merge(lake, version, store(lake, of({f"b{i}": edited("height", now[f"b{i}"], np.random.default_rng(i)) for i in range(0, 600, 20)})))
    full, wanted = build(lake, update, "full.3tz")
    for key in set(wanted["pieces"]) - set(facts["pieces"]):
        lake.delete(key)
    real_store, real_later, threads, waiting = archive_set.store, assembly.Assembly._later, [], []

    def slow(*args: Any) -> list[str]:
        threads.append(current_thread().name)
        sleep(0.02)
        return real_store(*args)

    def later(self: Any, work: Any, size: int = 0) -> Any:
        future = real_later(self, work, size)
        waiting.append((self._waiting, size))
        return future

    monkeypatch.setattr(archive_set, "store", slow)
    monkeypatch.setattr(assembly.Assembly, "_later", later)
    monkeypatch.setattr(assembly, "_WAITING", 1)
    monkeypatch.setattr(assembly, "_AT_ONCE", 1)
    monkeypatch.setattr(blocks, "UNIT_WEIGHT", 1)  # a tile a unit
    fast, quick = build(lake, update, "fast.3tz", Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full
    assert quick["pieces"] == wanted["pieces"]
    assert len(threads) > 3
    assert all(name.startswith("shelf") for name in threads)
    assert all(held <= max(1, size) for held, size in waiting)
    assert sum(size > 0 for _, size in waiting) > 10


@pytest.mark.usefixtures("small_pieces")
def test_a_city_serves_exports_and_collects_pieces(tmp_path: Path) -> None:
    """From the ledger to the catalogue: after an update most archives lie where they lay, every tile is served, one file is handed out."""
    city = city_with(tmp_path, "city", archive_bytes=9_000)
    before = city.published("houses")[2]
    document = json.loads((tmp_path / "b.geojson").read_text())
    document["features"] = [{**one, "properties": {**one["properties"], "height": 77.5}} for one in document["features"][:1]]
    (tmp_path / "one.geojson").write_text(json.dumps(document))
    options = {"height": "height", "vertical": "above ground", "id": "id", "ground": "12", "budget": "800"}
    tasks.require(tasks.work(city, tasks.submit(city, "ingest", intake.ingest_params(tmp_path / "one.geojson", "houses", reader="footprints", options=options, update=True))))
    after = city.published("houses")[2]
    assert before is not None
    assert after is not None
    assert len(after.info["pieces"]) > 3
    assert len(set(after.info["pieces"]) - set(before.info["pieces"])) in (1, 2), "one subtree, perhaps in two archives"
    assert sum(city.lake.path(key).stat().st_size for key in after.archives) >= after.info["bytes"]
    tasks.require(tasks.work(city, tasks.submit(city, "gc", {"keep": 1, "grace": 0.0})))
    with TestClient(create_app(city)) as client:
        for name in [name for key in after.archives for name in Archive(city.lake.path(key)).names()]:
            answer = client.get(f"/tiles3d/houses/{after.key}/{name}")
            assert answer.status_code == 200, (name, answer.text[:200])
    exporting.export(city, "houses", tmp_path / "b.3tz")
    assert check_tileset(tmp_path / "b.3tz").ok


def test_a_piece_is_not_finished_while_it_is_on_its_way_to_the_disk(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine: the thread that was to send what is written so far to the disk begins when all else is done (the file was closed by then: an internal error)."""
    real = ArchiveWriter.sync

    def late(writer: ArchiveWriter) -> None:
        if "0-0" in writer.path.name and writer.path.name not in begun:
            begun.add(writer.path.name)
            sleep(0.2)
        real(writer)

    begun: set[str] = set()
    monkeypatch.setattr(ArchiveWriter, "sync", late)
    shelf = pieces.Shelf(lake, tmp_path / "out.3tz", 1 << 30)
    made = [pieces.Piece(name, "", "") for name in ("1/0/0", "1/1/1")]
    for piece in made:
        shelf.writer(piece).add("a.glb", piece.name.encode())
    for piece in made:
        shelf.finish(piece)
    shelf.settle()
    assert begun
    assert [Archive(lake.path(piece.archives[0])).read("a.glb") for piece in made] == [b"1/0/0", b"1/1/1"]
