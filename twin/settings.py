"""Settings, read once at the edge (command line, environment) and passed in; nothing below reads the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Settings:
    """One city's settings.

    Attributes:
        home: folder of the city: catalogue and lake.
        workers: processes a tiler may use.
        who: name written into provenance and audit.
        query_memory_mb, query_threads, query_seconds: caps of one query (DuckDB).
    """

    home: Path
    workers: int = field(default_factory=_cores)
    who: str = field(default_factory=lambda: os.environ.get("USER") or os.environ.get("USERNAME") or "unknown")
    query_memory_mb: int = 512
    query_threads: int = 2
    query_seconds: float = 30.0

    @staticmethod
    def from_environment(home: Path | None = None) -> Settings:
        """`home`, else ``TWIN_HOME``, else ``./city``; ``TWIN_WORKERS`` limits the processes."""
        place = home or Path(os.environ.get("TWIN_HOME") or "city")
        workers = os.environ.get("TWIN_WORKERS", "")
        if workers.isdigit() and int(workers) > 0:
            return Settings(place.resolve(), int(workers))
        return Settings(place.resolve())
