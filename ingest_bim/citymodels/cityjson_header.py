"""What holds for all objects of a CityJSON document or sequence: transform, CRS, templates, appearance. And its numbers → arrays."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodels.textures import WRAPS, Kind
from ingest_bim.wording import in_words
from twin.model import Material, Report, Wrap

F64 = NDArray[np.float64]
#: What Python raises when JSON has another shape than CityJSON's.
MALFORMED = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)
LOD = re.compile(r"(?:lod)?\s*([0-4](?:\.\d)?)$", re.IGNORECASE)


@dataclass
class Looks:
    """An appearance: materials, (file, wrap) of the textures, (N, 2) `corners` with s to the right and t up."""

    materials: list[Material] = field(default_factory=list)
    textures: list[tuple[str, Wrap]] = field(default_factory=list)
    corners: F64 = field(default_factory=lambda: np.zeros((0, 2)))
    beyond: int = 0
    """Materials with a colour that is no number from 0 to 1, which is cut to that."""

    @staticmethod
    def of(document: dict[str, Any]) -> Looks:
        """Read it; one of `MALFORMED` where it is malformed."""
        looks, appearance = Looks(), document.get("appearance") or {}
        for number, material in enumerate(appearance.get("materials") or []):
            stated = material.get("diffuseColor") or (0.8, 0.8, 0.8)
            if not isinstance(stated, list | tuple) or len(stated) != 3:
                raise ValueError(f"the diffuseColor of material {number} is not three numbers")
            shades = [float(v) for v in (*stated, material.get("transparency") or 0.0)]
            red, green, blue, through = (min(max(shade, 0.0), 1.0) for shade in shades)
            looks.beyond += [red, green, blue, through] != shades
            looks.materials.append(Material(str(material.get("name", "")), (red, green, blue, 1.0 - through)))
        for texture in appearance.get("textures") or []:
            looks.textures.append((str(texture.get("image", "")), WRAPS.get(str(texture.get("wrapMode", "")), "repeat")))
        if corners := appearance.get("vertices-texture"):
            looks.corners = np.array(corners, np.float64).reshape(-1, 2)
            if len(looks.corners) != len(corners) or not np.isfinite(looks.corners).all():
                raise ValueError("vertices-texture must be lists of two numbers")
        return looks


@dataclass
class Header:
    """What holds for all features of a source."""

    version: str
    crs: str | None = None
    scale: F64 = field(default_factory=lambda: np.ones(3))
    translate: F64 = field(default_factory=lambda: np.zeros(3))
    templates: list[dict[str, Any]] = field(default_factory=list)
    template_vertices: F64 = field(default_factory=lambda: np.zeros((0, 3)))
    looks: Looks = field(default_factory=Looks)
    defaults: dict[Kind, str] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    """What extensions say of the model as a whole (CityJSON 2.0.1, 8.3)."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What else the source says of itself: title, date, contact, its extensions."""
    transformed: bool = False
    """Whether it states a transform, so that its vertices are whole numbers."""
    odd: list[str] = field(default_factory=list)
    """What was read otherwise than it is written."""
    said: list[str] = field(default_factory=list)
    """What was said once of all features."""
    order: NDArray[np.int64] = field(default_factory=lambda: np.arange(3))
    """Of the file's coordinates, which is the easting, the northing, the height."""

    @staticmethod
    def of(document: dict[str, Any]) -> Header:
        """Read it; one of `MALFORMED` where it is malformed."""
        header = Header(str(document["version"]), extras=tuple(name for name in document if name.startswith("+")))
        metadata = dict(document.get("metadata") or {})
        crs = metadata.pop("referenceSystem", None)
        header.metadata = {key: value for key, value in metadata.items() if key != "geographicalExtent"}
        if extensions := document.get("extensions"):
            header.metadata["extensions"] = extensions
        header.crs = str(crs) if crs else None
        if transform := document.get("transform"):
            header.scale, header.translate, header.transformed = _three(transform["scale"]), _three(transform["translate"]), True
            if not header.scale.all():
                header.odd.append("The scale of its transform is 0 along an axis: all vertices lie in one plane.")
        elif not header.version.startswith("1.0"):
            header.odd.append(f"CityJSON {header.version} must state a transform and this states none: its vertices are taken as coordinates.")
        templates = document.get("geometry-templates") or {}
        listed = templates.get("templates") or []
        if not isinstance(listed, list):
            raise ValueError("its geometry templates are not a list")  # noqa: TRY004  these words are shown
        header.templates = list(listed)
        header.template_vertices, taken = points_of(templates.get("vertices-templates") or [])
        if taken == "U":
            header.odd.append("The vertices of its templates are texts, read as the numbers that they show.")
        header.looks = Looks.of(document)
        if header.looks.beyond:
            header.odd.append(f"{header.looks.beyond} materials have colours that are no numbers from 0 to 1; they are cut to that.")
        appearance = document.get("appearance") or {}
        for kind in ("materials", "textures"):
            if name := appearance.get(f"default-theme-{kind[:-1]}"):
                header.defaults[kind] = str(name)
        return header

    def north_first(self) -> Header:
        """The header of a file whose first coordinate is the northing or latitude."""
        order = np.array([1, 0, 2])
        return replace(self, order=order, scale=self.scale[order], translate=self.translate[order], template_vertices=self.template_vertices[:, order])


def corner_of(document: dict[str, Any], header: Header) -> tuple[float, ...]:
    """A document's first vertex as the file has it; () where there is none."""
    try:
        own = own_header(document, header, Report())
        return tuple((_three(document["vertices"][0]) * own.scale + own.translate).tolist())
    except MALFORMED:
        return ()


def own_header(document: dict[str, Any], header: Header, report: Report) -> Header:
    """The header for one feature: a sequence has one transform (CityJSON 2.0.1, 7.2), but a feature that brings another was written with that."""
    if document.get("type") != "CityJSONFeature" or not isinstance(transform := document.get("transform"), dict):
        return header
    name = str(document.get("id", ""))
    try:
        own = replace(header, scale=_three(transform["scale"])[header.order], translate=_three(transform["translate"])[header.order], transformed=True)
    except MALFORMED as error:
        report.note("skipped", name, f"The feature's own transform is malformed and the header's is taken: {in_words(error)}.")
        return header
    if (own.scale == header.scale).all() and (own.translate == header.translate).all():
        return header
    report.note("assumed", name, "The feature has a transform of its own, which places it; the header's is another.")
    return own


def _three(values: Any) -> F64:
    array = np.array(values, np.float64)
    if array.shape != (3,) or not np.isfinite(array).all():
        raise ValueError(f"{str(values)[:60]} are not three numbers")
    return array


def points_of(values: Any) -> tuple[F64, str]:
    """(N, 3) finite numbers, and as what NumPy took them: "i" whole ones, "f" others, "U" texts; or ValueError."""
    if not len(values):
        return np.zeros((0, 3)), "i"
    try:
        array = np.array(values)
        numbers = np.ascontiguousarray(array, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("vertices must be lists of three numbers") from error
    if numbers.shape != (len(values), 3) or not (array.dtype.kind == "i" or np.isfinite(numbers).all()):
        raise ValueError("vertices must be lists of three numbers")
    return numbers, array.dtype.kind


def lod_of(stated: Any) -> str:
    """The LoD that a geometry states, as the specification writes it ("2", "1.3"; of "LoD2" 2); "" of what is none."""
    return _lod(stated) if type(stated) is str else _lod(str(stated)) if type(stated) in (int, float) else ""


@lru_cache(maxsize=256)
def _lod(text: str) -> str:
    found = LOD.match(text.strip())
    return found[1] if found else ""
