"""OBJ, glTF/GLB, PLY and STL → placed meshes: one feature per object of the file, instances kept.

Such files know no place. The user names it as for a BIM without a georeference (anchor, rotation, height); or, where the
vertices already are map coordinates, the CRS alone. Files that a mesh refers to must lie in its own folder or below.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ingest_bim.anchor_options import Anchor, AnchorLonLat, Numbers
from ingest_bim.citymodels.faces import is_closed, outward, volume
from ingest_bim.citymodels.mesh import MeshBatch
from ingest_bim.citymodels.objects import Columns, metres_of
from ingest_bim.citymodels.textures import Pictures
from ingest_bim.ifc.placement import HOW, Request, place_by_user
from ingest_bim.meshfiles.scene import Piece, center_of, load_scene, nodes_of, objects_of, pieces
from ingest_bim.number_lists import numbers
from ingest_bim.package import heads, is_zip, opened
from ingest_bim.wording import in_words
from twin import crs as crs_module
from twin.errors import BadFeature, BadOption, MissingReference, UnreadableSource
from twin.model import Batch, Material, Reference, Report
from twin.registry import ReaderOptions

F64 = NDArray[np.float64]
Unit = Literal["m", "dm", "cm", "mm", "km", "ft", "us-ft", "in"]
SUFFIXES = (".obj", ".gltf", ".glb", ".ply", ".stl")
METRES = dict(zip(get_args(Unit), (1.0, 0.1, 0.01, 0.001, 1000.0, 0.3048, 1200 / 3937, 0.0254), strict=True))
MAX_BYTES = 1 << 30
EARTH, ON_EARTH = 6_367_000.0, 40_000.0
"""Metres from the earth's centre to its surface, and how far that may be off (the flattening, mountains)."""
FAR = 100_000.0
"""Metres from its anchor at which no model stands."""
#: Units of the file that neighbouring numbers may lie apart before that is said.
COARSE = 0.002


class Options(ReaderOptions):
    """How to place and read a mesh."""

    anchor: Anchor = None
    anchor_lonlat: AnchorLonLat = None
    rotation: float = Field(0.0, ge=-360, le=360, description="Degrees clockwise from grid north to the model's y axis (of a y-up model: to its -z axis).")
    height: float | None = Field(None, ge=-12_000, le=12_000, description="Height of the origin point in the vertical datum, metres.")
    origin: Numbers = Field("0,0,0", description="The model point x,y,z (metres, z up) that stands at the anchor.")
    scale: float = Field(1.0, gt=0.5, lt=2, description="Grid metres per model metre.")
    units: Unit | None = Field(None, description="Unit of the file's coordinates; glTF is in metres by definition, others are taken so.")
    member: str | None = Field(None, max_length=500, description="Of a ZIP with several models, the one to read.")
    up: Literal["auto", "y", "z"] = Field("auto", description="Which axis points up; auto: y for glTF, z for all others.")


def detect(source: Path, options: Options) -> bool:  # noqa: ARG001  the contract of readers
    """Whether a file is a mesh: by its suffix, of a ZIP by those inside."""
    return next(heads(source, SUFFIXES), None) is not None if is_zip(source) else source.is_file()


def read(source: Path, options: Options, report: Report) -> Iterator[Batch]:
    """Read a mesh file, or the one in a ZIP.

    Yields:
        Mesh batches, a feature per object (OBJ `o`, glTF node; one for PLY and STL).

    Raises:
        UnreadableSource: not a mesh, cut short, or compressed in a way that is not read.
        MissingReference: neither an anchor nor a CRS, or no vertical datum.
        BadFeature: no triangles at all.
    """
    report.source = report.source or source.name
    with opened(source, SUFFIXES, options.member, report) as (model, root):
        yield from _read(model, root, options, report)


