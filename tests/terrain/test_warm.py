"""What is loaded ahead is what a terrain then needs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from terrain_helpers import Tiles, hills, write_dem

from tiling.terrain import audit, heights, quantized_mesh, rtin
from tiling.terrain import surface as terrain_surface
from tiling.terrain.warm import warm
from twin import ahead, registry
from twin.model import LayerVersion

Ingest, Tiled = Callable[..., LayerVersion], Callable[..., Tiles]


def versions() -> dict[str, int]:
    """How many versions (by types of arguments) of every compiled kernel are loaded."""
    modules = (audit, heights, quantized_mesh, rtin, terrain_surface)
    return {f"{m.__name__}.{n}": len(f.signatures) for m in modules for n, f in vars(m).items() if hasattr(f, "signatures")}


def test_a_terrain_needs_no_kernel_that_was_not_loaded_ahead(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    version = ingest(write_dem(tmp_path / "a.tif", hills(90, 90), crs="EPSG:32649", west=710000, north=2500000, cell=10), vertical="EGM96")
    degrees = ingest(write_dem(tmp_path / "b.tif", hills(90, 90)), vertical="EGM96")
    warm()
    before = versions()
    assert sum(before.values()) > 8
    tiled(version)
    tiled(degrees)
    assert versions() == before


def test_it_is_called_in_a_thread_and_its_errors_are_left_to_the_use(monkeypatch: Any) -> None:
    called = threading.Event()
    monkeypatch.setattr("tiling.terrain.warm.warm", lambda: called.set() or 1 / 0)
    ahead.start(registry.tilers()["terrain"])
    assert called.wait(20)
    ahead.start(None)
    ahead.start(registry.Entry("x", "no.such", "terrain", ahead="no.such:thing"))
    for thread in [t for t in threading.enumerate() if t.name.startswith("ahead-")]:
        thread.join(20)
