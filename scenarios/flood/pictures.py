"""Pictures of a report: maps as PNG over shaded relief, and curves as SVG; nothing but text comes out."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

WIDEST = 900
"""Pixels of a map's longer side."""
INKS = ("#1f5a9e", "#c9184a", "#2b8a5a", "#b5651d", "#7a4fa3", "#333333")


def hillshade(bed: NDArray[np.float64], cell: float, void: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(rows, columns) light 0–1 on the ground: sun from the north-west, 45° high (Horn 1981); the slope is drawn up where the ground is flat."""
    ground = bed
    if void.any() and not void.all():  # the nearest ground, so that walls cast no false edges
        ground = bed[tuple(ndimage.distance_transform_edt(void, return_distances=False, return_indices=True))]
    gy, gx = np.gradient(ground, cell)
    steep = np.percentile(np.hypot(gx, gy), 95)
    exaggeration = np.clip(0.5 / max(float(steep), 1e-6), 1, 20)
    gx, gy = gx * exaggeration, gy * exaggeration
    light = (1 + gx * np.sqrt(0.25) + gy * np.sqrt(0.25)) * np.sqrt(0.5) / np.sqrt(1 + gx**2 + gy**2)
    return np.asarray(np.clip(light, 0, 1))


def chart(values: NDArray[Any], legend: dict[str, Any], light: NDArray[np.float64], walls: NDArray[np.bool_], alt: str) -> str:
    """An <img> of a raster over the relief: classes of the legend in colour, walls grey, NaN and what no class covers bare."""
    paper = (0.55 + 0.45 * light)[..., None] * np.array([247.0, 246.0, 240.0])
    paper[walls] = [150, 150, 150]
    for entry in legend["entries"]:
        low, high = entry["value"] if isinstance(entry["value"], list) else (entry["value"] - 0.5, entry["value"] + 0.5)
        here = (values > low) & (values <= high)
        color = np.array([int(entry["color"][i : i + 2], 16) for i in (1, 3, 5)])
        paper[here] = 0.15 * paper[here] + 0.85 * color
    picture = Image.fromarray(np.clip(paper, 0, 255).astype(np.uint8))
    scale = WIDEST / max(picture.size)
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    picture = picture.resize((max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)), how)
    out = io.BytesIO()
    picture.quantize(128).save(out, "PNG", optimize=True)
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}">'


def key(legend: dict[str, Any]) -> str:
    """A legend as a row of swatches."""
    boxes = "".join(f'<span class="swatch"><i style="background:{e["color"]}"></i>{escape(e["label"]["zh"])}</span>' for e in legend["entries"])
    title = legend["title"]
    return f'<div class="key"><b>{escape(title["zh"])} · {escape(title["en"])}</b> {boxes}</div>'


def curves(lines: list[tuple[str, NDArray[np.float64], NDArray[np.float64]]], unit: str, title: str) -> str:
    """An SVG of curves over time (hours): (label, seconds, values) each; at most 800 points a curve are drawn, extremes kept."""
    width, height, left, top, right, bottom = 760, 240, 64, 28, 16, 34
    shown = [(label, *_thin(t / 3600, v)) for label, t, v in lines if len(t)]
    if not shown:
        return ""
    end = max(max(float(t[-1]) for _, t, _ in shown), 1e-9)
    low, high = min(0.0, min(float(v.min()) for _, _, v in shown)), max(float(v.max()) for _, _, v in shown)
    if high - low < 1e-9:
        high = low + 1
    ticks_y, ticks_x = _ticks(low, high), _ticks(0, end)
    low, high = min(low, ticks_y[0]), max(high, ticks_y[-1])

    def at(t: Any, v: Any) -> tuple[Any, Any]:
        return left + t / end * (width - left - right), height - bottom - (v - low) / (high - low) * (height - top - bottom)

    parts = [f'<svg viewBox="0 0 {width} {height + 18 * -(-len(shown) // 4)}" role="img" aria-label="{escape(title)}"><text x="{left}" y="16" class="title">{escape(title)}（{escape(unit)}）</text>']
    for tick in ticks_y:
        x, y = at(0, tick)
        parts.append(f'<line x1="{x:.1f}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/><text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick:.6g}</text>')
    for tick in ticks_x:
        x, y = at(tick, low)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 4:.1f}" class="axis"/><text x="{x:.1f}" y="{y + 17:.1f}" text-anchor="middle">{tick:.6g} h</text>')
    for k, (label, t, v) in enumerate(shown):
        x, y = at(t, v)
        ink, dash = INKS[k % len(INKS)], ' stroke-dasharray="6 3"' if k >= len(INKS) else ""
        parts.append(f'<polyline fill="none" stroke="{ink}" stroke-width="1.6"{dash} points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))}"/>')
        kx, ky = left + (k % 4) * 170, height + 18 * (k // 4)
        parts.append(f'<line x1="{kx}" x2="{kx + 22}" y1="{ky}" y2="{ky}" stroke="{ink}" stroke-width="2.5"{dash}/><text x="{kx + 28}" y="{ky + 4}">{escape(label[:22])}</text>')
    return "".join(parts) + "</svg>"


def _thin(t: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most about 800 points: of each stretch its lowest and highest."""
    if len(t) <= 800:
        return t, v
    keep = {0, len(t) - 1}
    for part in np.array_split(np.arange(len(t)), 400):
        keep |= {int(part[np.argmin(v[part])]), int(part[np.argmax(v[part])])}
    at = np.array(sorted(keep))
    return t[at], v[at]


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers that span [low, high]."""
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    return [float(k * step) for k in range(int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9)) + 1)]
