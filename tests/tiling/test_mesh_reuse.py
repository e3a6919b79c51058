"""Tiles of a mesh layer's new version: the bytes of a full build, whatever changed; only what changed is built; memory does not show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import trimesh
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tiling.meshes import tiler
from twin.lake import Lake
from twin.model import Mesh, Report
from twin.parts import write_version
from twin.registry import Previous, TileJob

sys.path.insert(0, str(Path(__file__).parent))
from test_mesh import BALL, BOX, GLASS, PIPE, RED, REFERENCE, place

BLUE = RED.__class__("blue", (0.1, 0.1, 0.8, 1.0))
BIG = trimesh.creation.icosphere(3, 8.0)
SHAPES = [BOX, PIPE, BALL, BIG, trimesh.creation.torus(3.0, 0.6, 24, 12), trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False)]
Row = dict[str, Any]


def thing(rng: np.random.Generator) -> Row:
    """A feature: which shape, where, of what colour, its attributes."""
    return {"shape": int(rng.integers(0, 5)), "x": float(rng.uniform(-90, 90)), "y": float(rng.uniform(-90, 90)), "turn": float(rng.uniform(0, 3)),
            "look": int(rng.integers(0, 2)), "name": f"n{rng.integers(0, 9)}", "cost": float(rng.uniform(0, 9)), "storey": f"s{rng.integers(0, 3)}"}  # fmt: skip


def layer(rows: dict[str, Row], materials: Any, storeys: bool = False) -> Mesh:
    """One batch, with only the prototypes that are used."""
    used = sorted({r["shape"] for r in rows.values()})
    shapes = [SHAPES[k] for k in used]
    drawn = [(s, look) for s in range(len(used)) for look in range(len(materials))]
    columns = {"name": [r["name"] for r in rows.values()], "cost": [r["cost"] for r in rows.values()]}
    if storeys:
        columns["storey"] = [r["storey"] for r in rows.values()]
    return Mesh(
        REFERENCE, pa.array(list(rows)), pa.table(columns), np.concatenate([shapes[s].vertices for s, _ in drawn]),
        np.concatenate([shapes[s].faces for s, _ in drawn]).astype(np.int32), np.concatenate([np.full(len(shapes[s].faces), look) for s, look in drawn]).astype(np.int32),
        np.cumsum([0, *(len(shapes[s].vertices) for s, _ in drawn)]), np.cumsum([0, *(len(shapes[s].faces) for s, _ in drawn)]),
        np.array([used.index(r["shape"]) * len(materials) + r["look"] for r in rows.values()], np.int32), np.arange(len(rows), dtype=np.int32),
        np.array([place(r["x"], r["y"], 0, r["turn"]) for r in rows.values()]), tuple(materials),
    )  # fmt: skip


def build(lake: Lake, out: str, *meshes: Mesh, previous: Previous | None = None, workers: int = 1, **options: Any) -> tuple[bytes, dict[str, Any]]:
    version = write_version(lake, "bim", "mesh", meshes, Report("t"), provenance={})
    job = TileJob(lake, lake.root / out, tiler.Options(**{"budget": 2500, **options}), previous=previous, workers=workers)
    facts = tiler.tile(version, job)
    return job.out.read_bytes(), facts


def left(lake: Lake, data: bytes, facts: dict[str, Any]) -> Previous:
    """What a build leaves for the next."""
    (lake.root / "before.3tz").write_bytes(data)
    return Previous((lake.root / "before.3tz",), facts["sidecars"])


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for every tile that is built from now on."""
    built: list[str] = []
    real = tiler.bake

    def bake(*args: Any) -> Any:
        built.append("tile")
        return real(*args)

    monkeypatch.setattr(tiler, "bake", bake)
    return built


EDITS = ("move", "turn", "shape", "look", "name", "cost", "storey", "add", "delete", "nothing")


