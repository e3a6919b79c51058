"""A layer that was delivered in many steps is the layer that is delivered at once: tiles byte by byte, columns, extent, grade, rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tiling.blocks import pieces
from twin import checking, intake, parts, tasks
from twin.archive import Archive
from twin.city import City
from twin.settings import Settings

EDITS = ("change", "move", "far", "add", "delete", "rename", "whole", "column", "compact", "back", "collect")
X, Y = 405_000.0, 2_498_000.0


@dataclass
class History:
    """A city, and what its layer `l` should hold: (x, y, height, use, more) by id, as it is and as each version had it."""

    folder: Path
    kind: str
    rng: np.random.Generator
    rows: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    more: bool = False
    after: dict[int, tuple[dict[str, tuple[Any, ...]], bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.city = City(Settings(self.folder / "city", workers=1))
        self.add(120)

    def add(self, count: int) -> list[str]:
        """Rows that are new."""
        ids = [f"b{len(self.rows)}-{self.rng.integers(1 << 30)}" for _ in range(count)]
        self.rows |= {id_: (*self.rng.uniform(0, 2000, 2), float(self.rng.integers(3, 60)), self.use(), None) for id_ in ids}
        return ids

    def use(self) -> str | None:
        return (None, "住宅", "商业", f"use {self.rng.integers(9)}")[self.rng.integers(4)]

    def deliver(self, ids: list[str], city: City | None = None, *, update: bool = False) -> None:
        """Some rows to the layer, in any order."""
        path = self.folder / f"{self.rng.integers(1 << 40)}.parquet"
        rows = [self.rows[id_] for id_ in ids]
        columns = {"id": ids, "height": [row[2] for row in rows], "use": [row[3] for row in rows]} | ({"more": [row[4] or 1 for row in rows]} if self.more else {})
        at = np.array([(X + row[0], Y + row[1]) for row in rows])
        shapes = shapely.box(*at.T, *(at + 12).T) if self.kind == "blocks" else shapely.points(at)
        geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:4547").sample(frac=1, random_state=1).to_parquet(path, index=False)
        options = {"id": "id"} | ({"height": "height", "vertical": "above ground", "ground": 5.0, "budget": 400} if self.kind == "blocks" else {})
        params = intake.ingest_params(path, "l", reader="footprints" if self.kind == "blocks" else "vector", options=options, update=update,
                                      columns={} if update else {"height": ["尺", "高"]}, describe={"grade": "CIM5"} if city or not self.after else {})  # fmt: skip
        work(city or self.city, "ingest", **params)

    def edit(self, what: str, number: int) -> None:
        """One step: some rows, chosen by a number."""
        ids = sorted(self.rows)
        some = [ids[number * step % len(ids)] for step in range(1, 4)]
        some = list(dict.fromkeys(some))
        if what in ("change", "move", "far"):
            for id_ in some[:1] if what == "far" else some:
                x, y, _, _, more = self.rows[id_]
                x, y = (x + 9000, y - 9000) if what == "far" else (x + 1.5, y) if what == "move" else (x, y)
                self.rows[id_] = (x, y, float(self.rng.integers(3, 200)), self.use(), more)
            self.deliver(some, update=True)
        elif what == "add":
            self.deliver(self.add(3), update=True)
        elif what in ("delete", "rename"):
            if what == "rename":
                self.rows |= {f"{id_}x": self.rows[id_] for id_ in some}
                self.deliver([f"{id_}x" for id_ in some], update=True)
                self.note()
            work(self.city, "remove", layer="l", ids=sorted(some))
            self.rows = {id_: row for id_, row in self.rows.items() if id_ not in some}
        elif what in ("whole", "column"):
            self.more ^= what == "column"
            self.deliver(ids)
        elif what == "compact":
            if not any(part.hidden for part in self.city.published("l")[1].parts):
                return  # there is nothing to compact
            work(self.city, "compact", layer="l")
        elif what == "back":
            number = sorted(self.after)[number % len(self.after)]
            tasks.require(tasks.publish(self.city, "l", number))
            self.rows, self.more = self.after[number]
            self.rows = dict(self.rows)
        else:
            work(self.city, "gc", keep=100, grace=0.0)
        self.note()

    def note(self) -> None:
        """What the version that is shown holds."""
        self.after[self.city.catalog.published("l")[0].number] = dict(self.rows), self.more


def work(city: City, kind: str, **params: Any) -> None:
    tasks.require(tasks.work(city, tasks.submit(city, kind, params)))


def shown(city: City) -> dict[str, Any]:
    """What is served of the layer, but for what tells when it was made."""
    _, version, derivation = city.published("l")
    files: dict[str, bytes] = {}
    for key in derivation.archives if derivation else ():
        with Archive(city.lake.path(key)) as archive:
            files |= {name: archive.read(name) for name in archive.names()}
    rows = {id_: (shape.wkb, row) for chunk in parts.read_features(city.lake, version)
            for id_, shape, row in zip(chunk.ids.to_pylist(), chunk.geometry, chunk.attributes.to_pylist(), strict=True)}  # fmt: skip
    grade = version.report["facts"].get("grade", {})
    return {"files": files, "rows": rows, "archives": derivation and derivation.archives, "columns": {one.name: one for one in version.columns}, "count": version.count,
            "extent": version.extent and replace(version.extent, minz=0, maxz=0), "grade": (grade.get("value"), grade.get("given"))}  # fmt: skip


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate], suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(EDITS), st.integers(1, 1000)), min_size=2, max_size=8), st.sampled_from(("blocks", "points")), st.integers(0, 99))
def test_any_history_ends_as_the_whole_delivered_at_once(monkeypatch: pytest.MonkeyPatch, edits: list[tuple[str, int]], kind: str, seed: int) -> None:
    monkeypatch.setattr(pieces, "LEAST", 1024)
    monkeypatch.setattr(parts, "ROW_GROUP", 16)
    with TemporaryDirectory() as folder:
        history = History(Path(folder), kind, np.random.default_rng(seed))
        history.deliver(sorted(history.rows))
        history.note()
        for edit in edits:
            history.edit(*edit)
        fresh = City(Settings(Path(folder) / "fresh", workers=1))
        history.deliver(sorted(history.rows), fresh)
        before, after = shown(history.city), shown(fresh)
        assert {name: value == after[name] for name, value in before.items()} == dict.fromkeys(after, True), edits
        assert set(before["rows"]) == set(history.rows)
        if kind == "blocks":
            assert not checking.check(history.city, "l")["errors"]


@pytest.mark.parametrize("edits", [
    [("far", 3), ("delete", 3)], [("far", 3), ("back", 0), ("rename", 3), ("compact", 1)], [("delete", 3), ("whole", 1)], [("change", 3), ("compact", 1)],
])  # fmt: skip
def test_what_once_went_wrong(monkeypatch: pytest.MonkeyPatch, edits: list[tuple[str, int]]) -> None:
    """Extents that kept what was hidden, grades that a deletion lost, units and titles that compaction lost."""
    test_any_history_ends_as_the_whole_delivered_at_once.hypothesis.inner_test(monkeypatch, edits, "blocks", 1)
