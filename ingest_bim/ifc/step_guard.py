r"""What is checked of an IFC file before the parser sees it: container, header, schema, end, text encoding.

The parser (ifcopenshell) opens truncated files without a word and drops raw non-ASCII bytes from texts, so both are
looked at here: a file without its end is refused, and raw UTF-8, GBK or Latin-1 text is rewritten as ``\X2\…\X0\``
(ISO 10303-21:2016, 6.4.3) into a temporary copy.
"""

from __future__ import annotations

import codecs
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ingest_bim.ifc.step_text import decoded_by_text, guess_encoding
from twin import scratch, zips
from twin.errors import BadOption, UnreadableSource

SCHEMAS = ("IFC2X3", "IFC4", "IFC4X3_ADD2")
#: Published editions of IFC 4.3 that the parser does not know by name: what they have in common with the last one has kept its attributes.
EDITIONS = {"IFC4X3": "IFC4X3_ADD2", "IFC4X3_TC1": "IFC4X3_ADD2", "IFC4X3_ADD1": "IFC4X3_ADD2"}
MAX_UNZIPPED = 4 << 30
MAX_RATIO = 200
CHUNK = 1 << 20

_SCHEMA = re.compile(rb"FILE_SCHEMA\s*\(\s*\(\s*'([^']*)'", re.IGNORECASE)
_COMMENT = re.compile(rb"/\*.*?\*/", re.DOTALL)
#: A text escape of ISO 10303-21:2016, 6.4.3, whole; or (group 1) a backslash that begins none.
_ESCAPE = re.compile(rb"\\(?:\\|S\\.|P[A-I]\\|X\\[0-9A-F]{2}|X2\\(?:[0-9A-F]{4})++\\X0\\|X4\\(?:[0-9A-F]{8})++\\X0\\)|(\\)", re.IGNORECASE)


@dataclass(frozen=True)
class StepFile:
    """A file that may be given to the parser.

    Attributes:
        path: plain STEP file (the source itself, or a temporary copy).
        schema: that the parser reads it in. stated: as the source's header names it.
        encoding: of raw bytes above 127 ("" if there were none).
        guessed: whether `encoding` is a guess.
        size: bytes of the (unzipped) STEP file.
        broken: backslashes that begin no escape, which are kept as letters.
    """

    path: Path
    schema: str
    encoding: str
    guessed: bool
    size: int
    broken: int = 0
    stated: str = ""


@contextmanager
def guarded(source: Path, encoding: str | None = None) -> Iterator[StepFile]:
    """Check `source` (.ifc or .ifczip) and lend a plain, fully escaped STEP file for it.

    Raises:
        UnreadableSource: empty, truncated, not STEP, a bad container, or a schema that is not read.
        BadOption: `encoding` is unknown or does not decode the file.
    """
    if not source.exists() or source.stat().st_size == 0:
        raise UnreadableSource(f"{source.name} is {'empty' if source.exists() else 'absent'}.", "Export the model again.")
    with _folder() as folder:
        path = source
        with source.open("rb") as file:
            start = file.read(4)
        if start[:2] == b"PK" or source.suffix.lower() == ".ifczip":
            path = _unzip(source, folder / "model.ifc")
        stated = _check_header(path, source.name)
        _check_end(path, source.name)
        path, found, guessed = _escape(path, folder / "escaped.ifc", encoding, source.name)
        path, broken = _mend(path, folder / "mended.ifc")
        if stated in EDITIONS:
            path = _as_edition(path, folder / "edition.ifc", EDITIONS[stated])
        yield StepFile(path, EDITIONS.get(stated, stated), found, guessed, path.stat().st_size, broken, stated)


_FOLDERS: set[Path] = set()
"""Of temporary copies, while they are lent."""


@contextmanager
def _folder() -> Iterator[Path]:
    with scratch.folder("ifc") as folder:
        _FOLDERS.add(folder)
        try:
            yield folder
        finally:
            _FOLDERS.discard(folder)


def remove_copies() -> None:
    """Remove all temporary copies: for a process that ends at once."""
    for folder in _FOLDERS:
        shutil.rmtree(folder, ignore_errors=True)


