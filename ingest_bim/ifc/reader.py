"""The reader of IFC models: where the reading is done (`ingest_bim.ifc.reading`).

`twin ingest` has begun to read in a process of its own before anything large was loaded here (`ingest_bim.ifc.early`); what that
process has read is then handed on. Everybody else reads in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ingest_bim.ifc import early as ifc_early
from ingest_bim.ifc.options import Options as Options  # noqa: PLC0414  what a reader has

if TYPE_CHECKING:  # so that `ingest_bim.ifc.early` can check options before anything large is loaded
    from twin.model import Batch, Report


def read(source: Path, options: Options, report: Report) -> Iterator[Batch]:
    """Read a model.

    Yields:
        The Tables psets, quantities, relations, materials, classifications, documents, associations, attributes and types, then Mesh batches (elements).

    Raises:
        UnreadableSource: not IFC, truncated, or a schema that is not read.
        MissingReference, BadReference: no place, or one that cannot be believed.
        BadFeature: no elements at all.
    """
    early = ifc_early.take(source, options)
    if early is not None:
        yield from early.batches(report)
        return
    from ingest_bim.ifc import reading  # noqa: PLC0415  a process that has the reading done elsewhere need not load it
    from ingest_bim.ifc.folded import unfolded  # noqa: PLC0415
    from ingest_bim.ifc.open import opening  # noqa: PLC0415

    with opening(source, options.encoding) as opened, ExitStack() as later:
        yield from unfolded(reading.read(opened, options, report, later))
