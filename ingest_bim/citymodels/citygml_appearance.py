"""Appearances of CityGML (OGC 12-019, chapter 9): which surface has which colour or texture, by theme.

A file names the surfaces by id, often after all objects and hundreds of thousands of them. So what is learned lies in a
temporary database on disk and is asked surface by surface; memory does not grow with the file.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodels.citygml_names import XLINK, local
from ingest_bim.citymodels.textures import WRAPS, Kind, Pictures, Themes, choose_themes, ground_to_pixels, no_themes
from twin.model import Material, Report, Wrap

F64 = NDArray[np.float64]
Target = tuple[str, str, str, int, bytes | None]
"""(kind, theme, surface, number of the look, matrix that makes coordinates)."""
Ring = tuple[str, str, bytes]
"""(theme, ring, coordinates)."""
WAITING = 4096
"""Rows that are written to the disk at a time."""
AMONG = "(SELECT value FROM json_each(?))"
SURFACE_DATA = ("X3DMaterial", "ParameterizedTexture", "GeoreferencedTexture")
LOOKS = frozenset((*SURFACE_DATA, "surfaceDataMember"))


@dataclass(frozen=True)
class Look:
    """One surface data object: a material, or an image with how it is laid on.

    `ground`: (2, 3) x, y of the reference → column, row of the image's pixels (georeferenced textures with a stated place).
    """

    material: Material | None = None
    uri: str = ""
    wrap: Wrap = "repeat"
    georeferenced: bool = False
    ground: F64 | None = None


@dataclass
class Looks:
    """What was learned; `choose` settles the themes before the first question."""

    looks: list[Look] = field(default_factory=list)
    themes: Themes = field(default_factory=no_themes)
    problems: Counter[str] = field(default_factory=Counter)
    chosen: dict[Kind, str | None] = field(default_factory=lambda: {"materials": None, "textures": None})

    def __post_init__(self) -> None:
        self._known: dict[tuple[Any, ...], int] = {}
        # what is said of fronts, and what of backs
        self._new_targets: tuple[list[Target], list[Target]] = [], []
        self._new_rings: tuple[list[Ring], list[Ring]] = [], []
        self._ids: set[str] = set()
        self._targets: dict[tuple[Kind, str], tuple[Look, F64 | None]] = {}
        self._rings: dict[str, F64] = {}
        self._disk = sqlite3.connect("", check_same_thread=False)  # a file of its own, gone with the connection
        self._disk.execute("PRAGMA cache_size=-16000")
        self._disk.execute("CREATE TABLE target (kind TEXT, theme TEXT, id TEXT, look INTEGER, matrix BLOB, PRIMARY KEY (kind, theme, id)) WITHOUT ROWID")
        self._disk.execute("CREATE TABLE met (kind TEXT, id TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID")
        self._disk.execute("CREATE TABLE ring (theme TEXT, id TEXT, uv BLOB, PRIMARY KEY (theme, id)) WITHOUT ROWID")

    # --- learning ---------------------------------------------------------------------------------------------------

    def learn(self, element: Element, theme: str = "") -> None:
        """All surface data (`LOOKS`) at or below an element; an Appearance on the way sets the theme."""
        name = local(element.tag)
        if name == "Appearance":
            theme = next(((child.text or "").strip() for child in element if local(child.tag) == "theme"), theme)
        if name in SURFACE_DATA:
            self._surface_data(element, name, theme)
            return
        if name == "surfaceDataMember" and element.get(XLINK):
            self.problems["surface data given by reference is not followed"] += 1
        for child in element:
            self.learn(child, theme)

    def _surface_data(self, element: Element, name: str, theme: str) -> None:
        values = {local(child.tag): (child.text or "").strip() for child in element}
        kind: Kind = "materials" if name == "X3DMaterial" else "textures"
        georeferenced = name == "GeoreferencedTexture"
        if kind == "materials" and _color(values) is None:
            self.problems["a material's colour or transparency is no number, and grey is drawn"] += 1
        look = (Look(_material(values)) if kind == "materials" else
                Look(None, values.get("imageURI", ""), WRAPS.get(values.get("wrapMode", ""), "repeat"), georeferenced, _ground(element) if georeferenced else None))  # fmt: skip
        number = self._number(look)
        targets, rings = list[Target](), list[Ring]()
        for target in (child for child in element if local(child.tag) == "target"):
            surface = (target.get("uri") or (target.text or "").strip()).removeprefix("#")
            matrix = self._coordinates(target, theme, rings)
            if surface:
                targets.append((kind, theme, surface, number, matrix))
        self.themes[kind][theme] += len(targets)
        back = values.get("isFront") in ("false", "0")
        self._new_targets[back].extend(targets)
        self._new_rings[back].extend(rings)
        if sum(len(rows) for rows in (*self._new_rings, *self._new_targets)) > WAITING:
            self._write()

    def _write(self) -> None:
        # what is said of a surface's back is shown where nothing is said of its front (OGC 12-019, 9.2: isFront)
        for over, targets, rings in zip(("REPLACE", "IGNORE"), self._new_targets, self._new_rings, strict=True):
            self._disk.executemany(f"INSERT OR {over} INTO target VALUES (?, ?, ?, ?, ?)", targets)
            self._disk.executemany(f"INSERT OR {over} INTO ring VALUES (?, ?, ?)", rings)
            targets.clear()
            rings.clear()

    def _number(self, look: Look) -> int:
        """Its number; equal ones have one."""
        key = (look.material, look.uri, look.wrap, look.georeferenced, None if look.ground is None else look.ground.tobytes())
        if key not in self._known:
            self._known[key] = len(self.looks)
            self.looks.append(look)
        return self._known[key]

    def _coordinates(self, target: Element, theme: str, rings: list[Ring]) -> bytes | None:
        """Texture coordinates of a target's rings into `rings`; a matrix that makes them is returned."""
        if target.get(XLINK):
            self.problems["texture coordinates given by reference are not followed"] += 1
        for node in target.iter():
            try:
                if local(node.tag) == "textureCoordinates":
                    rings.append((theme, node.get("ring", "").removeprefix("#"), np.array((node.text or "").split(), np.float64).reshape(-1, 2).tobytes()))
                elif local(node.tag) == "worldToTexture":
                    return np.array((node.text or "").split(), np.float64).reshape(3, 4).tobytes()
            except ValueError:
                self.problems["texture coordinates cannot be read"] += 1
        return None

    def choose(self, wanted: str | None, report: Report) -> None:
        """Settle the themes, see `choose_themes`."""
        self._write()
        self.chosen = choose_themes(self.themes, wanted, report)
        for reason, count in self.problems.items():
            report.note("skipped", "", f"Appearance: {reason} ({count} times).")

    def astray(self, report: Report) -> None:
        """Say of targets of the chosen themes that nothing of the file has been, once all of it was asked about."""
        for kind, theme in self.chosen.items():
            lost = "FROM target WHERE kind = ? AND theme = ? AND id NOT IN (SELECT id FROM met WHERE kind = ?)"
            count, first = self._disk.execute(f"SELECT count(*), min(id) {lost}", (kind, theme, kind)).fetchone()
            if count:
                report.note("skipped", "", f"Appearance: {count:,} of its targets lead to nothing in this file, and their {kind} are not drawn: {first[:80]!r}{' and others' if count > 1 else ''}.")

    # --- asking -----------------------------------------------------------------------------------------------------

    def begin(self, ids: Collection[str]) -> None:
        """Fetch what is said of these, which will be asked for next."""
        self._ids, self._targets, self._rings = set(ids), {}, {}
        self._fetch(list(ids))

    def _fetch(self, ids: list[str]) -> None:
        theme, wanted, met = self.chosen["textures"], json.dumps(ids), list[tuple[str, str]]()
        for kind, name in self.chosen.items():
            if name is not None:
                for key, look, matrix in self._disk.execute(f"SELECT id, look, matrix FROM target WHERE kind = ? AND theme = ? AND id IN {AMONG}", (kind, name, wanted)):
                    self._targets[kind, key] = self.looks[look], None if matrix is None else np.frombuffer(matrix).reshape(3, 4)
                    met.append((kind, key))
        self._disk.executemany("INSERT OR IGNORE INTO met VALUES (?, ?)", met)
        if theme is not None:
            for key, uv in self._disk.execute(f"SELECT id, uv FROM ring WHERE theme = ? AND id IN {AMONG}", (theme, wanted)):
                self._rings[key] = _down(np.frombuffer(uv).reshape(-1, 2))

    def material(self, surface: str) -> Material | None:
        """The colour of a surface."""
        found = self._target("materials", surface)
        return None if found is None else found[0].material

    def texture(self, surface: str) -> tuple[Look, F64 | None] | None:
        """The image of a surface and the (3, 4) matrix that makes its coordinates, if it has one."""
        return self._target("textures", surface)

    def _target(self, kind: Kind, surface: str) -> tuple[Look, F64 | None] | None:
        if self.chosen[kind] is None:
            return None
        self._known_of(surface)
        return self._targets.get((kind, surface))

    def ring(self, ring: str) -> F64 | None:
        """(N, 2) texture coordinates of a ring, u to the right and v down, of s to the right and t up as stated."""
        self._known_of(ring)
        return self._rings.get(ring)

    def _known_of(self, key: str) -> None:
        """Fetch what is said of something in another member."""
        if key not in self._ids:
            self._ids.add(key)
            self._fetch([key])


