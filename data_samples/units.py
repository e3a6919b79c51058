"""Units and titles of the vector files' columns, by layer: [unit, Chinese, English]. Columns of words need none."""

from __future__ import annotations

GROUND = ["m", "地面高程", "Ground level"]
LENGTH = ["m", "长度", "Length"]
COLUMNS: dict[str, dict[str, list[str]]] = {
    "buildings": {"ground": GROUND, "floor_area": ["m²", "建筑面积", "Floor area"]},
    "streets": {"width": ["m", "宽度", "Width"], "speed_kmh": ["km/h", "限速", "Speed limit"], "length_m": LENGTH},
    "bridges": {"base": ["m", "底面高程", "Underside level"], "road_level": ["m", "桥面高程", "Deck level"]},
    "trees": {"height": ["m", "高度", "Height"], "crown": ["m", "冠幅", "Crown"], "ground": GROUND},
    "pipes": {"diameter": ["m", "管径", "Diameter"], "length_m": LENGTH, "invert_up": ["m", "上游管底高程", "Upstream invert"],
              "invert_down": ["m", "下游管底高程", "Downstream invert"], "slope": ["m/m", "坡度", "Slope"]},
    "manholes": {"rim": ["m", "井口高程", "Rim level"], "invert": ["m", "井底高程", "Invert level"], "depth": ["m", "井深", "Depth"],
                 "catchment_ha": ["ha", "汇水面积", "Catchment"]},
    "structures": {"units": ["", "台数", "Units"], "width": ["m", "净宽", "Clear width"], "opening": ["m", "开启高度", "Opening"], "sill": ["m", "底槛高程", "Sill level"],
                   "capacity_m3s": ["m³/s", "设计流量", "Capacity"], "on_level": ["m", "启用水位", "Start level"], "off_level": ["m", "停用水位", "Stop level"],
                   "levee_crest": ["m", "堤顶高程", "Levee crest"]},
    "levees": {"crest": ["m", "堤顶高程", "Crest level"], "crest_width": ["m", "堤顶宽度", "Crest width"]},
    "water": {"level": ["m", "常水位", "Permanent level"], "warning_level": ["m", "警戒水位", "Warning level"], "design_level": ["m", "设计水位", "Design level"]},
    "places": {"capacity": ["", "容纳人数", "People it holds"]},
    "landuse": {"imperv": ["", "不透水比例", "Impervious share"], "manning": ["s/m^(1/3)", "曼宁糙率", "Manning's n"]},
}  # fmt: skip