def _unzip(source: Path, target: Path) -> Path:
    """The one IFC member of a zip. Its name is never used as a path, so it cannot climb out of the folder."""
    remedy = "An .ifczip holds exactly one .ifc file; zip it again."
    try:
        with zipfile.ZipFile(source) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            climbing = [m.filename for m in members if m.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", m.filename)]
            if climbing:
                raise UnreadableSource(f"{source.name}: the member {climbing[0]!r} climbs out of the archive.", remedy)
            models = [m for m in members if m.filename.lower().endswith((".ifc", ".ifcxml"))]
            if len(models) != 1:
                raise UnreadableSource(f"{source.name} holds {len(models)} IFC files.", remedy)
            model = models[0]
            if model.flag_bits & 1:
                raise UnreadableSource(f"{source.name}: {model.filename} is encrypted.", "Zip it without a password.")
            if model.file_size > MAX_UNZIPPED or model.file_size > MAX_RATIO * max(model.compress_size, 1 << 16):
                raise UnreadableSource(
                    f"{source.name}: {model.filename} would unzip to {model.file_size:,} bytes from {model.compress_size:,}: "
                    f"more than {MAX_RATIO} to 1 or {MAX_UNZIPPED:,} bytes.",
                    "If the model is real, unzip it yourself and ingest the .ifc.",
                )
            with archive.open(model) as packed, target.open("wb") as out:
                left = model.file_size
                while chunk := packed.read(min(CHUNK, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        raise UnreadableSource(f"{source.name}: {model.filename} is larger than its entry says.", remedy)
                    out.write(chunk)
    except zips.UNREADABLE as error:
        raise zips.failure(error, UnreadableSource(f"{source.name} is not a readable zip: {error}.", remedy)) from error
    return target


def _check_header(path: Path, name: str) -> str:
    with path.open("rb") as file:
        head = file.read(1 << 18)
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if re.match(rb"<(!doctype\s+html|html)\b", text, re.IGNORECASE):
        raise UnreadableSource(f"{name} is an HTML page (an error page of a download?).", "Deliver it again.")
    if text.startswith(b"<"):
        raise UnreadableSource(f"{name} is ifcXML (or another XML), which is not read.", "Export the model as IFC-SPF (.ifc).")
    if head.startswith(b"\x89HDF"):
        raise UnreadableSource(f"{name} is ifcHDF, which is not read.", "Export the model as IFC-SPF (.ifc).")
    text = _COMMENT.sub(b"", text)
    if not text.upper().startswith(b"ISO-10303-21"):
        raise UnreadableSource(f"{name} is not an IFC file: it does not begin with ISO-10303-21.", "Export the model as IFC-SPF (.ifc).")
    found = _SCHEMA.search(text)
    if not found or not found[1].strip():
        raise UnreadableSource(f"{name}: the header names no schema (FILE_SCHEMA).", "Export the model again as IFC4 or IFC2X3.")
    schema = found[1].decode("ascii", "replace").strip().upper()
    if schema not in SCHEMAS and schema not in EDITIONS:
        raise UnreadableSource(f"{name} is in the schema {schema}, which is not read.", _remedy(schema))
    return schema


def _as_edition(path: Path, target: Path, schema: str) -> Path:
    """A copy whose header names another schema; all else, comments too, stays as it is."""
    with path.open("rb") as file, target.open("wb") as out:
        head = file.read(1 << 18)
        place = _SCHEMA.search(_COMMENT.sub(lambda comment: b" " * len(comment[0]), head))
        out.write(head if place is None else head[: place.start(1)] + schema.encode() + head[place.end(1) :])
        shutil.copyfileobj(file, out, CHUNK)
    return target


def _remedy(schema: str) -> str:
    read = f"Schemas read: {', '.join([*SCHEMAS, *EDITIONS])}."
    if schema.startswith("IFC4X3"):
        return f"It is a draft of IFC4X3_ADD2: export again with the final schema. {read}"
    if schema.startswith("IFC"):
        return f"Export the model as IFC4 (or IFC4X3_ADD2 for infrastructure). {read}"
    return f"This STEP file is not a building model. {read}"


def _check_end(path: Path, name: str) -> None:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 4096, 0))
        tail = _COMMENT.sub(b"", file.read())
    if b"END-ISO-10303-21" not in tail.upper():
        raise UnreadableSource(f"{name} is truncated: its end (END-ISO-10303-21) is missing.", "Copy or export the file again.")


# --- text --------------------------------------------------------------------------------------------------------


def _escape(path: Path, target: Path, encoding: str | None, name: str) -> tuple[Path, str, bool]:
    """Rewrite raw non-ASCII text as STEP escapes; (path, encoding, guessed), or the same path where there is none."""
    with path.open("rb") as file:
        raw = any(not chunk.isascii() for chunk in iter(lambda: file.read(CHUNK), b""))
    if not raw:
        return path, "", False
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    guessed = encoding is None
    encoding = encoding or guess_encoding(data)
    mixed = decoded_by_text(data) if guessed and encoding != "utf-8" else None
    try:
        text, encoding = mixed or (data.decode(encoding), encoding)
    except LookupError as error:
        raise BadOption(f"{name}: the encoding {encoding!r} is unknown.", "Use utf-8, gb18030 or latin-1.") from error
    except UnicodeDecodeError as error:
        raise BadOption(f"{name}: byte {error.start} is not {encoding}.", "Use --option encoding=utf-8, gb18030 or latin-1.") from error
    target.write_bytes(re.sub(r"[^\x00-\x7f]+", _step_escape, text).encode("ascii"))
    return target, encoding, guessed and encoding != "utf-8"


def _mend(path: Path, target: Path) -> tuple[Path, int]:
    """Double the backslashes that begin no escape (paths of Windows, cut texts): the parser would refuse the file for one of them."""
    with path.open("rb") as file:
        if not any(b"\\" in chunk for chunk in iter(lambda: file.read(CHUNK), b"")):
            return path, 0
    data = path.read_bytes()
    places = _broken(data)
    if not places:
        return path, 0
    # each twice: a piece begins with the backslash that the piece before it ends with
    target.write_bytes(b"".join(data[start : end + 1] for start, end in pairwise([0, *places, len(data)])))
    return target, len(places)


def _broken(data: bytes) -> list[int]:
    """Places of the backslashes that begin no escape. From one to the next: looking for the pattern at every byte takes thirty times as long."""
    places: list[int] = []
    at = data.find(b"\\")
    while at >= 0:
        escape = _ESCAPE.match(data, at)
        assert escape is not None  # of a backslash there is always one, whole or not
        if escape[1]:
            places.append(at)
        at = data.find(b"\\", escape.end())
    return places


def _step_escape(match: re.Match[str]) -> str:
    text = match[0]
    if all(ord(c) < 0x10000 for c in text):
        return f"\\X2\\{text.encode('utf-16-be').hex().upper()}\\X0\\"
    return f"\\X4\\{text.encode('utf-32-be').hex().upper()}\\X0\\"
