"""What raw letters of a STEP file mean: one encoding for all, or, of files put together by several programs, one for each text.

A STEP file has ASCII alone (ISO 10303-21:2016, 5.2); many programs write their own encoding all the same, and models that were merged have several.
"""

from __future__ import annotations

import re

_HIGH = re.compile(rb"[\x80-\xff]+")
#: A comment, whole, so that an apostrophe in it begins no text; or a text. Neither UTF-8 nor GBK uses the byte of an apostrophe within a letter.
_TEXTS = re.compile(rb"/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)


def guess_encoding(data: bytes) -> str:
    """`utf-8` if it decodes; `gb18030` if high bytes come in pairs of the GB 2312 plane (0xA1–0xFE); else `latin-1`.

    In Latin-1 text accented letters stand alone between ASCII letters, so few of their runs have an even length.
    """
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        runs = _HIGH.findall(data)
        paired = sum(len(run) for run in runs if len(run) % 2 == 0 and min(run) >= 0xA1)
        if paired >= 0.8 * sum(map(len, runs)):
            try:
                data.decode("gb18030")
            except UnicodeDecodeError:
                return "latin-1"
            return "gb18030"
        return "latin-1"
    return "utf-8"


def decoded_by_text(data: bytes) -> tuple[str, str] | None:
    """(text, what encodings it has) of a file whose texts are in UTF-8 and in something else; None where one encoding serves all.

    A text is UTF-8 where it decodes as such and cannot be GB 2312. What could be both (two or four bytes often can) is what more of the others are.
    """
    high = [match[0] for match in _TEXTS.finditer(data) if not match[0].isascii()]
    sure = [_is_utf8(text) and not _is_paired(text) for text in high]
    others = [text for text in high if not _is_utf8(text)]
    if not any(sure) or not others:
        return None
    rest = guess_encoding(b" ".join(others))
    either = "utf-8" if sum(sure) >= len(others) else rest

    def plain(match: re.Match[bytes]) -> bytes:
        text = match[0]
        if text.isascii():
            return text
        own = rest if not _is_utf8(text) else either if _is_paired(text) else "utf-8"
        try:
            return text.decode(own).encode()
        except UnicodeDecodeError:
            return text.decode("latin-1").encode()

    return _TEXTS.sub(plain, data).decode("utf-8", "replace"), f"utf-8 and {rest}"


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_paired(text: bytes) -> bool:
    """Whether it can be GB 2312: all high bytes in pairs of its plane."""
    return all(len(run) % 2 == 0 and min(run) >= 0xA1 for run in _HIGH.findall(text))
