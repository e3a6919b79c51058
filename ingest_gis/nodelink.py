"""Node-link JSON graphs (networkx, OSMnx) as lines: a feature per link, between the places of its two nodes.

Format: networkx `node_link_data`: `nodes` with `id`, `x`, `y`; `links` (or `edges`) with `source`, `target`, in a
multigraph `key`, attributes, and often a `geometry` as WKT or GeoJSON; `graph["crs"]` names the reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from shapely.geometry import shape

from ingest_gis.rows import CHUNK, Rows, Source
from twin.errors import UnreadableSource

LINK_ID = "link"
"""The derived id column: `source-target` or, in a multigraph, `source-target-key`: stable under reordering."""


def open_nodelink(path: Path) -> Source:
    """Open a node-link graph. It is read as a whole: such files describe a street or river network of one city.

    Raises:
        UnreadableSource: not JSON, or nodes without places, or links to nodes that do not exist.
    """
    try:
        graph = json.loads(path.read_bytes())
        nodes, links = graph["nodes"], graph["links"] if "links" in graph else graph["edges"]
        places = {node["id"]: (float(node["x"]), float(node["y"])) for node in nodes}
        crs = (graph.get("graph") or {}).get("crs")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UnreadableSource(f"{path.name} is no readable node-link graph: {reason}.",
                               "Write it with networkx.node_link_data and nodes that have x and y.") from error  # fmt: skip
    wkb = np.array([_line(path, row, link, places) for row, link in enumerate(links)], dtype=object)
    table = _attributes(links, bool(graph.get("multigraph")))

    def chunks() -> Iterator[Rows]:
        for start in range(0, len(wkb), CHUNK):
            yield Rows(start, wkb[start : start + CHUNK], table.slice(start, CHUNK))

    facts = {"graph_nodes": len(nodes), "graph_directed": bool(graph.get("directed"))}
    return Source(path.name, "NodeLink", path.stem, str(crs) if crs else None, table.schema.names, lambda: table.schema, False, len(wkb), chunks,
                  lambda name: iter([table.column(name)]), facts=facts)  # fmt: skip


def _line(path: Path, row: int, link: dict[str, Any], places: dict[Any, tuple[float, float]]) -> bytes | None:
    given = link.get("geometry")
    try:
        if isinstance(given, str):
            return bytes(shapely.to_wkb(shapely.from_wkt(given)))
        if isinstance(given, dict):
            return bytes(shapely.to_wkb(shape(given)))
        return bytes(shapely.to_wkb(shapely.linestrings([places[link["source"]], places[link["target"]]])))
    except (KeyError, TypeError, ValueError, shapely.errors.GEOSException) as error:
        raise UnreadableSource(f"{path.name}: link {row} cannot be placed: {error}.",
                               "Its source and target must name nodes, and its geometry be WKT or GeoJSON.") from error  # fmt: skip


def _attributes(links: list[dict[str, Any]], multi: bool) -> pa.Table:
    """One column a key in order of first appearance; a column of mixed types becomes text, lists joined by `; `."""
    names: dict[str, None] = {}
    for link in links:
        names.update(dict.fromkeys(link))
    names.pop("geometry", None)
    columns: dict[str, pa.Array] = {}
    for name in names:
        values = [link.get(name) for link in links]
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int, float}:
            values = [None if v is None else float(v) for v in values]
        elif len(kinds) > 1 or kinds & {list, dict}:
            values = [_text(value) for value in values]
        columns[name] = pa.array(values)
    ids = ["-".join(str(link.get(k)) for k in (("source", "target", "key") if multi else ("source", "target"))) for link in links]
    columns[LINK_ID] = pa.array(ids, pa.string())
    return pa.table(columns)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(v, (str, int, float)) for v in value):
        return "; ".join(str(v) for v in value)
    return json.dumps(value, ensure_ascii=False)


