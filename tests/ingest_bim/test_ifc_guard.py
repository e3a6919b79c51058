"""What is refused before the parser sees it, and what is repaired."""

from __future__ import annotations

import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest_bim.ifc import open as ifc_open
from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc.step_guard import guarded
from ingest_bim.ifc.step_text import guess_encoding
from twin.errors import BadInput, UnreadableSource
from twin.model import Mesh, Report

Step = Callable[..., str]
ModelFile = Callable[..., Path]
PLACED = {"vertical": "EGM96", "anchor_lonlat": "113.08,22.58,5"}


def read(path: Path, **options: object) -> tuple[list[object], Report]:
    report = Report()
    return list(ifc.read(path, ifc.Options(**{**PLACED, **options}), report)), report  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"PK\x03\x04 not a zip at all", "zip"),
        (b"<?xml version='1.0'?><ifcXML/>", "ifcXML"),
        (b"\x00\x01\x02 garbage", "ISO-10303-21"),
        (b"ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\nENDSEC;\nEND-ISO-10303-21;\n", "FILE_SCHEMA"),
    ],
)
def test_what_is_not_ifc_is_refused(model_file: ModelFile, content: bytes, says: str) -> None:
    with pytest.raises(UnreadableSource, match=says):
        read(model_file(content))


@pytest.mark.parametrize("schema", ["IFC4X3", "ifc4x3_tc1", "IFC4X3_ADD1"])
def test_earlier_editions_of_a_schema_are_read_as_its_last(model_file: ModelFile, step: Step, schema: str) -> None:
    """A comment that names another schema is none of the header's business."""
    text = step(schema="IFC4").replace("FILE_SCHEMA(('IFC4'))", f"/* FILE_SCHEMA(('IFC9')) */ FILE_SCHEMA (( '{schema}' ))")
    _, report = read(model_file(text))
    assert report.kept == 6
    assert report.facts["schema"] == "IFC4X3_ADD2"
    assert [n.reason for n in report.notes if n.action == "assumed"] == [f"The schema {schema.upper()} is read as IFC4X3_ADD2, its last edition."]


@pytest.mark.parametrize("schema", ["IFC4X3_RC2", "IFC2X_FINAL", "IFC5", "IFC4X1", "AUTOMOTIVE_DESIGN"])
def test_other_schemas_are_refused_by_name(model_file: ModelFile, step: Step, schema: str) -> None:
    with pytest.raises(UnreadableSource, match=schema) as refused:
        read(model_file(step(schema=schema)))
    assert "IFC4X3_ADD2" in refused.value.remedy


def test_a_truncated_file_is_refused(model_file: ModelFile, step: Step) -> None:
    text = step()
    with pytest.raises(UnreadableSource, match="truncated"):
        read(model_file(text[: len(text) // 2]))


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_zip_reads_like_its_model(tmp_path: Path, step: Step) -> None:
    batches, _ = read(zipped(tmp_path / "a.ifczip", {"readme.txt": b"x", "in/model.IFC": step().encode()}))
    mesh = next(b for b in batches if isinstance(b, Mesh))
    assert "1000000000000000000001" in mesh.ids.to_pylist()


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, "0 IFC files"),
        ({"a.ifc": b"x", "b.ifc": b"y"}, "2 IFC files"),
        ({"../a.ifc": b"x"}, "climbs"),
        ({"/etc/a.ifc": b"x"}, "climbs"),
        ({"a.ifc": b"0" * 30_000_000}, "unzip to"),
        ({"a.ifcxml": b"<ifcXML/>"}, "ifcXML"),
    ],
)
def test_bad_zips_are_refused(tmp_path: Path, members: dict[str, bytes], says: str) -> None:
    with pytest.raises(UnreadableSource, match=says):
        read(zipped(tmp_path / "a.ifczip", members))


def test_bytes_that_changed_in_a_zip_are_refused(tmp_path: Path, step: Step) -> None:
    """Wherever the packed stream was hurt (each place fails in its own way): the container is named, never an internal error."""
    whole = zipped(tmp_path / "a.ifczip", {"a.ifc": step().encode()}).read_bytes()
    said = set()
    for at in range(40, len(whole) // 2, len(whole) // 24):
        path = tmp_path / "b.ifczip"
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF, whole[at + 1] ^ 0x55]) + whole[at + 2 :])
        with pytest.raises(UnreadableSource, match="not a readable zip") as refused:
            read(path)
        said.add(type(refused.value.__cause__).__name__)
    assert "error" in said  # zlib's own, which is no kind of OSError


@pytest.mark.parametrize(("old", "new", "says"), [
    ("'column 1'", "5", ""), ("'1000000000000000000001'", "(#2)", "no GlobalId"),
    ("#3=IFCUNITASSIGNMENT((#4,#5,#6,#7));", "#3=IFCUNITASSIGNMENT(5.);", "units"), ("(#2),#3)", "(#2),#12)", "units"),
])  # fmt: skip
def test_values_of_wrong_kinds(model_file: ModelFile, step: Step, old: str, new: str, says: str) -> None:
    """A number for a name, a list for a GlobalId, a direction for the units: the model is there with a note, or refused in words."""
    text = step()
    assert old in text
    path = model_file(text.replace(old, new))
    if says == "units":
        with pytest.raises(UnreadableSource, match=says):
            read(path)
        return
    _, report = read(path)
    assert report.kept == 6 and (not says or any(says in note.reason for note in report.notes))


