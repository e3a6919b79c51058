"""Questions to a layer beyond a page of features (OGC API – Features part 3): queryables, statistics, legends.

What may be asked is one dependency, `Asked`, so that a box and a filter mean the same for features, statistics and styles.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Request, Response

from twin import legends, query, sorting, statistics
from twin.api.collections import WITH_ITEMS
from twin.api.common import CityDep, href, json_response, link
from twin.api.definition import answers
from twin.api.references import CRS84, box_of
from twin.api.references import named as crs_named
from twin.api.schemas import Legend, Queryables, Statistics, StyleList
from twin.city import City
from twin.cql2 import Filter
from twin.cql2_rows import kind_of
from twin.errors import BadOption, NotFound
from twin.model import Column, LayerVersion

router = APIRouter(tags=["Queries"])

Language = Literal["cql2-text", "cql2-json"]
_JSON_TYPES = {"number": {"type": "number"}, "text": {"type": "string"}, "boolean": {"type": "boolean"},
               "instant": {"type": "string", "format": "date-time"}, "array": {"type": "array"}}  # fmt: skip


class Asked:
    """The layer's shown version, and which of its features are meant."""

    def __init__(
        self, city: CityDep, layer: str,
        bbox: Annotated[str | None, Query(
            description="west,south,east,north in degrees (CRS84), or in `bbox-crs` and its axis order; west > east crosses the antimeridian. Features whose geometry touches it match. "
                        "Six numbers are west,south,lowest,east,north,highest in metres above the ellipsoid: features that also reach into these heights.",
            examples=["113.07,22.57,113.09,22.59"])] = None,
        bbox_crs: Annotated[str, Query(alias="bbox-crs", description="URI of the CRS of `bbox`, one of the collection's `crs`.")] = CRS84,
        filter_: Annotated[str | None, Query(alias="filter", description="CQL2 condition over the layer's queryables.",
                                             examples=["height > 30"])] = None,
        filter_lang: Annotated[Language, Query(alias="filter-lang", description="How the filter is written.")] = "cql2-text",
        filter_crs: Annotated[str, Query(alias="filter-crs", description="CRS of geometries in the filter: CRS84 only.")] = CRS84,
    ) -> None:  # fmt: skip
        if filter_crs != CRS84:
            raise BadOption(f"filter-crs: {filter_crs[:100]!r} is not supported.", f"Write geometries in {CRS84} (longitude, latitude).")
        self.layer, self.version = layer, version_with_features(city, layer)
        if bbox is None:
            crs_named(self.version, bbox_crs, "bbox-crs")  # an unknown one is refused, though nothing is asked in it
        self.box: query.Box | None = box_of(self.version, bbox, bbox_crs) if bbox is not None else None
        self.where: Filter | None = query.filter_of(city.lake, self.version, filter_, filter_lang) if filter_ is not None else None
        given = {"bbox": bbox, "bbox-crs": bbox_crs if bbox_crs != CRS84 else None, "filter": filter_, "filter-lang": filter_lang if filter_ and filter_lang != "cql2-text" else None}
        self.given = {name: text for name, text in given.items() if text is not None}


AskedDep = Annotated[Asked, Depends()]
Method = Annotated[Literal["quantile", "equal", "continuous"], Query(description="How numbers are classed.")]
Classes = Annotated[int, Query(ge=1, le=10, description="Classes of numbers.")]
Ramp = Annotated[Literal["cividis", "viridis", "magma"], Query(description="Colours of numbers.")]
Properties = Annotated[str | None, Query(description="Names of columns, separated by commas; all when absent.")]


def version_with_features(city: City, layer: str) -> LayerVersion:
    """The shown version of a layer that has features.

    Raises:
        NotFound: no such layer, or it is of a kind without features.
    """
    _, version, _ = city.published(layer)
    if version.kind not in WITH_ITEMS:
        raise NotFound(f"Layer {layer!r} holds {version.kind}, which has no features.", "Its collection document links what there is.")
    return version


def caps(city: City) -> query.Caps:
    """What one question may use."""
    settings = city.settings
    return query.Caps(settings.query_memory_mb, settings.query_threads, settings.query_seconds)


def names(properties: str | None) -> list[str] | None:
    """The columns of a `properties` parameter."""
    return None if properties is None else [name for name in properties.split(",") if name]


@router.get("/collections/{layer}/queryables", summary="What a filter may name", response_class=Response,
            responses=answers(Queryables, "application/schema+json"))  # fmt: skip
