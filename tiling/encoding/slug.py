"""Names of people as identifiers of 3D Metadata (``[a-zA-Z_][a-zA-Z0-9_]*``)."""

from __future__ import annotations

import re
from collections.abc import Sequence


def slug(name: str) -> str:
    """A valid identifier: ASCII letters, digits and `_` stay, other letters become `u` and their code point, the rest `_`."""
    text = "".join(c if re.match(r"\w", c, re.ASCII) else f"u{ord(c):x}" if c.isalnum() else "_" for c in name)
    return text if re.match(r"[a-zA-Z_]", text) else f"_{text}"


def property_ids(names: Sequence[str]) -> dict[str, str]:
    """Distinct identifiers for distinct names, in order: a second name with the same slug gets `_2`, and so on."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = candidate = slug(name)
        number = 1
        while candidate in taken:
            number += 1
            candidate = f"{base}_{number}"
        taken.add(candidate)
        result[name] = candidate
    return result
