"""What the office is built of: colours, materials, layer sets, and the types of its walls, windows, doors, columns and slabs."""

from __future__ import annotations

from typing import Any

from data_samples.buildings import BIM_STOREY
from data_samples.ifc_file import IfcFile

WALL, PARTITION, SLAB, PARAPET = 0.25, 0.12, 0.25, 1.2  # metres


class Kit:
    """Types and styles of one model."""

    def __init__(self, ifc: IfcFile, context: Any) -> None:
        self.ifc, self.context = ifc, context
        self.paint = {
            "wall": ifc.style("外墙涂料 render", (0.86, 0.84, 0.79)), "partition": ifc.style("内墙 plaster", (0.93, 0.93, 0.91)),
            "concrete": ifc.style("混凝土 concrete", (0.68, 0.68, 0.67)), "glass": ifc.style("玻璃 glass", (0.55, 0.72, 0.78), 0.6),
            "frame": ifc.style("铝合金 aluminium", (0.35, 0.37, 0.40)), "door": ifc.style("木门 timber", (0.52, 0.36, 0.24)),
            "roof": ifc.style("屋面 roofing", (0.58, 0.57, 0.55)), "space": ifc.style("空间 space", (0.6, 0.75, 0.9), 0.8),
        }  # fmt: skip
        concrete, brick, plaster = (ifc("IfcMaterial", n) for n in ("C30钢筋混凝土", "加气混凝土砌块", "水泥砂浆"))
        self.concrete = concrete
        self.layers = {}
        self.wall_types = {}
        for key, zh, width, core in (
            ("wall", "外墙250", WALL, brick),
            ("partition", "内墙120", PARTITION, brick),
            ("parapet", "女儿墙250", WALL, concrete),
        ):
            layers = [ifc("IfcMaterialLayer", m, t, None) for m, t in ((plaster, 0.02), (core, width - 0.04), (plaster, 0.02))]
            layer_set = ifc("IfcMaterialLayerSet", layers, zh)
            self.layers[key] = ifc("IfcMaterialLayerSetUsage", layer_set, "AXIS2", "POSITIVE", 0.0)
            self.wall_types[key] = ifc.root(
                "IfcWallType", Name=zh, PredefinedType="PARAPET" if key == "parapet" else "SOLIDWALL" if key == "wall" else "PARTITIONING"
            )
            ifc.material(layer_set, self.wall_types[key])
        self.window = self._window_type("铝合金窗2420", 2.4, 2.0)
        self.doors = {"room": self._door_type("木门0921", 0.9, 2.1, "door"), "main": self._door_type("玻璃门2424", 2.4, 2.4, "glass")}
        self.column_type = ifc.root("IfcColumnType", Name="方柱600", PredefinedType="COLUMN")
        ring = [(-0.3, -0.3), (0.3, -0.3), (0.3, 0.3), (-0.3, 0.3)]
        body = ifc.extrude(ifc.profile(ring), BIM_STOREY - SLAB)
        ifc.styles(body, self.paint["concrete"])
        self.column_map = self._map(self.column_type, [body])
        self.slab_type = ifc.root("IfcSlabType", Name="楼板250", PredefinedType="FLOOR")

    def _map(self, kind: Any, items: list[Any]) -> Any:
        source = self.ifc("IfcRepresentationMap", self.ifc.axes, self.ifc.body(self.context, items))
        kind.RepresentationMaps = [source]
        return source

    def panel(self, x0: float, z0: float, x1: float, z1: float, depth: float, y: float, hole: float = 0.0) -> Any:
        """An upright panel in the x-z plane, `depth` thick from `y` on; `hole` is the frame's width around an opening."""
        ifc = self.ifc
        at = ifc("IfcAxis2Placement3D", ifc.point((0, y + depth, 0)), ifc("IfcDirection", (0.0, -1.0, 0.0)), ifc.x)
        outer = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
        holes = [[(x0 + hole, z0 + hole), (x0 + hole, z1 - hole), (x1 - hole, z1 - hole), (x1 - hole, z0 + hole)]] if hole else []
        return ifc.extrude(ifc.profile(outer, holes), depth, at)

    def _window_type(self, name: str, width: float, height: float) -> tuple[Any, Any, float, float]:
        frame, pane = self.panel(0, 0, width, height, 0.08, 0.06, 0.06), self.panel(0.06, 0.06, width - 0.06, height - 0.06, 0.02, 0.09)
        bar = self.panel(width / 2 - 0.03, 0.06, width / 2 + 0.03, height - 0.06, 0.07, 0.065)
        for item, paint in ((frame, "frame"), (bar, "frame"), (pane, "glass")):
            self.ifc.styles(item, self.paint[paint])
        kind = self.ifc.root("IfcWindowType", Name=name, PredefinedType="WINDOW", PartitioningType="DOUBLE_PANEL_VERTICAL")
        return kind, self._map(kind, [frame, bar, pane]), width, height

    def _door_type(self, name: str, width: float, height: float, paint: str) -> tuple[Any, Any, float, float]:
        frame, leaf = self.panel(0, 0, width, height, 0.10, 0.01, 0.05), self.panel(0.05, 0.05, width - 0.05, height - 0.05, 0.05, 0.035)
        self.ifc.styles(frame, self.paint["frame"])
        self.ifc.styles(leaf, self.paint[paint])
        kind = self.ifc.root(
            "IfcDoorType",
            Name=name,
            PredefinedType="DOOR",
            OperationType="DOUBLE_DOOR_SINGLE_SWING" if width > 1.5 else "SINGLE_SWING_LEFT",
        )
        return kind, self._map(kind, [frame, leaf]), width, height
