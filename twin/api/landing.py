"""OGC API – Common: landing page, conformance, the API's own page; and `/city` for the opening camera."""

from __future__ import annotations

from importlib import resources
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from twin import __version__
from twin.api.collections import default_terrain
from twin.api.common import CityDep, href, json_response, link, weights
from twin.api.definition import answers
from twin.api.schemas import CityView, Conformance, Landing
from twin.city import City
from twin.model import Bounds, LayerVersion

router = APIRouter(tags=["Common"])

TITLE = {"zh": "五邑孪生", "en": "Wuyi Twin"}
CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/landing-page",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/json",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/queryables",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/features-filter",
    *(f"http://www.opengis.net/spec/cql2/1.0/conf/{name}" for name in (
        "cql2-text", "cql2-json", "basic-cql2", "advanced-comparison-operators", "case-insensitive-comparison", "accent-insensitive-comparison",
        "basic-spatial-functions", "basic-spatial-functions-plus", "spatial-functions", "temporal-functions", "array-functions",
        "property-property", "arithmetic")),
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/ogc-process-description",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/json",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/job-list",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/dismiss",
]


@router.get("/", summary="Landing page", response_class=Response, responses=answers(Landing))
def landing(request: Request) -> Response:
    """The doors of this API. A browser is sent to the viewer."""
    accept = dict(weights(request.headers.get("accept", "")))
    json_weight = max(accept.get("application/json", 0.0), accept.get("application/*", 0.0))
    if accept.get("text/html", 0.0) > json_weight:
        return RedirectResponse(href(request, "viewer", ""), 302, {"Vary": "Accept"})
    links = [
        link("self", href(request, ""), title="This document"),
        link("service-desc", href(request, "openapi.json"), "application/vnd.oai.openapi+json;version=3.1", "OpenAPI definition"),
        link("service-doc", href(request, "docs"), "text/html", "API documentation"),
        link("conformance", href(request, "conformance"), title="Conformance classes"),
        link("data", href(request, "collections"), title="Layers"),
        link("http://www.opengis.net/def/rel/ogc/1.0/processes", href(request, "processes"), title="Scenarios"),
        link("http://www.opengis.net/def/rel/ogc/1.0/job-list", href(request, "jobs"), title="Runs"),
        link("alternate", href(request, "viewer", ""), "text/html", "The city in the browser"),
    ]
    value = {"title": "五邑孪生 Wuyi Twin", "description": "A versioned, queryable 3D city.", "twin:title": TITLE, "links": links}
    return json_response(request, value, headers={"Vary": "Accept, Accept-Encoding"})


@router.get("/conformance", summary="Conformance classes", response_class=Response, responses=answers(Conformance))
def conformance(request: Request) -> Response:
    """Which conformance classes of the OGC APIs hold."""
    return json_response(request, {"conformsTo": CONFORMANCE})


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> Response:
    """The OpenAPI 3.1 definition."""
    return json_response(request, request.app.openapi(), media_type="application/vnd.oai.openapi+json;version=3.1")


@router.get("/docs", include_in_schema=False)
def docs() -> Response:
    """The API's page: it draws openapi.json with what it carries itself."""
    page = resources.files("twin.api").joinpath("docs.html").read_bytes()
    return Response(page, 200, {"Cache-Control": "no-cache"}, "text/html; charset=utf-8")


@router.get("/city", summary="The city as a whole", response_class=Response, responses=answers(CityView))
def whole(request: Request, city: CityDep) -> Response:
    """Where to look first: box in degrees, lowest and highest ellipsoidal height in metres, and the default terrain."""
    box, heights = _view(city)
    terrain = default_terrain(city)
    value: dict[str, Any] = {
        "title": TITLE, "bbox": [box.minx, box.miny, box.maxx, box.maxy] if box else None, "heights": heights,
        "terrain": terrain.layer if terrain else None, "version": __version__,
    }  # fmt: skip
    return json_response(request, value)


def _view(city: City) -> tuple[Bounds | None, list[float] | None]:
    """Box and heights of what stands in the city; of its plans and pictures only where nothing stands."""
    found: list[tuple[LayerVersion, list[float] | None]] = []
    for publication in city.catalog.published():
        derivation = city.catalog.derivation(publication.derivation) if publication.derivation else None
        found.append((city.manifest(publication.manifest), derivation.info.get("heights") if derivation else None))
    for kinds in (("blocks", "mesh", "points", "tileset"), ("vector", "raster", "terrain", "table")):
        boxes = [version.extent for version, _ in found if version.kind in kinds and version.extent is not None]
        if boxes:
            known = [heights for version, heights in found if version.kind in kinds and heights]
            return Bounds.union(boxes), [min(h[0] for h in known), max(h[1] for h in known)] if known else None
    return None, None
