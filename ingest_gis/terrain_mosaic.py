"""Several terrain rasters in one layer: the finest with data at a place counts, and its rim runs out into the next coarser one.

Each raster keeps its own cells, CRS, datum and unit. Round every raster but the coarsest (and into its voids) a rim is added,
`blend` metres wide: the height of the coarser ground plus the difference between the two at the finer one's edge, which fades
to nothing across the rim (the delta surface of Grohman, Kroenung & Strebeck, PE&RS 2006). So the finer raster is exact up to its
last cell, the coarser one from the end of the rim on, and the ground has no step. Farther into a void than that, the coarser
ground itself shows. Work goes by windows, so memory does not grow with the raster.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.windows import Window

from twin import crs, raster_file
from twin.clouds import bounds_in
from twin.errors import BadOption
from twin.ground import Ground
from twin.model import Asset, Bounds, Reference, Report

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
WINDOW = 512
WIDEST = 1024
"""Cells: no rim is wider."""


@dataclass(frozen=True)
class Rim:
    """How a raster was dressed: metres of the rim, and what became of its cells without data (`left`: to the coarser ground, or to none)."""

    blend: float
    filled: int
    left: int


def reference_for(name: str, references: dict[str, str], crs_: str | None, vertical: str | None) -> tuple[str | None, str | None]:
    """(CRS, vertical datum) stated for a file: by the first pattern that fits its name, else for all. `+EGM96` states a datum alone."""
    for pattern, text in references.items():
        if fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(Path(name).name, pattern):
            flat, _, up = text.partition("+")
            return flat or crs_, up or vertical
    return crs_, vertical


def parse_references(value: Any) -> Any:
    """`PATTERN=CRS+VERTICAL, …` → a dict; anything that is no text goes on to the model as it is.

    Raises:
        ValueError: a piece without `=`.
    """
    if not isinstance(value, str):
        return value
    pieces = [piece.strip().rpartition("=") for piece in value.split(",") if piece.strip()]
    if not all(pattern and text for pattern, _, text in pieces):
        raise ValueError("write PATTERN=CRS+VERTICAL, for example survey*.tif=EPSG:4547+5737")
    return {pattern: text for pattern, _, text in pieces}


def unused(references: dict[str, str], names: Sequence[str]) -> None:
    """Refuse a pattern that fits no file.

    Raises:
        BadOption: with the pattern.
    """
    for pattern in references:
        if not any(fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(Path(name).name, pattern) for name in names):
            raise BadOption(f"references: no file is called {pattern!r}.", f"Files: {', '.join(names[:8])}.")


def cell_metres(asset: Asset) -> float:
    """Metres a cell is wide, typically."""
    return _cell_metres(asset.reference, asset.bounds, *asset.properties["size"])


def _cell_below(ground: Ground) -> float:
    """Metres a cell of the uppermost raster of a ground is wide."""
    with rasterio.open(ground.path) as file:
        return _cell_metres(ground.reference, file.bounds, file.width, file.height)


def _cell_metres(reference: Reference, bounds: Any, columns: int, rows: int) -> float:
    """The root of a cell's area on the ground in the middle of a raster; `bounds`: of a `Bounds` or of rasterio."""
    box = bounds if isinstance(bounds, Bounds) else Bounds(*bounds)
    x, y = (box.minx + box.maxx) / 2, (box.miny + box.maxy) / 2
    dx, dy = (box.maxx - box.minx) / columns, (box.maxy - box.miny) / rows
    lon, lat = crs.to_lonlat(reference.horizontal, np.array([x, x + dx, x]), np.array([y, y, y + dy]))
    at = crs.geodetic_to_ecef(np.column_stack([lon, lat, np.zeros(3)]))
    return float(np.sqrt(np.linalg.norm(at[1] - at[0]) * np.linalg.norm(at[2] - at[0])))


