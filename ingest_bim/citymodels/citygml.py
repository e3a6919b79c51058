"""CityGML 1.0 to 3.0 (with any extension, PLATEAU's i-UR among them) → city objects as mesh features.

The file is read as a stream, one member at a time, twice: first for columns, colours and references between members,
then for geometry. So memory is bounded by the largest member. Standards: OGC 12-019 (CityGML 2.0.0),
20-010 and 21-006r2 (3.0), whose objects are brought into the forms of 2.0 (`ingest_bim.citymodels.citygml_three`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from ingest_bim.citymodels import files
from ingest_bim.citymodels.axes import north_first
from ingest_bim.citymodels.citygml_appearance import LOOKS
from ingest_bim.citymodels.citygml_codes import CodeLists, package_root
from ingest_bim.citymodels.citygml_geometry import Store, coordinates, gml_id
from ingest_bim.citymodels.citygml_library import Library
from ingest_bim.citymodels.citygml_names import SURFACE_DATA, XLINK, local
from ingest_bim.citymodels.citygml_objects import Member
from ingest_bim.citymodels.citygml_stream import Head, members
from ingest_bim.citymodels.objects import CityObject, CityOptions, Columns, city_reference, crs_text, metres_of
from ingest_bim.citymodels.textures import Pictures
from ingest_bim.package import heads, is_packed
from twin import crs as crs_module
from twin.errors import BadReference, UnreadableSource
from twin.model import Batch, Reference, Report

F64 = NDArray[np.float64]
HEAD = 1 << 14
SUFFIXES = (".gml", ".citygml", ".xml")


class Options(CityOptions):
    """How to read CityGML."""



def detect(source: Path, options: Options) -> bool:  # noqa: ARG001  the contract of readers
    """Whether an XML file is CityGML, told by its first bytes."""
    if is_packed(source):
        return any(b"opengis.net/citygml" in head for _, head in heads(source, SUFFIXES))
    if not source.is_file():
        return False
    with source.open("rb") as file:
        head = file.read(HEAD)
    return (b"CityModel" in head or b"FeatureCollection" in head) and b"opengis.net/citygml" in head


def read(source: Path | Sequence[Path], options: Options, report: Report) -> Iterator[Batch]:
    """Read a city model: one file, a ZIP, a folder, or several of these.

    Yields:
        Mesh batches: city objects and, as their children, boundary surfaces and openings.

    Raises:
        UnreadableSource: not well-formed, cut short, not CityGML 1 to 3 or of two versions, or with a document type declaration.
        MissingReference: no CRS, or no vertical datum.
        BadReference: files in different references.
        BadFeature: no city objects at all.
    """

    def start(path: Path, root: Path | None) -> _Model:
        return _Model(path, root, options)

    yield from files.read(source, SUFFIXES, lambda path: detect(path, options), start, options, report)


class _Model:
    """One file (see `ingest_bim.citymodels.files.Model`)."""

    empty = ""

    def __init__(self, source: Path, root: Path | None, options: Options) -> None:
        if not source.is_file() or source.stat().st_size == 0:
            raise UnreadableSource(f"{source.name} is empty or not a file.", "Deliver it again.")
        self.source, self.options = source, options
        self.root = root or package_root(source)

    def learn(self, columns: Columns) -> int:
        codes = CodeLists(self.source, self.root, Report())
        self.store, self.head, count = _learn(self.source, self.options, codes, columns)
        return count

    def prepare(self, theme: str | None, report: Report) -> tuple[Reference, Pictures | None]:
        report.facts["driver"] = f"CityGML {self.head.version}"
        store, name = self.store, self.source.name
        if self.head.histories:
            report.note("skipped", "", f"{self.head.histories:,} versions and transitions of the city model are not kept: its objects are read as they stand, each with its own dates.")
        stated = self.head.srs or store.first_srs
        self.reference = city_reference(stated, self.options, report, name)
        self._check_references(stated)
        swapped = north_first(self.options.axis_order, _registered(stated, self.options), store.first_at or self.head.corner, self.reference, report)
        store.place = (lambda points: points[:, [1, 0, 2]]) if swapped else (lambda points: points)
        store.looks.choose(theme, report)
        if self.options.textures:
            store.pictures = Pictures(self.source.parent, report, self.root)
        elif store.looks.themes["textures"]:
            report.note("skipped", "", "Textures are left out, as asked; their surfaces have plain colours.")
        store.library = Library(self.source.parent, self.root, report, store.pictures)
        return self.reference, store.pictures

    def _check_references(self, stated: str) -> None:
        """What geometries state of their own must be the file's reference, unless the user names one for all."""
        if self.options.crs:
            return
        for name in sorted(self.store.references - {stated, ""}):
            try:
                own = crs_module.parse_reference(crs_text(name), None, where=self.source.name).horizontal
            except BadReference:
                own = name
            if own != self.reference.horizontal:
                raise BadReference(f"{self.source.name} is in {self.reference.horizontal}, but states {name[:100]!r} for some of its geometry.",
                                   "Bring it into one reference, or name the one of all its coordinates with --crs.")  # fmt: skip

    def objects(self, report: Report) -> Iterator[CityObject]:
        def metres(at: F64) -> F64:
            return metres_of(self.reference, float(at[1]))

        codes = CodeLists(self.source, self.root, report)
        reader = Member(self.store, self.head, self.options.lod, report, self.store.place, metres, codes)
        for number, element in enumerate(members(self.source, Head(), again=True)):
            if local(element.tag) != SURFACE_DATA:
                yield from reader.read(element, number)
        self.store.looks.astray(report)


