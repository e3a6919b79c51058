"""What is delivered: a source, the reader that takes it and the options it is read with, checked before a job is queued."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from twin import grading, registry, sources, unread
from twin.errors import BadInput, BadOption
from twin.model import LABELS, Group
from twin.options import takes

LAYER_NAME = re.compile(r"^[^\W_][\w.-]{0,62}$")
PROBED = 500  # files of a folder that are looked at to find its reader
DESCRIBE = ("title_zh", "title_en", "group", "grade", "licence", "label", "description")


def ingest_params(source: sources.Source, layer: str, *, reader: str | None = None, options: dict[str, Any] | None = None,
                  describe: dict[str, str] | None = None, columns: dict[str, list[str]] | None = None, publish: bool = True, update: bool = False) -> dict[str, Any]:  # fmt: skip
    """The parameters of an ingest job, checked before anything is queued; `columns` as for `naming.named`.

    Raises:
        BadOption: a bad layer name, an unknown option or description field.
        UnreadableSource: no such file, or an empty one.
        NotFound: no such reader.
    """
    check_layer_name(layer)
    paths = sources.expand(source)
    unknown = set(describe or {}) - set(DESCRIBE)
    if unknown:
        raise BadOption(f"Unknown layer description {min(unknown)!r}.", f"Known: {', '.join(DESCRIBE)}.")
    for field, known in (("group", get_args(Group)), ("label", LABELS)):
        if (describe or {}).get(field, known[0]) not in known:
            raise BadOption(f"{field} cannot be {describe[field]!r}.", f"It is one of {', '.join(known)}.")  # type: ignore[index]
    if describe and "grade" in describe:
        describe = {**describe, "grade": grading.check(describe["grade"])}
    entry = _reader_for(paths, reader, options or {})
    if len(paths) > 1 and not entry.several:
        raise BadInput(f"Reader {entry.name} takes one file, {len(paths)} are given.", "Ingest them one by one.")
    if not entry.several and paths[0].is_dir() and paths[0].suffix.lower() != ".gdb":
        raise BadInput(f"{paths[0].name} is a folder, and reader {entry.name} takes one file.", "Give the file in it.")
    split_options(entry, options or {})
    return {"source": str(paths[0]) if len(paths) == 1 else [str(path) for path in paths], "layer": layer, "reader": entry.name, "options": options or {}, "describe": describe or {}, "publish": publish} | ({"columns": columns} if columns else {}) | ({"update": True} if update else {})


def check_layer_name(name: str) -> None:
    """Layer names are letters (of any script), digits, `_`, `-`, `.`; ≤ 63 characters; they stand in URLs."""
    if not LAYER_NAME.match(name):
        raise BadOption(f"{name!r} cannot be a layer name.", "Use letters, digits, '-', '_' and '.', beginning with a letter or digit (at most 63).")


def _reader_for(paths: list[Path], name: str | None, options: dict[str, Any]) -> registry.Entry:
    """The reader of a source; a folder's is that of many files which recognises one of its first files."""
    if name is not None or len(paths) > 1 or not paths[0].is_dir() or paths[0].suffix:
        return choose_reader(paths[0], name, options)
    many = {entry.name: entry for entry in registry.readers().values() if entry.several}
    suffixes = [suffix for entry in many.values() for suffix in entry.suffixes]
    for path in islice(sources.inside(paths[0], suffixes), PROBED):
        try:
            return choose_reader(path, None, options, many)
        except BadInput:
            continue
    if (paths[0] / "tileset.json").is_file():
        raise BadInput(f"{paths[0].name} is the folder of a tileset.", f"Give its root: {paths[0].name}/tileset.json.")
    if held := unread.left(paths[0], tuple(suffixes), {suffix for entry in registry.readers().values() for suffix in entry.suffixes}):
        raise BadInput(f"No reader of folders takes {paths[0].name}: it holds {held}.", "Ingest these one by one.")
    raise BadInput(f"No reader of folders takes {paths[0].name}.", f"It should hold files of {' '.join(sorted(set(suffixes)))}; name a reader with --reader.")


def choose_reader(source: Path, name: str | None, options: dict[str, Any], table: dict[str, registry.Entry] | None = None) -> registry.Entry:
    """The reader named, else the first (of a table; of all) whose suffix fits and which recognises the file.

    Raises:
        NotFound: no such reader.
        BadInput: no reader takes this kind of file.
    """
    alone = table is None
    table = registry.readers() if table is None else table
    if name is not None:
        return registry.find(table, name, "reader")
    fitting = [entry for entry in table.values() if source.name.lower().endswith(entry.suffixes)]
    if not fitting:
        if alone and (told := unread.advice(source)):
            raise BadInput(f"No reader takes {source.name}: it is {told[0]}.", told[1])
        known = sorted({suffix for entry in table.values() for suffix in entry.suffixes})
        raise BadInput(f"No reader takes {source.name}.", f"Known suffixes: {' '.join(known)}. Name a reader with --reader if the suffix is unusual.")
    if alone and len(fitting) == 1:
        return fitting[0]  # it says best itself what is wrong with a file that it does not recognise
    for entry in fitting:
        module = entry.load()
        detect = getattr(module, "detect", None)
        if detect is None or detect(source, _lenient(module.Options, options)):
            return entry
    if alone and (held := unread.inside(source) if source.suffix.lower() == ".zip" else ""):
        raise BadInput(f"{source.name} holds {held}: nothing that is read from a ZIP.", "Unpack it and give the file itself.")
    raise BadInput(f"{source.name} is not what its suffix says: none of {', '.join(e.name for e in fitting)} recognises it.",
                   "Choose one with --reader to see what is wrong.")  # fmt: skip


def _lenient(model: Any, values: dict[str, Any]) -> Any:
    """Options for detection only: what is another reader's or the tiler's is left out here and judged when the reader is chosen."""
    return registry.parse_options(model, {k: v for k, v in values.items() if takes(model, k, v)}, "options")


def _fields(entry: registry.Entry) -> set[str]:
    """The options of a reader and of the tiler of what it reads."""
    tiler = registry.tilers().get(entry.kind)
    return set(entry.load().Options.model_fields) | (set(tiler.load().Options.model_fields) if tiler else set())


def split_options(entry: registry.Entry, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(the reader's parsed options, options meant for the layer's tiler); an option neither knows is refused.

    A name that both know, as `textures` of city models, is the tiler's where the reader does not take the value and the tiler does.
    """
    reader_model = entry.load().Options
    tiler = registry.tilers().get(entry.kind)
    tiler_model = tiler.load().Options if tiler else registry.Options
    tiler_fields = set(tiler_model.model_fields)
    own = {k: v for k, v in options.items() if k in reader_model.model_fields and (takes(reader_model, k, v) or not takes(tiler_model, k, v))}
    rest = {k: v for k, v in options.items() if k not in own}
    unknown = set(rest) - tiler_fields
    if unknown:
        known = ", ".join(sorted(set(reader_model.model_fields) | tiler_fields))
        others = [other.name for other in registry.readers().values() if set(other.suffixes) & set(entry.suffixes) and min(unknown) in _fields(other)]
        hint = f"Reader {' or '.join(others)} has it: --reader {others[0]} shows why it was not chosen. " if others else ""
        raise BadOption(f"Reader {entry.name} has no option {min(unknown)!r}.", f"{hint}Options: {known}.")
    if tiler:
        registry.parse_options(tiler_model, rest, f"tiler {tiler.name}")
    return registry.parse_options(reader_model, own, f"reader {entry.name}"), rest