def queryables(request: Request, city: CityDep, layer: str) -> Response:
    """A JSON Schema: the columns with their types, units and titles, and `geometry`."""
    geometry = {"title": "geometry", "format": "geometry-any", "x-ogc-role": "primary-geometry"}
    return _schema(request, city, layer, "queryables", {"geometry": geometry})


@router.get("/collections/{layer}/sortables", summary="What features can be sorted by", response_class=Response,
            responses=answers(Queryables, "application/schema+json"))  # fmt: skip
def sortables(request: Request, city: CityDep, layer: str) -> Response:
    """A JSON Schema: the columns that `sortby` may name."""
    return _schema(request, city, layer, "sortables", {})


def _schema(request: Request, city: City, layer: str, what: Literal["queryables", "sortables"], properties: dict[str, Any]) -> Response:
    version = version_with_features(city, layer)
    told = {column.name: column for column in version.columns}
    kinds = query.columns_of(city.lake, version)
    named = sorting.sortables(kinds) if what == "sortables" else [name for name, kind in kinds.items() if kind_of(kind) != "other"]
    value = {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": href(request, "collections", layer, what), "type": "object",
        "title": layer, "properties": properties | {name: _property(name, kinds[name], told.get(name)) for name in named}, "additionalProperties": False,
    }  # fmt: skip
    return json_response(request, value, media_type="application/schema+json")


def _property(name: str, kind: pa.DataType, column: Column | None) -> dict[str, Any]:
    value: dict[str, Any] = {"title": name, **_JSON_TYPES[kind_of(kind)]}
    if pa.types.is_integer(kind):
        value["type"] = "integer"
    if value["type"] == "array":
        value["items"] = {key: text for key, text in _property("", kind.value_type, None).items() if key != "title"}
    if pa.types.is_date(kind):
        value["format"] = "date"
    if name == "id":
        value["x-ogc-role"] = "id"
    if column is not None and column.unit:
        value["x-ogc-unit"] = column.unit
    if column is not None and column.title:
        value |= {"title": column.title.get("zh") or column.title.get("en") or name, "x-titles": column.title}
    return value


@router.get("/collections/{layer}/statistics", summary="What the matching features hold", response_class=Response,  # noqa: FAST003  Asked takes it
            responses=answers(Statistics))  # fmt: skip
def statistics_of(request: Request, city: CityDep, asked: AskedDep, properties: Properties = None) -> Response:
    """Count, extremes, mean, quantiles and histogram of numbers; the most frequent values of texts. Over all features that match."""
    matched, summaries = statistics.summarise(city.lake, asked.version, names(properties), asked.box, asked.where, caps(city))
    units = {column.name: column.unit or None for column in asked.version.columns}
    value = {"layer": asked.layer, "numberMatched": matched,
             "properties": [s.to_json() | {"unit": units.get(s.name)} for s in summaries]}  # fmt: skip
    return json_response(request, value)


@router.get("/collections/{layer}/styles", summary="By what a layer can be coloured", response_class=Response, responses=answers(StyleList))
def styles(request: Request, city: CityDep, layer: str) -> Response:
    """A style for each column that has a legend (OGC API – Styles, in spirit)."""
    version = version_with_features(city, layer)
    kinds = {name: kind_of(kind) for name, kind in query.columns_of(city.lake, version).items()}
    told = {column.name: column for column in version.columns}
    found = []
    for name, kind in kinds.items():
        if kind in ("number", "text", "boolean") and name in told:
            column = told[name]
            found.append({"id": name, "title": column.title or None, "unit": column.unit or None, "type": kind,
                          "links": [link("stylesheet", href(request, "collections", layer, "styles", name))]})  # fmt: skip
    return json_response(request, {"styles": found, "default": version.style})


@router.get("/collections/{layer}/styles/{column:anything}", summary="A legend from a column's values", response_class=Response,  # noqa: FAST003  Asked takes it
            responses=answers(Legend))  # fmt: skip
def style(
    request: Request, city: CityDep, asked: AskedDep, column: str,
    method: Method = "quantile", classes: Classes = 5, ramp: Ramp = "viridis",
) -> Response:  # fmt: skip
    """Classes and colours for one column, from the values that the matching features hold."""
    told = {c.name: c for c in asked.version.columns}
    _, summaries = statistics.summarise(city.lake, asked.version, [column], asked.box, asked.where, caps(city))
    about = told.get(column)
    value = legends.legend(summaries[0], method=method, classes=classes, ramp=ramp, unit=(about.unit or None) if about else None,
                           title=(about.title or None) if about else None)  # fmt: skip
    return json_response(request, value)
