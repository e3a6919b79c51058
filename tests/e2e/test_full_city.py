"""One page on a city with everything: implicit tiles, a cloud, a model with its tree, versions, masses, keys, and a second view."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.e2e import full_city
from tests.e2e.conftest import Served, Viewer, served_city
from twin.archive import Archive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory, small_city: Any) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("full")
    with served_city(folder, full_city.jobs(small_city, folder / "delivery")) as (city, server):
        _, _, derivation = city.published("buildings")
        assert derivation is not None
        with Archive(city.lake.path(derivation.archive)) as archive:
            names = archive.names()
            assert "implicitTiling" in json.loads(archive.read("tileset.json"))["root"]
            assert any(n.endswith(".subtree") for n in names)
            assert sum(n.endswith(".glb") for n in names) > 4
        yield server


@pytest.fixture(scope="module")
def viewer(browser: Any, city: Served) -> Iterator[Viewer]:
    """One page for all tests here."""
    context = browser.new_context(viewport={"width": 1000, "height": 620}, locale="zh-CN")
    opened = Viewer(context.new_page(), city.url).open()
    yield opened
    assert opened.errors == []
    assert opened.foreign == []
    context.close()


def forget(viewer: Viewer) -> None:
    viewer.page.evaluate("() => document.querySelector('city-twin').app.selection.clear()")


def test_cesium_draws_picks_and_reads_implicit_tiles(viewer: Viewer, small_city: Any, pictures: Path) -> None:
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


def test_keys_move_the_map_and_pick(viewer: Viewer, small_city: Any) -> None:
    """Each key does what the map's label says; Space picks what is in the middle."""
    page, building = viewer.page, small_city.buildings()[24]
    viewer.look(*building.degrees, building.roof, heading=0, span=260)
    forget(viewer)
    assert "方向键" in page.evaluate("() => { const { canvas } = twin.viewer; canvas.focus(); return canvas.getAttribute('aria-label'); }")
    views = [page.evaluate("() => twin.view")]

    def press(key: str) -> dict[str, float]:
        page.keyboard.press(key)
        views.append(page.evaluate("() => twin.view"))
        return dict(views[-1])

    assert press("Shift+ArrowRight")["heading"] == pytest.approx(10, abs=0.1)
    assert press("Shift+ArrowUp")["pitch"] == pytest.approx(views[0]["pitch"] - 5, abs=0.2)
    assert press("n")["heading"] % 360 == pytest.approx(0, abs=0.1)
    assert press("+")["range"] == pytest.approx(0.8 * views[-2]["range"], rel=0.05)
    north = press("ArrowUp")
    assert (north["lat"] - views[-2]["lat"]) * 111_320 == pytest.approx(0.12 * views[-2]["range"], rel=0.1)
    assert north["lon"] == pytest.approx(views[-2]["lon"], abs=1e-6)
    viewer.look(*building.degrees, building.roof, heading=0, span=260)
    page.keyboard.press("Space")
    page.wait_for_selector("twin-feature-card [data-state=feature]")
    assert viewer.text("twin-feature-card [data-field=id]") == building.id
    forget(viewer)


