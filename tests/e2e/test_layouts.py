"""Big screen, phone, embedding, accessibility and the size of the first load, in a real browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.e2e import golden
from tests.e2e.conftest import PATIENCE, ROOT, Viewer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("browser")]

AXE = ROOT / "viewer/node_modules/axe-core/axe.min.js"


@pytest.fixture
def sized(browser: Any, served: Any) -> Iterator[Any]:
    """Makes pages of a given size."""
    contexts = []

    def make(width: int, height: int, *, touch: bool = False) -> Viewer:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, locale="zh-CN", has_touch=touch))
        return Viewer(contexts[-1].new_page(), served.url)

    yield make
    for context in contexts:
        context.close()


def faults(viewer: Viewer) -> list[str]:
    """Serious findings of axe-core over the whole page, shadow roots included."""
    if not AXE.is_file():
        pytest.skip("needs axe-core: cd viewer && npm ci")
    viewer.page.add_script_tag(path=str(AXE))
    found = viewer.page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {node['target']}" for one in serious for node in one["nodes"]]


def test_the_first_load_keeps_its_budget_and_is_accessible(viewer: Any, pictures: Path) -> None:
    """At most 3 MB of code as it travels, at most 60 requests to the first useful picture; no serious accessibility fault on any tab."""
    viewer.open()
    first = viewer.page.evaluate("() => twin.firstPicture")
    loads = viewer.page.evaluate("() => performance.getEntriesByType('resource').map(one => [one.name, one.startTime, one.encodedBodySize])")
    before = {name for name, start, _ in loads if start <= first}  # a second worker takes the same file from the browser's cache
    sent = sum(size for name, _, size in loads if name.split("?")[0].endswith(".js"))
    kinds = Counter(name.removeprefix(viewer.url).split("/")[1] for name in before)
    print(f"first picture after {first / 1000:.1f} s: {len(before)} requests {dict(kinds)}; {sent / 1e6:.2f} MB of code as it travelled")
    assert 500_000 < sent <= 3_000_000, f"{sent} bytes of code"
    assert len(before) <= 60, f"{len(before)} requests: {dict(kinds)}"
    assert faults(viewer) == []
    for tab in ("scenarios", "tools"):
        viewer.page.click(f"[data-tab={tab}]")
        viewer.shot(pictures / f"tab-{tab}.png")
        assert faults(viewer) == []


def test_the_big_screen(sized: Any, small_city: Any, pictures: Path) -> None:
    wall = sized(1920, 1080).open("?layout=wall")
    wall.page.wait_for_selector("twin-wall-screen twin-chart svg")
    assert wall.text("twin-wall-screen [data-figure=buildings]") == str(len(small_city.buildings()))
    assert wall.page.locator("twin-wall-screen li").count() >= 1
    assert wall.page.locator(".side").count() == 0
    wall.shot(pictures / "wall.png")
    assert golden.compare(pictures / "wall.png", "wall", (460, 100, 1460, 1040)).alike
    middle = np.asarray(Image.open(pictures / "wall.png").convert("RGB").crop((500, 200, 1420, 1000)), np.int16)
    assert middle.std(axis=(0, 1)).min() > 10, "no city behind the figures"
    assert faults(wall) == []
    assert wall.errors == []


def test_the_phone(sized: Any, small_city: Any, pictures: Path) -> None:
    phone = sized(390, 844, touch=True).open()
    page = phone.page
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), "the page scrolls sideways"
    phone.shot(pictures / "phone.png")
    assert golden.compare(pictures / "phone.png", "phone", (0, 310, 330, 570)).alike
    page.click(".side .icon[aria-expanded]")
    page.wait_for_selector("twin-search")
    box = page.locator(".side").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert box["y"] + box["height"] <= 844
    assert box["y"] > 300, "the panel is a sheet from below, the city stays in sight"
    phone.shot(pictures / "phone-layers.png")
    page.click(".side .icon[aria-expanded]")
    building = small_city.buildings()[len(small_city.buildings()) // 2]
    phone.look(*building.degrees, building.roof)
    spot = page.evaluate("([lon, lat, height]) => twin.toWindow(lon, lat, height)", [*building.degrees, building.roof])
    page.touchscreen.tap(spot["x"], spot["y"])
    page.wait_for_selector("twin-feature-card [data-state=feature]")
    assert phone.text("twin-feature-card [data-field=id]") == building.id
    phone.shot(pictures / "phone-card.png")
    assert phone.errors == []


def test_embedding_in_another_page(sized: Any, small_city: Any, pictures: Path) -> None:
    host = sized(1000, 900)
    page = host.page
    page.goto(f"{host.url}/viewer/embed.html")
    page.wait_for_function("() => document.querySelector('city-twin').handle?.viewer", timeout=PATIENCE)
    page.evaluate("() => document.querySelector('city-twin').handle.tilesLoaded()")
    assert page.locator("city-twin .side").count() == 0, "bare is the city alone"
    building = small_city.buildings()[3]
    page.evaluate("([layer, id]) => document.querySelector('city-twin').highlight(layer, id)", ["buildings", building.id])
    page.wait_for_function("text => document.querySelector('output').textContent === text", arg=f"buildings / {building.id}")
    lon, lat = building.degrees
    page.evaluate("view => document.querySelector('city-twin').flyTo(view)", {"lon": lon, "lat": lat, "height": building.roof, "range": 300, "heading": 40})
    view = page.evaluate("() => document.querySelector('city-twin').handle.view")
    assert view["heading"] == pytest.approx(40, abs=0.5)
    assert view["lon"] == pytest.approx(lon, abs=3e-4)
    host.page.evaluate("() => document.querySelector('city-twin').handle.tilesLoaded()")
    host.page.screenshot(path=str(pictures / "embed.png"))
    scripts = page.evaluate("() => performance.getEntriesByType('resource').filter(one => one.initiatorType === 'script').map(one => one.name)")
    assert [name.rsplit("/", 1)[1] for name in scripts if "/cesium/Workers/" not in name] == ["city-twin.js"]
    assert host.errors == []
    assert host.foreign == []
