"""Names in CityGML files: namespaces of the standards, and the parts of a tag."""

from __future__ import annotations

import re
from functools import lru_cache

GML = ("http://www.opengis.net/gml", "http://www.opengis.net/gml/3.2")
GML_ID, GML32_ID = (f"{{{space}}}id" for space in GML)
CITYGML = "http://www.opengis.net/citygml"
XLINK = "{http://www.w3.org/1999/xlink}href"
SURFACE_DATA = "surfaceDataMember"
VERSION = re.compile(re.escape(CITYGML) + r"(?:/.*)?/(\d[\w.]*)$")


@lru_cache(maxsize=4096)
def local(tag: str) -> str:
    """`{namespace}name` → `name`."""
    return tag.rsplit("}", 1)[-1]


@lru_cache(maxsize=4096)
def namespace(tag: str) -> str:
    """`{namespace}name` → `namespace`."""
    return tag[1:].rsplit("}", 1)[0] if "}" in tag else ""


@lru_cache(maxsize=4096)
def version_of(space: str) -> str:
    """The version that a namespace of CityGML ends with (2.0), or ""."""
    match = VERSION.match(space)
    return match[1] if match else ""
