"""Tools in a real browser: measured figures against the numbers the city is made of, an area's statistics, notes, and a link that restores."""

from __future__ import annotations

import base64
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("browser")]

PIXEL = 1.0
"""Metres: what a pixel covers in the view of this test; a mouse clicks whole pixels."""


def figure(viewer: Any, key: str, within: str = "") -> float:
    """A figure of the result as a number."""
    text = viewer.text(f"twin-tool-result {within}[data-figure='{key}']")
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
    lon, lat = city.degrees(*a)
    for zone, numbered in (("EPSG:4508", "EPSG:4497"), ("EPSG:4546", "EPSG:4525")):  # the 6-degree zone, and the neighbour of 3 degrees
        for code, key in ((zone, "easting"), (numbered, "numbered")):
            there = Transformer.from_crs("EPSG:4326", code, always_xy=True).transform(lon, lat)
            assert figure(viewer, f"measure.{key}", f"[data-zone='{zone}'] ") == pytest.approx(there[0], abs=2 * PIXEL)
            assert figure(viewer, "measure.northing", f"[data-zone='{zone}'] ") == pytest.approx(there[1], abs=2 * PIXEL)
    use(viewer, "slope", (500.0, 270.0), city=city)
    assert figure(viewer, "measure.slope") == pytest.approx(100 * math.hypot(0.012, 0.006), abs=0.1)
    assert figure(viewer, "measure.aspect") == pytest.approx(math.degrees(math.atan2(-0.012, -0.006)) % 360, abs=8)
    use(viewer, "flood", (440.0, 335.0), city=city)
    # One metre of water in the river bed, from edge to edge of what is looked at: 1000 m by 70 m in cells of 8 m.
    assert figure(viewer, "flood.deepest") == pytest.approx(1.0, abs=0.05)
    assert figure(viewer, "flood.area") == pytest.approx(70_000, rel=0.13)
    assert figure(viewer, "flood.volume") == pytest.approx(figure(viewer, "flood.area"), rel=0.05)
    assert page.locator("[data-role=open]").count() == 1
    viewer.shot(pictures / "tool-flood.png")
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
    see(viewer, city, (411.0, 455.0), pictures)
    section(viewer, city, (450.0, 470.0), pictures)
    sheet(viewer, city, pictures)

    use_note(viewer, city, (470.0, 440.0))
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
    assert page.evaluate("() => document.querySelector('city-twin').app.section.box.top") == 20, "the link cuts the city as it was"
    viewer.shot(pictures / "share-restored.png")
    page.click("[data-tab=tools]")
    assert page.locator("[data-kept=notes] .kept input").input_value() == "施工围挡"
    page.click("[data-role=box-reset]")
    viewer.tiles()
    viewer.shot(pictures / "tool-uncut.png")
    assert page.locator("[data-section-box]").count() == 0
    assert viewer.errors == []


def use_note(viewer: Any, city: Any, spot: tuple[float, float]) -> None:
    viewer.page.click("[data-tool=note]")
    viewer.click(*city.degrees(*spot), city.ground(*spot))
    field = viewer.page.locator("[data-kept=notes] .kept input")
    field.wait_for()
    field.fill("施工围挡")
    field.press("Tab")


def see(viewer: Any, city: Any, spot: tuple[float, float], pictures: Path) -> None:
    """The share in sight within 150 m, against rays walked in steps over the numbers that the city is made of."""
    viewer.page.click("[data-tool=viewshed]")
    viewer.page.fill("[data-setting=radius]", "150")
    viewer.page.press("[data-setting=radius]", "Tab")
    viewer.click(*city.degrees(*spot), city.ground(*spot))
    viewer.page.wait_for_selector("[data-task=viewshed][data-state=done]")
    rng = np.random.default_rng(3)
    radius, turn = 150 * np.sqrt(rng.random(1200)), 2 * np.pi * rng.random(1200)
    ends = np.column_stack([spot[0] + radius * np.cos(turn), spot[1] + radius * np.sin(turn)])
    seen = np.mean([clear(city, spot, (x, y)) for x, y in ends])
    assert 0.2 < seen < 0.8
    assert figure(viewer, "viewshed.share") / 100 == pytest.approx(seen, abs=0.04)
    assert figure(viewer, "viewshed.total") == pytest.approx(math.pi * 150**2, rel=0.02)
    viewer.page.evaluate("() => twin.frame()")
    viewer.shot(pictures / "tool-viewshed.png")


