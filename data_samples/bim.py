"""The office building as IFC4: six storeys on the very footprint that the buildings layer has for it.

Local origin: the centre of the L's bounding rectangle, ground floor level z = 0.  IfcMapConversion carries it to EPSG:4547 and to
the levelled pad's height in the 1985 datum.  Outer wall faces run along the footprint; nothing stands out beyond it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from data_samples.bim_kit import PARAPET, PARTITION, SLAB, WALL, Kit
from data_samples.buildings import BIM_FLOORS, BIM_SIZE, BIM_STOREY, Draft
from data_samples.frame import CRS, SOUTH, VERTICAL, WEST
from data_samples.ifc_file import IfcFile
from data_samples.shapes import corners, ell

STAMP = "2025-06-01T08:00:00"
Xa, Xb, Ya, Yb, Yc = -22.25, 22.25, -13.25, 1.25, 13.25  # inner faces of the L; the stem ends at x = -7.75
STEM = -7.75
CORRIDOR = (-7.2, -4.8)
CUTS_SOUTH = (Xa, -15.0, -7.5, 0.0, 7.5, 15.0, Xb)
CUTS_NORTH = (-7.5, 0.0, 7.5, 15.0, Xb)
STAIR = (Xa, -4.8, -16.5, 1.4)  # x0, y0, x1, y1
STAIR_HOLE = (-21.95, -4.4, -17.1, 1.0)
RISERS, TREAD = 26, 0.28


class Office:
    """Builds the model floor by floor."""

    def __init__(self, seed: int, draft: Draft, pad: float) -> None:
        self.ifc = IfcFile(seed, STAMP)
        self.outline = corners(ell(*BIM_SIZE))
        inner = corners(shapely.buffer(ell(*BIM_SIZE), -WALL, join_style="mitre"))
        # the inner ring starts where it likes: pair every outer corner with its nearest inner one
        nearest = [int(np.argmin(np.hypot(*(inner - p).T))) for p in self.outline]
        self.inner = inner[nearest]
        self._project(draft, pad)
        self.kit = Kit(self.ifc, self.context)

    def _project(self, draft: Draft, pad: float) -> None:
        ifc = self.ifc
        units = [
            ifc("IfcSIUnit", UnitType=u, Name=n)
            for u, n in (("LENGTHUNIT", "METRE"), ("AREAUNIT", "SQUARE_METRE"), ("VOLUMEUNIT", "CUBIC_METRE"), ("PLANEANGLEUNIT", "RADIAN"))
        ]
        context = ifc("IfcGeometricRepresentationContext", None, "Model", 3, 1e-5, ifc.axes, None)
        self.context = ifc(
            "IfcGeometricRepresentationSubContext",
            ContextIdentifier="Body",
            ContextType="Model",
            ParentContext=context,
            TargetView="MODEL_VIEW",
        )
        self.project = ifc.root(
            "IfcProject",
            Name="五邑规划设计大楼",
            LongName="Wuyi Planning and Design Building",
            RepresentationContexts=[context],
            UnitsInContext=ifc("IfcUnitAssignment", units),
        )
        angle = float(draft.extra["angle"])
        corner = corners(draft.polygon)[0]  # carries self.outline[0] to the map
        c, s = np.cos(angle), np.sin(angle)
        east = corner[0] - (c * self.outline[0, 0] - s * self.outline[0, 1]) + WEST
        north = corner[1] - (s * self.outline[0, 0] + c * self.outline[0, 1]) + SOUTH
        crs = ifc(
            "IfcProjectedCRS", CRS, "CGCS2000 / 3-degree Gauss-Kruger CM 114E", "CGCS2000", VERTICAL, "Gauss-Kruger", "CM 114E", units[0]
        )
        ifc("IfcMapConversion", context, crs, float(east), float(north), float(pad), float(c), float(s), 1.0)
        self.site = ifc.root(
            "IfcSite",
            Name="五邑规划设计大楼用地",
            LongName="Site",
            ObjectPlacement=ifc.placement((0, 0, 0)),
            CompositionType="ELEMENT",
            RefElevation=float(pad),
        )
        self.building = ifc.root(
            "IfcBuilding",
            Name=draft.name,
            LongName=draft.name_en,
            ObjectPlacement=ifc.placement((0, 0, 0), self.site.ObjectPlacement),
            CompositionType="ELEMENT",
        )
        ifc.part(self.project, self.site)
        ifc.part(self.site, self.building)
        ifc.properties(
            self.building,
            "Pset_BuildingCommon",
            {
                "NumberOfStoreys": ("IfcInteger", BIM_FLOORS),
                "OccupancyType": ("IfcLabel", "办公"),
                "YearOfConstruction": ("IfcLabel", "2021"),
                "IsLandmarked": ("IfcLogical", False),
            },
        )
        area = float(draft.polygon.area)
        ifc.quantities(
            self.building,
            "Qto_BuildingBaseQuantities",
            {
                "FootprintArea": ("Area", area),
                "GrossFloorArea": ("Area", area * BIM_FLOORS),
                "Height": ("Length", BIM_FLOORS * BIM_STOREY + PARAPET),
            },
        )

    def _wall(self, storey: Any, name: str, kind: str, p: Any, q: Any, profile: list[Any], height: float) -> Any:
        """A wall from p to q; `profile` in wall axes (x along p-q, y to its left)."""
        ifc = self.ifc
        d = (np.asarray(q) - p) / np.hypot(*(np.asarray(q) - p))
        body = ifc.extrude(ifc.profile(profile), height)
        ifc.styles(body, self.kit.paint["partition" if kind == "partition" else "wall"])
        placement = ifc.placement((p[0], p[1], 0), storey.ObjectPlacement, (d[0], d[1], 0))
        wall = ifc.root("IfcWall", Name=name, ObjectPlacement=placement, Representation=ifc.shape(self.context, [body]),
                        PredefinedType={"wall": "SOLIDWALL", "partition": "PARTITIONING", "parapet": "PARAPET"}[kind])  # fmt: skip
        ifc.contain(storey, wall)
        ifc.typed(self.kit.wall_types[kind], wall)
        ifc.material(self.kit.layers[kind], wall)
        outside = kind != "partition"
        ifc.properties(wall, "Pset_WallCommon", {"Reference": ("IfcIdentifier", self.kit.wall_types[kind].Name), "IsExternal": ("IfcBoolean", outside), "LoadBearing": ("IfcBoolean", False),
                       "FireRating": ("IfcLabel", "3.00h" if outside else "1.00h"), "ThermalTransmittance": ("IfcThermalTransmittanceMeasure", 1.2 if outside else 2.4)})  # fmt: skip
        return wall

    def _wall_quantities(self, wall: Any, length: float, height: float, width: float, holes: float) -> None:
        gross = length * height
        self.ifc.quantities(wall, "Qto_WallBaseQuantities", {"Length": ("Length", length), "Height": ("Length", height), "Width": ("Length", width),
                            "GrossSideArea": ("Area", gross), "NetSideArea": ("Area", gross - holes)})  # fmt: skip

    def _opening(
        self, storey: Any, wall: Any, kind: tuple[Any, Any, float, float], x: float, sill: float, width: float, name: str, door: bool
    ) -> float:
        """Cut an opening in a wall at `x` along it and fill it; returns the opening's area."""
        ifc, (type_, source, w, h) = self.ifc, kind
        body = self.kit.panel(0, 0, w, h, width + 0.2, -0.1)
        opening = ifc.root(
            "IfcOpeningElement",
            Name=name + "洞口",
            ObjectPlacement=ifc.placement((x, 0, sill), wall.ObjectPlacement),
            Representation=ifc.shape(self.context, [body]),
            PredefinedType="OPENING",
        )
        ifc.void(wall, opening)
        placement = ifc.placement((0, 0, 0), opening.ObjectPlacement)
        element = ifc.root(
            "IfcDoor" if door else "IfcWindow",
            Name=name,
            ObjectPlacement=placement,
            Representation=ifc.mapped(self.context, source),
            OverallHeight=h,
            OverallWidth=w,
        )
        ifc.contain(storey, element)
        ifc.typed(type_, element)
        ifc.fill(opening, element)
        common = {"Reference": ("IfcIdentifier", type_.Name), "IsExternal": ("IfcBoolean", width > 0.2)}
        ifc.properties(element, "Pset_DoorCommon" if door else "Pset_WindowCommon", common)
        ifc.quantities(
            element,
            "Qto_DoorBaseQuantities" if door else "Qto_WindowBaseQuantities",
            {"Width": ("Length", w), "Height": ("Length", h), "Area": ("Area", w * h)},
        )
        return w * h

    def _mitred(self, i: int) -> tuple[Any, Any, float, list[Any]]:
        """The outer wall along edge i of the outline: its ends, length and mitred profile in wall axes."""
        n = len(self.outline)
        p, q, p_in, q_in = self.outline[i], self.outline[(i + 1) % n], self.inner[i], self.inner[(i + 1) % n]
        length = float(np.hypot(*(q - p)))
        d = (q - p) / length
        left = np.array([-d[1], d[0]])
        inside = [(float((e - p) @ d), float((e - p) @ left)) for e in (q_in, p_in)]
        return p, q, length, [(0.0, 0.0), (length, 0.0), *inside]

    def facade(self, storey: Any, floor: int) -> None:
        """Mitred outer walls with windows every 3.75 m, and the entrance."""
        for i in range(len(self.outline)):
            p, q, length, profile = self._mitred(i)
            wall = self._wall(storey, f"外墙{floor + 1}-{i + 1}", "wall", p, q, profile, BIM_STOREY)
            count = int((length - 1.0) // 3.75)
            pitch = length / max(count, 1)
            holes = 0.0
            for k in range(count):
                entrance = floor == 0 and i == 0 and k == count // 2
                name = f"{'大门' if entrance else '外窗'}{floor + 1}-{i + 1}-{k + 1}"
                x = (k + 0.5) * pitch - 1.2
                holes += self._opening(
                    storey, wall, self.kit.doors["main"] if entrance else self.kit.window, x, 0.0 if entrance else 0.9, WALL, name, entrance
                )
            self._wall_quantities(wall, length, BIM_STOREY, WALL, holes)

    def partitions(self, storey: Any, floor: int) -> None:
        """Corridor walls with doors, walls between the rooms, the stair enclosure and the hall's wall."""
        half, y0, y1 = PARTITION / 2, *CORRIDOR
        south = [(a + b) / 2 for a, b in pairwise(CUTS_SOUTH)]
        north = [(a + b) / 2 for a, b in pairwise(CUTS_NORTH)]
        lines: list[tuple[tuple[float, float], tuple[float, float], list[float]]] = [
            ((Xa, y0), (Xb, y0), south),
            ((CUTS_NORTH[0], y1), (Xb, y1), north),
            ((Xa, y1), (STAIR[2], y1), [-17.6]),
            ((Xa, STAIR[3]), (STEM, STAIR[3]), [-12.0]),
            ((STAIR[2], y1 + half), (STAIR[2], STAIR[3] - half), []),
            ((CUTS_NORTH[0], y1 + half), (CUTS_NORTH[0], Yb), []),
        ]
        lines += [((x, Ya), (x, y0 - half), []) for x in CUTS_SOUTH[1:-1]]
        lines += [((x, y1 + half), (x, Yb), []) for x in CUTS_NORTH[1:-1]]
        height = BIM_STOREY - SLAB
        for k, (p, q, doors) in enumerate(lines):
            length = float(np.hypot(q[0] - p[0], q[1] - p[1]))
            wall = self._wall(
                storey, f"内墙{floor + 1}-{k + 1}", "partition", p, q, [(0, -half), (length, -half), (length, half), (0, half)], height
            )
            holes = 0.0
            for m, x in enumerate(doors):
                holes += self._opening(
                    storey, wall, self.kit.doors["room"], x - p[0] - 0.45, 0.0, PARTITION, f"门{floor + 1}-{k + 1}-{m + 1}", True
                )
            self._wall_quantities(wall, length, height, PARTITION, holes)

    def slab(self, storey: Any, name: str, outline: Any, hole: Any, z: float, kind: str) -> Any:
        """A slab whose top is at z above the storey."""
        ifc = self.ifc
        body = ifc.extrude(
            ifc.profile(outline, [hole] if hole else []), SLAB, ifc("IfcAxis2Placement3D", ifc.point((0, 0, z - SLAB)), ifc.z, ifc.x)
        )
        ifc.styles(body, self.kit.paint["roof" if kind == "ROOF" else "concrete"])
        slab = ifc.root(
            "IfcSlab",
            Name=name,
            ObjectPlacement=ifc.placement((0, 0, 0), storey.ObjectPlacement),
            Representation=ifc.shape(self.context, [body]),
            PredefinedType=kind,
        )
        area = shapely.Polygon(outline, [hole] if hole else []).area
        ifc.typed(self.kit.slab_type, slab)
        ifc.material(self.kit.concrete, slab)
        ifc.properties(
            slab,
            "Pset_SlabCommon",
            {"IsExternal": ("IfcBoolean", kind == "ROOF"), "LoadBearing": ("IfcBoolean", True), "FireRating": ("IfcLabel", "1.50h")},
        )
        ifc.quantities(
            slab, "Qto_SlabBaseQuantities", {"Width": ("Length", SLAB), "GrossArea": ("Area", area), "GrossVolume": ("Volume", area * SLAB)}
        )
        return slab

    def columns(self, storey: Any, floor: int) -> None:
        """600 mm columns on the grid, clear of walls' openings."""
        ifc = self.ifc
        spots = [(x, y) for x in (-14.6, -7.1, 0.4, 7.9, 15.4) for y in (Ya + 0.35, -7.62, -4.38, Yb - 0.35)]
        spots += [(-21.8, Yc - 0.45), (-15.0, Yc - 0.45), (-8.2, Yc - 0.45)]
        for k, (x, y) in enumerate(spots):
            column = ifc.root(
                "IfcColumn",
                Name=f"柱{floor + 1}-{k + 1}",
                ObjectPlacement=ifc.placement((x, y, 0), storey.ObjectPlacement),
                Representation=ifc.mapped(self.context, self.kit.column_map),
                PredefinedType="COLUMN",
            )
            ifc.contain(storey, column)
            ifc.typed(self.kit.column_type, column)
            ifc.material(self.kit.concrete, column)
            ifc.properties(column, "Pset_ColumnCommon", {"IsExternal": ("IfcBoolean", False), "LoadBearing": ("IfcBoolean", True)})

    def stair(self, storey: Any, floor: int) -> None:
        """Two flights and a landing, as an IfcStair of parts."""
        ifc = self.ifc
        stair = ifc.root(
            "IfcStair",
            Name=f"楼梯{floor + 1}",
            ObjectPlacement=ifc.placement((STAIR_HOLE[0], STAIR_HOLE[1], 0), storey.ObjectPlacement),
            PredefinedType="HALF_TURN_STAIR",
        )
        ifc.contain(storey, stair)
        half, rise = RISERS // 2, BIM_STOREY / RISERS
        run = (half - 1) * TREAD
        steps: list[tuple[float, float]] = [(0.0, 0.0)]
        for k in range(half - 1):
            steps += [(k * TREAD, (k + 1) * rise), ((k + 1) * TREAD, (k + 1) * rise)]
        under = [(run, (half - 1) * rise - 0.25), (0.35, 0.0)]
        for k, (x, y, z, turn) in enumerate(((0.0, 2.0, 0.0, 1.0), (run, 5.2, half * rise, -1.0))):
            # the flight's side view is drawn in its x-z plane and swept 1.8 m sideways
            at = ifc("IfcAxis2Placement3D", ifc.origin, ifc("IfcDirection", (0.0, -1.0, 0.0)), ifc.x)
            body = ifc.extrude(ifc.profile(steps + under), 1.8, at)
            ifc.styles(body, self.kit.paint["concrete"])
            placement = ifc.placement((x, y if turn > 0 else y - 1.8 - 1.8, z), stair.ObjectPlacement, (turn, 0, 0))
            flight = ifc.root("IfcStairFlight", Name=f"梯段{floor + 1}-{k + 1}", ObjectPlacement=placement, Representation=ifc.shape(self.context, [body]),
                              NumberOfRisers=half, NumberOfTreads=half - 1, RiserHeight=rise, TreadLength=TREAD, PredefinedType="STRAIGHT")  # fmt: skip
            ifc.part(stair, flight)
        landing = ifc.extrude(
            ifc.profile([(run, 0.2), (STAIR_HOLE[2] - STAIR_HOLE[0], 0.2), (STAIR_HOLE[2] - STAIR_HOLE[0], 5.2), (run, 5.2)]), 0.2
        )
        ifc.styles(landing, self.kit.paint["concrete"])
        plate = ifc.root(
            "IfcSlab",
            Name=f"休息平台{floor + 1}",
            ObjectPlacement=ifc.placement((0, 0, half * rise - 0.2), stair.ObjectPlacement),
            Representation=ifc.shape(self.context, [landing]),
            PredefinedType="LANDING",
        )
        ifc.part(stair, plate)

    def spaces(self, storey: Any, floor: int) -> None:
        """One IfcSpace per room."""
        rooms = [(a, Ya, b, CORRIDOR[0], "办公室", "Office") for a, b in pairwise(CUTS_SOUTH)]
        rooms += [(a, CORRIDOR[1], b, Yb, "办公室", "Office") for a, b in pairwise(CUTS_NORTH)]
        rooms += [(Xa, *CORRIDOR[:1], Xb, CORRIDOR[1], "走廊", "Corridor"), (*STAIR, "楼梯间", "Stair"), (STAIR[2], CORRIDOR[1], -7.5, STAIR[3], "电梯厅", "Lift lobby"),
                  (Xa, STAIR[3], STEM, Yc, "多功能厅" if floor == 0 else "会议室", "Hall" if floor == 0 else "Meeting room")]  # fmt: skip
        ifc, gap = self.ifc, PARTITION / 2
        for k, (x0, y0, x1, y1, zh, en) in enumerate(rooms):
            ring = [(x0 + gap, y0 + gap), (x1 - gap, y0 + gap), (x1 - gap, y1 - gap), (x0 + gap, y1 - gap)]
            body = ifc.extrude(ifc.profile(ring), BIM_STOREY - SLAB)
            ifc.styles(body, self.kit.paint["space"])
            number = f"{floor + 1}{k + 1:02d}"
            space = ifc.root("IfcSpace", Name=number, LongName=f"{zh} {en}", ObjectPlacement=ifc.placement((0, 0, 0), storey.ObjectPlacement), Representation=ifc.shape(self.context, [body]),
                             CompositionType="ELEMENT", PredefinedType="INTERNAL")  # fmt: skip
            ifc.part(storey, space)
            area = shapely.Polygon(ring).area
            ifc.properties(
                space,
                "Pset_SpaceCommon",
                {"Reference": ("IfcIdentifier", number), "IsExternal": ("IfcBoolean", False), "GrossPlannedArea": ("IfcAreaMeasure", area)},
            )
            ifc.quantities(
                space,
                "Qto_SpaceBaseQuantities",
                {
                    "NetFloorArea": ("Area", area),
                    "Height": ("Length", BIM_STOREY - SLAB),
                    "NetVolume": ("Volume", area * (BIM_STOREY - SLAB)),
                },
            )

    def storeys(self) -> None:
        """Six storeys and the roof."""
        hx0, hy0, hx1, hy1 = STAIR_HOLE
        hole = [(hx0, hy0), (hx0, hy1), (hx1, hy1), (hx1, hy0)]
        for floor in range(BIM_FLOORS + 1):
            z, roof = floor * BIM_STOREY, floor == BIM_FLOORS
            storey = self.ifc.root("IfcBuildingStorey", Name="屋面" if roof else f"{floor + 1}层", LongName="Roof" if roof else f"Level {floor + 1}",
                                   ObjectPlacement=self.ifc.placement((0, 0, z), self.building.ObjectPlacement), CompositionType="ELEMENT", Elevation=z)  # fmt: skip
            self.ifc.part(self.building, storey)
            if roof:
                self.top(storey)
                continue
            slab = self.slab(
                storey,
                f"楼板{floor + 1}",
                self.inner if floor else self.outline,
                hole if floor else None,
                0.0,
                "FLOOR" if floor else "BASESLAB",
            )
            self.ifc.contain(storey, slab)
            for work in (self.facade, self.partitions, self.columns, self.spaces):
                work(storey, floor)
            if floor < BIM_FLOORS - 1:
                self.stair(storey, floor)

    def top(self, storey: Any) -> None:
        """Roof slab under an IfcRoof, and the parapet."""
        ifc = self.ifc
        roof = ifc.root(
            "IfcRoof", Name="屋顶", ObjectPlacement=ifc.placement((0, 0, 0), storey.ObjectPlacement), PredefinedType="FLAT_ROOF"
        )
        ifc.contain(storey, roof)
        ifc.part(roof, self.slab(storey, "屋面板", self.inner, None, 0.0, "ROOF"))
        ifc.properties(
            roof,
            "Pset_RoofCommon",
            {"IsExternal": ("IfcBoolean", True), "ProjectedArea": ("IfcAreaMeasure", float(shapely.Polygon(self.inner).area))},
        )
        for i in range(len(self.outline)):
            p, q, length, profile = self._mitred(i)
            wall = self._wall(storey, f"女儿墙{i + 1}", "parapet", p, q, profile, PARAPET)
            self._wall_quantities(wall, length, PARAPET, WALL, 0.0)


def write_ifc(seed: int, draft: Draft, pad: float, path: Path) -> None:
    """Write the office; `pad` is the ground floor's elevation in the 1985 datum, metres."""
    office = Office(seed, draft, pad)
    office.storeys()
    office.ifc.close().write(str(path))
