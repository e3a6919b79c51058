"""What a flood run may be told, and the layers it writes. From here come the command's options, the process description and the form."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from scenarios.contract import Output, layer_field
from scenarios.contract import Params as BaseParams
from scenarios.flood import uncertain as spread
from scenarios.flood.network_params import Inflow, Inlet, RainGauge
from scenarios.flood.output_params import CURVES, FLOOR_PER_PERSON, GRADES, MAX_FRAMES, VEHICLES, DamageCurve, Section, Vehicle
from scenarios.flood.structure_params import Place, Structure, from_geojson
from scenarios.flood.uncertain import Uncertain

MAX_HOURS = 240.0


def _field(default: Any, zh: str, en: str, *, extra: dict[str, Any] | None = None, **limits: Any) -> Any:
    return Field(default, title=en, json_schema_extra={"x-title-zh": zh, **(extra or {})}, **limits)


class Params(BaseParams):
    """Parameters of the flood. CSV texts carry a header with units, e.g. `time_min,rain_mm_h` (see `series.parse`)."""

    terrain: str = layer_field("terrain", zh="地形图层", en="Terrain layer")
    bbox: tuple[float, float, float, float] | None = _field(None, "范围（西, 南, 东, 北）", "Area (west, south, east, north); empty: the whole terrain")
    cell: float = _field(5.0, "网格尺寸（米）", "Cell size, m", ge=0.25, le=500)
    hours: float = _field(2.0, "模拟时长（小时）", f"Simulated time, hours (at most {MAX_HOURS:g})", gt=0, le=MAX_HOURS)
    scheme: Literal["hllc", "hllc2", "inertial"] = _field("hllc", "计算格式", "Scheme: hllc (full equations), hllc2 (second order), inertial (fast, slow flows only)")
    roughness: float = _field(0.035, "曼宁糙率", "Manning's n, s·m^(-1/3)", ge=0, le=1)
    buildings: str = layer_field("blocks", zh="建筑图层", en="Buildings layer (empty: none)", default="")
    building_mode: Literal["blocked", "raised"] = _field("blocked", "建筑处理", "Buildings: blocked (walls; roof rain goes where roof says) or raised (bed lifted)")
    roof: Literal["ground", "network"] = _field("ground", "屋面排水", "Rain on blocked buildings: to the ground at their foot, or straight into the nearest coupled node of the network")
    roads: str = layer_field("vector", zh="道路图层", en="Roads layer (empty: none)", default="")
    open_edges: bool = _field(True, "边界自由出流", "Water may leave over the edges of the area")

    start: str = _field("", "模拟开始时刻", "Start of the run, ISO 8601 with zone, for series by the clock; empty: the first row of each")
    rain: Literal["none", "uniform", "chicago", "csv", "gauges", "grid"] = _field("none", "降雨类型", "Rain")
    rain_factor: float = _field(1.0, "雨量系数", "All rain is multiplied by this", ge=0, le=10)
    rain_mm_h: float = _field(50.0, "均匀雨强（毫米/小时）", "Uniform rain, mm/h", ge=0, le=1000)
    rain_hours: float = _field(1.0, "降雨历时（小时）", "Duration of uniform rain or design storm, hours", gt=0, le=MAX_HOURS)
    rain_csv: str = _field("", "实测降雨（CSV文本）", "Measured rain as CSV text: time_s|time_min|time_h|time (ISO with zone), rain_mm_h|rain_mm")
    return_period: float = _field(20.0, "重现期（年）", "Return period P of the design storm, years", ge=0.25, le=10000)
    storm_a: float = _field(3618.427, "暴雨强度公式 A", "Intensity formula q = A(1 + C·lg P)/(t + b)^n in L/(s·ha), t in min: A", gt=0)
    storm_c: float = _field(0.438, "暴雨强度公式 C", "Intensity formula: C", ge=0)
    storm_b: float = _field(11.259, "暴雨强度公式 b（分钟）", "Intensity formula: b, min", ge=0)
    storm_n: float = _field(0.750, "暴雨强度公式 n", "Intensity formula: n", gt=0, lt=1)
    storm_peak: float = _field(0.4, "雨峰系数 r", "Peak position r of the Chicago storm", gt=0, lt=1)

    rain_area: tuple[Place, ...] = _field((), "降雨范围（多边形）", "Polygon within which the rain falls; empty: everywhere", extra={"x-geometry": "polygon"})
    rain_gauges: tuple[RainGauge, ...] = _field((), "雨量站（表）", "Rain gauges: rows of name, at, csv")
    rain_interpolation: Literal["idw", "thiessen"] = _field("idw", "雨量插值", "Between gauges: idw (inverse squared distance) or thiessen (nearest)")
    rain_grid: str = layer_field("raster", zh="网格降雨图层", en="Gridded rain: raster layer over time (read from CF NetCDF), or one band a step (empty: none)", default="")
    rain_grid_step_min: float = _field(5.0, "网格降雨步长（分钟）", "Minutes that each band holds, where the layer has bands and no times", gt=0, le=1440)
    rain_grid_unit: str = _field("", "网格降雨单位", "Unit of the gridded rain (mm/h, kg m-2 s-1, mm, …); empty: the layer's own")
    rain_grid_stamp: Literal["auto", "start", "end"] = _field("auto", "网格降雨时刻含义", "A step's time, where the file has no time bounds: its start or its end; auto: rates start, amounts end")
    rain_grid_accumulated: bool = _field(False, "网格降雨为累计值", "Amounts are since the first step's beginning, not by step")
    rain_grid_missing: Literal["refuse", "dry"] = _field("refuse", "网格降雨缺测", "Gridded rain: steps and cells without data are refused, or taken as dry")

    inflow_point: tuple[float, float] | None = _field(None, "入流点（经度, 纬度）", "Inflow point (longitude, latitude)")
    inflow_m3_s: float = _field(0.0, "入流流量（立方米/秒）", "Constant inflow, m³/s", ge=0, le=1e6)
    inflow_csv: str = _field("", "入流过程（CSV文本）", "Inflow as CSV text: time_…, flow_m3_s")
    inflow_factor: float = _field(1.0, "入流系数", "All inflows are multiplied by this", ge=0, le=100)
    inflows: tuple[Inflow, ...] = _field((), "入流（表）", "More inflows: rows of name, line, flow_m3_s or csv")
    water: str = layer_field("vector", "blocks", zh="水面图层（河流、潮水）", en="Water layer held at a level (river, tide); empty: none", default="")
    level: float | None = _field(None, "水位（米，地形高程基准）", "Constant level of that water, m in the terrain's vertical datum")
    level_csv: str = _field("", "水位过程（CSV文本）", "Level as CSV text: time_…, level_m")
    level_offset_m: float = _field(0.0, "水位修正（米）", "Added to the level of that water at all times, m", ge=-50, le=50)
    initial_level: float | None = _field(None, "初始水位（米）", "Initial level everywhere below it, m in the terrain's vertical datum")

    infiltration: Literal["none", "constant", "horton", "green_ampt"] = _field("none", "下渗模型", "Infiltration")
    infiltration_mm_h: float = _field(5.0, "（稳定）下渗率（毫米/小时）", "Constant or final infiltration, or Green–Ampt conductivity, mm/h", ge=0, le=1000)
    horton_start_mm_h: float = _field(50.0, "霍顿初始下渗率（毫米/小时）", "Horton: initial infiltration, mm/h", ge=0, le=5000)
    horton_decay_h: float = _field(2.0, "霍顿衰减系数（1/小时）", "Horton: decay, 1/h", ge=0)
    suction_m: float = _field(0.05, "格林-安普特 ψ·Δθ（米）", "Green–Ampt: suction head times moisture deficit, m", ge=0, le=5)
    pervious: float = _field(0.4, "透水面比例", "Pervious share of the ground", ge=0, le=1)
    impervious: str = layer_field("raster", "vector", "blocks", zh="不透水图层", en="Impervious share: raster (0–1 or percent) or areas (empty: none)", default="")
    impervious_column: str = _field("", "不透水比例字段", "Column of the areas with the impervious share, 0–1; empty: all of it")
    soil: str = layer_field("vector", "blocks", zh="土壤图层", en="Soil areas (empty: none)", default="")
    soil_column: str = _field("soil", "土壤类型字段", "Column with the texture (e.g. loam, 壤土) or the hydrologic group A–D")
    soil_saturation: float = _field(0.5, "初始饱和度", "Green–Ampt by soil: share of the pores full at the start", ge=0, le=1)
    drainage_mm_h: float = _field(0.0, "排水能力（毫米/小时）", "Capacity-only drainage, mm/h", ge=0, le=1000)

    network_inp: str = _field("", "排水管网（SWMM文本）", "Drainage network: the text of a SWMM 5 .inp file")
    network_crs: str = _field("", "管网坐标系", "CRS of its [COORDINATES], e.g. EPSG:4547")
    network_runoff: Literal["surface", "subcatchments"] = _field("surface", "管网产流", "Rain runs off on the surface model (the file's subcatchments are left out), or also in them")
    inlet_area_m2: float = _field(0.5, "雨水口面积（平方米）", "Clear opening of the inlets at a node, m²", gt=0, le=1000)
    inlet_perimeter_m: float = _field(3.0, "雨水口周长（米）", "Length over which water falls into a node's inlets, m", gt=0, le=1000)
    outfalls: Literal["surface", "file"] = _field("surface", "排放口", "Outfalls of the network inside the area: exchange water with the surface, or keep the file's boundary")
    inlets: tuple[Inlet, ...] = _field((), "雨水口（表）", "Inlets of single nodes: rows of node, area_m2, perimeter_m, sealed")
    structures: tuple[Structure, ...] = _field((), "水工建筑物（表或GeoJSON）", "Levees, barriers, weirs, gates, bridges, culverts, pumps: rows or GeoJSON")
    structures_layer: str = layer_field("vector", zh="水工建筑物图层", en="Layer of lines with the columns of such rows (kind, crest, …); empty: none", default="")
    uncertain: tuple[Uncertain, ...] = _field((), "不确定参数（表）", "Uncertain parameters: rows of parameter, low, high; three runs give the spread")

    threshold: float = _field(0.05, "淹没判定水深（米）", "Depth from which a place counts as flooded, m", ge=0.001, le=5)
    gauges: tuple[float, ...] | None = _field(None, "测站（经度, 纬度, …）", "Gauges: longitude, latitude, longitude, latitude, …")

    sections: tuple[Section, ...] = _field((), "断面（表）", "Sections: rows of name, line; the discharge through each is kept")
    frames: int = _field(24, "水面过程帧数", "Frames of the water surface over time, evenly spaced (0: none)", ge=0, le=MAX_FRAMES)
    depth_grades: tuple[float, float, float, float] = _field(GRADES, "积水等级水深（米）", "Depths that begin grades I, II, III, IV, m")
    road_segment_m: float = _field(100.0, "道路分段长度（米）", "Roads are cut into equal pieces no longer than this, m", ge=5, le=100_000)
    vehicles: tuple[Vehicle, ...] = _field(VEHICLES, "通行标准（表）", "Who can pass: rows of name, zh, depth_m, depth_speed_m2_s")
    building_use_column: str = _field("", "建筑用途字段", "Column of the buildings' use, for damage curves and the ledger; empty: all alike")
    damage_curves: tuple[DamageCurve, ...] = _field(CURVES, "水深-损失曲线（表）", "Depth-damage curves: rows of use, points, value_m2")
    floor_m: float = _field(0.0, "室内地坪高差（米）", "Height of the buildings' floors above the ground outside, m", ge=0, le=3)
    people_column: str = _field("", "人口字段", "Column of the people in a building; empty: floor area over floor_per_person")
    floor_per_person: float = _field(FLOOR_PER_PERSON, "人均建筑面积（平方米）", "Floor area per person, m²", gt=0, le=1000)
    facilities: str = layer_field("vector", "blocks", zh="重要设施图层", en="Critical facilities (empty: none)", default="")
    outputs: tuple[str, ...] = _field((), "输出图层", "Outputs to write (empty: all)")

    @field_validator("outputs")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = [output.name for output in OUTPUTS]
        if set(value) - set(known):
            raise ValueError(f"{', '.join(sorted(set(value) - set(known)))}: no such output; there are {', '.join(known)}")
        return value

    @field_validator("depth_grades")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)) or value[0] <= 0:
            raise ValueError("the four depths must grow from more than 0")
        return value

    @model_validator(mode="after")
    def _measured(self) -> Params:
        for name, keys in (("sections", [row.name for row in self.sections if row.name]), ("vehicles", [row.name for row in self.vehicles]),
                           ("damage_curves", [row.use for row in self.damage_curves])):  # fmt: skip
            if len(set(keys)) < len(keys):
                raise ValueError(f"{name}: a row stands twice")
        if (self.building_use_column or self.people_column or self.damage_curves != CURVES) and not self.buildings:
            raise ValueError("building_use_column, people_column and damage_curves need buildings")
        if any(row.use for row in self.damage_curves) and not self.building_use_column:
            raise ValueError("damage_curves by use need building_use_column")
        return self

    @field_validator("structures", mode="before")
    @classmethod
    def _rows(cls, value: Any) -> Any:
        return from_geojson(value)

    @model_validator(mode="after")
    def _forced(self) -> Params:
        if (self.rain == "gauges") != bool(self.rain_gauges):
            raise ValueError("rain = gauges and rain_gauges need each other")
        if self.rain_area and (self.rain == "none" or len(set(self.rain_area)) < 3):
            raise ValueError("rain_area needs rain and at least three corners")
        if (self.rain == "grid") != bool(self.rain_grid):
            raise ValueError("rain = grid and rain_grid need each other")
        if len({gauge.name for gauge in self.rain_gauges}) < len(self.rain_gauges):
            raise ValueError("rain_gauges: each needs its own name")
        if bool(self.network_inp.strip()) != bool(self.network_crs):
            raise ValueError("network_inp and network_crs need each other (the file does not say what its coordinates are)")
        if not self.network_inp.strip() and (self.inlets or self.roof == "network"):
            raise ValueError("inlets and roof = network need network_inp")
        if self.impervious_column and not self.impervious:
            raise ValueError("impervious_column needs impervious")
        if (self.soil or self.impervious) and self.infiltration == "none":
            raise ValueError("soil and impervious need an infiltration model")
        return self

    @model_validator(mode="after")
    def _uncertain(self) -> Params:
        spread.check(self, self.uncertain)
        return self

    def member(self, which: str) -> Params:
        """The parameters of the `likely`, the `least` or the `most` run: each uncertain one at the end that brings less or more water."""
        varied = {} if which == "likely" else spread.ends(self, self.uncertain, most=which == "most")
        return self.model_copy(update={**varied, "uncertain": ()})

    @model_validator(mode="after")
    def _whole(self) -> Params:
        if self.rain == "csv" and not self.rain_csv.strip():
            raise ValueError("rain = csv needs rain_csv")
        if self.gauges is not None and len(self.gauges) % 2:
            raise ValueError("gauges: longitude and latitude alternate, so their count is even")
        if self.inflow_point is not None and not (self.inflow_m3_s or self.inflow_csv.strip()):
            raise ValueError("inflow_point needs inflow_m3_s or inflow_csv")
        if self.inflow_point is None and (self.inflow_m3_s or self.inflow_csv.strip()):
            raise ValueError("an inflow needs inflow_point")
        if self.water and self.level is None and not self.level_csv.strip():
            raise ValueError("water needs level or level_csv")
        if not self.water and (self.level is not None or self.level_csv.strip()):
            raise ValueError("a level needs the water layer that it holds in")
        return self


OUTPUTS = (
    Output("depth", "raster", {"zh": "最大水深", "en": "Greatest depth"}, "m"),
    Output("level", "raster", {"zh": "最高水位", "en": "Highest water level"}, "m"),
    Output("velocity", "raster", {"zh": "最大流速", "en": "Greatest speed"}, "m/s"),
    Output("hazard", "raster", {"zh": "洪水危险度（英国 HR）", "en": "Flood hazard rating (UK)"}),
    Output("grade", "raster", {"zh": "积水等级", "en": "Waterlogging grade (by depth)"}),
    Output("arrival", "raster", {"zh": "到达时间", "en": "Arrival time"}, "s"),
    Output("duration", "raster", {"zh": "淹没历时", "en": "Time under water"}, "s"),
    Output("frames", "raster", {"zh": "水深过程（动画）", "en": "Depth over time (animation)"}, "m"),
    Output("depth-least", "raster", {"zh": "最大水深（三次模拟之最小）", "en": "Greatest depth, least of three runs"}, "m"),
    Output("depth-most", "raster", {"zh": "最大水深（三次模拟之最大）", "en": "Greatest depth, most of three runs"}, "m"),
    Output("buildings", "blocks", {"zh": "受淹建筑", "en": "Flooded buildings"}, "m"),
    Output("roads", "vector", {"zh": "受淹道路", "en": "Flooded roads"}, "m"),
    Output("facilities", "vector", {"zh": "受淹重要设施", "en": "Flooded critical facilities"}, "m"),
    Output("gauges", "vector", {"zh": "测站过程", "en": "Gauges"}, "m"),
    Output("sections", "vector", {"zh": "断面流量", "en": "Sections"}, "m³/s"),
    Output("manholes", "vector", {"zh": "检查井水量交换", "en": "Manholes"}, "m³"),
    Output("hydrographs", "table", {"zh": "过程线（测站、断面、检查井）", "en": "Hydrographs (gauges, sections, manholes)"}),
    Output("ledger", "table", {"zh": "水量账", "en": "Ledger of water"}, "m³"),
)