@pytest.mark.parametrize(("encoding", "text"), [("gb18030", "墙体一层"), ("utf-8", "墙体一层"), ("latin-1", "Müller Stütze"), ("utf-8", "柱𠀀")])
def test_raw_text_keeps_its_letters(model_file: ModelFile, step: Step, encoding: str, text: str) -> None:
    path = model_file(step(name=text).encode(encoding))
    batches, report = read(path)
    mesh = next(b for b in batches if isinstance(b, Mesh))
    names = dict(zip(mesh.ids.to_pylist(), mesh.attributes.column("name").to_pylist(), strict=True))
    assert names["1000000000000000000001"] == text
    assert any(encoding in note.reason for note in report.notes)


def test_escaped_text_is_decoded(model_file: ModelFile, step: Step) -> None:
    mesh = next(b for b in read(model_file(step(name="\\X2\\67F1\\X0\\ 1")))[0] if isinstance(b, Mesh))
    assert "柱 1" in mesh.attributes.column("name").to_pylist()


ESCAPE = r"\\\\|\\S\\.|\\P[A-I]\\|\\X\\[0-9A-F]{2}|\\X2\\(?:[0-9A-F]{4})+\\X0\\|\\X4\\(?:[0-9A-F]{8})+\\X0\\"
"""Whole text escapes of ISO 10303-21:2016, 6.4.3."""


def test_backslashes_that_begin_no_escape_are_doubled(model_file: ModelFile, step: Step) -> None:
    """Whatever stands beside them; whole escapes stay as they are."""
    chance = random.Random(4)
    pieces = ("\\", "\\\\", "X", "2", "S", "0", "00E4", "\\X2\\00E4\\X0\\", "\\X\\E4", "\\x\\e4", "\\PA\\", "|", "name")
    texts = ["".join(chance.choices(pieces, k=12)) + "." for _ in range(300)]
    lines = "".join(f"#{9000 + at}=IFCLABEL('{text}');\n" for at, text in enumerate(texts))
    source = model_file(step(name="end").replace("ENDSEC;\nEND-ISO", f"{lines}ENDSEC;\nEND-ISO"))
    wanted = [re.sub(f"({ESCAPE})|\\\\", lambda found: found[1] or "\\\\", text, flags=re.IGNORECASE) for text in texts]
    with guarded(source) as made:
        assert made.path != source
        assert re.findall(r"IFCLABEL\('(.*)'\)", made.path.read_text("ascii")) == wanted
        assert made.broken == sum(map(len, wanted)) - sum(map(len, texts)) > 200


def test_the_encoding_can_be_named(model_file: ModelFile, step: Step) -> None:
    path = model_file(step(name="ü").encode("latin-1"))
    with guarded(path, "latin-1") as checked:
        assert checked.encoding == "latin-1"
        assert not checked.guessed
    with pytest.raises(BadInput, match="utf-8"), guarded(path, "utf-8"):
        pass
    with pytest.raises(BadInput, match="klingon"), guarded(path, "klingon"):
        pass


@pytest.mark.parametrize("rest", ["gb18030", "latin-1"])
def test_each_text_has_its_own_letters(model_file: ModelFile, step: Step, rest: str) -> None:
    """A model merged from several programs: UTF-8 in one text, another encoding in the next; a comment with an apostrophe does not count as a text."""
    other = {"gb18030": "墙体二层", "latin-1": "Wände Süd"}[rest]
    text = step(name="@@", storey="%%").encode().replace(b"@@", "柱子一号".encode()).replace(b"%%", other.encode(rest))
    batches, report = read(model_file(text.replace(b"DATA;", b"DATA;\n/* it's merged */", 1)))
    mesh = next(b for b in batches if isinstance(b, Mesh))
    names = mesh.attributes.column("name").to_pylist()
    assert "柱子一号" in names and other in names
    assert any(f"utf-8 and {rest} text (guessed)" in note.reason for note in report.notes)


def test_a_cut_in_nothing_is_listed(model_file: ModelFile, step: Step) -> None:
    """An opening that no element is said to have is not drawn, and said."""
    opening = "#300=IFCOPENINGELEMENT('3000000000000000000001',$,'hole',$,$,#101,#104,$,.OPENING.);\n"
    _, report = read(model_file(step(opening)))
    assert [(n.action, n.feature) for n in report.notes if "no element is said to be cut" in n.reason] == [("skipped", "3000000000000000000001")]
    voids = "#301=IFCRELVOIDSELEMENT('3000000000000000000002',$,$,$,#110,#300);\n"
    _, report = read(model_file(step(opening, voids)))
    assert not any("no element is said to be cut" in n.reason for n in report.notes)


def test_an_element_without_a_placement_is_named(model_file: ModelFile, step: Step) -> None:
    """Its reference leads to nothing; a shape whose items do so is not called a line."""
    text = step()
    for gone, said in (("#111=", "drawn at the model's origin"), ("#116=", "has no items")):
        _, report = read(model_file("".join(line for line in text.splitlines(keepends=True) if not line.startswith(gone))))
        assert [n.feature for n in report.notes if said in n.reason] == ["1000000000000000000002"]


def test_guesses() -> None:
    assert guess_encoding("楼板二层".encode("gbk")) == "gb18030"
    assert guess_encoding("Außenwand Nord, Türöffnung".encode("latin-1")) == "latin-1"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="absent"):
        read(tmp_path / "none.ifc")


def test_what_the_parser_says_twice_is_one_note_whatever_the_time() -> None:
    """A large model is opened in more than a second, and the report of it must not depend on which."""
    lines = [f"[warning] [2026-11-23 07:00:{second}] Instance encountered with non-unique GlobalId {name}" for second in (55, 56) for name in "abcde"]
    report = Report()
    ifc_open._note_log("\n".join(lines), report)
    assert [n.reason.rpartition(" ")[2] for n in report.notes[:3]] == ["a", "b", "c"]
    assert report.notes[3].reason == "parser: … and 2 more like the last one."