def test_a_cloud_by_class_intensity_and_height(viewer: Viewer, small_city: Any, pictures: Path) -> None:
    """The colours on the map are those of the legend: two classes with their names in both languages, then two ramps from end to end."""
    page = viewer.page
    west, south, side = full_city.CLOUD
    page.evaluate("() => { for (const id of ['buildings', 'places']) twin.set(id, { visible: false }); twin.set('cloud', { visible: true }); }")
    middle = (west + side / 2, south + side / 2)
    viewer.look(*small_city.degrees(*middle), full_city.cloud_height(middle[1]), pitch=-89, span=90, heading=0)
    page.click("[data-layer=cloud] .name")

    def colours(column: str, *spots: tuple[float, float]) -> list[np.ndarray]:
        page.select_option("[data-layer=cloud] [data-role=colour-by]", f"attribute:{column}")
        page.wait_for_function("column => twin.legend('cloud') && document.querySelector('city-twin').app.states.get('cloud').thematic.column === column", arg=column)
        viewer.tiles()
        path = viewer.shot(pictures / f"cloud-{column}.png")
        picture = np.asarray(Image.open(path).convert("RGB"), np.int16)
        found = []
        for x, y in spots:
            spot = page.evaluate("place => twin.toWindow(...place)", [*small_city.degrees(x, y), full_city.cloud_height(y)])
            around = picture[round(spot["y"]) - 6 : round(spot["y"]) + 7, round(spot["x"]) - 6 : round(spot["x"]) + 7].reshape(-1, 3)
            found.append(around)
        return found

    def near(pixels: np.ndarray, color: str) -> float:
        """Distance of the nearest pixel to a colour; between the points the ground shows."""
        wanted = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)])
        return float(np.abs(pixels - wanted).max(axis=1).min())

    left, right, low, high = (west + 4, middle[1]), (west + side - 4, middle[1]), (middle[0] + 3, south + 1), (middle[0] + 3, south + side - 1)
    seen = colours("classification", left, right)
    entries = page.evaluate("() => twin.legend('cloud').entries")
    assert [entry["value"] for entry in entries] == list(full_city.CLASSES)
    assert [entry["label"]["en"] for entry in entries] == ["ground", "building"]
    legend = viewer.text("twin-legends [data-legend=cloud]")
    assert all(entry["label"]["zh"] in legend for entry in entries)
    for pixels, mine, other in zip(seen, entries, reversed(entries), strict=True):
        assert near(pixels, mine["color"]) < 8
        assert near(pixels, other["color"]) > 40
    for column, spots, ends in (("intensity", (left, right), full_city.INTENSITIES), ("height", (low, high), full_city.CLOUD_HEIGHTS)):
        seen = colours(column, *spots)
        entries = page.evaluate("() => twin.legend('cloud').entries")
        assert [entries[0]["value"], entries[-1]["value"]] == pytest.approx(list(ends), abs=0.1)
        for pixels, mine, other in zip(seen, (entries[0], entries[-1]), (entries[-1], entries[0]), strict=True):
            assert near(pixels, mine["color"]) < near(pixels, other["color"]) - 60, column
    page.click("[data-layer=cloud] .name")
    page.evaluate("() => twin.set('cloud', { visible: false })")


def test_a_model_shows_its_tree_and_its_basement(viewer: Viewer, small_city: Any, pictures: Path) -> None:
    """From a column to its storey and to the other columns; "below" shows the basement through the ground and nothing else."""
    page = viewer.page
    page.evaluate("() => twin.set('buildings', { visible: false })")
    x, y = full_city.MODEL
    upper = (*small_city.degrees(x, y), full_city.MODEL_HEIGHT + 3)
    lower = (*small_city.degrees(x, y + 12), full_city.MODEL_HEIGHT - 7)
    viewer.look(*upper, pitch=-60, span=45, heading=0)
    viewer.click(*upper)
    page.wait_for_selector("twin-feature-card [data-state=feature]")
    assert viewer.text("twin-feature-card [data-field=id]") == full_city.UPPER
    page.click("[data-more=tree] summary")
    page.wait_for_selector("[data-more=tree] [aria-current=true]")
    assert [text.removesuffix(kind) for text, kind in zip(viewer.texts("[data-more=tree] li"), ("IfcProject", "IfcSite", "IfcBuilding", "IfcBuildingStorey", "IfcColumn"), strict=True)] \
        == ["P", "S", "B", "EG", "column 1"]  # fmt: skip
    page.click("[data-more=tree] li:nth-child(4) button")
    page.wait_for_function("() => twin.selection.kind === 'feature' && twin.selection.feature.properties.class === 'IfcBuildingStorey'")
    page.wait_for_selector(f"[data-relative='{full_city.LOWER}']")
    viewer.shot(pictures / "model-tree.png")
    page.click(f"[data-relative='{full_city.LOWER}']")
    page.wait_for_function("id => twin.selection.kind === 'feature' && twin.selection.feature.id === id", arg=full_city.LOWER)
    forget(viewer)

    def picked(place: tuple[float, ...]) -> str | None:
        viewer.tiles()
        return page.evaluate("place => twin.pick(...place).then(hit => hit.id)", list(place))

    page.click("[data-tab=tools]")
    page.select_option("[data-role=underground]", "below")
    assert page.evaluate("() => document.querySelector('city-twin').app.sharing.ground") > 0.5
    assert [picked(upper), picked(lower)] == [None, full_city.LOWER]
    viewer.shot(pictures / "underground.png")
    page.select_option("[data-role=underground]", "above")
    assert page.evaluate("() => document.querySelector('city-twin').app.sharing.ground") == 0
    assert [picked(upper), picked(lower) == full_city.LOWER] == [full_city.UPPER, False]
    page.select_option("[data-role=underground]", "all")
    page.click("[data-tab=layers]")
    forget(viewer)


