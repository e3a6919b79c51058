"""Point clouds of many files in one layer: each part keeps its own reference; the layer's is that of its first file.

Files are stored as delivered and placed only when they are tiled, so nothing is resampled or rounded twice. A part's
`bounds` are in the layer's reference like everybody's; what its own file says is in its properties.
"""

from __future__ import annotations

import io
from dataclasses import asdict, replace
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from twin import crs
from twin.errors import BadReference
from twin.model import Asset, Bounds, LayerVersion, Part, Reference

T = TypeVar("T", Part, Asset)


class Target(io.FileIO):
    """The file that is written, which keeps what the system said: the compressing library says that something failed."""

    trouble: OSError | None = None

    def write(self, data: Any) -> int:
        """As of any file."""
        try:
            return super().write(data)
        except OSError as error:
            self.trouble = error
            raise


def own_reference(version: LayerVersion, part: Part) -> Reference:
    """In what coordinates the part's file is written."""
    stated = part.properties.get("reference")
    return Reference(**stated) if stated else version.reference


def own_bounds(part: Part) -> Bounds:
    """The box of its points in its own coordinates.

    Raises:
        BadReference: the part has no bounds at all.
    """
    stated = part.properties.get("box")
    if stated:
        return Bounds(*stated)
    if part.bounds is None:
        raise BadReference(f"The cloud {part.key[:12]} has no bounds.", "Ingest the file again.")
    return part.bounds


def describe(reference: Reference, box: Bounds, file: str) -> dict[str, object]:
    """The properties of a part that the functions above read."""
    return {"file": file, "reference": asdict(reference), "box": [box.minx, box.miny, box.maxx, box.maxy, box.minz, box.maxz]}


def bounds_in(target: Reference, source: Reference, box: Bounds, where: str) -> Bounds:
    """A box of `source` coordinates, as the box around it in `target` (sides bend: 21 × 21 places at both heights).

    Raises:
        BadReference: the place cannot be expressed in `target` (another side of the earth).
    """
    if source == target:
        return box
    x, y, z = (a.ravel() for a in np.meshgrid(np.linspace(box.minx, box.maxx, 21), np.linspace(box.miny, box.maxy, 21), [box.minz, box.maxz]))
    moved = crs.from_geodetic(target, crs.to_geodetic(source, np.column_stack([x, y, z])))
    if not np.isfinite(moved).all():
        raise BadReference(f"{where}: it lies where {target.horizontal[:40]}, the reference of the layer's first file, has no coordinates.",
                           "Ingest it as a layer of its own, or check its CRS.")  # fmt: skip
    if crs.crs_of(target.horizontal).is_geographic:
        moved[:, 0] = unwrapped(moved[:, 0])
    return Bounds.of(moved)


def unwrapped(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes on both sides of the 180th meridian as a run that passes it (beyond 180), where that takes less than half a turn; else as they are."""
    if np.ptp(degrees) <= 180.0:
        return degrees
    east = degrees % 360.0
    return np.asarray(east if np.ptp(east) < 180.0 else degrees)


def beside(reference: Reference, box: Bounds, first: Bounds) -> Bounds:
    """A box of degrees moved by whole turns so that it lies next to another one; any other box as it is."""
    turns = round((first.minx + first.maxx - box.minx - box.maxx) / 720.0) if crs.crs_of(reference.horizontal).is_geographic else 0
    return replace(box, minx=box.minx + 360.0 * turns, maxx=box.maxx + 360.0 * turns) if turns else box


def merge(base: LayerVersion, change: LayerVersion) -> LayerVersion:
    """`base` with the files of `change` added, and put in the place of those of the same name.

    The files come in the order of their names, without copies, in the reference of the first: what the reader makes of one delivery of all
    of them. So the tiles do not tell how the files came.

    Raises:
        BadReference: a file lies where the first file's reference has no coordinates.
    """
    old, new = _by_name(base), _by_name(change)
    kept = old.keys() - new.keys()
    named = dict(sorted({**old, **new}.items()))
    alike: dict[str, list[str]] = {}
    for name, part in named.items():
        alike.setdefault(part.key, []).append(name)
    copies = [{"action": "skipped", "feature": name, "reason": f"the same bytes as {first}"} for first, *others in alike.values() for name in others]
    held = [with_copies(named[first], others) for first, *others in alike.values()]
    reference = own_reference(base, held[0])
    there = kept if reference == base.reference else set()  # whose bounds are in it: a box in another one takes a millisecond
    parts = tuple(part if _file(part) in there else _placed(part, reference, base) for part in held)
    parts = tuple(part if part.bounds is None or parts[0].bounds is None else replace(part, bounds=beside(reference, part.bounds, parts[0].bounds)) for part in parts)
    boxes = [part.bounds for part in parts if part.bounds is not None]
    replaced = len(old) - len(kept)
    facts = {**change.report.get("facts", {}), "files_replaced": replaced, "files_added": len(new) - replaced, "files_kept": len(kept)}
    return replace(base, reference=reference, parts=parts, count=sum(part.count for part in parts), extent=crs.extent_of(reference, Bounds.union(boxes)),
                   report={**change.report, "facts": facts, "notes": [*change.report.get("notes", []), *copies]}, provenance={**change.provenance, "tile_options": base.provenance.get("tile_options", {})})  # fmt: skip


def _by_name(version: LayerVersion) -> dict[str, Part]:
    """Every file that was delivered, each with its own reference: also those that are copies of others, which may outlive them."""
    found = {}
    for part in version.parts:
        plain = {key: value for key, value in part.properties.items() if key != "copies"} | {"reference": asdict(own_reference(version, part))}
        for name in (_file(part), *part.properties.get("copies", ())):
            found[name] = replace(part, properties=plain | {"file": name})
    return found


def with_copies(part: T, names: list[str]) -> T:
    """A part or asset of which the delivery held copies of these names."""
    return replace(part, properties={**part.properties, "copies": names}) if names else part


def _file(part: Part) -> str:
    return str(part.properties.get("file", ""))


def _placed(part: Part, reference: Reference, base: LayerVersion) -> Part:
    """A part with its bounds in the layer's reference."""
    own = own_reference(base, part)
    return replace(part, bounds=bounds_in(reference, own, own_bounds(part), _file(part)))


def decompressor(file: BinaryIO, how: bytes) -> Any:
    """lazrs's decoder over all cores, for a file that stands at its points and the record of its LASzip VLR.

    Of the layered formats (6–10) it decodes place, flags, intensity, class and colour; GPS time and the like are never used.
    """
    import lazrs  # noqa: PLC0415  only readers and tilers of clouds need it

    wanted = (lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL, lazrs.SELECTIVE_DECOMPRESS_Z, lazrs.SELECTIVE_DECOMPRESS_INTENSITY,
              lazrs.SELECTIVE_DECOMPRESS_FLAGS, lazrs.SELECTIVE_DECOMPRESS_CLASSIFICATION, lazrs.SELECTIVE_DECOMPRESS_RGB)  # fmt: skip
    mask = 0
    for part in wanted:
        mask |= part
    return lazrs.ParLasZipDecompressor(file, how, lazrs.DecompressionSelection(mask))
