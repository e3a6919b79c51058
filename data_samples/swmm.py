"""The sewer as a SWMM 5 input file (metric, dynamic wave), ready to run by itself or coupled to a surface model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from data_samples.frame import SOUTH, WEST, to_map
from data_samples.river import NORMAL_LEVEL
from data_samples.sewer import MANNING, PUMP_FLOW, PUMPS, WELL_AREA, WELL_FLOOR, Sewer

BAY_FLOOR = 0.6  # metres, 1985 datum: the chamber that the pumps lift into; a culvert under the levee leads to the river

OPTIONS = """FLOW_UNITS           CMS
INFILTRATION         HORTON
FLOW_ROUTING         DYNWAVE
LINK_OFFSETS         ELEVATION
ALLOW_PONDING        YES
START_DATE           06/01/2025
START_TIME           08:00:00
REPORT_START_DATE    06/01/2025
REPORT_START_TIME    08:00:00
END_DATE             06/01/2025
END_TIME             14:00:00
REPORT_STEP          00:05:00
WET_STEP             00:01:00
DRY_STEP             00:05:00
ROUTING_STEP         2
INERTIAL_DAMPING     PARTIAL
NORMAL_FLOW_LIMITED  BOTH
FORCE_MAIN_EQUATION  H-W
VARIABLE_STEP        0.75
MIN_SURFAREA         1.14"""


def _section(name: str, rows: Iterable[Iterable[Any]]) -> str:
    body = "\n".join(" ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row) for row in rows)
    return f"[{name}]\n{body}\n"


def write_swmm(sewer: Sewer, rain: list[tuple[str, float]], path: Path) -> None:
    """Write the .inp; `rain` is (HH:MM, mm/h) of the modelled day; coordinates are EPSG:4547."""
    ids, n = sewer.ids(), len(sewer.rim)
    area = shapely.area(sewer.area)
    well_top = max(float(sewer.rim[int(np.nonzero(sewer.parent == -1)[0][0])]), 1.5)
    downs = [sewer.down(i) for i in range(n)]
    shapes = [("CIRCULAR", d) for d in sewer.diameter]
    pump = [(0.0, 0.0), (0.6, 0.0), (1.0, PUMP_FLOW / PUMPS), (1.8, PUMP_FLOW), (8.0, PUMP_FLOW)]
    known = {
        **{i: tuple(p) for i, p in zip(ids, sewer.xy, strict=True)},
        "WELL1": sewer.well,
        "BAY1": (sewer.well[0], sewer.well[1] - 6.0),
        "OUT1": sewer.outfalls[0],
        "OUT2": sewer.outfalls[1],
    }
    sections = [
        "[TITLE]\nStorm sewer of the generated sample district. EPSG:4547, 1985 heights (EPSG:5737).\n",
        f"[OPTIONS]\n{OPTIONS}\n",
        _section("EVAPORATION", [("CONSTANT", 0.0)]),
        _section("RAINGAGES", [("RG1", "INTENSITY", "0:10", 1.0, "TIMESERIES", "RAIN")]),
        _section("SUBCATCHMENTS", (("S" + i, "RG1", i, a / 1e4, p * 100, float(np.sqrt(a)), 0.3, 0) for i, a, p in zip(ids, area, sewer.impervious, strict=True))),
        _section("SUBAREAS", (("S" + i, 0.014, 0.15, 1.5, 5.0, 25, "OUTLET") for i in ids)),
        _section("INFILTRATION", (("S" + i, 60.0, 6.0, 4.0, 7.0, 0.0) for i in ids)),
        _section("JUNCTIONS", ((i, float(z), float(r - z), 0.0, 0.0, 200.0) for i, z, r in [*zip(ids, sewer.invert, sewer.rim, strict=True), ("BAY1", BAY_FLOOR, 6.5)])),
        _section("OUTFALLS", [("OUT1", BAY_FLOOR - 0.1, "FIXED", NORMAL_LEVEL, "NO"), ("OUT2", downs[int(np.nonzero(sewer.parent == -2)[0][0])][2], "FIXED", NORMAL_LEVEL, "YES")]),
        _section("STORAGE", [("WELL1", WELL_FLOOR, well_top - WELL_FLOOR, 1.2, "FUNCTIONAL", 0.0, 0.0, WELL_AREA, 0.0, 0.0)]),
        _section("CONDUITS", [*((f"YG{k + 1:04d}", i, d[0], max(float(q), 2.0), MANNING, float(z), d[2], 0.0, 0.0)
                              for k, (i, d, q, z) in enumerate(zip(ids, downs, sewer.length, sewer.invert, strict=True))),
                              *[("YG9001", "BAY1", "OUT1", 60.0, MANNING, BAY_FLOOR, BAY_FLOOR - 0.1, 0.0, 0.0)]]),
        _section("PUMPS", ((f"P{k + 1}", "WELL1", "BAY1", "PC1", "ON", 1.0 + 0.4 * k, 0.5 + 0.2 * k) for k in range(PUMPS))),
        _section("XSECTIONS", ((f"YG{k + 1:04d}", kind, float(d), 0, 0, 0, 1) for k, (kind, d) in [*enumerate(shapes), (9000, ("CIRCULAR", 2.4))])),
        _section("CURVES", (("PC1", *(("PUMP4",) if k == 0 else ()), d, q) for k, (d, q) in enumerate(pump))),
        _section("TIMESERIES", (("RAIN", "06/01/2025", clock, mm) for clock, mm in rain)),
        "[REPORT]\nINPUT NO\nCONTROLS NO\nSUBCATCHMENTS ALL\nNODES ALL\nLINKS ALL\n",
        _section("COORDINATES", ((k, x + WEST, y + SOUTH) for k, (x, y) in known.items())),
        _section("POLYGONS", (("S" + i, float(x), float(y)) for i, g in zip(ids, to_map(sewer.area), strict=True) for x, y in g.exterior.coords)),
        _section("SYMBOLS", [("RG1", 1420.0 + WEST, 1600.0 + SOUTH)]),
    ]  # fmt: skip
    path.write_text("\n".join(sections), encoding="ascii", newline="\n")
