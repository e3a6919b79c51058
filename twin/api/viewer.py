"""The built viewer under /viewer/, and the page that reads the OpenAPI document without any network."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from twin.errors import NotFound


class _Viewer(StaticFiles):
    """Static files; what the build has named by its content may be kept for ever, the rest is asked for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file of the viewer."""
        response = await super().get_response(path, scope)
        hashed = path.replace("\\", "/").startswith("assets/") and response.status_code == 200
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return response


def mount(app: FastAPI, folder: Path) -> None:
    """Serve the viewer, or say how to build it."""
    if (folder / "index.html").is_file():
        app.mount("/viewer", GZipMiddleware(_Viewer(directory=folder, html=True), minimum_size=1024))
        return

    @app.get("/viewer/{path:path}", include_in_schema=False)
    def missing(path: str) -> Response:  # noqa: ARG001  every path has the same answer
        raise NotFound("The viewer is not built.", "Run: npm ci && npm run build in viewer/ (./scripts/demo does it).")


