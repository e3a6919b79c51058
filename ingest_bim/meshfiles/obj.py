"""OBJ as it is really written, made plain for trimesh: tabs, comments behind values, lines that go on, GBK names, numbers that count back, faces that are not convex.

trimesh cuts a face of several corners as a fan around its first, which covers what lies outside of a face that is not convex (a roof of
the form of an L): such faces are cut here, by ear clipping, as those of city models are.

Format: Wavefront, Object Files (.obj), version 3.0 (1992), appendix B1.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodels.faces import triangulate
from ingest_bim.citymodels.objects import Face
from ingest_bim.geometry.polygons import cross
from twin.errors import UnreadableSource
from twin.model import Report

F64 = NDArray[np.float64]
FACE = re.compile(rb"^f +(\S+(?: +\S+){3,}) *$", re.MULTILINE)
VERTEX = re.compile(rb"^v +(\S+ +\S+ +\S+)", re.MULTILINE)
#: Of a face (all numbers counted from the start) that has a number below 1.
_BEFORE_THE_FIRST = re.compile(rb"^f (?:[^\n]*[ /])?(?:0+|-\d+)(?=[ /]|$)[^\n]*", re.MULTILINE)
_ELEMENT = re.compile(rb"^(v[tn]?|f) +([^\n]*)$", re.MULTILINE)
_NUMBERS = re.compile(rb"(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?nan|[-+]?inf)(?: +(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?nan|[-+]?inf))* *")
_CORNERS = re.compile(rb"-?\d+(?:/(?:-?\d+)?){0,2}(?: +-?\d+(?:/(?:-?\d+)?){0,2})* *")

MAX_WORK = 200_000_000_000
"""Objects times vertices: some ten minutes."""
LIBRARY = "wuyi_twin_materials.mtl"
"""What stands for all the .mtl files of an OBJ."""
TAKES = {"-blendu": 1, "-blendv": 1, "-boost": 1, "-bm": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-mm": 2, "-o": 3, "-s": 3, "-t": 3, "-texres": 1, "-type": 1}
"""Options of maps, and how many words each takes: up to three numbers, or just as many."""


def as_utf8(data: bytes, name: str, report: Report) -> bytes:
    """A text file as UTF-8: what is none is taken as GB 18030, which Chinese programs write, and reported."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError:
            return data
        report.note("assumed", "", f"{name} is not UTF-8; its names are read as GBK.")
        return text.encode()
    return data


def prepared(data: bytes, name: str, report: Report) -> bytes:
    """An OBJ in UTF-8 with one element a line, single blanks, no comments, and faces of more than three corners only where they are convex."""
    data = as_utf8(data, name, report)
    data = with_line_feeds(data)
    for odd, plain in ((b"\\\n", b" "), (b"\t", b" ")):
        if odd in data:
            data = data.replace(odd, plain)
    if b"\n " in data or data[:1] == b" ":
        data = re.sub(rb"^ +", b"", data, flags=re.MULTILINE)
    if b"#" in data:
        data = re.sub(rb"(?:^| +)#.*$", b"", data, flags=re.MULTILINE)
    data = _groups_as_objects(data)
    _check_work(data, name)
    _say_what_is_left_out(data, report)
    if re.search(rb"^f [^\n]*-", data, re.MULTILINE):
        data = _counted_from_the_start(data)
    if (found := _BEFORE_THE_FIRST.search(data)) is not None:  # trimesh counts on from the last one
        raise UnreadableSource(f"{name}: the face {_quoted(found[0])} names what is before the first vertex; numbers begin with 1.", "Export it again.")
    return _convex(data, report)


def odd_line(data: bytes) -> str:
    """The first vertex or face that is not written as such, in words; "" if there is none."""
    for match in _ELEMENT.finditer(data):
        pattern, what = (_CORNERS, "whole numbers of vertices") if match[1] == b"f" else (_NUMBERS, "numbers with a decimal point")
        if pattern.fullmatch(match[2]) is None:
            return f"{_quoted(match[0])} should hold {what}"
    return ""


def odd_row(lines: Iterable[re.Match[bytes]], count: int = 0) -> str:
    """The first line (a match, whose first group is its numbers) that does not hold numbers, or not as many, in words; "" if all do."""
    for line in lines:
        words = line[1].split()
        if _NUMBERS.fullmatch(b" ".join(words)) is None or count not in (0, len(words)):
            return f"{_quoted(line[0])} in line {line_of(line):,} should hold {count or ''}{' ' * bool(count)}numbers with a decimal point"
    return ""


def line_of(found: re.Match[bytes]) -> int:
    """The number of the line in which a match begins, from 1."""
    return found.string.count(b"\n", 0, found.start()) + 1