def laid(look: Look, matrix: F64 | None, stated: list[F64 | None], corners: list[list[tuple[float, float, float]]], place: Callable[[F64], F64],
         pictures: Pictures) -> tuple[Material, list[F64]] | str:  # fmt: skip
    """(white with the texture, (N, 2) u and v down of each ring), or why a surface cannot have it.

    `stated` are the rings' own texture coordinates, `corners` theirs as written, which `place` puts in the order x, y, z.
    """
    material = pictures.material(look.uri, (look.wrap, look.wrap))
    if material is None or material.texture is None:
        return ""  # the report has it
    if look.georeferenced:
        ground = look.ground if look.ground is not None else pictures.world_file(look.uri)
        if ground is None:
            return "a georeferenced texture states no place and has no world file"
        placed = [place(np.array(ring)) for ring in corners]
        found = [(np.column_stack([p[:, :2], np.ones(len(p))]) @ ground.T + 0.5) / material.texture.size for p in placed]
    elif matrix is not None:
        made = [np.column_stack([ring, np.ones(len(ring))]) @ matrix.T for ring in corners]
        if any((q[:, 2] == 0).any() for q in made):
            return "a worldToTexture matrix has no coordinates for some corners"
        found = [_down(q[:, :2] / q[:, 2:]) for q in made]
    else:
        found = [uv for uv in stated if uv is not None]
        if len(found) < len(corners):
            return "a textured surface has a ring without texture coordinates"
        if any(len(uv) != len(ring) for uv, ring in zip(found, corners, strict=True)):
            return "a ring's texture coordinates are not as many as its corners"
    return (material, found) if all(np.isfinite(uv).all() for uv in found) else "texture coordinates are not finite"


def _down(uv: F64) -> F64:
    turned = uv.copy()
    turned[:, 1] = 1.0 - uv[:, 1]
    return turned


def _ground(element: Element) -> F64 | None:
    """Of `orientation` (pixels → reference, as in a world file) and `referencePoint` (middle of the upper left pixel)."""
    values: dict[str, Any] = {local(node.tag): (node.text or "").split() for node in element.iter()}
    try:
        return ground_to_pixels([float(v) for v in (*values["orientation"], *values["pos"][:2])])
    except (KeyError, ValueError, np.linalg.LinAlgError):
        return None


def _material(values: dict[str, str]) -> Material:
    return Material(values.get("name", ""), _color(values) or (0.8, 0.8, 0.8, 1.0))


def _color(values: dict[str, str]) -> tuple[float, float, float, float] | None:
    """The colour of an X3DMaterial with its alpha; None where it is malformed."""
    try:
        r, g, b = (min(max(float(v), 0.0), 1.0) for v in values.get("diffuseColor", "0.8 0.8 0.8").split())
        return r, g, b, 1.0 - min(max(float(values.get("transparency") or 0.0), 0.0), 1.0)
    except ValueError:
        return None