def _read(source: Path, root: Path | None, options: Options, report: Report) -> Iterator[Batch]:
    kind = source.suffix.lower().removeprefix(".")
    _check_file(source, kind, report)
    report.facts |= {"driver": f"trimesh ({kind})", "bytes": source.stat().st_size}
    pictures = Pictures(source.parent, report, root)
    scene = load_scene(source, kind, report, root)
    reference, matrix = _placement(source, options, report, kind, center_of(scene))  # after the bytes: who names a place for a damaged file did it in vain
    found = pieces(scene, report, pictures, srgb=kind not in ("gltf", "glb"))
    if kind in ("obj", "gltf", "glb"):
        found = objects_of(scene, source.stem, found) if kind == "obj" else nodes_of(found)
        report.read = len(found)
    for piece in found if kind in ("stl", "ply") else ():
        if re.fullmatch(r"geometry_\d+", piece.name):  # trimesh's name for what has none
            piece.name = piece.attributes["name"] = source.stem
    if kind != "obj":
        _say_coarse(found, report)
    if not found:
        said = "; ".join(dict.fromkeys(note.reason for note in report.notes if note.action in ("skipped", "refused")))
        raise BadFeature(f"{source.name} holds no triangles.", said[:300] or "Export it again with its faces; points alone are read from LAS, LAZ and E57.")
    if options.anchor or options.anchor_lonlat:
        _say_far(found, matrix, np.array(report.facts["georeference"]["anchor"]), options.origin, report)
    columns = Columns()
    for piece in found:
        columns.see(piece.attributes)
    yield from _batches(found, columns, reference, matrix, report, pictures)


def _say_far(found: list[Piece], matrix: F64, anchor: F64, origin: str, report: Report) -> None:
    """Who anchors a model in map coordinates by its point 0, 0, 0 sets it down as far away as its numbers are large."""
    boxes = [np.array([piece.positions.min(axis=0), piece.positions.max(axis=0)]) for piece in found]
    middles = np.array([(matrix @ piece.transform @ [*box.mean(axis=0), 1.0])[:2] for piece, box in zip(found, boxes, strict=True)])
    nearest = float(np.abs(middles - anchor[:2]).max(axis=1).min())
    if nearest > FAR:
        report.note("warned", "", f"The model lies {nearest / 1000:,.0f} km from its point {origin}, which stands at the anchor. If it has map coordinates, give --crs without an anchor; "
                    "else name the point of the model that is to stand there: --option origin=X,Y,Z.")  # fmt: skip


def _say_coarse(found: list[Piece], report: Report) -> None:
    """Coordinates of a map written as numbers of 32 bits have lost centimetres or metres."""
    largest = max((piece for piece in found), key=lambda piece: float(np.abs(piece.positions).max()), default=None)
    if largest is None or not np.array_equal(largest.positions, largest.positions.astype(np.float32)):
        return
    far = float(np.abs(largest.positions).max())
    step = float(np.spacing(np.float32(far)))
    if step > COARSE and not np.array_equal(largest.positions, np.rint(largest.positions)):
        report.note("warned", largest.name, f"Its coordinates are numbers of 32 bits, which around {far:,.0f} lie {step:g} apart: what was finer was lost when the file was written. "
                                            "Export it near an origin of its own and place that by an anchor, or in double precision.")  # fmt: skip


def _said_beside(source: Path) -> str:
    """What the metadata.xml of ContextCapture and others says of a model's place, for a message; "" where there is none."""
    for path in (source.parent / "metadata.xml", source.parent.parent / "metadata.xml"):
        try:
            text = path.read_bytes()[:65536].decode("utf-8", "replace")
        except OSError:
            continue
        srs, origin = (re.search(rf"<{tag}>\s*([^<]+?)\s*</{tag}>", text) for tag in ("SRS", "SRSOrigin"))
        if srs:
            return f" {path.name} beside it says {srs[1][:60]!r}" + (f" with the origin {origin[1][:60]}." if origin else ".")
    return ""