@settings(max_examples=7, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(st.lists(st.tuples(st.sampled_from(EDITS), st.integers(0, 23)), min_size=1, max_size=5), st.integers(0, 1000), st.sampled_from(["explicit", "implicit", "storeys"]))
def test_any_edits_give_the_bytes_of_a_full_build(lake: Lake, edits: list[tuple[str, int]], seed: int, how: str) -> None:
    rng = np.random.default_rng(seed)
    rows = {f"e{i}": thing(rng) for i in range(24)}
    options: dict[str, Any] = {"subdivision": "implicit" if how == "implicit" else "explicit"}
    data, facts = build(lake, "first.3tz", layer(rows, (RED, GLASS), how == "storeys"), **options)
    previous = left(lake, data, facts)
    for what, k in edits:
        fresh, id_ = thing(rng), f"e{k}"
        if what == "add":
            rows[f"new{k}"] = fresh
        elif what == "delete":
            rows.pop(id_, None)
        elif what == "nothing" and id_ in rows:
            rows[id_]["shape"] = 5
        elif id_ in rows:
            names = {"move": ("x", "y")}.get(what, (what,))
            rows[id_] |= {name: fresh[name] for name in names}
    # another order of arrival, and another palette around the same looks
    ids = list(rows)
    rng.shuffle(ids)
    second = layer({id_: rows[id_] for id_ in ids}, (RED, GLASS, BLUE), how == "storeys")
    full, slow = build(lake, "full.3tz", second, **options)
    quick, fast = build(lake, "quick.3tz", second, previous=previous, **options)
    assert quick == full
    assert {k: v for k, v in fast.items() if k != "sidecars"} == {k: v for k, v in slow.items() if k != "sidecars"}
    assert fast["sidecars"] == slow["sidecars"]


@pytest.mark.parametrize("subdivision", ["explicit", "implicit"])
def test_only_tiles_that_changed_are_built(lake: Lake, monkeypatch: pytest.MonkeyPatch, subdivision: str) -> None:
    rng = np.random.default_rng(1)
    rows = {f"e{i}": thing(rng) for i in range(60)}
    data, facts = build(lake, "a.3tz", layer(rows, (RED, GLASS)), subdivision=subdivision)
    built = counted(monkeypatch)
    same, _ = build(lake, "b.3tz", layer(rows, (RED, GLASS)), previous=left(lake, data, facts), subdivision=subdivision)
    assert same == data
    assert not built
    rows["e7"]["name"] = "renamed"
    _, quick = build(lake, "c.3tz", layer(rows, (RED, GLASS)), previous=left(lake, data, facts), subdivision=subdivision)
    assert 0 < len(built) <= 6 < quick["tiles"] / 3
    build(lake, "d.3tz", layer(rows, (RED, GLASS)), previous=left(lake, data, facts), subdivision=subdivision, crease=20.0)
    assert len(built) > quick["tiles"]


def test_a_damaged_past_means_a_full_build_and_a_note(lake: Lake) -> None:
    rng = np.random.default_rng(2)
    rows = {f"e{i}": thing(rng) for i in range(40)}
    data, facts = build(lake, "a.3tz", layer(rows, (RED, GLASS)))
    spoilt = bytearray(data)
    spoilt[len(data) // 3] ^= 0x40
    again, told = build(lake, "b.3tz", layer(rows, (RED, GLASS)), previous=left(lake, bytes(spoilt), facts))
    assert again == data
    assert [n["action"] for n in told["report"]["notes"]] == ["warned"]
    assert "made anew" in told["report"]["notes"][0]["reason"]


def test_memory_does_not_show(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one byte of triangles in memory, and in two processes: the same bytes, storeys, textures' columns and cut features included."""
    rng = np.random.default_rng(3)
    rows = {f"e{i}": thing(rng) for i in range(60)}
    halves = [layer(dict(list(rows.items())[a:b]), (RED, GLASS), storeys=True) for a, b in ((0, 30), (30, 60))]
    at_hand, facts = build(lake, "a.3tz", *halves)
    assert build(lake, "b.3tz", *halves, in_memory=1)[0] == at_hand
    monkeypatch.setattr(tiler, "ALONE", 0)
    assert build(lake, "c.3tz", *halves, workers=2)[0] == at_hand
    assert not list(lake.root.glob("mesh-*"))
    assert facts["tiles"] > 10
