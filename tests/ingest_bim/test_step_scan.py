"""Instances of a large file, which are places in its text, are those that a small one holds as objects."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc import step_scan
from ingest_bim.ifc.step_scan import Spans, StepText
from twin.bench.bim import write_walls
from twin.model import Mesh, Report, Table

ROWS = st.lists(st.tuples(st.integers(0, 12) | st.integers(0, (1 << 63) - 1), st.sampled_from(["IFCA", "IFCB", "ifcb", "IFCSTYLEDITEM"]), st.sampled_from(["", "'it''s; (#1)'", "#3,#1", "$"])))


@given(ROWS)
def test_places_say_what_objects_say(rows: list[tuple[int, str, str]]) -> None:
    """Names with gaps and names that are written twice among them; nothing is there that was not written."""
    data = "\n".join(f"#{name}={kind}({text});" for name, kind, text in rows).encode()
    objects, kinds = step_scan._objects(data)
    found = Spans(data)
    assert dict(found) == objects and len(found) == len(objects)
    assert {kind: list(names) for kind, names in found.kinds.items()} == kinds
    for name in (*range(14), 1 << 41, 1 << 71):
        assert (name in found) == (name in objects) and found.get(name) == objects.get(name)


def test_a_name_of_more_bits_than_the_parser_reads_is_left_out() -> None:
    assert list(Spans(b"#9223372036854775808=IFCA(1);#7=IFCA(2);#99999999999999999999=IFCB();")) == [7]


def test_a_name_that_is_written_twice_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"#2=IFCB(1);#1=IFCA(1);#2=IFCA(2);"
    for large in (step_scan.LARGE, 0):
        monkeypatch.setattr(step_scan, "LARGE", large)
        text = StepText(data)
        assert text.rows[2] == (b"IFCB", b"1)") and {kind: list(names) for kind, names in text.kinds.items()} == {b"IFCB": [2], b"IFCA": [1]}


def test_a_large_model_is_read_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Walls with sets and quantities: the same tables, shapes and report."""
    path = write_walls(tmp_path / "walls.ifc", 30)
    told = []
    for large in (step_scan.LARGE, 0):
        monkeypatch.setattr(step_scan, "LARGE", large)
        report = Report()
        batches = list(ifc.read(path, ifc.Options(crs="EPSG:32650", vertical="EGM96", anchor="500000,2500000,0", confirm=True), report))
        tables = {batch.name: batch.rows for batch in batches if isinstance(batch, Table)}
        told.append((tables, [batch for batch in batches if isinstance(batch, Mesh)], report))
    (tables, meshes, report), (others, more, again) = told
    assert tables.keys() == others.keys() and all(table.equals(others[name], check_metadata=True) for name, table in tables.items())
    assert [pa.array(mesh.positions.ravel()) for mesh in meshes] == [pa.array(mesh.positions.ravel()) for mesh in more]
    assert len(tables["psets"]) and report == again
