"""What a reader may use of the job that runs it: progress (and with it cancelling), a cache, features of the city by name.

A reader gets these without knowing the city: whoever runs it says `with given(Surroundings(…)):`, and the reader asks
`current()`. Outside of a job there is no cache, no city, and progress goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.errors import BadOption, NotFound

if TYPE_CHECKING:  # a reader that asks for neither need not load them
    from twin.ground import Ground
    from twin.model import Features


def _quiet(fraction: float, message: str) -> None:
    """Progress that nobody listens to."""


def _nowhere(name: str) -> tuple[Features, dict[str, Any]]:
    raise BadOption(f"{name!r} names a feature of a city, and this file is not read into one.", "Use it with twin ingest.")


def _layerless(name: str) -> Iterable[Features]:
    raise NotFound(f"{name!r} names a layer of a city, and this file is not read into one.", "Use it with twin ingest.")


def _groundless(lon: float, lat: float) -> float | None:  # noqa: ARG001
    return None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around a reader.

    Attributes:
        progress: called with (done fraction 0–1, what is being done); raises Cancelled when the job was dismissed.
        cache: folder for what can be made again, kept between readings; None where there is none.
        feature: `LAYER/ID` → that one published feature in its layer's reference, and the layer's style. Raises NotFound, BadOption.
        ground: longitude, latitude (degrees) → ellipsoidal height of the city's terrain in metres, None where there is none.
        layer: the features of a published layer by its name, chunk by chunk. Raises NotFound; BadOption where it has none.
        held: the names of the files that the layer holds of which this reading is an update; empty otherwise.
        under: the ground that a terrain will lie on when it is read as an update of one, else None.
    """

    progress: Callable[[float, str], None] = _quiet
    cache: Path | None = None
    feature: Callable[[str], tuple[Features, dict[str, Any]]] = _nowhere
    ground: Callable[[float, float], float | None] = _groundless
    layer: Callable[[str], Iterable[Features]] = _layerless
    held: frozenset[str] = frozenset()
    under: Ground | None = None


_CURRENT: ContextVar[Surroundings] = ContextVar("reading", default=Surroundings())  # noqa: B039  frozen


def current() -> Surroundings:
    """The surroundings of the reader that asks."""
    return _CURRENT.get()


@contextmanager
def given(surroundings: Surroundings) -> Iterator[None]:
    """Run a reader within these."""
    token = _CURRENT.set(surroundings)
    try:
        yield
    finally:
        _CURRENT.reset(token)
