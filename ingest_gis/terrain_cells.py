"""The cells of a terrain raster as they are stored → heights, with every cell that has none found out and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from twin.errors import BadFeature
from twin.model import Report

#: Numbers that surveys write for "no data" and that no height on Earth can be.
NODATA_LIKE = (-9999.0, -99999.0, -32767.0, -32768.0)
HUGE = 1e30


@dataclass
class Tally:
    """What the cells hold, gathered while they pass; `odd` counts undeclared no-data numbers by value."""

    cells: int = 0
    voids: int = 0
    nan: int = 0
    infinite: int = 0
    odd: dict[float, int] | None = None
    low: float = np.inf
    high: float = -np.inf
    changed: int = 0


@dataclass(frozen=True)
class Stored:
    """How the heights lie in the file: `band`, its declared `nodata`, height = number × `scale` + `offset`, whether a mask says where there are any."""

    band: int
    nodata: float | None
    scale: float = 1.0
    offset: float = 0.0
    masked: bool = False

    @property
    def plain(self) -> bool:
        """Whether the numbers are the heights, all of them."""
        return not self.masked and (self.scale, self.offset) == (1.0, 0.0)

    def read(self, dataset: Any, window: Window, tally: Tally) -> NDArray[Any]:
        """The cells of a window; where they are not plain as float64, NaN where there are none."""
        raw = dataset.read(self.band, window=window)
        if self.plain:
            return np.asarray(raw)
        void = np.zeros(raw.shape, bool) if self.nodata is None else np.asarray(raw == self.nodata)
        for value in NODATA_LIKE if raw.dtype.kind != "u" else ():
            if count := int((here := (raw == value) & ~void).sum()):
                assert tally.odd is not None
                tally.odd[value] = tally.odd.get(value, 0) + count
                void |= here
        if self.masked:
            void |= dataset.read_masks(self.band, window=window) == 0
        return np.where(void, np.nan, raw.astype(np.float64) * self.scale + self.offset)


def stored_in(dataset: Any, band: int, nodata: float | None, report: Report) -> Stored:
    """What the file says of its numbers.

    Raises:
        BadFeature: a scale or an offset by which no height can be computed.
    """
    scale, offset = float(dataset.scales[band - 1]), float(dataset.offsets[band - 1])
    if not (np.isfinite([scale, offset]).all() and scale):
        raise BadFeature(f"{report.source}: band {band} states a scale of {scale:g} and an offset of {offset:g}.", "Export it again, or give the heights as they are.")
    if (scale, offset) != (1.0, 0.0):
        report.note("assumed", "", f"heights are {scale:g} × the stored numbers {offset:+g}, as the band says")
    masked = nodata is None and MaskFlags.per_dataset in dataset.mask_flag_enums[band - 1]
    if masked:
        report.note("assumed", "", "cells outside the file's mask are without data")
    return Stored(band, nodata, scale, offset, masked)


def void_value(dtype: np.dtype[Any], name: str) -> float:
    """What marks a void in a type that declares none."""
    if dtype.kind == "f":
        return float("nan")
    if dtype.kind == "i":
        return float(max(np.iinfo(dtype).min, -(2**31)))
    raise BadFeature(f"{name}: cells without data cannot be marked in {dtype} numbers.", "Declare one: --option nodata=VALUE.")


def clean_block(raw: NDArray[Any], nodata: float | None, void: float | None, dtype: np.dtype[Any], tally: Tally, name: str) -> NDArray[Any]:
    """Cells as they are kept: every one without a height is `void`.

    Raises:
        BadFeature: there are such cells, and no number that marks them.
    """
    lowest, highest = float(raw.min()), float(raw.max())
    if lowest > NODATA_LIKE[0] and highest < HUGE and (nodata is None or not lowest <= nodata <= highest):  # every cell is a height (NaN fails here)
        block = raw.astype(dtype, copy=False)
        tally.cells += raw.size
        tally.low, tally.high = min(tally.low, float(block.min())), max(tally.high, float(block.max()))
        tally.changed += int((block.astype(raw.dtype) != raw).sum()) if raw.dtype != dtype else 0
        return block
    is_void = np.zeros(raw.shape, bool) if nodata is None or np.isnan(nodata) else raw == raw.dtype.type(nodata)
    if raw.dtype.kind == "f":
        nan, infinite = np.isnan(raw), np.isinf(raw) | (np.abs(raw) >= HUGE)
        if not (nodata is not None and np.isnan(nodata)):
            tally.nan += int(nan.sum())
        infinite &= ~is_void
        tally.infinite += int(infinite.sum())
        is_void |= nan | infinite
    if raw.dtype.kind != "u":
        for value in NODATA_LIKE:
            if raw.dtype.kind == "i" and value < np.iinfo(raw.dtype).min:
                continue
            here = (raw == value) & ~is_void
            if count := int(here.sum()):
                assert tally.odd is not None
                tally.odd[value] = tally.odd.get(value, 0) + count
                is_void |= here
    tally.cells += raw.size
    tally.voids += int(is_void.sum())
    block = raw.astype(dtype, copy=True) if raw.dtype.kind != "f" else np.where(is_void, 0, raw).astype(dtype)
    known = ~is_void
    if known.any():
        tally.low, tally.high = min(tally.low, float(block[known].min())), max(tally.high, float(block[known].max()))
        if raw.dtype != dtype:
            tally.changed += int((block[known].astype(raw.dtype) != raw[known]).sum())
    if is_void.any():
        if void is None:
            raise BadFeature(f"{name}: cells without data cannot be marked in {dtype} numbers.", "Declare one: --option nodata=VALUE.")
        block[is_void] = void
    return block
