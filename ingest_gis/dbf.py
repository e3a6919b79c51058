"""What a Shapefile's table (.dbf) leaves to be guessed: its encoding, and texts that its fixed widths cut inside of a character.

GDAL would read an unmarked table as ISO 8859-1, which turns Chinese into rubbish without a word, and hands on names and values that
were cut in the middle of a UTF-8 character as they are. Ten bytes of a name are three Chinese characters and a third of a fourth.

Source: ESRI Shapefile Technical Description (1998); dBASE table file format, language driver IDs.
"""

from __future__ import annotations

import codecs
import re
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ingest_gis.sniff import sibling
from twin import scratch
from twin.errors import BadOption, UnreadableSource
from twin.model import Report

BLOCK = 1 << 20
NAME = 10
"""Bytes of a field's name."""
UNSTATED = (0x00, 0x57)
"""Language driver IDs that say nothing: none, and "the code page of this machine"."""
DRIVERS = {0x13: "cp932", 0x7B: "cp932", 0x4D: "gbk", 0x4E: "cp949", 0x79: "cp949", 0x4F: "cp950", 0x78: "cp950", 0x7A: "gbk"}
"""Encodings of several bytes a character, by language driver ID."""
ENCODING = "Name the encoding, for Chinese data usually --option encoding=GBK."


@dataclass(frozen=True)
class Table:
    """What is known of a Shapefile's table: its `encoding` (None: as its language says), rows marked as `deleted`, and where it is to be read (`shapefile`).

    `shapefile` is the file itself, or in a temporary folder of its own, gone with this object, where names had to be made whole.
    """

    encoding: str | None
    deleted: int
    shapefile: Path


def table_of(path: Path, wanted: str | None, report: Report) -> Table:
    """Look at a Shapefile's table; what is not as it should be is noted.

    Raises:
        BadOption: `wanted` is no encoding. UnreadableSource: none is stated and the bytes are not UTF-8.
    """
    encoding = encoding_of(path, wanted, report)
    gone = deleted_rows(path)
    if gone:
        report.note("skipped", "", f"{gone} rows are marked as deleted in the table and are left out")
    copy = with_whole_names(path, encoding, report)
    table = Table(encoding, gone, copy or path)
    if copy:
        weakref.finalize(table, shutil.rmtree, copy.parent, ignore_errors=True)
    return table


def encoding_of(path: Path, wanted: str | None, report: Report) -> str | None:
    """The encoding of a Shapefile's texts: the option, else what its .cpg says, else None where the .dbf has a language of its own, else UTF-8.

    Raises:
        BadOption: `wanted` is no encoding. UnreadableSource: none is stated and the bytes are not UTF-8.
    """
    if wanted:
        try:
            "".encode(wanted)
        except LookupError as error:
            raise BadOption(f"{path.name}: {wanted!r} is no known encoding.", "For example GBK, GB18030, Big5, UTF-8.") from error
        return wanted
    table = sibling(path, ".dbf")
    if table is None:
        return None
    page = sibling(path, ".cpg")
    stated = "" if page is None else page.read_bytes()[:100].decode("ascii", "replace").strip().strip("\0\ufffd")
    if known := code_page(stated):
        return known
    with table.open("rb") as file:
        if not stated and file.read(32)[29] not in UNSTATED:
            return None
    if not _is_utf8(table):
        what = f"its .cpg says {stated[:40]!r}, which is no known encoding," if stated else "it states no encoding (no .cpg)"
        raise UnreadableSource(f"{path.name}: {table.name} cannot be decoded: {what} and its texts are not UTF-8.", ENCODING)
    if stated:
        report.note("assumed", "", f"The .cpg says {stated[:40]!r}, which is no known encoding; the texts are UTF-8.")
    return "UTF-8"


def code_page(stated: str) -> str | None:
    """The encoding that a .cpg names (`UTF-8`, `936`, `ANSI 936`, `ISO 88591`, …), or None."""
    if match := re.fullmatch(r"(?:ansi|oem|cp|windows|dos|ms)?[ _-]*(\d{3,5})", stated, re.IGNORECASE):
        number = int(match[1])
        stated = "UTF-8" if number == 65001 else f"ISO-8859-{str(number)[4:]}" if 88591 <= number <= 885999 else f"CP{number}"
    elif match := re.fullmatch(r"iso[ _-]*8859[ _-]*(\d{1,2})", stated, re.IGNORECASE):
        stated = f"ISO-8859-{match[1]}"
    elif stated.lower().replace("_", "-") in ("gb2312", "euc-cn"):
        stated = "CP936"  # those that say so hold characters of its extension, too
    try:
        codecs.lookup(stated)
    except (LookupError, ValueError):
        return None
    return stated


