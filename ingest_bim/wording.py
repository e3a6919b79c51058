"""What Python says of malformed files, in words for the people who have to mend them."""

from __future__ import annotations

import re

NAMES = {"list": "a list", "dict": "an object", "str": "a text", "int": "a number", "float": "a number", "NoneType": "null", "bool": "true or false"}


def in_words(error: Exception) -> str:
    """The reason of an exception that a malformed file caused; never a Python type alone."""
    text = " ".join(str(error).split())[:150].rstrip(".")
    if isinstance(error, FileNotFoundError):
        return f"it refers to {text!r}, which is absent or not in its folder"
    if isinstance(error, KeyError):
        return f"{text} is missing"
    if isinstance(error, IndexError):
        return "a number (of a vertex, a face, …) leads to nothing"
    if isinstance(error, TypeError | AttributeError):
        if found := re.search(rf"'({'|'.join(NAMES)})' object", text):
            return f"{NAMES[found[1]]} stands where something else is expected"
        return "a value is of another kind than the format asks for"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, AssertionError | UnboundLocalError) or not text or "broadcast" in text or "reshape" in text:
        return "a part of it is missing, shorter than it states, or not as the format asks"
    return text
