"""What a flood run may be told, and the layers it writes. From here come the command's options, the process description and the form."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator, model_validator

from scenarios.contract import Output, layer_field, param
from scenarios.contract import Params as BaseParams
from scenarios.flood import uncertain as spread
from scenarios.flood.network_params import Inflow, Inlet, RainGauge
from scenarios.flood.output_params import CURVES, FLOOR_PER_PERSON, GRADES, MAX_FRAMES, VEHICLES, DamageCurve, Section, Vehicle
from scenarios.flood.structure_params import Place, Structure, from_geojson
from scenarios.flood.uncertain import Uncertain

MAX_HOURS = 240.0


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
"""The layers a run may write."""

NETWORK = {"network_inp": True}
STORM = {"rain": ["chicago"]}
SOAKS = {"infiltration": ["constant", "horton", "green_ampt"]}
GRIDDED = {"rain": ["grid"]}


class Params(BaseParams):
    """Parameters of the flood. CSV texts carry a header with units, e.g. `time_min,rain_mm_h` (see `series.parse`)."""

    terrain: str = layer_field("terrain", zh="地形图层", en="Terrain layer", group=("范围与网格", "Area and grid"))
    bbox: tuple[float, float, float, float] | None = param(None, "范围（西, 南, 东, 北；空：整个地形）", "Area (west, south, east, north); empty: the whole terrain")
    cell: float = param(5.0, "网格尺寸（米）", "Cell size, m", ge=0.25, le=500)
    hours: float = param(2.0, "模拟时长（小时）", f"Simulated time, hours (at most {MAX_HOURS:g})", gt=0, le=MAX_HOURS)
    scheme: Literal["hllc", "hllc2", "inertial"] = param(
        "hllc", "计算格式", "Scheme: hllc (full equations), hllc2 (second order), inertial (fast, slow flows only)",
        choices={"hllc": ("完整方程（HLLC）", "full equations (HLLC)"), "hllc2": ("完整方程，二阶精度（较慢）", "full equations, second order (slower)"),
                 "inertial": ("局部惯性（快，仅限缓流）", "local inertial (fast, slow flows only)")})  # fmt: skip
    roughness: float = param(0.035, "曼宁糙率", "Manning's n, s·m^(-1/3)", ge=0, le=1)
    open_edges: bool = param(True, "边界自由出流", "Water may leave over the edges of the area")

    buildings: str = layer_field("blocks", zh="建筑图层", en="Buildings layer (empty: none)", default="", group=("建筑与道路", "Buildings and roads"))
    building_mode: Literal["blocked", "raised"] = param(
        "blocked", "建筑处理", "Buildings: blocked (walls; roof rain goes where roof says) or raised (bed lifted)", when={"buildings": True},
        choices={"blocked": ("不过水（墙体）", "walls that keep water out"), "raised": ("抬高地面", "raised ground")})  # fmt: skip
    roof: Literal["ground", "network"] = param(
        "ground", "屋面排水", "Rain on blocked buildings: to the ground at their foot, or straight into the nearest coupled node of the network", when={"buildings": True},
        choices={"ground": ("流到屋旁地面", "to the ground beside"), "network": ("接入最近的管网节点", "into the nearest node of the network")})  # fmt: skip
    roads: str = layer_field("vector", zh="道路图层", en="Roads layer (empty: none)", default="")

    start: str = param("", "模拟开始时刻（含时区，如 2026-06-01T08:00+08:00；空：各序列首行）", "Start of the run, ISO 8601 with zone, for series by the clock; empty: the first row of each", group=("降雨", "Rain"))
    rain: Literal["none", "uniform", "chicago", "csv", "gauges", "grid"] = param("none", "降雨类型", "Rain", choices={
        "none": ("无降雨", "none"), "uniform": ("均匀降雨", "uniform"), "chicago": ("设计暴雨（芝加哥雨型）", "design storm (Chicago)"),
        "csv": ("实测过程", "measured series"), "gauges": ("雨量站", "rain gauges"), "grid": ("网格降雨（雷达、预报）", "gridded (radar, forecast)")})  # fmt: skip
    rain_factor: float = param(1.0, "雨量系数", "All rain is multiplied by this", ge=0, le=10, when={"rain": ["uniform", "chicago", "csv", "gauges", "grid"]})
    rain_mm_h: float = param(50.0, "均匀雨强（毫米/小时）", "Uniform rain, mm/h", ge=0, le=1000, when={"rain": ["uniform"]})
    rain_hours: float = param(1.0, "降雨历时（小时）", "Duration of uniform rain or design storm, hours", gt=0, le=MAX_HOURS, when={"rain": ["uniform", "chicago"]})
    rain_csv: str = param("", "实测降雨（CSV文本，首行如 time_min,rain_mm_h）", "Measured rain as CSV text: time_s|time_min|time_h|time (ISO with zone), rain_mm_h|rain_mm", when={"rain": ["csv"]})
    return_period: float = param(20.0, "重现期（年）", "Return period P of the design storm, years", ge=0.25, le=10000, when=STORM)
    storm_a: float = param(3618.427, "暴雨强度公式 A", "Intensity formula q = A(1 + C·lg P)/(t + b)^n in L/(s·ha), t in min: A", gt=0, when=STORM)
    storm_c: float = param(0.438, "暴雨强度公式 C", "Intensity formula: C", ge=0, when=STORM)
    storm_b: float = param(11.259, "暴雨强度公式 b（分钟）", "Intensity formula: b, min", ge=0, when=STORM)
    storm_n: float = param(0.750, "暴雨强度公式 n", "Intensity formula: n", gt=0, lt=1, when=STORM)
    storm_peak: float = param(0.4, "雨峰系数 r", "Peak position r of the Chicago storm", gt=0, lt=1, when=STORM)

    rain_area: tuple[Place, ...] = param((), "降雨范围（多边形；空：全部范围）", "Polygon within which the rain falls; empty: everywhere", extra={"x-geometry": "polygon"},
                                         when={"rain": ["uniform", "chicago", "csv", "gauges", "grid"]})  # fmt: skip
    rain_gauges: tuple[RainGauge, ...] = param((), "雨量站（表）", "Rain gauges: rows of name, at, csv", when={"rain": ["gauges"]})
    rain_interpolation: Literal["idw", "thiessen"] = param("idw", "雨量插值", "Between gauges: idw (inverse squared distance) or thiessen (nearest)", when={"rain": ["gauges"]},
                                                           choices={"idw": ("反距离平方加权", "inverse squared distance"), "thiessen": ("泰森多边形（最近站）", "nearest gauge")})  # fmt: skip
    rain_grid: str = layer_field("raster", zh="网格降雨图层", en="Gridded rain: raster layer over time (read from CF NetCDF), or one band a step (empty: none)", default="", when=GRIDDED)
    rain_grid_step_min: float = param(5.0, "网格降雨步长（分钟）", "Minutes that each band holds, where the layer has bands and no times", gt=0, le=1440, when=GRIDDED)
    rain_grid_unit: str = param("", "网格降雨单位（空：按图层）", "Unit of the gridded rain (mm/h, kg m-2 s-1, mm, …); empty: the layer's own", when=GRIDDED)
    rain_grid_stamp: Literal["auto", "start", "end"] = param(
        "auto", "网格降雨时刻含义", "A step's time, where the file has no time bounds: its start or its end; auto: rates start, amounts end", when=GRIDDED,
        choices={"auto": ("自动（强度取始、雨量取末）", "automatic (rates start, amounts end)"), "start": ("时段之始", "start of the step"), "end": ("时段之末", "end of the step")})  # fmt: skip
    rain_grid_accumulated: bool = param(False, "网格降雨为累计值", "Amounts are since the first step's beginning, not by step", when=GRIDDED)
    rain_grid_missing: Literal["refuse", "dry"] = param("refuse", "网格降雨缺测", "Gridded rain: steps and cells without data are refused, or taken as dry", when=GRIDDED,
                                                        choices={"refuse": ("拒绝运行", "refused"), "dry": ("按无雨", "taken as dry")})  # fmt: skip

    inflow_point: tuple[float, float] | None = param(None, "入流点（经度, 纬度）", "Inflow point (longitude, latitude)", group=("入流与水位", "Inflow and levels"))
    inflow_m3_s: float = param(0.0, "入流流量（立方米/秒）", "Constant inflow, m³/s", ge=0, le=1e6)
    inflow_csv: str = param("", "入流过程（CSV文本，首行如 time_min,flow_m3_s）", "Inflow as CSV text: time_…, flow_m3_s")
    inflow_factor: float = param(1.0, "入流系数", "All inflows are multiplied by this", ge=0, le=100)
    inflows: tuple[Inflow, ...] = param((), "入流（表）", "More inflows: rows of name, line, flow_m3_s or csv")
    water: str = layer_field("vector", "blocks", zh="水面图层（河流、潮水）", en="Water layer held at a level (river, tide); empty: none", default="")
    level: float | None = param(None, "水位（米，地形高程基准）", "Constant level of that water, m in the terrain's vertical datum", when={"water": True})
    level_csv: str = param("", "水位过程（CSV文本，首行如 time_min,level_m）", "Level as CSV text: time_…, level_m", when={"water": True})
    level_offset_m: float = param(0.0, "水位修正（米）", "Added to the level of that water at all times, m", ge=-50, le=50, when={"water": True})
    initial_level: float | None = param(None, "初始水位（米，地形高程基准；低于它处初始有水）", "Initial level everywhere below it, m in the terrain's vertical datum")

    infiltration: Literal["none", "constant", "horton", "green_ampt"] = param("none", "下渗模型", "Infiltration", group=("下渗与排水能力", "Infiltration and drainage"), choices={
        "none": ("不计下渗", "none"), "constant": ("恒定下渗", "constant"), "horton": ("霍顿", "Horton"), "green_ampt": ("格林-安普特", "Green–Ampt")})  # fmt: skip
    infiltration_mm_h: float = param(5.0, "（稳定）下渗率（毫米/小时）", "Constant or final infiltration, or Green–Ampt conductivity, mm/h", ge=0, le=1000, when=SOAKS)
    horton_start_mm_h: float = param(50.0, "霍顿初始下渗率（毫米/小时）", "Horton: initial infiltration, mm/h", ge=0, le=5000, when={"infiltration": ["horton"]})
    horton_decay_h: float = param(2.0, "霍顿衰减系数（1/小时）", "Horton: decay, 1/h", ge=0, when={"infiltration": ["horton"]})
    suction_m: float = param(0.05, "格林-安普特 ψ·Δθ（米）", "Green–Ampt: suction head times moisture deficit, m", ge=0, le=5, when={"infiltration": ["green_ampt"]})
    pervious: float = param(0.4, "透水面比例", "Pervious share of the ground", ge=0, le=1, when=SOAKS)
    impervious: str = layer_field("raster", "vector", "blocks", zh="不透水图层", en="Impervious share: raster (0–1 or percent) or areas (empty: none)", default="", when=SOAKS)
    impervious_column: str = param("", "不透水比例字段（空：全不透水）", "Column of the areas with the impervious share, 0–1; empty: all of it", extra={"x-column-of": "impervious"}, when={"impervious": True})
    soil: str = layer_field("vector", "blocks", zh="土壤图层", en="Soil areas (empty: none)", default="", when=SOAKS)
    soil_column: str = param("soil", "土壤类型字段", "Column with the texture (e.g. loam, 壤土) or the hydrologic group A–D", extra={"x-column-of": "soil"}, when={"soil": True})
    soil_saturation: float = param(0.5, "初始饱和度", "Green–Ampt by soil: share of the pores full at the start", ge=0, le=1, when={"soil": True, "infiltration": ["green_ampt"]})
    drainage_mm_h: float = param(0.0, "排水能力（毫米/小时）", "Capacity-only drainage, mm/h", ge=0, le=1000)

    network_inp: str = param("", "排水管网（SWMM .inp 文本）", "Drainage network: the text of a SWMM 5 .inp file", group=("排水管网", "Drainage network"))
    network_crs: str = param("", "管网坐标系（如 EPSG:4547）", "CRS of its [COORDINATES], e.g. EPSG:4547", when=NETWORK)
    network_runoff: Literal["surface", "subcatchments"] = param(
        "surface", "管网产流", "Rain runs off on the surface model (the file's subcatchments are left out), or also in them", when=NETWORK,
        choices={"surface": ("由地面模型产流", "on the surface"), "subcatchments": ("子汇水区也产流", "also in the subcatchments")})  # fmt: skip
    inlet_area_m2: float = param(0.5, "雨水口面积（平方米）", "Clear opening of the inlets at a node, m²", gt=0, le=1000, when=NETWORK)
    inlet_perimeter_m: float = param(3.0, "雨水口周长（米）", "Length over which water falls into a node's inlets, m", gt=0, le=1000, when=NETWORK)
    outfalls: Literal["surface", "file"] = param(
        "surface", "排放口", "Outfalls of the network inside the area: exchange water with the surface, or keep the file's boundary", when=NETWORK,
        choices={"surface": ("与地面水交换", "exchange with the surface"), "file": ("按文件边界", "as the file says")})  # fmt: skip
    inlets: tuple[Inlet, ...] = param((), "雨水口（表）", "Inlets of single nodes: rows of node, area_m2, perimeter_m, sealed", when=NETWORK)
    structures: tuple[Structure, ...] = param((), "水工建筑物（表或GeoJSON）", "Levees, barriers, weirs, gates, bridges, culverts, pumps: rows or GeoJSON", group=("工程与抢险措施", "Structures and barriers"))
    structures_layer: str = layer_field("vector", zh="水工建筑物图层", en="Layer of lines with the columns of such rows (kind, crest, …); empty: none", default="")

    threshold: float = param(0.05, "淹没判定水深（米）", "Depth from which a place counts as flooded, m", ge=0.001, le=5, group=("影响与损失", "Impacts and damage"))
    depth_grades: tuple[float, float, float, float] = param(GRADES, "积水等级水深（米）", "Depths that begin grades I, II, III, IV, m")
    road_segment_m: float = param(100.0, "道路分段长度（米）", "Roads are cut into equal pieces no longer than this, m", ge=5, le=100_000, when={"roads": True})
    vehicles: tuple[Vehicle, ...] = param(VEHICLES, "通行标准（表）", "Who can pass: rows of name, zh, depth_m, depth_speed_m2_s", when={"roads": True})
    building_use_column: str = param("", "建筑用途字段（空：不分用途）", "Column of the buildings' use, for damage curves and the ledger; empty: all alike", extra={"x-column-of": "buildings"}, when={"buildings": True})
    damage_curves: tuple[DamageCurve, ...] = param(CURVES, "水深-损失曲线（表）", "Depth-damage curves: rows of use, points, value_m2", when={"buildings": True})
    floor_m: float = param(0.0, "室内地坪高差（米）", "Height of the buildings' floors above the ground outside, m", ge=0, le=3, when={"buildings": True})
    people_column: str = param("", "人口字段（空：按建筑面积估算）", "Column of the people in a building; empty: floor area over floor_per_person", extra={"x-column-of": "buildings"}, when={"buildings": True})
    floor_per_person: float = param(FLOOR_PER_PERSON, "人均建筑面积（平方米）", "Floor area per person, m²", gt=0, le=1000, when={"buildings": True})
    facilities: str = layer_field("vector", "blocks", zh="重要设施图层", en="Critical facilities (empty: none)", default="")

    frames: int = param(24, "水面过程帧数（0：不要）", "Frames of the water surface over time, evenly spaced (0: none)", ge=0, le=MAX_FRAMES, group=("输出", "Results"))
    gauges: tuple[float, ...] | None = param(None, "测站（经度, 纬度, …）", "Gauges: longitude, latitude, longitude, latitude, …")
    sections: tuple[Section, ...] = param((), "断面（表）", "Sections: rows of name, line; the discharge through each is kept")
    uncertain: tuple[Uncertain, ...] = param((), "不确定参数（表；模拟三次给出范围）", "Uncertain parameters: rows of parameter, low, high; three runs give the spread")
    outputs: tuple[str, ...] = param((), "输出图层（空：全部）", "Outputs to write (empty: all)", choices={output.name: (output.title["zh"], output.title["en"]) for output in OUTPUTS})

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
