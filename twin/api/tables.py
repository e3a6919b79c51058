"""The tables of a layer: property sets in long form, relations between elements, materials, documents."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from twin import query, tables
from twin.api.common import CityDep, href, json_response, link
from twin.api.definition import answers
from twin.api.schemas import Document, Link

router = APIRouter(tags=["Features"])

Where = Annotated[str | None, Query(alias="filter", description="CQL2 text over the table's columns; names that are CQL2 words in double quotes.",
                                    openapi_examples={"relations": {"value": "relation = 'voids'"}})]  # fmt: skip


class TableColumn(Document):
    """A column: its name and Arrow type."""

    name: str
    type: str


class TableEntry(Document):
    """One table of a layer."""

    name: str
    count: int
    columns: list[TableColumn]
    links: list[Link]


class TableList(Document):
    """The tables of a layer."""

    layer: str
    tables: list[TableEntry]
    links: list[Link]


class TableRows(Document):
    """Rows of a table, in the order of the source."""

    layer: str
    table: str
    rows: list[dict[str, Any]] = Field(description="Each row by column name; a null is no value.")
    numberMatched: int  # noqa: N815  named as for features
    numberReturned: int  # noqa: N815
    links: list[Link]


@router.get("/collections/{layer}/tables", summary="Tables of a layer", response_class=Response, responses=answers(TableList))
def listed(request: Request, city: CityDep, layer: str) -> Response:
    """Which tables come with a layer: of a BIM model psets, quantities, relations, materials, classifications, documents, types."""
    version = city.published(layer)[1]
    found = [
        {"name": info.name, "count": info.count, "columns": [{"name": name, "type": kind} for name, kind in info.columns],
         "links": [link("item", href(request, "collections", layer, "tables", info.name))]}
        for info in tables.tables(city.lake, version)
    ]  # fmt: skip
    links = [link("self", href(request, "collections", layer, "tables")), link("collection", href(request, "collections", layer))]
    return json_response(request, {"layer": layer, "tables": found, "links": links})


@router.get("/collections/{layer}/tables/{table}", summary="Rows of a table", response_class=Response, responses=answers(TableRows))
def rows(
    request: Request, city: CityDep, layer: str, table: str, *, where: Where = None,
    limit: Annotated[int, Query(ge=1, le=query.MAX_LIMIT, description="Rows a page.")] = 100,
    offset: Annotated[int, Query(ge=0, le=2**53, description="Matching rows to pass over.")] = 0,
) -> Response:  # fmt: skip
    """Rows in the order of the source, by filter and page: "which openings are in this wall" is one request."""
    version = city.published(layer)[1]
    page = tables.rows(city.lake, version, table, where, limit=limit, offset=offset)
    found = tables.to_json(page)["rows"]

    def page_link(rel: str, start: int) -> dict[str, str]:
        given = {"filter": where, "limit": limit, "offset": start or None}
        return link(rel, href(request, "collections", layer, "tables", table, query=urlencode({k: v for k, v in given.items() if v is not None})))

    links = [page_link("self", offset), link("up", href(request, "collections", layer, "tables"))]
    if offset + len(found) < page.matched and found:
        links.append(page_link("next", offset + len(found)))
    if offset > 0:
        links.append(page_link("prev", max(0, min(offset, page.matched) - limit)))
    value = {"layer": layer, "table": table, "rows": found, "numberMatched": page.matched, "numberReturned": len(found), "links": links}
    return json_response(request, value)