def _learn(source: Path, options: Options, codes: CodeLists, columns: Columns) -> tuple[Store, Head, int]:
    """The first pass: columns, colours, what is referred to from other members, and how many objects there are."""
    store, head, count = Store(), Head(), 0
    wanted: set[str] = set()
    reader = Member(store, head, options.lod, Report(), None, lambda at: np.ones(3), codes)
    for number, element in enumerate(members(source, head)):
        if local(element.tag) == SURFACE_DATA:
            store.looks.learn(element, element.get("theme", ""))
            continue
        if not (head.srs or store.first_srs) or not store.first_at:
            _first_place(element, store, head)
        ids, refers, stated, looks = set[str](), set[str](), set[str](), False
        for node in element.iter():
            looks = looks or local(node.tag) in LOOKS
            if node.keys():  # most have no attributes
                stated.add(node.get("srsName", ""))
                ids.add(gml_id(node))
                refers.add(node.get(XLINK, ""))
        if looks:
            store.looks.learn(element)
        if not stated <= store.references | {head.srs, ""}:
            store.references |= _stated(element)
        wanted |= {href[1:] for href in refers if href[:1] == "#"} - ids
        for thing in reader.read(element, number):
            columns.see(thing.attributes)
            for surface in thing.surfaces:
                columns.see(surface.attributes)
            count += 1
    if wanted:  # geometry shared between members (prototypes of trees and lamps): kept for the second pass
        for element in members(source, Head(), again=True):
            store.shared |= {key: e for e in element.iter() if (key := gml_id(e)) in wanted}
    store.local = {}
    return store, head, count


def _stated(element: Element) -> set[str]:
    """The references that geometry below an element states; those of addresses' places are kept as they are written and say nothing of it."""
    if local(element.tag) == "Address":
        return set()
    return {element.get("srsName", "")}.union(*(_stated(child) for child in element))


def _first_place(element: Element, store: Store, head: Head) -> None:
    """srsName (for files whose envelope has none) and first position met below a member: what envelopes say of their corners is not always so.

    The shape of an implicit geometry lies in a frame of its own, which says nothing of the file's.
    """
    stack = [element]
    while stack:
        node = stack.pop()
        if not head.srs:
            store.first_srs = store.first_srs or node.get("srsName", "")
        if not store.first_at and local(node.tag) in ("posList", "pos", "coordinates"):
            try:
                store.first_at = tuple(coordinates(node, Store())[0])
            except (ValueError, IndexError):
                continue
        stack.extend(child for child in reversed(node) if local(child.tag) != "relativeGMLGeometry")


def _registered(stated: str, options: Options) -> bool:
    """Whether the northing or latitude comes first by the rule of OGC 05-010: a urn or URL means the registered axis order; plain EPSG codes of projected CRS mean east first."""
    parsed = CRS.from_user_input(crs_text(options.crs or stated))
    flat = parsed.sub_crs_list[0] if parsed.is_compound else parsed
    registered = bool(flat.axis_info) and flat.axis_info[0].direction.lower() in ("north", "south")
    formal = not stated or "opengis" in stated.lower() or stated.lower().startswith("urn:ogc")
    return registered and (flat.is_geographic or formal)
