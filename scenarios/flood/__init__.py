"""Flood: two-dimensional shallow-water flow of rain, inflow and high water over terrain and between buildings.

`params` what may be told · `series` rain and series over time · `domain` layers to grid · `solver` the flow · `model` the run · `impact` who is hit.
"""

from __future__ import annotations

from scenarios.flood.model import Flood
from scenarios.flood.params import OUTPUTS, Params
from scenarios.flood.setup import resume, start

TITLE = {"zh": "洪涝淹没", "en": "Flood"}
DESCRIPTION = {
    "zh": "二维浅水方程模拟降雨、入流与高水位：最大水深、流速、危险度、到达时间、历时、受淹建筑与道路、水量平衡。",
    "en": "Shallow-water flow of rain, inflow and high water: greatest depth, speed, hazard, arrival, duration, flooded buildings and roads, and a ledger of the water.",
}

__all__ = ["DESCRIPTION", "OUTPUTS", "TITLE", "Flood", "Params", "resume", "start"]
