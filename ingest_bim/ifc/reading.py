"""IFC 2x3, 4 and 4x3 → a Mesh of all elements with their attributes, and tables of properties, quantities and relations.

Every product, group and the project is a feature (its GlobalId is the id, its container or whole the parent), also
those without geometry, so that the tree is complete. What cannot be shown is listed in the report with its reason.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest_bim.geometry.disks import not_followed
from ingest_bim.ifc.attributes import attributes
from ingest_bim.ifc.beside import beside
from ingest_bim.ifc.columns import attribute_table, completed
from ingest_bim.ifc.content import content
from ingest_bim.ifc.folded import Place, Sent
from ingest_bim.ifc.geometry import Host, Shapes
from ingest_bim.ifc.map import ground_level
from ingest_bim.ifc.materials import Associations, looks_of_layers
from ingest_bim.ifc.mesh import SPACES, meshes
from ingest_bim.ifc.open import Opening
from ingest_bim.ifc.placement import FAR, Placement, Request, place
from ingest_bim.ifc.products import Products
from ingest_bim.ifc.properties import Definitions, material_properties, read_definitions
from ingest_bim.ifc.shaping import Apart, Aside, Grouped, Progress, Within, Work, grouped, hardly
from ingest_bim.ifc.singles import Singles
from ingest_bim.ifc.step_access import DAMAGED, attribute
from ingest_bim.ifc.step_scan import StepText
from ingest_bim.ifc.structure import Structure, read_structure, relation_table
from ingest_bim.ifc.units import Units, one_angle, one_length
from ingest_bim.ifc.values import as_json, long_table
from ingest_bim.number_lists import numbers
from ingest_bim.wording import in_words
from twin import reading
from twin.errors import BadFeature, BadOption, BadReference, UnreadableSource
from twin.model import Report, Table
from twin.processes import uncollected

if TYPE_CHECKING:
    from ingest_bim.ifc.options import Options

BEYOND = 2e6
"""Metres from the middle of a model beyond which nothing is drawn."""
#: Bytes of text up to which it is scanned: for equal shapes, the cache, plain bodies and values. It takes half as much again in memory, the parser's model five times as much.
MAX_SCANNED = 1 << 30


def read(opened: Opening, options: Options, report: Report, later: ExitStack, *, alone: bool = False) -> Iterator[Sent]:
    """Read a model (`ingest_bim.ifc.reader.read`).

    Args:
        opened: a model that is being opened.
        options: as given.
        report: is written to.
        later: takes what may wait until everything is delivered (keeping the shapes), also where reading ends in an error.
        alone: this process has no other thread and nothing else to do: geometry processes are forked from it, the model being open.

    Raises:
        UnreadableSource: values of wrong kinds where nothing can be left out (units, contexts, places); else as `ingest_bim.ifc.reader.read`.
    """
    try:
        yield from _read(opened, options, report, later, alone=alone)
    except DAMAGED as error:
        raise UnreadableSource(f"{opened.name} is damaged in its units, its contexts or what else the whole model needs: {in_words(error)}.", "Export the model again.") from error


def _read(opened: Opening, options: Options, report: Report, later: ExitStack, *, alone: bool) -> Iterator[Sent]:
    step, name = opened.step, opened.name
    report.source = report.source or name
    if step.encoding:
        report.note("repaired", "", f"Raw {step.encoding} text{' (guessed)' if step.guessed else ''} is rewritten as STEP escapes.")
    if step.broken:
        report.note("repaired", "", f"{step.broken} backslashes begin no STEP escape and are kept as letters.")
    if step.stated != step.schema:
        report.note("assumed", "", f"The schema {step.stated} is read as {step.schema}, its last edition.")
    around = reading.current()
    with ExitStack() as stack:
        stack.enter_context(uncollected())
        shaped, workers = options.kernel != "none", options.workers or min(os.cpu_count() or 1, 16)
        host = stack.enter_context(Host.of_file(name, step.path, workers, options.element_seconds)) if shaped and not alone else None
        text = StepText.of(step.path) if shaped and step.size <= MAX_SCANNED else None
        singles = Singles(text) if text is not None else None
        if singles is not None:
            singles.read_ahead(opened.done)
        around.progress(0.01, "looked through")  # from now on one core is enough (`ingest_bim.ifc.early.Early.spare`)
        model = opened.model(report)
        units = Units(model)
        if not units.stated:
            report.note("assumed", "", "The model states no length unit: metres are taken.")
        one_length(model, name, report)
        one_angle(units, name, report)
        # what is found on the way while shapes are begun has its place in the report nevertheless
        inside, stated = Report(), Report()
        structure = read_structure(model, inside)
        products = Products(model, text)
        shaping: Aside | Apart | Within | None = None
        if shaped:
            work = Work(name, model, step, text, structure, products, units, options, workers, around.cache)
            few = hardly(work) if host is None else None
            shaping = Aside(work, host, later) if host is not None else Apart(work, later) if few is None else Within(work, few, later)
            stack.enter_context(shaping)
        placement = None if options.footprint else place(model, units.length, _request(options), report, name)
        if placement is not None:
            yield Place(placement.reference, placement.matrix[:3, 3])
        around.progress(0.02, "opened")
        report.include(inside)
        if not structure.elements:
            raise BadFeature(f"{name} holds no project and no products.", "Export the model again.")
        definitions = read_definitions(model, structure, units, stated, singles)
        associations = Associations(model, structure, units.length, stated)
        found = shaping.grouped() if shaping is not None else grouped(structure, products)[1]
        _note_odd(structure, found, report)
        if shaped and text is None:
            limit = f"{MAX_SCANNED >> 20} MiB"
            report.note("warned", "", f"The model is larger than {limit}: equal shapes are not looked for, and every element is shaped by a kernel.")
        if whole := not_followed(model):
            report.note("warned", "", f"Disks along curves state a part of them that is not understood, and are drawn along the whole: IfcSweptDiskSolid {whole}.")
        report.include(stated)
        around.progress(0.1, "properties")
        # while shapes are made elsewhere; who takes the tables stores them while elements are read here
        yield long_table("psets", definitions.psets, structure.ids)
        yield long_table("quantities", definitions.quantities, structure.ids)
        yield relation_table(structure)
        yield from associations.tables()
        yield from material_properties(model, units, report)
        yield from attributes(model, structure, units, report)
        yield from beside(model, structure, text, report)
        yield _types(model, structure, definitions)
        columns = attribute_table(model, structure, products, definitions, associations)
        shapes = shaping.shapes(_telling(around)) if shaping is not None else Shapes()
        shapes.skipped |= {step: ("empty", reason) for step, reason in found.idle.items()}
        _note_far(shapes, structure, report)
        _report(structure, shapes, report)
        if placement is None:
            placement = _place_on_footprint(model, units, shapes, options, report, name)
        else:
            _check_reach(shapes, placement, options, name)
        report.facts["content"] = content(structure, definitions, associations, shapes)
        columns = completed(columns, structure, shapes, ground_level(model, units.length)[0])
        read_from = opened, text, singles, structure, products, definitions, associations, shapes
        if alone:
            _HELD.append(read_from)
        else:
            later.callback(_let_go, *read_from)
    drawn = (element for element in structure.elements if element.id() in shapes.shapes)
    yield from meshes(structure, shapes.shapes, columns, placement, report, looks_of_layers(model, drawn, products))


_HELD: list[Any] = []
"""What a process has read that does nothing else: it ends with it, and nobody takes it apart (30 ms of 4 MB)."""


def _let_go(*_: Any) -> None:
    """What it is called with lives until then.

    A hundred thousand objects are taken apart after everything is delivered, not while somebody waits for the report.
    """


def _note_odd(structure: Structure, found: Grouped, report: Report) -> None:
    """Name the elements that have a shape and no place of their own, and those that have bodies in several contexts."""
    kinds = {element.id(): element.is_a() for element in structure.elements} if found.adrift or found.beside else {}
    for step in found.adrift:
        told = f"{kinds[step]} #{step} has no placement (or one that is not in the file): it is drawn at the model's origin."
        report.note("warned", structure.ids[step], told)
    for step, others in found.beside.items():
        names = ", ".join(f"#{name}" for name in others)
        report.note("warned", structure.ids[step], f"{kinds[step]} #{step} has bodies in several contexts: the first one is drawn, and {names} not, which may be other forms of it.")


def _telling(around: reading.Surroundings) -> Progress:
    """Tells how many shapes are made."""
    return lambda done, count: around.progress(min(0.9, done / max(count, 1)), f"{done:,} shapes of at most {max(count, 1):,}")


def _request(options: Options) -> Request:
    if options.footprint and (options.anchor or options.anchor_lonlat):
        raise BadOption(f"footprint={options.footprint} and an anchor are both given.", "Give one.")
    if options.footprint and (options.rotation or options.scale != 1.0 or options.use != "auto"):
        raise BadOption(f"footprint={options.footprint} finds the model's turn and size itself: rotation, scale and use do not go with it.", "Leave them out.")
    if options.footprint and options.kernel == "none":
        raise BadOption("A model without shapes (kernel=none) cannot be laid on a footprint.", "Leave one of the two options out.")
    origin = numbers(options.origin)
    if len(origin) != 3:
        raise BadOption(f"origin={options.origin} has {len(origin)} numbers.", "Give x,y,z in metres.")
    return Request(
        crs=options.crs, vertical=options.vertical, vertical_offset=options.vertical_offset,
        anchor=numbers(options.anchor) if options.anchor else None, anchor_lonlat=numbers(options.anchor_lonlat) if options.anchor_lonlat else None,
        rotation=options.rotation, height=options.height, origin=(origin[0], origin[1], origin[2]), scale=options.scale,
        use=options.use, confirm=options.confirm,
    )  # fmt: skip


def _report(structure: Structure, shapes: Shapes, report: Report) -> None:
    report.read += len(structure.elements)
    report.kept += len(structure.elements)
    kinds = {e.id(): e.is_a() for e in structure.elements}
    # what could not be shaped before what has nothing to draw: a command shows the first notes
    for element, (state, reason) in sorted(shapes.skipped.items(), key=lambda one: (one[1][0] == "empty", one[0])):
        report.note("skipped", structure.ids[element], f"{kinds[element]} #{element}: its shape is {'not drawn' if state == 'empty' else state}: {reason}.")
    for element, shape in shapes.shapes.items():
        if shape.missing:
            report.note("warned", structure.ids[element], f"{kinds[element]} #{element} is drawn without {shape.missing}, of which no kernel makes a shape.")
    report.facts["classes"] = dict(sorted(Counter(kinds.values()).items()))
    report.facts["geometry"] = {**shapes.facts, "drawn": len(shapes.shapes), "not_drawn": dict(Counter(s for s, _ in shapes.skipped.values()))}
    report.facts["style"] = {"label": "name", "category": "class", "hidden": {"class": [k for k in SPACES if k in kinds.values()]}, "underground": "below_ground"}


def _place_on_footprint(model: Any, units: Units, shapes: Shapes, options: Options, report: Report, where: str) -> Placement:
    from ingest_bim.ifc.footprint import outline, place_on  # noqa: PLC0415  with GEOS, which nothing else here needs

    assert options.footprint is not None
    plan = outline([(s.positions, s.triangles, s.matrix) for s in shapes.shapes.values()])
    origin = numbers(options.origin)
    level, whose = ground_level(model, units.length)
    if "origin" in options.model_fields_set and len(origin) == 3:
        level = origin[2]
    else:
        report.note("assumed", "", f"The model's height {level:.3f} m (of its {whose}) is taken for the ground; --option origin=0,0,z names another.")
    return place_on(options.footprint, plan, level, _request(options), reading.current(), report, where)


def _check_reach(shapes: Shapes, placement: Placement, options: Options, where: str) -> None:
    """Refuse a model whose shapes lie far from where its georeference (or the user) puts it: it was moved twice, or never.

    Raises:
        BadReference: the middle of the shapes is more than 50 km from the placed point, and `confirm` was not given.
    """
    identity = bool(np.all(placement.matrix[:2, 3] == 0))  # the model is said to be in map coordinates
    if not shapes.shapes or options.confirm or identity:
        return
    middle = _middle(_corners(shapes))
    origin = np.array(numbers(options.origin) if options.anchor or options.anchor_lonlat else placement.facts["site"]["origin"])
    distance = math.hypot(*(middle - origin))
    if distance > FAR:
        x, y, z = (f"{v:.3f}" if abs(v) < 1e9 else f"{v:.3g}" for v in middle)
        raise BadReference(
            f"{where}: the model's shapes lie around {x}, {y}, {z} m, {distance / 1000:{',.0f' if distance < 1e9 else '.3g'}} km from the point that is placed.",
            f"If these are already map coordinates, use --crs with --option anchor=0,0,0; else name the model point at the anchor: "
            f"--option origin={x},{y},{z}. Or confirm with --option confirm=true.",
        )


def _corners(shapes: Shapes) -> NDArray[np.float64]:
    """(N, 3) one vertex of each shape, in the model's world."""
    first = np.array([(*shape.positions[0], 1.0) for shape in shapes.shapes.values()])
    placed: NDArray[np.float64] = np.einsum("nij,nj->ni", np.array([shape.matrix for shape in shapes.shapes.values()]), first)
    return placed[:, :3]