def with_line_feeds(text: bytes) -> bytes:
    """A text whose lines end as Unix has them; old Macintosh files end them by a carriage return alone."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def _quoted(line: bytes) -> str:
    return repr(line.decode("utf-8", "replace").strip()[:60])


def _groups_as_objects(data: bytes) -> bytes:
    """Where no line names an object, groups are what the program that wrote the file had as such (SketchUp, Rhino, 3ds Max)."""
    if re.search(rb"^o +\S", data, re.MULTILINE) or len(set(re.findall(rb"^g +(\S.*?) *$", data, re.MULTILINE))) < 2:
        return data
    return re.sub(rb"^g +(?=\S)", b"o ", data, flags=re.MULTILINE)


def _say_what_is_left_out(data: bytes, report: Report) -> None:
    """Note what trimesh skips without a word."""
    for what, pattern in (("lines and points (l, p)", rb"^[lp] +\S"), ("curves and surfaces (curv, surf)", rb"^(?:curv2?|surf) +\S"), ("faces of fewer than three corners", rb"^f +\S+(?: +\S+)? *$")):
        if count := len(re.findall(pattern, data, re.MULTILINE)):
            report.note("skipped", "", f"{count:,} {what} are not drawn.")
    if re.search(rb"^v(?: +\S+){6,} *$", data, re.MULTILINE) and re.search(rb"^usemtl", data, re.MULTILINE):
        report.note("warned", "", "Colours of vertices beside materials are not read: the materials' colours are drawn.")


def say_materials(obj: bytes, materials: bytes, report: Report) -> None:
    """Note materials that an OBJ names and no .mtl of it defines, and colours that are no numbers: trimesh draws both grey without a word."""
    materials = with_line_feeds(materials)
    known = {name.strip() for name in re.findall(rb"^[ \t]*newmtl[ \t]+(\S[^\n]*)", materials, re.MULTILINE)}
    used = dict.fromkeys(name.strip() for name in re.findall(rb"^usemtl +(\S[^\n]*)", obj, re.MULTILINE))
    if lost := [name.decode("utf-8", "replace")[:60] for name in used if name not in known]:
        report.note("warned", "", f"{len(lost)} of its {len(used)} materials are in none of its .mtl files and are drawn grey: {', '.join(lost[:5])}.")
    for line in re.finditer(rb"^[ \t]*(?:Kd|d|Tr)[ \t]+(?!spectral|xyz|-halo)(\S[^\n#]*)", materials, re.MULTILINE):
        if _NUMBERS.fullmatch(b" ".join(line[1].split())) is None:
            report.note("warned", "", f"Of a material, {_quoted(line[0])} should hold numbers with a decimal point and is not read.")


def one_library(data: bytes, get: Callable[[str], bytes], exists: Callable[[str], bool]) -> tuple[bytes, bytes]:
    """An OBJ that names `LIBRARY` alone, and what stands in all the .mtl files that it named: trimesh reads the first line `mtllib` alone.

    Args:
        data: the OBJ, prepared.
        get: the bytes of a file beside it, FileNotFoundError where there is none (which it reports).
        exists: whether there is such a file.

    Lines may be several, each with several names, which may hold blanks; images are named as their .mtl sees them, or as the OBJ does.
    """
    found = []
    for line in dict.fromkeys(re.findall(rb"^mtllib +(\S[^\n]*?) *$", data, re.MULTILINE)):
        text = line.decode("utf-8", "replace")
        text = text[1:-1] if text[:1] == text[-1:] == '"' else text
        for name in [text] if exists(text) else re.findall(r"\S.*?\.mtl(?=\s|$)", text, re.IGNORECASE) or [text]:
            try:
                found.append(_seen_from_the_obj(get(name), posixpath.dirname(name.replace("\\", "/")), exists))
            except FileNotFoundError:
                continue
    data = re.sub(rb"^mtllib[^\n]*$", b"", data, flags=re.MULTILINE)
    return (f"mtllib {LIBRARY}\n".encode() + data if found else data), b"\n".join(found)


def _seen_from_the_obj(library: bytes, folder: str, exists: Callable[[str], bool]) -> bytes:
    """A .mtl whose images lie in its own folder, below the OBJ's."""

    def moved(match: re.Match[bytes]) -> bytes:
        stated = match[2].decode("utf-8", "replace")
        name = without_options(stated)
        path = f"{folder}/{name.strip().strip(chr(34))}"
        return match[1] + stated.removesuffix(name).encode() + path.encode() if exists(path) else match[0]

    return re.sub(rb"^([ \t]*map_kd[ \t]+)(\S[^\r\n]*)", moved, library, flags=re.MULTILINE | re.IGNORECASE) if folder else library


def opacity(material: Mapping[str, Any]) -> float:
    """How opaque a material of an .mtl is: `d`, or what `Tr` leaves; 1 where neither is a number. `Tr 1` alone is opaque, as those who confuse the two mean it."""
    for key in ("d", "tr"):
        try:
            value = min(max(float(material[key][-1]), 0.0), 1.0)
        except (KeyError, IndexError, TypeError, ValueError):
            continue
        return value if key == "d" else (1.0 - value) or 1.0
    return 1.0