def surface(city: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Roof or ground at points in metres."""
    z = np.where((y >= city.RIVER[0]) & (y <= city.RIVER[1]), 14.0, 20.0 + 0.012 * x + 0.006 * y)
    for b in city.buildings():
        z = np.where((np.abs(x - b.x) <= b.wide / 2) & (np.abs(y - b.y) <= b.deep / 2), b.roof, z)
    return z


def clear(city: Any, spot: tuple[float, float], end: tuple[float, float]) -> bool:
    """Whether nothing stands between an eye 1.6 m above a spot and the surface at another place, in steps of half a metre."""
    length = math.dist(spot, end)
    t = np.arange(0.5, length - 1.5, 0.5) / length
    eye = city.ground(*spot) + 1.6
    rise = float(surface(city, np.array([end[0]]), np.array([end[1]]))[0]) - eye
    way = [np.array(spot[i] + (end[i] - spot[i]) * t) for i in range(2)]
    return bool(np.all(surface(city, way[0], way[1]) <= eye + rise * t))


def section(viewer: Any, city: Any, spot: tuple[float, float], pictures: Path) -> None:
    """A box placed with a click, narrowed by dragging a knob and by numbers."""
    page = viewer.page
    away = (*city.degrees(586.0, 425.0), city.ground(586.0, 425.0))
    page.click("[data-tool=cutbox]")
    before = viewer.color(viewer.shot(pictures / "tool-cutbox.png"), *away)
    assert page.evaluate("() => twin.labels.length") > 0
    viewer.click(*city.degrees(*spot), city.ground(*spot))
    page.wait_for_selector("[data-section-box]")
    page.wait_for_function("() => twin.labels.length === 0", polling=250)  # all names stand on ground that is cut away
    east = float(page.input_value("[data-face=east]"))
    viewer.look(*city.degrees(*spot), city.ground(*spot), pitch=-55, span=430, heading=0)
    knob = page.evaluate("""() => { const { section, widget } = document.querySelector('city-twin').app;
        return section.handles.middles.slice(0, 2).map(spot => { const { x, y } = widget.scene.cartesianToCanvasCoordinates(spot); return [x, y]; }); }""")
    (west_x, west_y), (east_x, east_y) = knob
    page.mouse.move(east_x, east_y)
    page.mouse.down()
    page.mouse.move(east_x + 0.1 * (west_x - east_x), east_y + 0.1 * (west_y - east_y))
    page.mouse.move(east_x + 0.25 * (west_x - east_x), east_y + 0.25 * (west_y - east_y))
    page.mouse.up()
    # A quarter of the way from face to face.
    assert float(page.input_value("[data-face=east]")) == pytest.approx(east - 0.25 * 2 * east, abs=2 * PIXEL)
    page.fill("[data-face=top]", "20")
    page.press("[data-face=top]", "Tab")
    planes = page.evaluate("""() => { const { widget, tilesets } = document.querySelector('city-twin').app;
        return [widget.scene.globe, ...tilesets.all()].map(one => one.clippingPlanes.length); }""")
    assert set(planes) == {6}
    assert math.dist(viewer.color(viewer.shot(pictures / "tool-cutbox.png"), *away), before) > 25, "the ground outside is gone"


def orange(picture: Image.Image) -> int:
    """Pixels in the colour of a cut's edge."""
    return int((np.abs(np.asarray(picture, np.int16) - (217, 98, 10)).max(axis=-1) < 24).sum())


def sheet(viewer: Any, city: Any, pictures: Path) -> None:
    """A printed sheet: its size, its words, and a scale bar that is as long as the ground says."""
    page = viewer.page
    viewer.look(*city.degrees(440.0, 390.0), city.ground(440.0, 390.0), pitch=-89, span=520, heading=0)
    page.fill("[data-role=print-title]", "蓬江 <规划> 图")
    with page.expect_download() as download:
        page.click("[data-role=print-png]")
    download.value.save_as(pictures / "sheet.png")
    assert Image.open(pictures / "sheet.png").size == (2339, 1654), "A4 at 200 dots an inch"
    page.click("[data-role=print-pdf]")
    page.wait_for_selector("iframe[data-role=print]", state="attached")
    text = page.evaluate("() => document.querySelector('iframe[data-role=print]').srcdoc")
    for words in ("蓬江 &#60;规划&#62; 图", "图例", "居住", "正射影像 v1", "EPSG:4547", "size: 297mm 210mm"):
        assert words in text
    printed = re.search(r'href="data:image/jpeg;base64,([^"]+)"', text)
    assert printed is not None
    paper = Image.open(io.BytesIO(base64.b64decode(printed[1]))).convert("RGB")
    screen = Image.open(viewer.shot(pictures / "tool-knobs.png")).convert("RGB")
    x, y = page.evaluate("""() => { const { section, widget } = document.querySelector('city-twin').app;
        const { x, y } = widget.scene.cartesianToCanvasCoordinates(section.handles.middles[5]); return [x, y]; }""")
    across = min(1000, 620 * paper.width / paper.height)
    there = [round((place - (size - cut) / 2) * paper.width / across) for place, size, cut in ((x, 1000, across), (y, 620, across * paper.height / paper.width))]
    assert min(screen.getpixel((round(x), round(y)))) > 240, "the knob of the box's top is white on the screen"
    assert min(paper.getpixel((there[0], there[1]))) < 235, "on paper the city is there, not the tool"
    edges = [orange(picture) for picture in (screen, paper.resize((paper.width * 620 // paper.height, 620)))]
    assert edges[0] > 100, "the cut's edge is orange on the screen"
    assert edges[1] < edges[0] / 20, "and not on paper"
    metres, length = (float(re.search(rf'data-{key}="([\d.]+)"', text)[1]) for key in ("metres", "mm"))  # type: ignore[index]
    frame = re.search(r'<image x="[\d.]+" y="[\d.]+" width="([\d.]+)" height="([\d.]+)"', text)
    assert frame is not None
    wide, high = float(frame[1]), float(frame[2])
    left, right = (page.evaluate("place => twin.toWindow(...place)", [*city.degrees(x, 390.0), city.ground(x, 390.0)]) for x in (390.0, 490.0))
    pixel = 100 / math.dist((left["x"], left["y"]), (right["x"], right["y"]))
    assert metres / length * wide == pytest.approx(pixel * min(1000, 620 * wide / high), rel=0.02)
