"""Which file goes out in which format, with its manifest entry: the sample's table of contents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_samples import bim, cloud, landcover, ortho, places, sewer, swmm
from data_samples.city import City, build
from data_samples.frame import CELL, VERTICAL
from data_samples.river import DESIGN_LEVEL, NORMAL_LEVEL, WARNING_LEVEL
from data_samples.units import COLUMNS
from data_samples.write import ABOVE, Entry, manifest, raster, vector

BASE, RESOURCE, PLAN, PROJECT, THEME, SENSE = "时空基础", "资源调查", "规划管控", "工程建设项目", "公共专题", "物联感知"


@dataclass(frozen=True)
class Delivery:
    """The city, its orthophoto (which also colours the survey), and where the files go."""

    city: City
    image: npt.NDArray[np.uint8]
    out: Path


def _terrain(work: Delivery) -> list[Entry]:
    raster(
        work.city.ground.z,
        CELL,
        work.out / "terrain.tif",
        compress="deflate",
        predictor=3,
        zlevel=6,
        nodata=-9999.0,
        tags={"AREA_OR_POINT": "Area"},
    )
    raster(
        landcover.cover(work.city), CELL, work.out / "landcover.tif", compress="deflate", zlevel=6, nodata=0, colormap=landcover.colormap()
    )
    raster(work.image, ortho.PIXEL, work.out / "ortho.tif", compress="jpeg", jpeg_quality=87, photometric="ycbcr", interleave="pixel")
    return [
        Entry("terrain.tif", "terrain", {"zh": "数字高程模型", "en": "Terrain"}, "terrain", BASE,
              f"Bare earth with river bed, levees and carriageways, {CELL:g} m cells.", vertical=VERTICAL),
        Entry("ortho.tif", "ortho", {"zh": "正射影像", "en": "Orthophoto"}, "raster", BASE, f"RGB image, {ortho.PIXEL:g} m pixels, painted from the same geometry."),
        Entry("landcover.tif", "landcover", {"zh": "地表覆盖", "en": "Land cover"}, "raster", RESOURCE,
              "Classes with a colour table: " + "; ".join(f"{k} {v[0]} {v[1]} (impervious {v[3]:g}, Manning {v[4]:g})" for k, v in landcover.CLASSES.items())),
    ]  # fmt: skip


def _vectors(work: Delivery) -> list[Entry]:
    tables: list[tuple[Any, Entry]] = [
        (work.city.buildings, Entry("buildings.parquet", "buildings", {"zh": "建筑白模", "en": "Buildings"}, "footprints", BASE,
            "Footprints with height above ground, floors, use, dwellings and people.", vertical=ABOVE, options={"height": "height"})),
        (places.streets_table(work.city), Entry("streets.gpkg", "streets", {"zh": "道路中心线", "en": "Streets"}, "vector", BASE,
            "Centre lines between shared nodes: class, lanes, width, speed, one-way, bridge.",
            options={"label": "name", "color": "#f3ede0", "width_column": "width", "category": "class",
                     "colors": "主干路:#f0c67a;次干路:#f5dfae;支路:#f3ede0;街坊路:#ece8df;巷:#e4dfd5"})),
        (work.city.bridges, Entry("bridges.gpkg", "bridges", {"zh": "桥梁", "en": "Bridges"}, "footprints", BASE,
            "Deck pieces, parapets and piers; base is the underside, height the thickness.", vertical=VERTICAL, options={"height": "height", "base": "base"})),
        (work.city.water, Entry("water.gpkg", "water", {"zh": "水系", "en": "Water"}, "vector", RESOURCE,
            "River, creek, lakes and fish ponds with permanent, warning and design level (1985 datum).",
            options={"label": "name", "color": "#5b9bc8", "fill_opacity": "0.6"})),
        (work.city.levees, Entry("levees.gpkg", "levees", {"zh": "堤防", "en": "Levees"}, "vector", RESOURCE,
            "Crest axes, 3D along the crest; crest is the lowest of each reach.", vertical=VERTICAL,
            options={"label": "name", "color": "#8c6d46", "width": "4"})),
        (_short(work.city.landuse), Entry("landuse.shp", "landuse", {"zh": "用地现状", "en": "Land use"}, "vector", PLAN,
            "Covering of the district by GB 50137 land use codes.",
            options={"label": "name", "color": "#b9b4a6", "fill_opacity": "0.5", "category": "code",
                     "colors": "R2:#f3e08a;R3:#e6c35c;M1:#b58a6a;B1:#e0635c;B2:#e88a7d;G1:#7fb069;G2:#9cc58a;E1:#6fa8d6;E2:#c5d98a;E13:#8fc1d9;"
                               "A1:#d884b7;A33:#e39ac4;A5:#d56a9f;S1:#c9c9c9;H2:#a99985"})),
        (work.city.trees, Entry("trees.parquet", "trees", {"zh": "树木", "en": "Trees"}, "vector", RESOURCE, "Single trees: species, height, crown diameter.",
            options={"color": "#5f8f55", "width_column": "crown"})),
        (places.places_table(work.city), Entry("places.geojson", "places", {"zh": "地名与重要设施", "en": "Places and facilities"}, "vector", THEME,
            "Districts, landmarks, schools, hospital, shelters, substations, stations.", crs="EPSG:4326", options={"label": "name"})),
        (places.sensors_table(work.city), Entry("sensors.geojson", "sensors", {"zh": "监测站点", "en": "Gauges and cameras"}, "vector", SENSE,
            "River, creek, rain and street gauges with warning and alarm values; cameras.", crs="EPSG:4326", options={"label": "name"})),
        (places.structures_table(work.city), Entry("structures.gpkg", "structures", {"zh": "闸泵工程", "en": "Gate and pumps"}, "vector", PROJECT,
            "The sluice through the north levee and the pumps over it, with sizes, capacity and rule.", options={"label": "name"})),
    ]  # fmt: skip
    for table, entry in tables:
        vector(table, work.out / entry.path)
    return [entry for _, entry in tables]


def _short(table: dict[str, Any]) -> dict[str, Any]:
    """Shapefile column names have ten characters at most; a wrong one must not be cut in silence."""
    long = [k for k in table if len(k) > 10]
    if long:
        raise ValueError(f"column names too long for a shapefile: {long}")
    return table


def _series(work: Delivery) -> list[Entry]:
    places.write_series(work.city, work.out)
    return [
        Entry("rain.csv", "rain", {"zh": "雨量过程", "en": "Rain series"}, None, SENSE, "Rain intensity of a typhoon day, mm/h, every 10 minutes.", crs=""),
        Entry("stage.csv", "stage", {"zh": "水位过程", "en": "River stage series"}, None, SENSE,
              "River stage of the same day, metres in the 1985 datum, every 10 minutes.", crs="", vertical=VERTICAL),
    ]  # fmt: skip


def _drainage(work: Delivery) -> list[Entry]:
    network = sewer.make_sewer(work.city)
    manholes = Entry("manholes.gpkg", "manholes", {"zh": "雨水检查井", "en": "Storm manholes"}, "vector", PROJECT,
                     "3D points at the rims; invert, depth and catchment.", vertical=VERTICAL, options={"color": "#24507f"})  # fmt: skip
    pipes = Entry("pipes.gpkg", "pipes", {"zh": "雨水管", "en": "Storm pipes"}, "vector", PROJECT,
                  "3D lines along the pipe inverts, in flow direction; diameter, slope, material.", vertical=VERTICAL,
                  options={"color": "#2f6fb0", "width": "1.2"})  # fmt: skip
    vector(sewer.manhole_table(network), work.out / manholes.path)
    vector(sewer.pipe_table(network), work.out / pipes.path)
    swmm.write_swmm(network, [(t, r) for t, r in places.rain_day(work.city) if "08:00" <= t <= "14:00"], work.out / "drainage.inp")
    model = Entry("drainage.inp", "drainage", {"zh": "排水管网模型", "en": "Drainage model"}, None, PROJECT,
                  "SWMM 5 model of the same pipes: subcatchments, wet well, pumps, flap-gated outfall, rain.", vertical=VERTICAL)  # fmt: skip
    return [pipes, manholes, model]


def _models(work: Delivery) -> list[Entry]:
    draft = places.bim_draft(work.city.drafts)
    bim.write_ifc(work.city.seed, draft, work.city.pad, work.out / f"{draft.bim}.ifc")
    count = cloud.write_cloud(work.city, work.image, work.out / "survey.laz")
    return [
        Entry(f"{draft.bim}.ifc", draft.bim, {"zh": draft.name, "en": draft.name_en}, "ifc", PROJECT,
              "IFC4 office of six storeys; IfcMapConversion sets it on its footprint.", vertical=VERTICAL),
        Entry("survey.laz", "survey", {"zh": "机载激光点云", "en": "Airborne laser survey"}, "points", BASE,
              f"{count} points: ground, trees, buildings, water, bridge deck; RGB.", vertical=VERTICAL),
    ]  # fmt: skip


PARTS: list[Callable[[Delivery], list[Entry]]] = [_terrain, _vectors, _drainage, _models, _series]


def deliver(out: Path, seed: int) -> Path:
    """Build the city and write all of it."""
    out.mkdir(parents=True, exist_ok=True)
    city = build(seed)
    work = Delivery(city, ortho.paint(city), out)
    entries = [replace(entry, columns=COLUMNS.get(entry.layer, {})) for part in PARTS for entry in part(work)]
    facts = {
        "facts": {
            "normal_level": NORMAL_LEVEL, "warning_level": WARNING_LEVEL, "design_level": DESIGN_LEVEL,
            "levee_crest_lowest": round(float(min(city.levees["crest"])), 2),
            "buildings": len(city.buildings["id"]), "population": int(np.sum(city.buildings["population"])),
        }
    }  # fmt: skip
    return manifest(out, seed, entries, facts)
