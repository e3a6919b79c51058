"""PLY made plain for trimesh: triangles alone, coordinates as they are written, colours of 8 bits.

trimesh cuts polygons as fans, which covers what lies outside of one that is not convex, and refuses binary files whose faces differ in their
corners, which is how Blender and MeshLab write them. Faces that are not convex are cut by ear clipping, as those of OBJ; colours of faces and
texture coordinates of their corners go with them. Nor does it know strips of triangles, colours of 16 bits or under their older names, and of a text whose
coordinates are called `float` it keeps 7 digits: those of a map have more. A binary file of triangles alone, or one that is not understood, is left to it.

Format: Turk, The PLY Polygon File Format (1994).
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodels.faces import triangulate
from ingest_bim.citymodels.objects import Face
from ingest_bim.meshfiles.obj import not_convex, odd_row, say_crossing
from ingest_bim.wording import in_words
from twin.model import Report

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
TYPES = {"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4",
         "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8"}  # fmt: skip
RINGS = ("vertex_indices", "vertex_index")
COLORS = ("red", "green", "blue", "alpha")
#: Elements of which something is drawn.
DRAWN = ("vertex", "face", "tristrips")
CUT = "there are fewer numbers than its header states"
#: What comments say of a place, which no writer does like another.
DIGIT = re.compile(r"\d")
PLACE = re.compile(r"shift|offset|origin|epsg|\bcrs\b|\bsrs\b|proj|wkt|georef", re.IGNORECASE)


@dataclass
class Element:
    """A kind of rows: its number of rows and its properties (name, type, type of the count where it is a list or "")."""

    name: str
    count: int
    properties: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class Rows:
    """Scalars by name, (n,) each; lists by name: (all values, (n + 1,) starts)."""

    scalars: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    lists: dict[str, tuple[NDArray[np.generic], I64]] = field(default_factory=dict)


def plainly(data: bytes, report: Report) -> bytes:
    """The file made plain; as it is where nothing has to be done, or where it is not as the format asks (for trimesh to say). What is in it and not drawn is reported.

    Raises:
        EOFError: there are fewer rows than its header states; trimesh would draw what there is.
        ValueError: a text has more numbers than that.
    """
    data = unix(data)
    try:
        end = data.index(b"\n", data.index(b"end_header")) + 1
        head = data[:end].decode("utf-8", "replace").splitlines()
        elements = _elements(head)
        layout = next(line.split()[1] for line in head if line.startswith("format"))
        body = _Text(data[end:]) if layout == "ascii" else _Binary(data, end, ">" if "big" in layout else "<")
        wanted = elements if isinstance(body, _Text) else elements[: 1 + max(i for i, e in enumerate(elements) if e.name in DRAWN)]
        rows = {element.name: body.rows(element) for element in wanted}
        vertex, face = rows["vertex"], rows.get("face", Rows())
        strips = rows.get("tristrips")
        name = next((name for name in RINGS if name in face.lists), "")
        numbers, first = (face.lists[name][0].astype(np.int64), face.lists[name][1]) if name else (np.zeros(0, np.int64), np.zeros(1, np.int64))
        vertices = np.column_stack([vertex.scalars[axis].astype(np.float64) for axis in "xyz"])
        striped = _of_strips(strips.lists[next(name for name in RINGS if name in strips.lists)][0].astype(np.int64)) if strips else np.zeros((0, 3), np.int64)
    except (ValueError, KeyError, IndexError, StopIteration, OverflowError):
        return data
    if isinstance(body, _Text) and body.at < len(body.numbers):  # read on, they would be other faces than the file's
        raise ValueError(f"its rows hold {len(body.numbers):,} numbers, and by its header there are {body.at:,}")
    _say(head, elements, report)
    colored = [_plain_colors(kind) for kind in (vertex, face)]
    sizes = np.diff(first)
    if vertex.lists or not len(sizes) + len(striped):
        return data
    comments = [line for line in head if line.startswith(("comment TextureFile", "obj_info"))]
    if len(striped) and not len(sizes):
        return written(comments, vertex, Rows(), striped, np.zeros(0, np.int64), np.zeros(0, np.int64))
    if len(striped):
        report.note("skipped", "", f"It has faces and strips of triangles: {len(striped):,} triangles of strips are not drawn.")
    if (sizes == 3).all() and layout != "ascii" and not any(colored):
        return data
    if few := int((sizes < 3).sum()):
        report.note("skipped", "", f"{few:,} of {len(sizes):,} faces have fewer than three corners.")
    corners, of = _cut(vertices, numbers, first, sizes, report)
    return written(comments, vertex, face, numbers[corners], of, corners)


def unix(data: bytes) -> bytes:
    """The file with lines that end by a line feed where a carriage return alone ends them: a text whole, a binary file in its head."""
    if not re.match(rb"ply\r(?!\n)", data) or (end := data.find(b"end_header\r")) < 0:
        return data
    end = len(data) if re.search(rb"\rformat +ascii", data[:end]) else end + 11
    return data[:end].replace(b"\r", b"\n") + data[end:]


def odd_line(data: bytes) -> str:
    """What is not written as the format asks, in words; "" if there is nothing."""
    data = unix(data)
    head, ended, body = data.partition(b"end_header")
    if not head.startswith(b"ply"):
        return "it does not begin with 'ply'"
    if not ended:
        return "its header does not end (end_header)"
    names = re.findall(rb"^property +\w+ +(\S+)", head.partition(b"element vertex")[2].partition(b"element")[0], re.MULTILINE)
    if missing := [axis for axis in ("x", "y", "z") if axis.encode() not in names]:
        return f"its vertices have no {', '.join(missing)}; they have {b', '.join(names).decode('utf-8', 'replace')[:80] or 'nothing'}"
    if not re.search(rb"^format +ascii", head, re.MULTILINE):
        return ""
    try:
        _elements(head.decode("utf-8", "replace").splitlines())
    except (KeyError, IndexError, ValueError) as error:
        return f"its header names an element or a property that is not known ({in_words(error)})"
    rows = re.compile(rb"^([^\n]*\S[^\n]*)$", re.MULTILINE).finditer(data, len(data) - len(body) + 1 + body.find(b"\n"))
    return odd_row(rows)


def _say(head: list[str], elements: list[Element], report: Report) -> None:
    for element in elements:
        if element.name not in DRAWN and element.count:
            report.note("skipped", "", f"Its {element.count:,} rows of {element.name[:40]!r} are neither corners nor faces and are not read.")
    say_place([line.partition(" ")[2].strip() for line in head if line.startswith(("comment", "obj_info"))], report)


def say_place(comments: list[str], report: Report) -> None:
    """Report what comments say of a place: nothing of it is applied."""
    if said := [comment for comment in comments if PLACE.search(comment) and DIGIT.search(comment)]:
        quoted = "; ".join(said)[:300]
        report.note("warned", "", f"Its header says {quoted!r}, which is not applied: what is to be added to its coordinates goes into an anchor (--option anchor=E,N), its CRS into --crs.")


def _of_strips(numbers: I64) -> I64:
    """(T, 3) corners of strips, each ended by -1: every other triangle is turned."""
    found = [np.zeros((0, 3), np.int64)]
    for strip in np.split(numbers, np.flatnonzero(numbers < 0)):
        corners = strip[strip >= 0]
        if len(corners) > 2:
            triangles = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
            triangles[1::2] = triangles[1::2, ::-1]
            found.append(triangles)
    whole = np.concatenate(found)
    kept: I64 = whole[(whole[:, 0] != whole[:, 1]) & (whole[:, 1] != whole[:, 2]) & (whole[:, 2] != whole[:, 0])]  # strips are led on by corners that come twice
    return kept


def _plain_colors(rows: Rows) -> bool:
    """Colours by the names and in the bytes that trimesh knows (changed in place); whether anything had to be."""
    changed = False
    for name in COLORS:
        if name not in rows.scalars and f"diffuse_{name}" in rows.scalars:
            rows.scalars[name] = rows.scalars.pop(f"diffuse_{name}")
            changed = True
        if (values := rows.scalars.get(name)) is not None and values.dtype.str[1:] == "u2":
            rows.scalars[name] = np.rint(values.astype(np.float64) / 257).astype(np.uint8)
            changed = True
    return changed


def _elements(head: list[str]) -> list[Element]:
    found: list[Element] = []
    for line in head:
        words = line.split()
        if words[:1] == ["element"]:
            found.append(Element(words[1], int(words[2])))
        elif words[:2] == ["property", "list"]:
            found[-1].properties.append((words[4], TYPES[words[3]], TYPES[words[2]]))
        elif words[:1] == ["property"]:
            found[-1].properties.append((words[2], TYPES[words[1]], ""))
    return found


class _Binary:
    """Reads rows of bytes one element after the other."""

    def __init__(self, data: bytes, at: int, order: str) -> None:
        self.data, self.at, self.order = data, at, order

    def rows(self, element: Element) -> Rows:
        if element.count and self.at >= len(self.data):
            raise EOFError(f"it ends before its rows of {element.name!r}")
        if not any(counted for _, _, counted in element.properties):
            table = self._table(element.count, [(name, self.order + kind) for name, kind, _ in element.properties])
            return Rows({name: table[name] for name, _, _ in element.properties})
        return self._alike(element) or self._one_by_one(element)

    def _table(self, count: int, kind: list[tuple[str, str]]) -> NDArray[np.void]:
        whole = np.dtype(kind)
        table: NDArray[np.void] = np.frombuffer(self.data, whole, count, self.at)
        self.at += count * whole.itemsize
        return table

    def _alike(self, element: Element) -> Rows | None:
        """Rows whose lists are all as long as the first row's; None (and nothing read) where they are not."""
        begin, fields = self.at, list[tuple[str, str] | tuple[str, str, tuple[int]]]()
        at = begin
        for name, value, counted in element.properties:
            size = 1
            if counted:
                size = int(np.frombuffer(self.data, self.order + counted, 1, at)[0])
                fields.append((f"count of {name}", self.order + counted))
                at += np.dtype(counted).itemsize
            fields.append((name, self.order + value, (size,)) if counted else (name, self.order + value))
            at += size * np.dtype(value).itemsize
        whole = np.dtype(fields)
        if element.count * whole.itemsize > len(self.data) - begin:
            return None
        table = np.frombuffer(self.data, whole, element.count, begin)
        lists = [name for name, _, counted in element.properties if counted]
        if not all((table[f"count of {name}"] == table[name].shape[1]).all() for name in lists):
            return None
        self.at = begin + element.count * whole.itemsize
        return Rows({name: table[name] for name, _, counted in element.properties if not counted},
                    {name: (table[name].reshape(-1), np.arange(element.count + 1) * table[name].shape[1]) for name in lists})  # fmt: skip

    def _one_by_one(self, element: Element) -> Rows:
        scalars: dict[str, list[NDArray[np.generic]]] = {name: [] for name, _, counted in element.properties if not counted}
        lists: dict[str, list[NDArray[np.generic]]] = {name: [] for name, _, counted in element.properties if counted}
        kinds = [(name, np.dtype(self.order + kind), np.dtype(self.order + counted) if counted else None) for name, kind, counted in element.properties]
        for _ in range(element.count):
            for name, kind, counted in kinds:
                size = 1
                if counted is not None:
                    size = int(np.frombuffer(self.data, counted, 1, self.at)[0])
                    self.at += counted.itemsize
                (scalars if counted is None else lists)[name].append(np.frombuffer(self.data, kind, size, self.at))
                self.at += size * kind.itemsize
        return Rows({name: np.concatenate(values) for name, values in scalars.items()},
                    {name: (np.concatenate(values), np.cumsum([0, *map(len, values)])) for name, values in lists.items()})  # fmt: skip