def test_versions_in_the_card_and_on_the_slider(viewer: Viewer, small_city: Any, pictures: Path) -> None:
    """The card says what the second version changed; the slider shows the city as it was before, and as it is."""
    page = viewer.page
    page.evaluate("() => twin.select('places', 'p-2')")
    page.wait_for_selector("twin-feature-card [data-state=feature]")
    page.click("[data-more=history] summary")
    page.wait_for_selector("[data-more=history] [data-altered=name]")
    assert full_city.BEFORE + " → " + full_city.AFTER in viewer.text("[data-more=history] [data-version='2'] [data-altered=name]")
    assert page.locator("[data-more=history] li[data-version]").count() == 2
    viewer.shot(pictures / "history.png")
    forget(viewer)
    version = "() => twin.layers.find(layer => layer.id === 'places').version"
    assert page.evaluate(version) == 2
    page.click("[data-layer=places] .name")
    slider = page.locator("[data-layer=places] [data-role=versions]")
    slider.wait_for()
    for stop, shown in (("0", 1), ("1", 2)):
        slider.fill(stop)
        page.wait_for_function(f"shown => ({version})() === shown", arg=shown)
        assert viewer.text("[data-layer=places] twin-layer-versions p").startswith(f"版本 {shown} ")
    page.click("[data-layer=places] .name")


def test_a_mass_says_what_it_stands_for(viewer: Viewer, small_city: Any, pictures: Path) -> None:
    """From afar a click meets a mass, which is no building: it says how many it stands for and what to do."""
    page = viewer.page
    x, y = 450.0, 350.0 + full_city.SUBURB
    viewer.look(*small_city.degrees(x, y), 25.0, pitch=-60, span=14_000)
    viewer.shot(pictures / "masses.png")
    hit = None
    for block in small_city.buildings():
        hit = page.evaluate("([lon, lat, height]) => twin.pick(lon, lat, height)", [*small_city.degrees(block.x, block.y + full_city.SUBURB), 30.0])
        if hit and "buildings" in hit["properties"]:
            break
    assert hit is not None
    assert hit["id"] is None
    count = hit["properties"]["buildings"]
    assert 1 < count <= len(small_city.buildings())
    page.wait_for_selector("twin-feature-card [data-state=feature]")
    assert viewer.text("twin-feature-card h2") == f"{count} 栋建筑（远看合为一体，走近再点）"
    assert viewer.text("twin-feature-card [data-attribute=buildings]") == str(count)
    forget(viewer)


def test_two_views_have_one_camera_and_two_sets_of_layers(viewer: Viewer, small_city: Any, pictures: Path) -> None:
    page, building = viewer.page, small_city.buildings()[24]
    page.evaluate("() => twin.set('buildings', { visible: true })")
    page.click("button[aria-label=双屏对照]")
    second = "document.querySelector('city-twin').shadowRoot.querySelector('twin-second-view').shadowRoot.querySelector('city-twin')"
    page.wait_for_function(f"() => document.querySelector('city-twin').shadowRoot.querySelector('twin-second-view') && {second}?.handle?.viewer")
    page.evaluate(f"() => {second}.handle.tilesLoaded()")
    page.evaluate(f"() => {second}.handle.set('buildings', {{ visible: false }})")
    shown = "one => one.layers.find(layer => layer.id === 'buildings').state.visible"
    assert page.evaluate(f"() => [twin, {second}.handle].map({shown})") == [True, False]
    viewer.look(*building.degrees, building.roof)
    page.evaluate(f"() => {second}.handle.frame()")
    stand = "one => { const { x, y, z } = one.viewer.camera.positionWC; return [x, y, z]; }"
    first, other = page.evaluate(f"() => [twin, {second}.handle].map({stand})")
    assert other == pytest.approx(first, abs=0.01)
    page.evaluate(f"view => {second}.handle.look(view)", {"lon": building.degrees[0], "lat": building.degrees[1], "height": building.roof, "heading": 120, "pitch": -50, "range": 320})
    page.evaluate(f"() => {second}.handle.frame().then(() => twin.frame())")
    assert page.evaluate("() => twin.view.heading") == pytest.approx(120, abs=0.5)
    viewer.tiles()
    page.evaluate(f"() => {second}.handle.tilesLoaded()")
    viewer.shot(pictures / "second-view.png")
    page.click("button[aria-label=单屏]")
    page.wait_for_function("() => !document.querySelector('city-twin').shadowRoot.querySelector('twin-second-view')")
