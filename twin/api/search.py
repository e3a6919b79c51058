"""Find places: features by name, address or id, and coordinates in any CRS; and what a position is in other systems."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from fastapi import APIRouter, Query, Request, Response

from twin import crs, query
from twin.api.collections import WITH_ITEMS
from twin.api.common import GEOJSON, CityDep, href, json_response, link
from twin.api.definition import answers
from twin.api.queries import caps
from twin.api.schemas import Places, Position
from twin.city import City
from twin.errors import BadFeature, BadOption, TwinError
from twin.ground import raster_parts, reference_of
from twin.model import ABOVE_GROUND, ELLIPSOID, Bounds, Features, LayerVersion, Reference

router = APIRouter(tags=["Search"])

_NAMELIKE = re.compile(r"name|title|label|addr|street|名|称|址|路|街", re.IGNORECASE)
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_PAIR = re.compile(rf"^\s*({_NUMBER})\s*°?\s*([EWew]?)\s*[,，;\s]\s*({_NUMBER})\s*°?\s*([NSns]?)\s*$")
GEODETIC = "EPSG:4490"
"""CGCS2000 geographic; identical to WGS 84 within the accuracy that `twin.crs` records."""


@dataclass(frozen=True)
class _Hit:
    rank: int
    layer: str
    version: LayerVersion
    feature: str
    text: str


@router.get("/search", summary="Find places", response_class=Response, responses=answers(Places))
def search(
    request: Request, city: CityDep,
    q: Annotated[str, Query(min_length=1, max_length=200, description="Part of a name, address or id, or two coordinates.", examples=["学校"])],
    limit: Annotated[int, Query(ge=1, le=100, description="Places at most.")] = 20,
    layer: Annotated[str | None, Query(description="Only this layer.")] = None,
    reference: Annotated[str, Query(alias="crs", description="CRS of two coordinates (easting or longitude first).")] = "EPSG:4326",
) -> Response:  # fmt: skip
    """Coordinates first, then whole ids and names, then names that begin with the text, then those that hold it; letter case aside."""
    places: list[dict[str, Any]] = []
    pair = _PAIR.match(q)
    if pair:
        places.append(_coordinates(pair, reference))
    hits: list[_Hit] = []
    late = time.monotonic() + city.settings.query_seconds
    complete = True
    if layer is not None:
        city.catalog.layer(layer)  # one that does not exist is told, not searched
    for publication in city.catalog.published(layer):
        version = city.manifest(publication.manifest)
        if version.kind not in WITH_ITEMS:
            continue
        if time.monotonic() > late:
            complete = False
            break
        hits += _search_layer(city, version, q.strip(), limit)
    hits.sort(key=lambda hit: (hit.rank, len(hit.text), hit.text, hit.layer, hit.feature))
    places += [_place(request, city, hit) for hit in hits[:limit]]
    return json_response(request, {"places": places[:limit], "complete": complete})


def _coordinates(pair: re.Match[str], reference: str) -> dict[str, Any]:
    x, y = float(pair[1]), float(pair[3])
    x, y = (-x if pair[2] in "Ww" and pair[2] else x), (-y if pair[4] in "Ss" and pair[4] else y)
    lon, lat = _lonlat(reference, x, y)
    return {"kind": "position", "title": f"{lon:.7f}, {lat:.7f}", "lon": lon, "lat": lat, "layer": None, "feature": None, "links": []}


def _lonlat(reference: str, x: float, y: float) -> tuple[float, float]:
    try:
        there, _ = crs.settled(crs.parse_reference(reference, "", where="crs"), [Bounds(x, y, x, y)])
        lon, lat = crs.to_lonlat(there.horizontal, np.array([x]), np.array([y]))
    except BadOption:
        raise
    except TwinError as error:
        raise BadOption(f"crs: {error.message}", error.remedy) from error
    if not (np.isfinite(lon[0]) and np.isfinite(lat[0]) and abs(lon[0]) <= 180 and abs(lat[0]) <= 90):
        raise BadOption(f"{x:g}, {y:g} is no place in {reference}.", "Write easting (or longitude) first.")
    return float(lon[0]), float(lat[0])


def _search_layer(city: City, version: LayerVersion, text: str, limit: int) -> list[_Hit]:
    """The best hits of one layer: at most `limit` of each rank."""
    try:
        types = query.columns_of(city.lake, version)
    except BadFeature:
        return []
    columns = _name_columns(version, types)
    found: list[_Hit] = []
    counts = [0, 0, 0]
    for table in query.scan(city.lake, version, ["id", *columns], caps=caps(city)):
        ids = table.column("id")
        for column in ["id", *columns]:
            values = table.column(column)
            if column == "id":
                mask = pc.equal(values, text)
            else:
                values = values.cast(pa.string())
                mask = pc.fill_null(pc.match_substring(values, text, ignore_case=True), False)
            for i in np.flatnonzero(mask.to_numpy()):
                said = values[int(i)].as_py()
                rank = 0 if said.casefold() == text.casefold() else 1 if said.casefold().startswith(text.casefold()) else 2
                counts[rank] += 1
                if counts[rank] <= limit:
                    found.append(_Hit(rank, version.layer, version, ids[int(i)].as_py(), said))
    return _once(found)


def _once(hits: list[_Hit]) -> list[_Hit]:
    """One hit a feature: its best."""
    best: dict[str, _Hit] = {}
    for hit in sorted(hits, key=lambda h: h.rank):
        best.setdefault(hit.feature, hit)
    return list(best.values())


def _name_columns(version: LayerVersion, types: dict[str, pa.DataType]) -> list[str]:
    """Columns that name a feature: the style's label, those called so, else every text column that is not JSON."""
    texts = [c for c in version.columns if c.name in types and pa.types.is_string(types[c.name]) and c.name not in ("psets", "quantities")]
    label = version.style.get("label")
    named = [c.name for c in texts if c.name == label or _NAMELIKE.search(c.name) or any(_NAMELIKE.search(t) for t in c.title.values())]
    return named or [c.name for c in texts]


