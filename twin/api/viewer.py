"""The built viewer under /viewer/, and the page that reads the OpenAPI document without any network."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from twin.api.common import accepts_gzip
from twin.errors import NotFound


class _Viewer(StaticFiles):
    """Static files; what the build has named by its content may be kept for ever, the rest is asked for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file of the viewer."""
        response = await super().get_response(path, scope)
        hashed = path.replace("\\", "/").startswith("assets/") and response.status_code == 200
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return response

    def file_response(self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200) -> Response:
        """What the build has packed (`x.js.gz`) as it lies there: packing 4 MB of Cesium takes longer than sending it."""
        request, packed = Request(scope), Path(f"{os.fspath(full_path)}.gz")
        if "range" in request.headers or not accepts_gzip(request) or not packed.is_file():
            return super().file_response(full_path, stat_result, scope, status_code)
        kind = mimetypes.guess_type(os.fspath(full_path))[0] or "application/octet-stream"
        headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        response = FileResponse(packed, status_code, headers, kind, stat_result=packed.stat())
        return NotModifiedResponse(response.headers) if self.is_not_modified(response.headers, request.headers) else response


def mount(app: FastAPI, folder: Path) -> None:
    """Serve the viewer, or say how to build it."""
    if (folder / "index.html").is_file():
        app.mount("/viewer", GZipMiddleware(_Viewer(directory=folder, html=True), minimum_size=1024))
        return

    @app.get("/viewer/{path:path}", include_in_schema=False)
    def missing(path: str) -> Response:  # noqa: ARG001  every path has the same answer
        raise NotFound("The viewer is not built.", "Run: npm ci && npm run build in viewer/ (./scripts/demo does it).")
