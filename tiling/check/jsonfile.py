"""Strict JSON: UTF-8 without a byte order mark, no NaN or Infinity, no double keys, no bottomless nesting."""

from __future__ import annotations

import json
from typing import Any

from .issues import Where


def parse_json(data: bytes, where: Where, *, whole: bool = False) -> Any | None:
    """The parsed value, or None with a finding. `whole`: 1.0 is the whole number 1, as JSON Schema has it (an index may be written so)."""
    if data[:3] == b"\xef\xbb\xbf":
        where.error("JSON_BOM", "starts with a byte order mark; the standard asks for UTF-8 without BOM")
        return None
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_unique, parse_float=_number if whole else None)
    except RecursionError:
        where.error("JSON_INVALID", "is nested too deeply")
    except ValueError as error:  # includes JSONDecodeError and UnicodeDecodeError
        where.error("JSON_INVALID", f"is not valid JSON: {error}")
    else:
        if value is None:  # valid JSON, but None means "reported" to the callers
            where.error("JSON_TYPE", "is null, must be an object")
        return value
    return None


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} occurs twice in an object")
    return result