def stack(assets: list[tuple[str, Asset]], blend: float | None, folder: Path, report: Report, under: Ground | None = None) -> list[Asset]:
    """The rasters finest first, each with its own reference in its properties; all but the last dressed (that too, where there is ground under it).

    Args:
        assets: names and rasters as they were read, in the order in which equals of the same cell size count.
        blend: metres of the rims; by default two cells of the next coarser raster, at least ten of its own.
        folder: where dressed files are written.
        under: the ground they are laid on, for an update of a terrain; it stays as it is.
    """
    order = sorted(assets, key=lambda pair: round(math.log2(cell_metres(pair[1])) * 16))
    below, beneath = under, None if under is None else _cell_below(under)
    done: list[tuple[str, Asset, Rim | None]] = []
    for k in range(len(order) - 1, -1, -1):
        name, asset = order[k]
        rim = None
        own = cell_metres(asset)
        if below is not None and beneath is not None:
            wide = blend if blend is not None else max(2 * beneath, 10 * own)
            asset, rim = _dress(asset, below, wide, folder / f"dressed{k}.tif")
            report.note("repaired", name, f"runs out into the coarser ground within {rim.blend:g} m; of its cells without data {rim.filled} were filled "
                        f"by that, {rim.left} are left to the coarser ground")  # fmt: skip
        below, beneath = Ground(asset.path, asset.reference, name, below), own
        done.insert(0, (name, asset, rim))
    first = done[0][1].reference
    report.facts["sources"] = [{"file": name, "reference": asdict(asset.reference), "cell_m": round(cell_metres(asset), 4), "voids": asset.properties["voids"],
                                **({} if rim is None else asdict(rim))} for name, asset, rim in done]  # fmt: skip
    return [_described(name, asset, first) for name, asset, _ in done]


def _described(name: str, asset: Asset, first: Reference) -> Asset:
    """The asset as a part of the layer: bounds in the layer's reference, its own reference in its properties."""
    bounds = bounds_in(first, asset.reference, asset.bounds, name)
    return Asset(first, asset.path, asset.format, bounds, asset.count, {**asset.properties, "file": name, "reference": asdict(asset.reference)})


def _dress(asset: Asset, below: Ground, blend: float, path: Path) -> tuple[Asset, Rim]:
    """A raster grown by its rim (float32, NaN for no data), as a COG."""
    cell = cell_metres(asset)
    reach = min(math.ceil(blend / cell), WIDEST)
    blend, grow = min(blend, reach * cell), reach + 2
    plain = path.with_suffix(".plain.tif")
    filled = left = blocks = 0
    with rasterio.open(asset.path) as file:
        t = file.transform
        columns, rows = file.width + 2 * grow, file.height + 2 * grow
        transform = t * Affine.translation(-grow, -grow)
        profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "width": columns, "height": rows, "crs": file.crs, "transform": transform, "nodata": math.nan,
                   "tiled": True, "blockxsize": WINDOW, "blockysize": WINDOW, "bigtiff": "IF_SAFER", "sparse_ok": True}  # fmt: skip
        with raster_file.writing(), rasterio.open(plain, "w", **profile) as out:
            for top in range(0, rows, WINDOW):
                for start in range(0, columns, WINDOW):
                    size = (min(WINDOW, rows - top), min(WINDOW, columns - start))
                    box = Window(start - grow - reach, top - grow - reach, size[1] + 2 * reach, size[0] + 2 * reach)
                    cells = _known(file, box)
                    inner = (slice(reach, reach + size[0]), slice(reach, reach + size[1]))
                    void = np.isnan(cells[inner])
                    if (void.any() and not void.all()) or (void.all() and not np.isnan(cells).all()):
                        cells = _rim(cells, transform * Affine.translation(start - reach, top - reach), asset.reference, below, blend, cell)
                    inside = _inside(void.shape, start - grow, top - grow, file.width, file.height)
                    filled += int((void & inside & ~np.isnan(cells[inner])).sum())
                    left += int((inside & np.isnan(cells[inner])).sum())
                    blocks += not np.isnan(cells[inner]).all()
                    out.write(np.ascontiguousarray(cells[inner]), 1, window=Window(start, top, size[1], size[0]))
    raster_file.check_written(plain, blocks)
    write_cog(plain, path)
    plain.unlink()
    with rasterio.open(path) as file:
        b = file.bounds
    unit_box = Bounds(b.left, b.bottom, b.right, b.top, asset.bounds.minz, asset.bounds.maxz)
    properties = {**asset.properties, "dtype": "float32", "nodata": "nan", "size": [columns, rows], "voids": left}
    return Asset(asset.reference, path, "cog", unit_box, columns * rows, properties), Rim(round(blend, 3), filled, left)


