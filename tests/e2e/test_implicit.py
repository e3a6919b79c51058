"""Implicitly tiled buildings in CesiumJS: the viewer draws them, a click picks the right one and shows its attributes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Served, Viewer
from twin import tasks
from twin.archive import Archive
from twin.city import City

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def implicit_city(tmp_path_factory: pytest.TempPathFactory, small_city: Any) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("implicit")
    city = City.open(folder / "city")
    for job in small_city.write(folder / "delivery"):
        if job["layer"] not in ("terrain", "buildings"):
            continue
        options = job["options"] | ({"subdivision": "implicit", "budget": "300"} if job["layer"] == "buildings" else {})
        params = tasks.ingest_params(job["source"], job["layer"], reader=job["reader"], options=options, describe=job["describe"], publish=True)
        tasks.require(tasks.work(city, tasks.submit(city, "ingest", params), None))
    _, _, derivation = city.published("buildings")
    assert derivation is not None
    with Archive(city.lake.path(derivation.archive)) as archive:
        names = archive.names()
        assert "implicitTiling" in json.loads(archive.read("tileset.json"))["root"]
        assert any(n.endswith(".subtree") for n in names)
        assert sum(n.endswith(".glb") for n in names) > 4
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Served(folder / "city", port)
    server.start()
    yield server
    server.stop()


def test_cesium_draws_picks_and_reads_implicit_tiles(browser: Any, implicit_city: Served, small_city: Any, pictures: Path) -> None:
    context = browser.new_context(viewport={"width": 1000, "height": 620}, locale="zh-CN")
    viewer = Viewer(context.new_page(), implicit_city.url)
    viewer.open()
    every = small_city.buildings()
    for place, building in enumerate((every[3], every[len(every) // 2 + 2], every[-2])):
        lon, lat = building.degrees
        viewer.look(lon, lat, building.roof)
        viewer.shot(pictures / f"implicit-{place}.png")
        viewer.click(lon, lat, building.roof)
        viewer.page.wait_for_selector("twin-feature-card [data-state=feature]")
        assert viewer.text("twin-feature-card [data-field=id]") == building.id
        assert viewer.text("twin-feature-card h2") == building.name
        assert viewer.text("twin-feature-card [data-attribute=height]") == f"{building.height:g} m"
    assert viewer.errors == []
    assert viewer.foreign == []
    context.close()
