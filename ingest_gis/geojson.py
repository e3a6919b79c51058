"""What GDAL does not say of a GeoJSON file: whether its features have numbers of their own, and a `crs` that it did not understand.

GDAL takes WGS 84 for any `crs` member that it cannot read, without a word; a layer would lie in the wrong place.

Sources: RFC 7946; GeoJSON 2008, section 3 (the member `crs`, which RFC 7946 took out and many files still have).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ingest_gis.sniff import HEAD

CRS = re.compile(r'"crs"\s*:\s*(null|\{[^{}]*(?:\{[^{}]*\}[^{}]*)?\}|"[^"]*")')
WGS84 = re.compile(r"CRS:?84$|EPSG:[\d.]*:?4326$|WGS ?84$", re.IGNORECASE)


def stated_crs(path: Path, found: str | None) -> str | None:
    """The CRS of a file: what GDAL `found`, unless the file's own `crs` names another than WGS 84 and GDAL came out with that; None where it says `null`."""
    with path.open("rb") as file:
        head = file.read(HEAD).decode("utf-8", "replace")
        file.seek(max(0, path.stat().st_size - HEAD))
        tail = file.read(HEAD).decode("utf-8", "replace")
    member = _member(head, tail)
    if member is None:
        return found
    try:
        value = json.loads(member)
    except ValueError:
        return found
    if value is None:
        return None
    properties = value.get("properties") if isinstance(value, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str):
        return f"crs {member}"[:100]
    return found if WGS84.search(name.strip()) or not _is_default(found) else name


def _is_default(crs: str | None) -> bool:
    return crs is None or WGS84.search(crs) is not None


def _member(head: str, tail: str) -> str | None:
    """The JSON of the file's own member `crs`, which stands before its features or behind them; not one of a feature's properties."""
    before = head.partition('"features"')[0]
    if match := CRS.search(before):
        return match[1]
    for match in CRS.finditer(tail):
        behind = re.sub(r'"(?:[^"\\]|\\.)*"', "", tail[match.end() :])
        if behind.count("}") - behind.count("{") == 1 and behind.count("]") == behind.count("["):
            return match[1]
    return None


def has_numbers(path: Path) -> bool:
    """Whether the first feature has a whole number as `id` of its own (GDAL counts features otherwise, and gives texts as a column); looks at 64 KiB."""
    with path.open("rb") as file:
        head = file.read(HEAD).decode("utf-8", "replace")
    at = re.search(r'"features"\s*:\s*\[', head)
    depth, text = 0, False
    feature = head[at.end() :] if at else head
    at_depth_one = []
    i = 0
    while i < len(feature):
        c = feature[i]
        if text:
            i += 1 if c == "\\" else 0
            text = c != '"'
        elif c == '"':
            text = True
        elif c in "{[":
            depth += 1
        elif c in "}]":
            depth -= 1
            if depth <= 0:
                break
        if depth == 1:
            at_depth_one.append(c)
        i += 1
    return re.search(r'"id"\s*:\s*-?\d+\s*(,|$)', "".join(at_depth_one).strip()) is not None
