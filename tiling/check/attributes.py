"""What the vertex attributes of a glTF may be stored as (glTF 2.0, 3.7.2.1; KHR_mesh_quantization, "Extending mesh attributes")."""

from __future__ import annotations

from typing import Any

from .issues import Where

BYTE, UBYTE, SHORT, USHORT, FLOAT = 5120, 5121, 5122, 5123, 5126
_SHARES = {(FLOAT, False), (UBYTE, True), (USHORT, True)}
_SIGNED = {(BYTE, True), (SHORT, True)}

#: Attribute (without its number) → element types, and pairs of component type and normalized. POSITION is checked where it is read.
_CORE: dict[str, tuple[set[str], set[tuple[int, bool]]]] = {
    "NORMAL": ({"VEC3"}, {(FLOAT, False)}),
    "TANGENT": ({"VEC4"}, {(FLOAT, False)}),
    "TEXCOORD": ({"VEC2"}, _SHARES),
    "COLOR": ({"VEC3", "VEC4"}, _SHARES),
}
_QUANTIZED: dict[str, set[tuple[int, bool]]] = {
    "NORMAL": _SIGNED,
    "TANGENT": _SIGNED,
    "TEXCOORD": {(kind, normalized) for kind in (BYTE, UBYTE, SHORT, USHORT) for normalized in (False, True)},
}


def check_attribute(name: str, accessor: dict[str, Any], where: Where, *, quantized: bool) -> None:
    """Whether a client may read this accessor as this attribute; `quantized`: the file requires KHR_mesh_quantization."""
    base, _, number = name.partition("_")
    if base not in _CORE or (number and not number.isdigit()):
        return
    types, core = _CORE[base]
    stored = (accessor["componentType"], bool(accessor.get("normalized", False)))
    if accessor["type"] in types and stored in core | (_QUANTIZED.get(base, set()) if quantized else set()):
        return
    how = f"{accessor['type']} of {stored[0]}{', normalized' if stored[1] else ''}"
    needs = " without KHR_mesh_quantization in extensionsRequired" if stored in _QUANTIZED.get(base, set()) else ""
    where.error("GLTF_ATTRIBUTE_TYPE", f"is {how}, which {name} cannot be{needs}")
