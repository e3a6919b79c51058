"""City models delivered in one file or in many (the tiles of a national model, a ZIP of them, a folder) → one layer.

A layer has one table, so the columns of all files are learned before the first is read; each file then keeps its own codes,
appearances and axis order, and all must have one reference.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from ingest_bim.citymodels.mesh import Builder
from ingest_bim.citymodels.objects import CityObject, CityOptions, Columns
from ingest_bim.citymodels.textures import Pictures
from ingest_bim.package import is_model, models
from twin import sources
from twin.errors import BadFeature, BadOption, BadReference
from twin.model import Batch, Reference, Report


class Model(Protocol):
    """One file of city objects, which is read twice."""

    empty: str
    """Why it holds no objects, where that is known after `learn`."""

    def learn(self, columns: Columns) -> int:
        """The first pass: what the columns of its objects are; the number of objects."""

    def prepare(self, theme: str | None, report: Report) -> tuple[Reference, Pictures | None]:
        """Its reference and images, after `learn`; `theme` is the appearance to draw.

        Raises:
            BadOption: no such theme.
            MissingReference: no CRS, or no vertical datum.
        """

    def objects(self, report: Report) -> Iterator[CityObject]:
        """The second pass, after `prepare`."""


Open = Callable[[Path, Path | None], Model]
File = tuple[str, Path, Path | None]


def read(source: Path | Sequence[Path], suffixes: Sequence[str], detect: Callable[[Path], bool], start: Open, options: CityOptions, report: Report) -> Iterator[Batch]:
    """Read all models of a source into one layer; ZIPs and gzipped files are unpacked while they are read.

    Args:
        source: a file, a ZIP, a folder, or several of these.
        suffixes: of models.
        detect: whether a file is such a model; of folders and ZIPs of several, others are listed and left.
        start: opens a file, given the folder that what it refers to may not leave.
        options: as the user gave them.
        report: of the layer; with several files `facts["files"]` has a row for each.

    Yields:
        Mesh batches: city objects and, as their children, semantic surfaces.

    Raises:
        UnreadableSource: a file that is broken.
        MissingReference: no CRS, or no vertical datum.
        BadReference: files in different references.
        BadFeature: no city objects at all.
    """
    with ExitStack() as stack:
        stack.enter_context(_seldom_collected())
        found: list[File] = []
        known = (*suffixes, ".zip", *(f"{suffix}.gz" for suffix in suffixes))
        for name, path in sources.named(source, known, "city model"):
            if path != source and not is_model(name, known):
                if path in (() if isinstance(source, Path) else source):  # named by itself, not found in a folder
                    report.note("skipped", name, f"This file is not such a city model ({', '.join(suffixes)}): ingest it by itself.")
            else:
                inside = stack.enter_context(models(path, suffixes, options.member if path.suffix.lower() == ".zip" or path == source else None, report))
                found += [(name if member == path.name else f"{name}/{member}", file, root) for member, file, root in inside]
        if len(found) > 1:
            for name, file, _ in found:
                if not detect(file):
                    report.note("skipped", name, "This file is not such a city model.")
            found = [each for each in found if detect(each[1])]
        if not found:
            raise BadFeature(f"{report.source} holds no city model.", f"Known suffixes: {' '.join(suffixes)}.")
        report.source = report.source or found[0][0]
        if len(found) == 1:
            if found[0][1] != source:
                report.facts["member"] = found[0][0].partition("/")[2] or found[0][0]
            yield from _one(found[0], start, options, report)
        else:
            yield from _many(found, start, options, report)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Trees and rows are let go of as they are done with and hold no circles: looking for such every 700 objects is a tenth of the reading."""
    before = gc.get_threshold()
    gc.set_threshold(100 * before[0], *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _one(file: File, start: Open, options: CityOptions, report: Report) -> Iterator[Batch]:
    columns, model = Columns(), start(file[1], file[2])
    if not model.learn(columns):
        raise BadFeature(f"{file[1].name} holds no city objects.", model.empty or "Export the model again.")
    report.facts["bytes"] = file[1].stat().st_size
    reference, pictures = model.prepare(options.theme, report)
    builder = Builder(reference, columns, report, surfaces=options.surfaces, pictures=pictures)
    yield from builder.build(model.objects(report))
    _drawn(builder, report)


def _many(files: list[File], start: Open, options: CityOptions, report: Report) -> Iterator[Batch]:
    columns = Columns()
    counts = {}
    for name, path, root in files:
        model = start(path, root)
        counts[name] = model.learn(columns)
        if not counts[name]:
            report.note("skipped", name, f"This file holds no city objects. {model.empty}".strip())
    files = [file for file in files if counts[file[0]]]
    if not files:
        raise BadFeature(f"{report.source} holds no city objects.", "Export the models again.")
    report.facts |= {"bytes": sum(path.stat().st_size for _, path, _ in files), "files": []}
    first = files[0][0]
    reference = _prepared(start, files[0], options, Report())[1]
    builder = Builder(reference, columns, report, surfaces=options.surfaces)

    def objects() -> Iterator[CityObject]:
        for number, file in enumerate(files):
            own = Report()
            model, stated, builder.pictures = _prepared(start, file, options, own)
            if stated != reference:
                raise BadReference(f"{file[0]} is in {stated.horizontal}, heights {stated.vertical}, but {first} in {reference.horizontal}, {reference.vertical}.",
                                   "Ingest files of one reference together, or name it for all with --crs and --vertical.")  # fmt: skip
            before = builder.stats["drawn"]
            for thing in model.objects(own):
                thing.instances = [(f"{number}/{key}", shape, matrix) for key, shape, matrix in thing.instances]  # keys are those of a file
                yield thing
            report.facts["files"].append({"name": file[0], "objects": counts[file[0]], "drawn": builder.stats["drawn"] - before} | own.facts)
            report.include(own, file[0])
            report.facts.setdefault("driver", own.facts.get("driver"))
            report.facts.setdefault("georeference", own.facts.get("georeference"))

    yield from builder.build(objects())
    _drawn(builder, report)


def _prepared(start: Open, file: File, options: CityOptions, report: Report) -> tuple[Model, Reference, Pictures | None]:
    """A file after its first pass: what it learned is not kept for all files at once."""
    model = start(file[1], file[2])
    model.learn(Columns())
    try:
        return (model, *model.prepare(options.theme, report))
    except BadOption as error:  # the theme of other files
        report.note("assumed", "", f"{error} Its default is drawn.")
        return (model, *model.prepare(None, report))


def _drawn(builder: Builder, report: Report) -> None:
    if builder.stats["drawn"] == 0:
        report.note("warned", "", "No object has faces: there are attributes, but nothing to draw.")
