"""Units and titles of a layer's columns that its file does not carry, as whoever loads it states them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from twin.errors import BadOption
from twin.model import LayerVersion

EXAMPLE = "Write it as NAME=UNIT[,中文名[,English name]], e.g. floor_area=m²,建筑面积,Floor area; an empty UNIT is a number without one."


def parse(texts: Iterable[str]) -> dict[str, list[str]]:
    """`NAME=UNIT[,ZH[,EN]]` each → {name: [unit, zh, en]} (as long as given).

    Raises:
        BadOption: another form, or a name twice.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        said = [word.strip() for word in rest.split(",")]
        if not equals or not name.strip() or len(said) > 3:
            raise BadOption(f"--column {text!r} is not understood.", EXAMPLE)
        if name.strip() in found:
            raise BadOption(f"--column {name.strip()} is given twice.", "Say each column once.")
        found[name.strip()] = said
    return found


def named(version: LayerVersion, columns: Mapping[str, list[str]]) -> LayerVersion:
    """The version with these units and titles ([unit, zh, en]) in place of the file's; an empty title leaves what there was.

    Raises:
        BadOption: a column that the layer does not have.
    """
    unknown = sorted(set(columns) - {column.name for column in version.columns})
    if unknown:
        known = ", ".join(column.name for column in version.columns)
        raise BadOption(f"{version.report.get('source', version.layer)}: there is no column {unknown[0]!r} to name.", f"It has {known or 'none'}.")

    described = list(version.columns)
    for at, column in enumerate(described):
        if column.name in columns:
            unit, *titles = columns[column.name]
            title = {language: text for language, text in zip(("zh", "en"), titles, strict=False) if text}
            described[at] = replace(column, unit=unit, title=column.title | title)
    return replace(version, columns=tuple(described))