def without_options(text: str) -> str:
    """The file name behind the options of a map in an .mtl."""
    words = text.split(" ")
    while words and (not words[0] or words[0] in TAKES):
        most = TAKES.get(words.pop(0), 0)
        while most and words and (most < 3 or re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", words[0])):
            words.pop(0)
            most -= 1
    return " ".join(words)


def _check_work(data: bytes, name: str) -> None:
    """Refuse a file of very many objects over very many vertices: trimesh looks at all vertices for each object and each material in it.

    Raises:
        UnreadableSource: that would take more than some ten minutes.
    """
    begun, corners = data.count(b"\no ") + data.count(b"\nusemtl "), data.count(b"\nv ")
    if begun * corners <= MAX_WORK:
        return
    pairs, now = set[tuple[bytes, bytes]](), {b"o": b"", b"usemtl": b""}
    for what, which in re.findall(rb"^(o|usemtl) +(.*?) *$", data, re.MULTILINE):
        now[what] = which
        pairs.add((now[b"o"], now[b"usemtl"]))
    if len(pairs) * corners > MAX_WORK:
        raise UnreadableSource(f"{name} has {len(pairs):,} objects, or parts of one material in them, over {corners:,} vertices, and each is sought among all of these: that would take hours.",
                               "Cut it into several files, or export it as glTF (GLB).")  # fmt: skip


def _convex(data: bytes, report: Report) -> bytes:
    """Faces of four and more corners that are not convex, as triangles; those that cross themselves are reported."""
    texts = FACE.findall(data)
    if not texts:
        return data
    sizes = np.array([len(text.split()) for text in texts])
    try:
        values = np.array(b" ".join(VERTEX.findall(data)).split(), np.float64)
        numbers = np.array(re.sub(rb"/\S*", b"", b" ".join(texts)).split(), np.int64)
    except ValueError:
        return data  # trimesh says what is wrong
    vertices = values.reshape(-1, 3)
    first = np.cumsum([0, *sizes])
    wanted = not_convex(numbers - 1, first, sizes, vertices)
    if not wanted:
        return data
    points = vertices[np.concatenate([numbers[first[i] : first[i + 1]] for i in wanted]) - 1]
    starts = np.cumsum([0, *sizes[wanted]]).tolist()
    cut = triangulate(np.nan_to_num(points - points[0]), [Face([list(range(a, b))]) for a, b in pairwise(starts)])
    say_crossing(cut.crossing, report)
    lines: dict[int, list[bytes]] = {}
    tokens: list[bytes] = []
    laid = -1
    for number, triangle in zip(cut.face.tolist(), cut.triangles.tolist(), strict=True):
        if number != laid:  # the triangles of a face follow each other
            tokens, laid = texts[wanted[number]].split(), number
        lines.setdefault(wanted[number], []).append(b"f " + b" ".join(tokens[corner - starts[number]] for corner in triangle))
    count = iter(range(len(texts)))

    def line(match: re.Match[bytes]) -> bytes:
        return b"\n".join(lines.get(next(count), [match[0]]))

    return FACE.sub(line, data)


def _counted_from_the_start(data: bytes) -> bytes:
    """Negative numbers count back from the line that they stand in (trimesh counts from the file's end): here they become positive."""
    before = [np.array([match.start() for match in re.finditer(kind, data, re.MULTILINE)], np.int64) for kind in (rb"^v +", rb"^vt +", rb"^vn +")]

    def line(match: re.Match[bytes]) -> bytes:
        known = [int(np.searchsorted(starts, match.start())) for starts in before]
        tokens = (
            b"/".join(b"%d" % (known[i] + 1 + int(number)) if number.startswith(b"-") and i < 3 else number for i, number in enumerate(token.split(b"/")))
            for token in match[1].split()
        )
        return b"f " + b" ".join(tokens)

    try:
        return re.sub(rb"^f +([^\n]*-[^\n]*)$", line, data, flags=re.MULTILINE)
    except ValueError:
        return data  # trimesh says what is wrong


def say_crossing(count: int, report: Report) -> None:
    """Report faces whose triangles cannot be what was meant."""
    if count:
        report.note("warned", "", f"{count:,} faces cross themselves on the plane that they lie nearest to: parts of them may be missing.")


def not_convex(numbers: NDArray[np.int64], first: NDArray[np.int64], sizes: NDArray[np.int64], vertices: F64) -> list[int]:
    """Which faces turn both ways at their corners, seen on the plane of their area; those with wrong numbers are left to trimesh."""
    found: list[int] = []
    for size in np.unique(sizes[sizes > 3]).tolist():
        which = np.flatnonzero(sizes == size)
        rings = numbers[first[which][:, None] + np.arange(size)]
        known = ((rings >= 0) & (rings < len(vertices))).all(axis=1)
        which, corners = which[known], vertices[rings[known]]
        edges = np.roll(corners, -1, axis=1) - corners
        from_first = corners - corners[:, :1]
        normals = cross(from_first, np.roll(from_first, -1, axis=1)).sum(axis=1)
        turns = np.einsum("fcx,fx->fc", cross(edges, np.roll(edges, -1, axis=1)), normals)
        found += which[(turns < -1e-9 * np.abs(turns).max(axis=1, keepdims=True)).any(axis=1)].tolist()
    return sorted(found)
