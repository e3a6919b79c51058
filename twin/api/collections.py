"""OGC API – Common part 2: the published layers as collections."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from twin import grading, uses, ways
from twin.api.common import GEOJSON, CityDep, href, json_response, link, timestamp
from twin.api.definition import answers
from twin.api.history import moment, shown_at
from twin.api.references import CRS84, offered, storage
from twin.api.schemas import Collection, Collections
from twin.catalog import Derivation, Publication
from twin.city import City
from twin.errors import NotFound
from twin.model import Layer, LayerKind, LayerVersion

router = APIRouter(tags=["Collections"])

Grades = Literal["CIM1", "CIM2", "CIM3", "CIM4", "CIM5", "CIM6", "CIM7"]
WITH_ITEMS: tuple[LayerKind, ...] = ("blocks", "mesh", "vector", "table")
WITH_MODELS: tuple[LayerKind, ...] = ("blocks", "mesh", "points", "tileset")
WITH_MAP: tuple[LayerKind, ...] = ("raster", "vector", "terrain")


@router.get("/collections", summary="All layers", response_class=Response, responses=answers(Collections))
def collections(
    request: Request, city: CityDep, grade: Annotated[Grades | None, Query(description="Only layers of this CIM grade.")] = None,
    as_of: Annotated[str | None, Query(alias="as-of", description="As the city showed itself at this RFC 3339 time.", examples=["2026-01-01T08:00:00+08:00"])] = None,
) -> Response:  # fmt: skip
    """Every layer that the city shows (or showed), or those of one CIM grade. Of the past there are tiles, terrain and maps, but no items."""
    found = []
    at = moment(as_of) if as_of is not None else None
    for publication in city.catalog.published():
        try:
            shown = None if at is None else shown_at(city, publication.layer, at)
            if at is not None and shown is None:
                continue
            value = describe(request, city, publication.layer, shown)
            if grade is None or value["twin:grade"] == grade:
                found.append(value)
        except NotFound:  # deleted since the list was read
            continue
    links = [link("self", href(request, "collections"))]
    return json_response(request, {"collections": found, "links": links})


@router.get("/collections/{layer}", summary="One layer", response_class=Response, responses=answers(Collection))
def collection(request: Request, city: CityDep, layer: str) -> Response:
    """A layer: what it holds, where, in which version, and the links to its features, tiles, terrain and maps."""
    return json_response(request, describe(request, city, layer))


def describe(request: Request, city: City, name: str, shown: Publication | None = None) -> dict[str, Any]:
    """A published layer as an OGC collection; with `shown`, as that publication showed it.

    Raises:
        NotFound: no such layer, or nothing published.
    """
    layer = city.catalog.layer(name)
    publication, version, derivation = city.published(name)
    past = shown is not None and (shown.number, shown.derivation) != (publication.number, publication.derivation)
    if shown is not None and past:
        publication, version = shown, city.manifest(shown.manifest)
        derivation = city.catalog.derivation(shown.derivation) if shown.derivation else None
    value: dict[str, Any] = {
        "id": name, "title": layer.title.get("zh") or layer.title.get("en") or name, "description": layer.description,
        "twin:title": layer.title, "twin:kind": version.kind, "twin:group": layer.group, "twin:grade": grading.of_version(version.report, layer.grade) or None,
        "twin:gradeBasis": version.report.get("facts", {}).get("grade"),
        "twin:licence": layer.licence or None, "twin:label": layer.label,
        "twin:version": publication.number, "twin:published": timestamp(publication.at), "twin:tileset": derivation.key if derivation else None,
        "twin:stale": uses.is_stale(city, version, derivation), "twin:style": version.style, "twin:schema": _schema(version),
        "twin:count": version.count, "twin:run": _run_of(version),
        "twin:heights": derivation.info.get("heights") if derivation else None,
        "twin:reference": {"horizontal": ways.plain(version.reference.horizontal), "vertical": version.reference.vertical or None},
        "links": _past_links(request, layer, version, derivation) if past else _links(request, layer, version, derivation),
    }  # fmt: skip
    if version.extent is not None:
        box = version.extent
        value["extent"] = {"spatial": {"bbox": [[box.minx, box.miny, box.maxx, box.maxy]], "crs": CRS84}}
    if version.kind in WITH_ITEMS:
        value |= {"itemType": "feature", "crs": list(offered(version))}
        if (stored := storage(version)) is not None:
            value["storageCrs"] = stored
    return value


def _run_of(version: LayerVersion) -> str | None:
    """The job of the scenario run that wrote this version, or None for what came from a source."""
    return version.provenance.get("job") if "scenario" in version.provenance else None


def _schema(version: LayerVersion) -> list[dict[str, Any]]:
    return [{"name": c.name, "type": c.type, "unit": c.unit or None, "title": c.title or None} for c in version.columns]


def _links(request: Request, layer: Layer, version: LayerVersion, derivation: Derivation | None) -> list[dict[str, str]]:
    name = layer.name
    links = [link("self", href(request, "collections", name), title=layer.title.get("zh", name))]
    if version.kind in WITH_ITEMS:
        links.append(link("items", href(request, "collections", name, "items"), GEOJSON, "Features"))
    if has_models(version, derivation):
        links.append(link("tiles3d", href(request, "tiles3d", name, "tileset.json"), title="3D Tiles"))
    if version.kind == "terrain" and has_terrain(derivation):
        links.append(link("terrain", href(request, "terrain", name, "layer.json"), title="Terrain"))
    if version.kind in WITH_MAP:
        links.append(link("map", href(request, "map", name, "tilejson.json"), title="Map tiles"))
    return links


def _past_links(request: Request, layer: Layer, version: LayerVersion, derivation: Derivation | None) -> list[dict[str, str]]:
    """What of an earlier state can still be had: its tiles, under their own key."""
    links = [link("self", href(request, "collections", layer.name), title=layer.title.get("zh", layer.name))]
    if derivation is not None and version.kind in (*WITH_MODELS, "terrain"):
        kind = version.kind == "terrain" and has_terrain(derivation)
        rel, root, entry = ("terrain", "terrain", "layer.json") if kind else ("tiles3d", "tiles3d", "tileset.json")
        links.append(link(rel, href(request, root, layer.name, derivation.key, derivation.info.get("entry", entry))))
    return links


def has_models(version: LayerVersion, derivation: Derivation | None) -> bool:
    """Whether a layer has 3D Tiles (a terrain only where it was asked for)."""
    return derivation is not None and (version.kind in WITH_MODELS or (version.kind == "terrain" and "root" in derivation.info))


def has_terrain(derivation: Derivation | None) -> bool:
    """Whether a terrain's tiles are (also) quantized meshes."""
    return derivation is not None and derivation.info.get("entry", "layer.json") == "layer.json"


def default_terrain(city: City) -> Publication | None:
    """The terrain that was published first among those that the city shows now, or None."""
    shown = {p.layer: p for p, _ in city.terrains() if p.derivation and has_terrain(city.catalog.derivation(p.derivation))}
    return next((shown[p.layer] for p in city.catalog.publications() if p.layer in shown), None)