def _placement(source: Path, options: Options, report: Report, kind: str, center: F64) -> tuple[Reference, F64]:
    """(reference, 4×4 from file coordinates to it); `center` is added to the file's coordinates once z is up."""
    where = source.name
    turn = np.eye(4)
    if options.up == "y" or (options.up == "auto" and kind in ("gltf", "glb")):
        turn[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    origin = numbers(options.origin)
    if len(origin) != 3:
        raise BadOption(f"origin={options.origin} has {len(origin)} numbers.", "Give x,y,z in metres.")
    if center.any():
        _check_center(center, origin if options.anchor or options.anchor_lonlat else None, where)
        report.note("assumed", "", f"Its coordinates count from {_told(center)} (CESIUM_RTC), which is added to them.")
        turn[:3, 3] = center
    if options.anchor or options.anchor_lonlat:
        if options.units is None and kind not in ("gltf", "glb"):
            report.note("assumed", "", f"{kind.upper()} states no unit: metres are taken (--option units=mm for others).")
        unit = METRES[options.units or "m"]
        request = Request(
            crs=options.crs, vertical=options.vertical, vertical_offset=options.vertical_offset, anchor=numbers(options.anchor) if options.anchor else None,
            anchor_lonlat=numbers(options.anchor_lonlat) if options.anchor_lonlat else None, rotation=options.rotation, height=options.height,
            origin=(origin[0], origin[1], origin[2]), scale=options.scale,
        )  # fmt: skip
        placed = place_by_user(request, where)
        report.facts["georeference"] = {**placed.facts, "crs": placed.reference.horizontal, "vertical": placed.reference.vertical}
        return placed.reference, placed.matrix @ np.diag([unit, unit, unit, 1.0]) @ turn
    if not options.crs:
        raise MissingReference(f"{where} is a mesh without a place.{_said_beside(source)}", f"{HOW} Where its vertices are map coordinates, --crs and --vertical are enough.")
    if options.rotation or options.height is not None or any(origin) or options.scale != 1.0:
        raise BadOption(f"{where}: rotation, height, origin and scale go with an anchor.", HOW)
    reference = crs_module.parse_reference(options.crs, options.vertical, vertical_offset=options.vertical_offset, where=where)
    if not reference.vertical:
        raise MissingReference(f"{where}: the heights of a mesh are absolute, but no vertical datum is named.",
                               "Name it with --vertical, for example EPSG:5737 (1985 heights), EGM96 or ellipsoid.")  # fmt: skip
    report.note("assumed", "", f"No anchor is given: the vertices are taken as coordinates of {options.crs}.")
    if options.units:
        flat = crs_module.crs_of(reference.horizontal)
        grid = float(flat.axis_info[0].unit_conversion_factor) if flat.is_projected else METRES[options.units]
        factors = np.array([METRES[options.units] / grid] * 2 + [METRES[options.units] / reference.vertical_unit, 1.0])
        turn = np.diag(factors) @ turn
    report.facts["georeference"] = {"source": "map coordinates", "crs": reference.horizontal, "vertical": reference.vertical}
    return reference, turn


def _check_center(center: F64, origin: tuple[float, ...] | None, where: str) -> None:
    """Refuse a file in coordinates of the whole earth, and one whose place lies far from the point (`origin`) that is to stand at the anchor."""
    if abs(np.linalg.norm(center) - EARTH) < ON_EARTH and abs(center[2]) > ON_EARTH:  # map coordinates have no such heights
        raise BadOption(f"{where} has earth-centred coordinates around {_told(center)} (CESIUM_RTC): it is the content of a tileset.",
                        "Ingest that tileset (its tileset.json), or export the model in coordinates of its own or of a map.")  # fmt: skip
    if origin is not None and float(np.abs(center - origin).max()) > FAR:
        raise BadOption(f"{where}: its coordinates count from {_told(center)} (CESIUM_RTC), far from the model point {_told(origin)} that is to stand at the anchor.",
                        f"Name that point of the model, for example --option origin={','.join(f'{v:.0f}' for v in center)}.")  # fmt: skip


def _told(place: F64 | tuple[float, ...]) -> str:
    return ", ".join(f"{float(v):,.3f}".rstrip("0").rstrip(".") for v in place)


def _check_file(source: Path, kind: str, report: Report) -> None:
    """Size, and for glTF the container's stated length and its version."""
    if not source.is_file() or source.stat().st_size == 0:
        raise UnreadableSource(f"{source.name} is empty or not a file.", "Deliver it again.")
    size = source.stat().st_size
    if size > MAX_BYTES:
        raise UnreadableSource(f"{source.name} is {size >> 20} MiB; meshes are held whole, up to {MAX_BYTES >> 20} MiB.", "Split it into several files.")
    with source.open("rb") as file:
        head = file.read(200).lstrip()
    if re.match(rb"<(!doctype\s+html|html)\b", head, re.IGNORECASE):
        raise UnreadableSource(f"{source.name} is an HTML page (an error page of a download?).", "Deliver it again.")
    if head.startswith(b"PK\x03\x04"):
        raise UnreadableSource(f"{source.name} is a ZIP.", "Name it .zip, or unpack it.")
    if kind not in ("gltf", "glb"):
        return
    with source.open("rb") as file:
        text = file.read() if kind == "gltf" else _glb_json(source, file.read(20), file.read(MAX_BYTES), size, report)
    try:
        document = json.loads(text)
        version = str(document.get("asset", {}).get("version", "2.0"))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UnreadableSource(f"{source.name} is not complete glTF: {in_words(error)}.", "Export it again.") from error
    if "asset" not in document and "meshes" not in document:
        raise UnreadableSource(f"{source.name} is JSON and no glTF: it has no asset and no meshes.", "Deliver it with the suffix of what it is.")
    if not version.startswith("2"):
        raise UnreadableSource(f"{source.name} is glTF {version[:20]}; glTF 2.0 is read.", "Convert it to glTF 2.0, for example with gltf-pipeline.")


def _glb_json(source: Path, head: bytes, rest: bytes, size: int, report: Report) -> bytes:
    """The JSON chunk of a GLB (glTF 2.0, 4.4.3)."""
    if head[:4] != b"glTF":
        raise UnreadableSource(f"{source.name} is no GLB (it does not begin with glTF).", "Deliver it again.")
    if len(head) < 20:
        raise UnreadableSource(f"{source.name} is cut short: it has {size} bytes, a GLB's header and the head of its first chunk have 20.", "Deliver it again.")
    version, length, chunk = struct.unpack("<III", head[4:16])
    if version != 2 or length > size or chunk > length - 20:
        raise UnreadableSource(f"{source.name} states version {version} and {length} bytes; it has {size}.", "Deliver it again; glTF 2.0 is read.")
    if length < size:  # padded by what it lay in
        report.note("skipped", "", f"{size - length:,} bytes behind the {length:,} that the file states are no part of it and are not read.")
    return rest[:chunk]


def _batches(found: list[Piece], columns: Columns, reference: Reference, matrix: F64, report: Report, pictures: Pictures) -> Iterator[Batch]:
    schema = columns.schema(report)
    batch = MeshBatch()
    ids: set[str] = set()
    count = 0
    for piece in found:
        name, number = piece.name, 2
        while name in ids:
            name, number = f"{piece.name} ({number})", number + 1
        ids.add(name)
        row = batch.feature(name, None, columns.row(piece.attributes, **{"class": "Mesh"}))
        if piece.key not in batch.prototypes:
            batch.prototypes[piece.key] = _prototype(batch, piece, report)
            for material in piece.materials:
                batch.image(material.texture, pictures)
        if piece.key in batch.enclosed:
            metric = np.diag(metres_of(reference, float((matrix @ piece.transform)[1, 3]))) @ (matrix @ piece.transform)[:3, :3]
            batch.rows[row]["solid_volume"] = abs(float(np.linalg.det(metric))) * float(batch.enclosed[piece.key][0])
        batch.instances.append((batch.prototypes[piece.key], row))
        shift = np.eye(4)
        shift[:3, 3] = piece.positions[0]
        batch.transforms.append(matrix @ piece.transform @ shift)
        report.kept += 1
        count += len(piece.triangles)
        if batch.full:
            yield batch.mesh(reference, columns, schema)
            batch = MeshBatch()
    if batch.ids:
        yield batch.mesh(reference, columns, schema)
    report.facts["geometry"] = {"objects": len(found), "shapes": len({piece.key for piece in found}), "triangles": count}
    textured = sum(piece.uv is not None or piece.colors is not None for piece in found)
    report.facts["content"] = {"objects": len(found), "textured": textured}
    report.facts["style"] = {"label": "name"}


def _prototype(batch: MeshBatch, piece: Piece, report: Report) -> int:
    """Vertices relative to the first; closed shapes outward; open ones drawn from both sides."""
    local = piece.positions - piece.positions[0]
    triangles, uv, colors = piece.triangles, piece.uv, piece.colors
    closed = is_closed(triangles)
    if closed:
        batch.enclosed[piece.key] = [abs(volume(local, triangles))]
    if closed and not outward(local, triangles):
        triangles = np.ascontiguousarray(triangles[:, ::-1])
        uv = None if uv is None else np.ascontiguousarray(uv[:, ::-1])
        colors = None if colors is None else np.ascontiguousarray(colors[:, ::-1])
        report.note("repaired", piece.name, "The closed shape was inside out and is turned.")
    looks = np.array([batch.material(Material(m.name, m.color, m.double_sided or not closed, m.texture)) for m in piece.materials], np.int32)
    return batch.prototype(local, triangles, looks[piece.material_of], uv, colors)