def _middle(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) the median of each coordinate (of an even number of points the upper one): `numpy.median` loads NumPy's masked arrays first, for 13 ms."""
    half: NDArray[np.float64] = np.sort(points, axis=0)[len(points) // 2]
    return half


def _note_far(shapes: Shapes, structure: Structure, report: Report) -> None:
    """Say which shapes lie far from nearly all others: of a second site in other coordinates, or misplaced; those that no city holds are left out."""
    if len(shapes.shapes) < 2:
        return
    steps = list(shapes.shapes)
    with np.errstate(over="ignore", invalid="ignore"):
        corners = _corners(shapes)
        distances = np.linalg.norm(corners - _middle(corners), axis=1)
    for i in np.flatnonzero(~(distances <= FAR)):
        if distances[i] <= BEYOND:
            report.note("warned", structure.ids[steps[i]], f"It lies {distances[i] / 1000:,.0f} km from the middle of the model, where its placement puts it: look at the coordinates of its site.")
        else:  # no map reaches as far, and one element must not cost the model
            del shapes.shapes[steps[i]]
            shapes.skipped[steps[i]] = ("misplaced", f"it lies {distances[i] / 1000:.3g} km from the middle of the model, where its placement puts it")


def _types(model: Any, structure: Structure, definitions: Definitions) -> Table:
    """`types`: id, class, name, tag, predefined_type, psets and quantities (JSON), occurrences."""
    counts = Counter(t.id() for t in structure.types.values())
    types = sorted(model.by_type("IfcTypeObject"), key=lambda t: t.id())
    rows = {
        "id": [structure.ids[t.id()] for t in types], "class": [t.is_a() for t in types], "name": [t.Name for t in types],
        "tag": [attribute(t, "Tag") for t in types], "predefined_type": [attribute(t, "PredefinedType") for t in types],
        "psets": [as_json(definitions.psets.get(t.id())) for t in types],
        "quantities": [as_json(definitions.quantities.get(t.id())) for t in types],
    }  # fmt: skip
    columns = {name: pa.array(values, pa.string()) for name, values in rows.items()}
    return Table("types", pa.table({**columns, "occurrences": pa.array([counts[t.id()] for t in types], pa.int64())}))