class _Text:
    """Reads rows of numbers one element after the other; coordinates keep all their digits, whatever type they are said to have."""

    def __init__(self, data: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of text that is no number
            self.numbers, self.at = np.fromstring(data.decode("ascii"), np.float64, sep=" "), 0

    def rows(self, element: Element) -> Rows:
        try:
            found = self._alike(element)
            if found is None:
                found = self._one_by_one(element)
        except IndexError as error:
            raise EOFError(CUT) from error
        if self.at > len(self.numbers):
            raise EOFError(CUT)
        kinds = {name: "f8" if element.name == "vertex" and name in ("x", "y", "z") else kind for name, kind, _ in element.properties}
        return Rows({name: values.astype(kinds[name]) for name, values in found.scalars.items()}, {name: (values.astype(kinds[name]), first) for name, (values, first) in found.lists.items()})

    def _alike(self, element: Element) -> Rows | None:
        """Rows whose lists are all as long as the first row's; None (and nothing read) where they are not."""
        at, sizes = self.at, list[int]()
        for _, _, counted in element.properties:
            sizes.append(int(self.numbers[at]) if counted and element.count else 1)
            at += sizes[-1] + bool(counted)
        width, end = at - self.at, self.at + (at - self.at) * element.count
        if end > len(self.numbers):
            return None
        table = self.numbers[self.at : end].reshape(element.count, width)
        found, column = Rows(), 0
        for (name, _, counted), size in zip(element.properties, sizes, strict=True):
            if counted:
                if (table[:, column] != size).any():
                    return None
                found.lists[name] = (table[:, column + 1 : column + 1 + size].reshape(-1), np.arange(element.count + 1) * size)
            else:
                found.scalars[name] = table[:, column]
            column += size + bool(counted)
        self.at = end
        return found

    def _one_by_one(self, element: Element) -> Rows:
        found: dict[str, list[NDArray[np.float64]]] = {name: [] for name, _, _ in element.properties}
        for _ in range(element.count):
            for name, _, counted in element.properties:
                size = int(self.numbers[self.at]) if counted else 1
                self.at += 1 if counted else 0
                found[name].append(self.numbers[self.at : self.at + size])
                self.at += size
        flat = {name: np.concatenate([np.zeros(0), *rows]) for name, rows in found.items()}
        return Rows({name: flat[name] for name, _, counted in element.properties if not counted},
                    {name: (flat[name], np.cumsum([0, *map(len, found[name])])) for name, _, counted in element.properties if counted})  # fmt: skip


def _cut(vertices: F64, numbers: I64, first: I64, sizes: I64, report: Report) -> tuple[I64, I64]:
    """((T, 3) places in `numbers`, (T,) polygon of each): convex polygons as fans, the others by ear clipping."""
    concave = not_convex(numbers, first, sizes, vertices)
    triangles, face = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    plain = np.ones(len(sizes), bool)
    plain[concave] = False
    for size in np.unique(sizes[plain & (sizes > 2)]).tolist():
        rows = np.flatnonzero(plain & (sizes == size))
        corners = first[rows][:, None] + np.arange(size)
        triangles.append(np.stack([np.repeat(corners[:, :1], size - 2, axis=1), corners[:, 1:-1], corners[:, 2:]], axis=2).reshape(-1, 3))
        face.append(np.repeat(rows, size - 2))
    if concave:
        which = np.concatenate([np.arange(first[i], first[i + 1]) for i in concave])
        points = np.nan_to_num(vertices[numbers[which]] - vertices[numbers[which[0]]])
        ears = triangulate(points, [Face([list(range(a, b))]) for a, b in pairwise(np.cumsum([0, *sizes[concave]]).tolist())])
        say_crossing(ears.crossing, report)
        triangles.append(which[ears.triangles])
        face.append(np.array(concave, np.int64)[ears.face])
    order = np.argsort(np.concatenate(face), kind="stable")
    return np.concatenate(triangles)[order], np.concatenate(face)[order]


def written(comments: list[str], vertex: Rows, face: Rows, triangles: I64, of: I64, corners: I64) -> bytes:
    """A binary PLY of vertices as they were and triangles with what their faces had."""
    lines = ["ply", "format binary_little_endian 1.0", *comments, f"element vertex {len(vertex.scalars['x'])}"]
    names = {kind: name for name, kind in TYPES.items()}

    def scalars(rows: Rows, which: I64 | slice) -> list[tuple[str, NDArray[np.generic]]]:
        lines.extend(f"property {names[values.dtype.str[1:]]} {name}" for name, values in rows.scalars.items())
        return [(name, values[which]) for name, values in rows.scalars.items()]

    first = _packed(scalars(vertex, slice(None)))
    lines.append(f"element face {len(triangles)}")
    lines.append("property list uchar int vertex_indices")
    columns: list[tuple[str, NDArray[np.generic]]] = [("count", np.full(len(triangles), 3, np.uint8)), ("corners", triangles.astype(np.int32))]
    if "texcoord" in face.lists:
        values, starts = face.lists["texcoord"]
        if np.array_equal(starts, 2 * face.lists[next(name for name in RINGS if name in face.lists)][1]):
            lines.append("property list uchar float texcoord")
            columns += [("count of texcoord", np.full(len(triangles), 6, np.uint8)), ("texcoord", values.astype(np.float32).reshape(-1, 2)[corners].reshape(-1, 6))]
    columns += scalars(face, of)
    lines.append("end_header")
    return "\n".join(lines).encode() + b"\n" + first + _packed(columns)


def _packed(columns: list[tuple[str, NDArray[np.generic]]]) -> bytes:
    table = np.empty(len(columns[0][1]), [(name, f"<{values.dtype.str[1:]}", values.shape[1:]) for name, values in columns])
    for name, values in columns:
        table[name] = values
    return table.tobytes()
