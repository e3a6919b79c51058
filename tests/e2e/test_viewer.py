"""The viewer in a real browser on a real server: it opens, shows the city, answers clicks, and gets over failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.e2e import golden

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("browser")]

MAP = (330, 60, 930, 580)
"""Part of the picture that no panel covers: left, top, right, bottom."""


def pixels(path: Path, box: tuple[int, int, int, int] = MAP) -> np.ndarray:
    """(H, W, 3) int16 pixels of a part of a screenshot."""
    return np.asarray(Image.open(path).convert("RGB").crop(box), np.int16)


DRESSED = "twin-search svg"
"""Icons wait for the first picture, and no longer than it can come."""


def commonest(picture: np.ndarray) -> float:
    """Share of the commonest colour (coarse): near one for an empty globe."""
    coarse = (picture // 16).reshape(-1, 3)
    return float(np.unique(coarse, axis=0, return_counts=True)[1].max() / len(coarse))


def test_city_opens_and_clicks_tell_the_truth(shared: Any, small_city: Any, pictures: Path) -> None:
    viewer = shared
    viewer.page.wait_for_selector(DRESSED, state="visible")
    first = pixels(viewer.shot(pictures / "city.png"))
    assert golden.compare(pictures / "city.png", "city", MAP).alike
    assert commonest(first) < 0.6, "an empty globe"
    assert first.std(axis=(0, 1)).min() > 12
    wet, dry = (viewer.color(pictures / "city.png", *small_city.degrees(480.0, y), small_city.ground(480.0, y)) for y in (335.0, 265.0))
    assert wet[2] - wet[0] > 25, f"no blue river: {wet}"
    assert dry[1] - dry[2] > 15, f"no green field: {dry}"
    assert {"建筑", "道路", "河流", "地名", "正射影像"} <= set(viewer.texts("twin-layer-tree .layer .name"))
    assert set(viewer.page.evaluate("() => twin.labels")) & {"城南广场", "城北中学"}

    every = small_city.buildings()
    for place, building in enumerate((every[3], every[len(every) // 2 + 2], every[-2])):
        lon, lat = building.degrees
        viewer.look(lon, lat, building.roof)
        before = pixels(viewer.shot(pictures / f"building-{place}-before.png"), (330, 60, 640, 580))
        viewer.click(lon, lat, building.roof)
        viewer.page.wait_for_selector("twin-feature-card [data-state=feature]")
        assert viewer.text("twin-feature-card [data-field=id]") == building.id
        assert viewer.text("twin-feature-card h2") == building.name
        assert viewer.text("twin-feature-card [data-attribute=use]") == building.use
        assert viewer.text("twin-feature-card [data-attribute=height]") == f"{building.height:g} m"
        viewer.tiles()
        after = pixels(viewer.shot(pictures / f"building-{place}.png"), (330, 60, 640, 580))
        changed = np.abs(after - before).max(axis=-1) > 40
        orange = (after[..., 0] - after[..., 2] > 90) & changed
        assert orange.mean() > 0.004, "the picked building is not marked"

    assert viewer.errors == []
    assert viewer.foreign == [], "the viewer asked somebody else"


def test_ground_shows_what_lies_there(shared: Any, small_city: Any) -> None:
    viewer = shared
    x, y = 450.0, sum(small_city.RIVER) / 2
    lon, lat = small_city.degrees(x, y)
    viewer.look(lon, lat, small_city.ground(x, y), span=400)
    viewer.click(lon, lat, small_city.ground(x, y))
    viewer.page.wait_for_selector("twin-feature-card [data-state=feature]")
    assert viewer.text("twin-feature-card [data-field=id]") == "river-1"
    assert viewer.text("twin-feature-card .layer") == "河流"
    position = viewer.text("twin-feature-card [data-field=position]")
    assert f"{lon:.4f}" in position
    height = viewer.page.evaluate("([lon, lat]) => twin.groundHeight(lon, lat)", [lon, lat])
    assert height == pytest.approx(small_city.ground(x, y), abs=0.3)


def test_waves_move_on_the_water_and_nowhere_else(shared: Any, small_city: Any, pictures: Path) -> None:
    """What a machine with a graphics device shows: with each frame the river changes, its banks do not."""
    viewer, page = shared, shared.page
    page.evaluate("() => { const { app } = document.querySelector('city-twin'); app.selection.clear(); app.detail.waves = true; app.waters.renew(); app.changed.emit(); }")
    try:
        x, middle = 480.0, sum(small_city.RIVER) / 2
        viewer.look(*small_city.degrees(x, middle), small_city.ground(x, middle), pitch=-89, span=260, heading=0)
        page.wait_for_function("() => [...document.querySelector('city-twin').app.waters.water.layers.values()].flat().some(body => { twin.frame(); return body.ready; })", polling=500)
        viewer.tiles()

        def there(y: float) -> tuple[int, int]:
            spot = page.evaluate("place => twin.toWindow(...place)", [*small_city.degrees(x, y), small_city.ground(x, y)])
            return round(spot["y"]) - MAP[1], round(spot["x"]) - MAP[0]

        places = [there(y) for y in (middle, small_city.RIVER[0] - 40)]
        moving = 0  # pairs of pictures between which the water moved; the first such pair may be the waves' own coming
        last = pixels(viewer.shot(pictures / "waves-0.png"))
        for _ in range(20):
            now = pixels(viewer.shot(pictures / "waves-1.png"))
            moved = np.abs(now - last).max(axis=-1) > 2
            wet, dry = (moved[row - 8 : row + 9, column - 100 : column + 101].mean() for row, column in places)
            if wet > 0.05:  # a busy machine draws one frame between two pictures, in which a wave hardly moves: so the older picture waits
                moving, last = moving + 1, now
            if moving == 2:
                break
        assert moving == 2, "the water stands still"
        assert dry < 0.01, "the bank moves"
    finally:
        page.evaluate("() => { const { app } = document.querySelector('city-twin'); app.waters.water.clear('river'); app.detail.waves = false; app.waters.renew(); }")


def test_language_layers_and_opacity(viewer: Any, pictures: Path) -> None:
    viewer.open()
    assert viewer.text(".tabs").split() == ["图层", "推演", "工具"]
    viewer.page.click("button.lang")
    assert viewer.text(".tabs").split() == ["Layers", "Scenarios", "Tools"]
    assert "Buildings" in viewer.texts("twin-layer-tree .layer .name")
    viewer.page.wait_for_function("() => twin.labels.includes('South Square') || twin.labels.includes('North School')")
    shown = pixels(viewer.shot(pictures / "english.png"))
    viewer.page.click("[data-layer=buildings] [role=switch]")
    viewer.tiles()
    hidden = pixels(viewer.shot(pictures / "no-buildings.png"))
    assert (np.abs(shown - hidden).max(axis=-1) > 24).mean() > 0.03, "hiding the buildings changed nothing"
    assert not golden.compare(pictures / "no-buildings.png", "city", MAP).alike, "the golden picture would not notice that the buildings are gone"
    viewer.page.click("[data-layer=ortho] .name")
    viewer.page.locator("[data-layer=ortho] input[type=range]").fill("0")
    assert viewer.page.evaluate("() => twin.layers.find(layer => layer.id === 'ortho').state.opacity") == 0
    lost_and_found(viewer, pictures)


def lost_and_found(viewer: Any, pictures: Path) -> None:
    """The graphics device goes away: the page says so and puts the same picture up again by itself."""
    viewer.tiles()
    before = viewer.page.evaluate("() => twin.view")
    viewer.shot(pictures / "context-before.png")
    viewer.page.evaluate("() => { window.lost = twin.viewer; twin.viewer.canvas.getContext('webgl2').getExtension('WEBGL_lose_context').loseContext(); }")
    viewer.page.wait_for_selector("[data-notice=scene].bad")
    assert "graphics device" in viewer.text("[data-notice=scene]")
    viewer.page.screenshot(path=str(pictures / "device-lost.png"))
    viewer.page.wait_for_selector("[data-notice=scene]", state="detached")
    viewer.tiles()
    assert viewer.page.evaluate("() => window.lost !== twin.viewer && document.querySelector('city-twin').shadowRoot.querySelectorAll('canvas').length") == 1
    assert viewer.page.evaluate("() => twin.view.lon") == pytest.approx(before["lon"], abs=1e-5)
    viewer.shot(pictures / "context-after.png")
    found = golden.difference(*(Image.open(pictures / f"context-{when}.png").crop(MAP) for when in ("before", "after")))
    assert found.alike, f"the picture came back as another: {found}"


def test_a_reader_overrules_a_grade(shared: Any) -> None:
    """The layer has the grade that was chosen, and says who gave it; of what cannot be done the panel says why, and shows what holds."""
    page = shared.page
    row = "[data-layer=places]"
    page.click(f"{row} .name")
    chosen = page.locator(f"{row} [data-role=grade]")
    assert shared.text(f"{row} .chip") == "CIM1" and chosen.input_value() == "" and "按规则：CIM1" in chosen.inner_text()
    for grade, shown in (("CIM3", "CIM3"), ("", "CIM1")):
        chosen.select_option(grade)
        page.wait_for_function("shown => document.querySelector('city-twin').app.layer('places').grade === shown", arg=shown)
        page.wait_for_selector(f"{row} [data-role=grade]:enabled")
        assert shared.text(f"{row} .chip") == shown and chosen.input_value() == grade
        assert ["指定" in text for text in shared.texts(f"{row} twin-layer-grade p")] == [True] * bool(grade)
    page.route("**/collections/places/grade", lambda route: route.fulfill(status=409, json={"detail": "not today"}))
    chosen.select_option("CIM5")
    page.wait_for_selector("[data-notice=grade].bad")
    assert "not today" in shared.text("[data-notice=grade]") and chosen.input_value() == "" and shared.text(f"{row} .chip") == "CIM1"
    page.unroute("**/collections/places/grade")
    page.evaluate("() => document.querySelector('city-twin').app.notices.clear('grade')")
    page.click(f"{row} .name")


def test_scenario_from_the_form_to_the_result(shared: Any, small_city: Any, pictures: Path) -> None:
    viewer = shared
    viewer.page.evaluate("() => document.querySelector('city-twin').app.selection.clear()")
    page = viewer.page
    page.click("[data-tab=scenarios]")
    page.click("[data-process=inundation]")
    assert page.input_value("form [name=terrain]") == "terrain", "the only terrain need not be chosen"
    page.select_option("form [name=terrain]", "")
    page.fill("form [name=level]", "high")
    page.click("form button[type=submit]")
    assert viewer.texts("form .fault") == ["必填", "请填数字"], "a missing terrain and a level that is no number"
    page.select_option("form [name=terrain]", "terrain")
    page.fill("form [name=level]", "24")
    page.select_option("form [name=source]", "river")
    page.select_option("form [name=buildings]", "buildings")
    page.click("form button[type=submit]")
    page.wait_for_selector("[data-run][data-status=successful], [data-run][data-status=failed]")
    assert page.locator("[data-run]").first.get_attribute("data-status") == "successful", viewer.text("[data-run]")
    page.wait_for_selector("[data-legend]")
    results = page.evaluate("() => twin.layers.filter(layer => layer.run !== null && layer.state.visible).map(layer => layer.kind)")
    assert "raster" in results
    viewer.tiles()
    wet = pixels(viewer.shot(pictures / "inundation.png"))
    page.evaluate("() => { for (const layer of twin.layers) if (layer.run) twin.set(layer.id, { visible: false }); }")
    viewer.tiles()
    dry = pixels(viewer.shot(pictures / "inundation-off.png"))
    assert (np.abs(wet - dry).max(axis=-1) > 24).mean() > 0.02, "the flood is not to be seen"
    assert viewer.errors == []


def test_server_gone_and_back(shared: Any, served: Any, pictures: Path) -> None:
    viewer = shared
    served.stop()
    try:
        viewer.page.evaluate("() => twin.reload().catch(() => undefined)")
        viewer.page.wait_for_selector("[data-notice=offline].bad")
        assert "twin serve" in viewer.text("[data-notice=offline]")
        viewer.shot(pictures / "offline.png")
    finally:
        served.start()
    viewer.page.wait_for_selector("[data-notice=offline].good")
    viewer.tiles()
    assert viewer.page.evaluate("() => twin.layers.length") >= 6


def test_missing_tiles_are_said_and_read_again(viewer: Any, pictures: Path) -> None:
    broken = "**/tiles3d/buildings/*/**/*.glb"
    viewer.page.route(broken, lambda route: route.fulfill(status=404, body="{}"))
    viewer.page.goto(f"{viewer.url}/viewer/")
    viewer.page.wait_for_selector("[data-notice='tiles:buildings']")
    notice = viewer.text("[data-notice='tiles:buildings']")
    assert "404" in notice
    assert "twin tile buildings" in notice
    viewer.page.wait_for_selector(DRESSED, state="visible")
    bare = pixels(viewer.shot(pictures / "missing-tiles.png"))
    viewer.page.unroute(broken)
    viewer.page.wait_for_selector("[data-notice='tiles:buildings']", state="detached")
    viewer.tiles()
    whole = pixels(viewer.shot(pictures / "missing-tiles-recovered.png"))
    assert (np.abs(whole - bare).max(axis=-1) > 24).mean() > 0.03, "the buildings did not come back"


def test_without_webgl_it_says_what_to_do(viewer: Any) -> None:
    viewer.page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) { return /webgl/.test(kind) ? null : get.call(this, kind, ...rest); };"
    )
    viewer.page.goto(f"{viewer.url}/viewer/")
    assert "WebGL 2" in viewer.text(".wall")
    assert "硬件加速" in viewer.text(".wall")
    viewer.page.wait_for_selector(DRESSED, state="visible")
    assert viewer.errors == []
