"""The OpenAPI definition: what each route answers with, in which media type, and that every error is a problem document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from twin.api.schemas import Problem

_MEDIA = "x-media-type"
_REFERENCE = "#/components/schemas/{model}"


def answers(model: type[BaseModel], media_type: str = "application/json", status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with one document."""
    return {status: {"model": model, "description": (model.__doc__ or "").strip(), _MEDIA: media_type}}


def binary(description: str, *media_types: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with bytes."""
    return {200: {"description": description, "content": {media_type: {} for media_type in media_types}}}


def install(app: FastAPI) -> None:
    """Let the application build its definition by `build`, once."""
    plain = app.openapi

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _finish(plain())
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]  # the way of extending that FastAPI documents


def _finish(definition: dict[str, Any]) -> dict[str, Any]:
    schemas = definition.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema(ref_template=_REFERENCE)
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own error form, which never leaves this API
        schemas.pop(unused, None)
    for methods in definition["paths"].values():
        for operation in methods.values():
            responses = operation["responses"]
            responses.pop("422", None)
            for response in responses.values():
                media_type = response.pop(_MEDIA, None)
                if media_type is not None:
                    response["content"] = {media_type: response["content"]["application/json"]}
            responses["default"] = {"description": "The request cannot be served.",
                                    "content": {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}}  # fmt: skip
    return definition
