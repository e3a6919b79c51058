"""The application: which routers, in which order, and what holds for all of them."""

from __future__ import annotations

from pathlib import Path

from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

from twin import __version__
from twin.api import (
    collections,
    comparisons,
    definition,
    errors,
    feature_history,
    features,
    grades,
    history,
    jobs,
    landing,
    maps,
    middleware,
    processes,
    queries,
    search,
    tables,
    terrain,
    tiles3d,
    viewer,
)
from twin.api.archives import Archives
from twin.api.common import strict_query
from twin.city import City

DESCRIPTION = """\
One versioned, queryable 3D city: OGC API Features and Processes, 3D Tiles 1.1, quantized-mesh terrain and map tiles.

* Positions in and out are WGS 84 longitude/latitude (CRS84), features on request in other CRS (`crs`, `bbox-crs`); heights are metres above the ellipsoid.
* An unknown query parameter is an error (400), never ignored. Errors are `application/problem+json` (RFC 9457).
* `tileset.json`, `layer.json` and `tilejson.json` change when a layer is published; everything they point to never changes.
"""


def create_app(city: City, *, viewer_folder: Path | None = None, public_url: str = "") -> FastAPI:
    """The API (and the viewer) of one city.

    Args:
        city: an open city.
        viewer_folder: the built viewer, served under `/viewer/`; by default `viewer/dist` beside the package.
        public_url: what links begin with, where a proxy hides it (no slash at the end); by default the request's own.
    """
    app = FastAPI(title="五邑孪生 Wuyi Twin", version=__version__, description=DESCRIPTION, openapi_url=None,
                  dependencies=[Depends(strict_query)], redirect_slashes=False, license_info={"name": "Apache-2.0"})  # fmt: skip
    app.state.city = city
    app.state.public_url = public_url.rstrip("/")
    app.state.archives = Archives(city)
    errors.install(app)
    definition.install(app)
    for block in (landing, collections, grades, queries, history, feature_history, features, tables, search, tiles3d, terrain, maps, processes, jobs, comparisons):
        app.include_router(block.router)
    viewer.mount(app, viewer_folder or Path(__file__).resolve().parents[2] / "viewer" / "dist")
    # the last one added runs first
    app.add_middleware(middleware.UniqueKeys)
    app.add_middleware(middleware.BodyLimit)
    app.add_middleware(middleware.HeadAsGet)
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "HEAD"], allow_headers=["*"],
                       expose_headers=["Content-Crs", "ETag", "Link", "Location"], max_age=86400)  # fmt: skip
    app.add_middleware(middleware.ProtectiveHeaders)
    return app
