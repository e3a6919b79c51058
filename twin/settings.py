"""Settings, read once at the edge (command line, environment) and passed in; nothing below reads the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twin.errors import BadOption


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Settings:
    """One city's settings.

    Attributes:
        home: folder of the city: catalogue and lake.
        workers: processes a tiler may use.
        who: name written into provenance and audit.
        lake: address of an object store for the lake (``s3://bucket/prefix``); "" for the folder ``lake`` in `home`.
        cache_bytes: what local copies of an object store's files may take.
        archive_bytes: a tileset larger than this is split over several archives.
        query_memory_mb, query_threads, query_seconds: caps of one query (DuckDB).
    """

    home: Path
    workers: int = field(default_factory=_cores)
    who: str = field(default_factory=lambda: os.environ.get("USER") or os.environ.get("USERNAME") or "unknown")
    query_memory_mb: int = 512
    query_threads: int = 2
    query_seconds: float = 30.0
    lake: str = ""
    cache_bytes: int = 20 << 30
    archive_bytes: int = 2 << 30

    @property
    def cache(self) -> Path:
        """Folder for what can be made again."""
        return self.home / "cache"

    @staticmethod
    def from_environment(home: Path | None = None) -> Settings:
        """`home`, else ``TWIN_HOME``, else ``./city``; ``TWIN_WORKERS`` limits the processes.

        ``TWIN_LAKE``, ``TWIN_CACHE_GB`` and ``TWIN_ARCHIVE_MB`` set `lake`, `cache_bytes` and `archive_bytes`.

        Raises:
            BadOption: a number that is none.
        """
        place = home or Path(os.environ.get("TWIN_HOME") or "city")
        workers = os.environ.get("TWIN_WORKERS", "")
        more: dict[str, Any] = {"lake": os.environ.get("TWIN_LAKE", "")}
        for name, field_name, unit in (("TWIN_CACHE_GB", "cache_bytes", 1 << 30), ("TWIN_ARCHIVE_MB", "archive_bytes", 1 << 20)):
            if text := os.environ.get(name, ""):
                more[field_name] = _positive(name, text) * unit
        if workers.isdigit() and int(workers) > 0:
            more["workers"] = int(workers)
        return Settings(place.resolve(), **more)


def _positive(name: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise BadOption(f"{name} is {text!r}.", "It is a whole number of at least 1.")
    return int(text)
