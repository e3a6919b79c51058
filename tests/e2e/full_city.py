"""What the small city lacks and the browser tests ask for: a cloud, a model with a basement, a second version, and blocks that are masses from afar.

As in `small_city`, what the tests expect is computed from these numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import laspy
import numpy as np

from tests.ingest_bim.conftest import step_text

CLOUD = (300.0, 440.0, 40.0)
"""South-west corner and side of the cloud, metres from the city's corner."""
CLOUD_HEIGHTS = (60.0, 100.0)
CLASSES = (2, 6)
"""West half, east half."""
INTENSITIES = (100, 4100)
"""West edge, east edge."""
MODEL = (459.0, 140.0)
MODEL_HEIGHT = 40.0
"""Of the model's origin; the ground there is at 26 m. What lies below the origin counts as below ground."""
UPPER, LOWER = "1000000000000000000001", "1000000000000000000003"
"""GlobalIds of a column above the origin and of one ten metres below it."""
BEFORE, AFTER = "城北中学", "城北实验中学"
SUBURB = 1500.0
"""Metres north of the city that blocks stand again, smaller ones."""

BASEMENT = """#130=IFCCOLUMN('1000000000000000000003',$,'basement column',$,$,#131,#134,'T3',.COLUMN.);
#131=IFCLOCALPLACEMENT(#40,#132);
#132=IFCAXIS2PLACEMENT3D(#133,$,$);
#133=IFCCARTESIANPOINT((0.,12.,-10.));
#134=IFCPRODUCTDEFINITIONSHAPE($,$,(#135));
#135=IFCSHAPEREPRESENTATION(#2,'Body','MappedRepresentation',(#136));
#136=IFCMAPPEDITEM(#65,#103);
#140=IFCRELCONTAINEDINSPATIALSTRUCTURE('1000000000000000000019',$,$,$,(#130),#22);"""


def jobs(city: ModuleType, folder: Path) -> list[dict[str, Any]]:
    """Writes the files; returns what to ingest, in this order: the last is the second version of a layer."""
    small = {str(job["layer"]): job for job in city.write(folder)}
    small["buildings"]["options"] |= {"subdivision": "implicit", "budget": "300"}
    _cloud(city, folder / "cloud.las")
    (folder / "model.ifc").write_text(step_text(BASEMENT))
    _suburb(city, folder)
    renamed = json.loads((folder / "places.geojson").read_text("utf-8"))
    for feature in renamed["features"]:
        if feature["properties"]["name"] == BEFORE:
            feature["properties"]["name"] = AFTER
    (folder / "places2.geojson").write_text(json.dumps(renamed, ensure_ascii=False), "utf-8")
    anchor = ",".join(str(number) for number in (city.EAST + MODEL[0], city.NORTH + MODEL[1], MODEL_HEIGHT))
    return [
        small["terrain"], small["buildings"],
        _job(folder / "suburb.geojson", "suburb", "footprints", {"height": "height", "vertical": "above ground", "id": "id", "ground": "25", "budget": "300"}, "城郊", "Suburb"),
        _job(folder / "cloud.las", "cloud", "points", {"crs": city.CRS, "vertical": "ellipsoid"}, "点云", "Cloud"),
        _job(folder / "model.ifc", "model", "ifc", {"crs": city.CRS, "vertical": "ellipsoid", "anchor": anchor, "confirm": "true"}, "模型", "Model"),
        small["places"], small["places"] | {"source": folder / "places2.geojson"},
    ]  # fmt: skip


def _job(path: Path, layer: str, reader: str, options: dict[str, str], zh: str, en: str) -> dict[str, Any]:
    return {"source": path, "layer": layer, "reader": reader, "options": options, "describe": {"title_zh": zh, "title_en": en, "group": "时空基础"}}


def cloud_height(y: float) -> float:
    """Rises from south to north."""
    low, high = CLOUD_HEIGHTS
    return low + (high - low) * (y - CLOUD[1]) / CLOUD[2]


def _cloud(city: ModuleType, path: Path) -> None:
    """A slanting sheet of points, 40 cm apart, well above the roofs."""
    steps = np.arange(0.0, CLOUD[2] + 0.01, 0.4)
    x, y = (axis.ravel() for axis in np.meshgrid(CLOUD[0] + steps, CLOUD[1] + steps))
    header = laspy.LasHeader(point_format=0, version="1.2")
    header.scales, header.offsets = [0.001] * 3, [city.EAST, city.NORTH, 0]
    las = laspy.LasData(header)
    las.x, las.y, las.z = city.EAST + x, city.NORTH + y, np.array([cloud_height(each) for each in y])
    east = (x - CLOUD[0]) / CLOUD[2]
    las.classification = np.where(east < 0.5, *CLASSES).astype(np.uint8)
    las.intensity = np.rint(INTENSITIES[0] + (INTENSITIES[1] - INTENSITIES[0]) * east).astype(np.uint16)
    las.write(path)


def _suburb(city: ModuleType, folder: Path) -> None:
    rows = json.loads((folder / "buildings.geojson").read_text("utf-8"))
    for feature, block in zip(rows["features"], city.buildings(), strict=True):
        x, y = block.x, block.y + SUBURB
        ring = [city.degrees(x + dx, y + dy) for dx, dy in ((-6, -5), (6, -5), (6, 5), (-6, 5), (-6, -5))]
        feature["geometry"] = {"type": "Polygon", "coordinates": [ring]}
        feature["properties"]["id"] = f"S-{block.id}"
    (folder / "suburb.geojson").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