def _is_utf8(table: Path) -> bool:
    """Whether all names and texts are, but for characters that a width cut."""
    with table.open("rb") as file:
        head = file.read(32)
        records, start, width = (int.from_bytes(head[a:b], "little") for a, b in ((4, 8), (8, 10), (10, 12)))
        head += file.read(max(0, start - 32))
        fields = _fields(head)
        if any(_whole_name(name, "utf-8") is None for name, _, _ in fields):
            return False
        file.seek(start)
        size = max(1, BLOCK // max(width, 1)) * max(width, 1)
        rest = records * width
        while rest > 0 and (block := file.read(min(size, rest))):
            rest -= len(block)
            try:
                block.decode("utf-8")
            except UnicodeDecodeError:
                texts = (block[i + a : i + b] for i in range(0, len(block), width) for _, a, b in fields)
                if any(_without_tail(text.rstrip(b" \0"), "utf-8") is None for text in texts):
                    return False
    return True


def deleted_rows(path: Path) -> int:
    """How many rows of a Shapefile's table are marked as deleted; GDAL counts them and does not give them."""
    table = sibling(path, ".dbf")
    if table is None:
        return 0
    with table.open("rb") as file:
        head = file.read(32)
    records, start, width = (int.from_bytes(head[a:b], "little") for a, b in ((4, 8), (8, 10), (10, 12)))
    if not records * width:
        return 0
    flags = np.memmap(table, np.uint8, "r", start, (records, width))[:, 0]
    return int((flags == ord("*")).sum())


def _fields(head: bytes) -> list[tuple[bytes, int, int]]:
    """(name, first byte, byte behind the last) of each column within a record, whose first byte says whether it is deleted."""
    found, at = [], 1
    for place in range(32, len(head) - 31, 32):
        if head[place] == 0x0D:
            break
        width = head[place + 16] + (head[place + 17] << 8 if head[place + 11 : place + 12] == b"C" else 0)
        found.append((head[place : place + NAME + 1].split(b"\0")[0], at, at + width))
        at += width
    return found


def _without_tail(text: bytes, encoding: str) -> str | None:
    """A text without what is left of a character that was cut at its end; None where it is broken otherwise."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(text)
    except UnicodeDecodeError:
        return None


def _whole_name(raw: bytes, encoding: str) -> str | None:
    """A column's name without a cut character at its end or before `_1`, GDAL's mark of a second name."""
    head, mark, number = raw.rpartition(b"_")
    if mark and number.isdigit() and head:
        name = _without_tail(head, encoding)
        return None if name is None else f"{name}_{number.decode()}"
    return _without_tail(raw, encoding)


def with_whole_names(path: Path, encoding: str | None, report: Report) -> Path | None:
    """A copy of a Shapefile in a folder of its own whose field names are whole characters, or None where they are. The caller removes the folder."""
    table = sibling(path, ".dbf")
    if table is None:
        return None
    with table.open("rb") as file:
        head = file.read(32)
        head += file.read(max(0, int.from_bytes(head[8:10], "little") - 32))
    changed = _renamed(head, encoding or DRIVERS.get(head[29], "latin-1"), report)
    if changed is None:
        return None
    folder = Path(tempfile.gettempdir(), scratch.TWIN + scratch.name("shapefile"))
    folder.mkdir(mode=0o700)
    for suffix in (".shp", ".shx", ".prj", ".cpg"):
        if (member := sibling(path, suffix)) is not None:
            (folder / f"{path.stem}{suffix}").symlink_to(member.resolve())
    copy = folder / f"{path.stem}.dbf"
    shutil.copyfile(table, copy)
    with copy.open("r+b") as file:
        file.write(changed)
    return folder / f"{path.stem}.shp"


def _renamed(head: bytes, encoding: str, report: Report) -> bytes | None:
    """A table's header with the names that were cut made whole and different, or None where none was cut."""
    result, used, count = bytearray(head), set[str](), 0
    for number, (raw, _, _) in enumerate(_fields(head)):
        name = _whole_name(raw, encoding)
        if name is None:
            return None  # another encoding altogether: the texts say so
        if name.encode(encoding) != raw:
            count += 1
            name = next(free for free in _candidates(name, encoding) if free.lower() not in used)
            at = 32 + 32 * number
            result[at : at + NAME + 1] = name.encode(encoding).ljust(NAME + 1, b"\0")
            report.note("repaired", "", f"column {raw.decode(encoding, 'replace')}: its name was cut inside a character and is read as {name}")
        used.add(name.lower())
    return bytes(result) if count else None


def _candidates(name: str, encoding: str) -> list[str]:
    """The name, and the name with a number, each within the bytes that there are."""
    found = [name] if name else []
    for number in range(2, 1000):
        short = name
        while len(f"{short}_{number}".encode(encoding)) > NAME:
            short = short[:-1]
        found.append(f"{short}_{number}")
    return found


def with_whole_texts(table: pa.Table, report: Report, told: set[str]) -> pa.Table:
    """A table's texts without what is left of a character that a column's width cut; other broken texts stay, for `check_text` to refuse."""
    for number, field in enumerate(table.schema):
        if not pa.types.is_string(field.type):
            continue
        values = table.column(number)
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            raw = [value for chunk in values.chunks for value in chunk.cast(pa.binary()).to_pylist()]
            texts = [None if value is None else _without_tail(value, "utf-8") for value in raw]
            if any(text is None and value is not None for text, value in zip(texts, raw, strict=True)):
                continue
            table = table.set_column(number, field, pa.chunked_array([pa.array(texts, pa.string())]))
            if field.name not in told:
                told.add(field.name)
                report.note("repaired", "", f"column {field.name}: texts that the column's width cut inside their last character are read without it")
    return table