def write_cog(source: Path, path: Path) -> None:
    """A cloud-optimised GeoTIFF with averaged overviews; deflated at level 1, which costs a tenth in size and saves half of the time. Raises StorageError: the disk is full."""
    raster_file.copy(source, path, driver="COG", compress="DEFLATE", level=1, predictor="YES", blocksize=512, bigtiff="IF_SAFER",
                     overview_resampling="AVERAGE", num_threads="2")  # fmt: skip


def _known(file: Any, box: Window) -> F32:
    """Cells of a window as float32, NaN in voids and beyond the raster."""
    return np.asarray(file.read(1, window=box, boundless=True, masked=True).astype(np.float32).filled(np.nan))


def _inside(shape: tuple[int, ...], left: int, top: int, columns: int, rows: int) -> NDArray[np.bool_]:
    """Which cells of a window from (left, top) lie on a raster of a size."""
    r, c = np.arange(shape[0]) + top, np.arange(shape[1]) + left
    return np.asarray(((r >= 0) & (r < rows))[:, None] & ((c >= 0) & (c < columns))[None, :])


def _rim(cells: F32, transform: Affine, reference: Reference, below: Ground, blend: float, cell: float) -> F32:
    """The cells of a window with the voids within `blend` metres of data filled; others stay NaN."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter  # noqa: PLC0415  takes 0.3 s to load; one raster alone has no rim

    known = ~np.isnan(cells)
    cells_away, nearest = distance_transform_edt(~known, return_indices=True)
    distance = np.asarray(cells_away) * cell
    ring = ~known & (distance < blend)
    edge = np.zeros_like(known)
    edge[nearest[0][ring], nearest[1][ring]] = True
    wanted = ring | edge
    row, column = np.nonzero(wanted)
    x, y = transform * (column + 0.5, row + 0.5)
    lon, lat = crs.to_lonlat(reference.horizontal, np.asarray(x), np.asarray(y))
    coarse = np.full(cells.shape, np.nan)
    coarse[wanted] = (below.ellipsoidal(lon, lat) - crs.datum_shift(reference, lon, lat)) / reference.vertical_unit
    delta = np.where(edge & ~np.isnan(coarse), cells - coarse, np.nan)
    away = np.nan_to_num(delta[nearest[0], nearest[1]])  # nothing below the edge: nothing to fade
    weight = gaussian_filter((~np.isnan(delta)).astype(np.float64), blend / cell / 4, truncate=4.0)
    smooth = gaussian_filter(np.nan_to_num(delta), blend / cell / 4, truncate=4.0)
    smooth = np.where(weight > 1e-12, smooth / np.where(weight > 1e-12, weight, 1.0), away)
    mixed = away + (smooth - away) * _ease(np.clip(4 * distance / blend, 0, 1))  # off the edge, no single cell rules a ray
    result = cells.copy()
    result[ring] = (coarse + mixed * (1 - _ease(np.clip(distance / blend, 0, 1))))[ring]
    return result


def _ease(t: F64) -> F64:
    return t * t * (3 - 2 * t)