def _place(request: Request, city: City, hit: _Hit) -> dict[str, Any]:
    lon, lat = _middle(query.to_wgs84(query.item(city.lake, hit.version, hit.feature, columns=[])))
    return {"kind": "feature", "title": hit.text, "lon": lon, "lat": lat, "layer": hit.layer, "feature": hit.feature,
            "links": [link("item", href(request, "collections", hit.layer, "items", hit.feature), GEOJSON)]}  # fmt: skip


def _middle(features: Features) -> tuple[float | None, float | None]:
    shape = features.geometry[0]
    if shape is None or shape.is_empty:
        return None, None
    point = shapely.point_on_surface(shape)
    return float(point.x), float(point.y)


@router.get("/position", summary="A position in other systems", response_class=Response, responses=answers(Position))
def position(
    request: Request, city: CityDep,
    x: Annotated[float, Query(description="Easting or longitude in `crs`.", examples=[113.08])],
    y: Annotated[float, Query(description="Northing or latitude in `crs`.", examples=[22.58])],
    reference: Annotated[str, Query(alias="crs", description="What x and y are in.")] = "EPSG:4326",
    to: Annotated[str | None, Query(description="A further CRS to answer in, e.g. EPSG:4547.")] = None,
) -> Response:  # fmt: skip
    """Longitude and latitude, the Gauss–Krüger zones of CGCS2000 with easting and northing, the ground's height and its datum."""
    if not (np.isfinite(x) and np.isfinite(y)):
        raise BadOption("x and y must be finite numbers.")
    lon, lat = _lonlat(reference, x, y)
    value: dict[str, Any] = {"lon": lon, "lat": lat, "cgcs2000": {"lon": lon, "lat": lat}, "zone": _zone(lon, lat), "other": None, "ground": None}
    value["zones"] = _zones(lon, lat)
    vertical = Reference(GEODETIC, crs.CHINA_1985)
    if to is not None:
        _lonlat(to, 0.0, 0.0) if to.upper() in ("EPSG:4326", GEODETIC) else None
        there = crs.from_lonlat(crs.settled_at(crs.parse_reference(to, "", where="to").horizontal, lon, lat), np.array([lon]), np.array([lat]))
        value["other"] = {"crs": to, "x": float(there[0][0]), "y": float(there[1][0])}
    box = np.array([lon, lat])
    for publication, version in city.terrains():
        extent = version.extent
        if extent is not None and extent.minx <= lon <= extent.maxx and extent.miny <= lat <= extent.maxy:
            ground = city.ground_for(extent)
            height = float(ground.ellipsoidal(box[:1], box[1:])[0]) if ground is not None else float("nan")
            if np.isfinite(height):
                value["ground"] = {"layer": publication.layer, "ellipsoidal": height}
                vertical = _absolute(reference_of(version, raster_parts(version)[0])) or vertical
                break
    value["datum"] = {"vertical": vertical.vertical, "separation": float(crs.datum_shift(vertical, box[:1], box[1:])[0]),
                      "accuracy": crs.ACCURACY.get(vertical.vertical, 2.0)}  # fmt: skip
    return json_response(request, value)


def _absolute(reference: Reference) -> Reference | None:
    """A reference whose heights are above a datum other than the ellipsoid."""
    return None if reference.vertical in ("", ABOVE_GROUND, ELLIPSOID) else reference


def _zone(lon: float, lat: float) -> dict[str, Any] | None:
    """The 3-degree zone of CGCS2000, without the zone number in the easting."""
    found = _grid(lon, lat, 3, round(lon / 3))
    return found and {key: found[key] for key in ("crs", "zone", "meridian", "easting", "northing")}


def _zones(lon: float, lat: float) -> list[dict[str, Any]]:
    """The 3-degree zone, the neighbour on whose side of the central meridian the place lies, the 6-degree zone.

    A city may straddle a border (112.5° E for example), and its maps then come in the neighbour's zone.
    """
    own = round(lon / 3)
    neighbour = own + 1 if lon > 3 * own else own - 1
    found = (_grid(lon, lat, 3, own), _grid(lon, lat, 3, neighbour), _grid(lon, lat, 6, int(np.floor(lon / 6)) + 1))
    return [zone for zone in found if zone is not None]


def _grid(lon: float, lat: float, width: int, number: int) -> dict[str, Any] | None:
    """A place in a zone: 3-degree ones bear the numbers 25…45, 6-degree ones 13…23 (EPSG:4513…4554 and 4491…4512)."""
    first, last, numbered, plain = (25, 45, 4513, 4534) if width == 3 else (13, 23, 4491, 4502)
    if not first <= number <= last:
        return None
    code = f"EPSG:{plain + number - first}"
    x, y = crs.from_lonlat(code, np.array([lon]), np.array([lat]))
    meridian = 3 * number if width == 3 else 6 * number - 3
    return {"crs": code, "zone": number, "meridian": meridian, "easting": float(x[0]), "northing": float(y[0]), "width": width,
            "numbered_crs": f"EPSG:{numbered + number - first}", "numbered_easting": float(x[0]) + number * 1e6}  # fmt: skip
