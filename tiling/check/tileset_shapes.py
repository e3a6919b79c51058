"""The JSON structure of tileset.json (3D Tiles 1.0 and 1.1), as shapes."""

from __future__ import annotations

from .shape import IDENTIFIER, INDEX, Anything, List, Map, Num, Obj, Shape, Text
from .values import ENTITY

_ERROR = Num(low=0)
_CONTENT = Obj(
    optional={
        "uri": Text(1),
        "url": Text(1),  # the name of the drafts before 1.0; reported by the tile check
        "boundingVolume": Anything(),  # checked by volumes.py
        "metadata": Anything(),  # by values.py
        "group": INDEX,
    },
    any_of=(("uri", "url"),),
)

#: A tile without its children, which the walk checks one by one (a tree may be a million tiles deep or wide).
TILE = Obj(
    required={"boundingVolume": Anything(), "geometricError": _ERROR},
    optional={
        "viewerRequestVolume": Anything(),
        "refine": Anything(),
        "transform": List(Num(), 16, 16),
        "content": _CONTENT,
        "contents": List(_CONTENT, 1),
        "metadata": Anything(),
        "implicitTiling": Anything(),
        "children": Anything(),
    },
    at_most_one=(("content", "contents"),),
)

ASSET = Obj(required={"version": Text(1)}, optional={"tilesetVersion": Text(), "gltfUpAxis": Text()})

_STATISTICS_PROPERTY = {
    name: Anything()
    for name in ("min", "max", "mean", "median", "standardDeviation", "variance", "sum", "occurrences")
}
STATISTICS = Obj(
    optional={
        "classes": Map(
            Obj(
                optional={
                    "count": Num(low=1, whole=True),
                    "properties": Map(Obj(optional=_STATISTICS_PROPERTY), IDENTIFIER, 1),
                }
            ),
            IDENTIFIER,
            1,
        )
    }
)

_TOP: dict[str, Shape] = {
    "properties": Map(Obj({"minimum": Num(), "maximum": Num()})),
    "schema": Anything(),
    "schemaUri": Text(1),
    "statistics": STATISTICS,
    "groups": List(ENTITY, 1),
    "metadata": Anything(),
    "extensionsUsed": List(Text(1), 1, unique=True),
    "extensionsRequired": List(Text(1), 1, unique=True),
}
TILESET = Obj(
    required={"asset": ASSET, "geometricError": _ERROR, "root": Map(Anything())},
    optional=_TOP,
    at_most_one=(("schema", "schemaUri"),),
)
