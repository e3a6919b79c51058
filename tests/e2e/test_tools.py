"""Tools in a real browser: measured figures against the numbers the city is made of, an area's statistics, notes, and a link that restores."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("browser")]

PIXEL = 1.0
"""Metres: what a pixel covers in the view of this test; a mouse clicks whole pixels."""


def figure(viewer: Any, key: str) -> float:
    """A figure of the result as a number."""
    text = viewer.text(f"twin-tool-result [data-figure='{key}']")
    return float(re.sub(r"[^\d.\-]", "", text.split(" ")[0]))


def use(viewer: Any, tool: str, *spots: tuple[float, float], finish: bool = False, city: Any) -> None:
    viewer.page.click(f"[data-tool={tool}]")
    for x, y in spots:
        viewer.click(*city.degrees(x, y), city.ground(x, y))
        viewer.page.evaluate("() => twin.frame()")
    if finish:
        viewer.page.click("twin-tools [data-role=done]")
    viewer.page.wait_for_selector(f"[data-task={tool}][data-state=done]")


def test_measuring_asking_and_sharing(viewer: Any, small_city: Any, pictures: Path) -> None:
    city = small_city
    viewer.open()
    page = viewer.page
    page.evaluate("() => { twin.set('buildings', { visible: false }); }")
    x, y = 440.0, 390.0
    viewer.look(*city.degrees(x, y), city.ground(x, y), pitch=-89, span=520, heading=0)
    page.click("[data-tab=tools]")

    a, b, c = (400.0, 222.0), (500.0, 222.0), (500.0, 290.0)
    use(viewer, "distance", a, c, finish=True, city=city)
    flat = math.hypot(c[0] - a[0], c[1] - a[1])
    assert figure(viewer, "measure.level") == pytest.approx(flat, abs=2 * PIXEL)
    assert figure(viewer, "measure.rise") == pytest.approx(city.ground(*c) - city.ground(*a), abs=0.4)
    use(viewer, "area", a, b, c, finish=True, city=city)
    assert figure(viewer, "measure.area") == pytest.approx(100 * 68 / 2, abs=110 * 2 * PIXEL)
    viewer.shot(pictures / "tool-area.png")
    use(viewer, "position", a, city=city)
    assert figure(viewer, "measure.easting") == pytest.approx(city.EAST + a[0], abs=PIXEL)
    assert figure(viewer, "measure.northing") == pytest.approx(city.NORTH + a[1], abs=PIXEL)
    use(viewer, "profile", (450.0, 250.0), (450.0, 430.0), finish=True, city=city)
    page.wait_for_selector("twin-tool-result twin-chart svg")
    assert figure(viewer, "measure.lowest") == pytest.approx(14.0, abs=0.5), "the river bed"
    viewer.shot(pictures / "tool-profile.png")

    page.evaluate("() => { twin.set('buildings', { visible: true }); }")
    low, high = (350.0, 420.0), (560.0, 555.0)
    use(viewer, "box", low, high, city=city)
    inside = [one for one in city.buildings() if low[0] - one.wide / 2 < one.x < high[0] + one.wide / 2 and low[1] - one.deep / 2 < one.y < high[1] + one.deep / 2]
    assert len(inside) > 2
    assert int(viewer.text("[data-answer=buildings] [data-figure=count]").split()[0]) == len(inside)
    viewer.shot(pictures / "tool-box.png")

    use_note(viewer, city, a)
    page.click("twin-tools [data-role=bookmark]")
    assert page.locator("[data-kept=bookmarks] .kept").count() == 1
    page.evaluate("() => { twin.set('ortho', { opacity: 0.5 }); twin.language = 'en'; }")
    link = page.evaluate("() => twin.link()")
    before = page.evaluate("() => twin.view")
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_function("() => window.twin")
    viewer.tiles()
    after = page.evaluate("() => twin.view")
    assert after["lon"] == pytest.approx(before["lon"], abs=1e-5)
    assert after["range"] == pytest.approx(before["range"], rel=0.02)
    assert page.evaluate("() => [twin.language, twin.layers.find(layer => layer.id === 'ortho').state.opacity]") == ["en", 0.5]
    page.click("[data-tab=tools]")
    assert page.locator("[data-kept=notes] .kept input").input_value() == "施工围挡"
    assert viewer.errors == []


def use_note(viewer: Any, city: Any, spot: tuple[float, float]) -> None:
    viewer.page.click("[data-tool=note]")
    viewer.click(*city.degrees(*spot), city.ground(*spot))
    field = viewer.page.locator("[data-kept=notes] .kept input")
    field.wait_for()
    field.fill("施工围挡")
    field.press("Tab")
