"""Asking the city in a real browser: search, colour by any attribute, filters; each against the numbers the city is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("browser")]


@pytest.fixture
def viewer(shared: Any) -> Any:
    """The file's page, with nothing selected and no layer's panel open (a test that failed may have left one)."""
    shared.page.evaluate("() => document.querySelector('city-twin').app.selection.clear()")
    for panel in shared.page.query_selector_all("[data-layer] .name[aria-expanded=true]"):
        panel.click()
    return shared


def test_search_flies_to_what_was_found(viewer: Any, small_city: Any) -> None:
    page = viewer.page
    wanted = small_city.buildings()[5]
    page.fill("twin-search input[role=combobox]", wanted.name)
    page.wait_for_selector("twin-search [role=option]")
    assert wanted.name in viewer.text("twin-search [role=option]")
    page.keyboard.press("Enter")
    page.wait_for_selector("twin-feature-card [data-state=feature]")
    assert viewer.text("twin-feature-card [data-field=id]") == wanted.id
    x, y = small_city.EAST + wanted.x, small_city.NORTH + wanted.y
    page.fill("twin-search input[role=combobox]", f"{x:.2f}, {y:.2f}")
    page.fill("twin-search input.crs", small_city.CRS)
    page.keyboard.press("Tab")
    lon, lat = wanted.degrees
    page.wait_for_function(
        """([lon, lat]) => [...document.querySelector('city-twin').shadowRoot.querySelector('twin-search').shadowRoot.querySelectorAll('[role=option] b')]
        .some(one => { const [x, y] = one.textContent.split(',').map(Number); return Math.abs(x - lon) < 1e-6 && Math.abs(y - lat) < 1e-6; })""",
        arg=[lon, lat])  # fmt: skip
    page.fill("twin-search input[role=combobox]", "没有这个地方")
    page.wait_for_selector("twin-search p[role=status]")


def test_looking_somewhere_ends_a_flight(viewer: Any, small_city: Any) -> None:
    """A flight that is under way (on a slow machine, long after it was asked for) does not take the camera away from where one looks next."""
    building = small_city.buildings()[0]
    lon, lat = building.degrees
    viewer.page.evaluate(
        """async ([here, there]) => {
            const flight = document.querySelector('city-twin').flyTo(there);
            await twin.frame();
            twin.look(here);
            await flight;
        }""",
        [{"lon": lon, "lat": lat, "height": building.roof, "heading": 0, "pitch": -88, "range": 120}, {"lon": lon + 0.01, "lat": lat + 0.01, "range": 200}],
    )
    viewer.tiles()
    spot = viewer.page.evaluate("([lon, lat, height]) => twin.toWindow(lon, lat, height)", [lon, lat, building.roof])
    assert spot is not None, "the flight went on"
    assert abs(spot["x"] - 500) < 5
    assert abs(spot["y"] - 310) < 5


def test_colours_follow_the_values(viewer: Any, small_city: Any, pictures: Path) -> None:
    page = viewer.page
    every = sorted(small_city.buildings(), key=lambda building: building.height)
    page.click("[data-layer=buildings] .name")
    page.select_option("[data-role=colour-by]", "attribute:height")
    page.wait_for_selector("twin-legends [data-legend=buildings]")
    page.select_option("[data-role=ramp]", "magma")
    page.wait_for_function("() => twin.legend('buildings')?.entries[0].color === '#000004'")
    entries = page.evaluate("() => twin.legend('buildings').entries")
    heights = np.array([building.height for building in every])
    assert entries[0]["value"][0] == heights.min()
    assert entries[-1]["value"][1] == heights.max()
    counts = [((heights >= low) & (heights < high)).sum() for low, high in (entry["value"] for entry in entries[:-1])]
    assert max(counts) <= np.ceil(len(heights) / len(entries)) + sum(heights == heights[len(heights) // 2])
    bright = []
    for building in (every[0], every[-1]):
        viewer.look(*building.degrees, building.roof, pitch=-88, span=120)
        path = viewer.shot(pictures / f"theme-{building.id}.png")
        bright.append(sum(viewer.color(path, *building.degrees, building.roof)))
    assert bright[1] - bright[0] > 120, f"the highest building is not brighter than the lowest on this ramp: {bright}"
    page.select_option("[data-role=colour-by]", "use")
    page.click("[data-layer=buildings] .name")


def test_a_filter_hides_what_does_not_match(viewer: Any, small_city: Any, pictures: Path) -> None:
    page = viewer.page
    low, high = min(small_city.buildings(), key=lambda b: b.height), max(small_city.buildings(), key=lambda b: b.height)
    limit = (low.height + high.height) / 2
    expected = sum(building.height >= limit for building in small_city.buildings())
    page.click("[data-layer=buildings] .name")
    page.click("[data-role=add-condition]")
    page.select_option(".condition select >> nth=0", "height")
    page.select_option(".condition select >> nth=1", ">=")
    page.fill(".condition input", str(limit))
    page.keyboard.press("Tab")
    page.wait_for_selector("twin-layer-style [role=status]")
    assert viewer.text("twin-layer-style [role=status]") == f"符合条件 {expected} 个"
    for building, drawn in ((low, False), (high, True)):
        viewer.look(*building.degrees, building.roof, pitch=-88, span=120)
        viewer.shot(pictures / f"filter-{building.id}.png")
        hit = page.evaluate("([lon, lat, height]) => twin.pick(lon, lat, height)", [*building.degrees, building.roof])
        assert (hit["id"] == building.id) is drawn, f"{building.id} ({building.height} m)"
    page.click(".condition button")
    page.wait_for_function("() => twin.layers.find(layer => layer.id === 'buildings').state.conditions.length === 0")
    by_place(viewer, small_city)
    drawn_vectors(viewer, small_city, pictures)
    assert viewer.errors == []


def by_place(viewer: Any, city: Any) -> None:
    """A drawn area leaves the blocks that touch it, in the tiles and in the count."""
    page = viewer.page
    low, high = (350.0, 420.0), (560.0, 555.0)
    viewer.look(*city.degrees(420.0, 470.0), city.ground(420.0, 470.0), pitch=-89, span=560, heading=0)
    page.evaluate("() => document.querySelector('city-twin').app.selection.clear()")  # its card would take the clicks
    page.click("[data-role=add-place]")
    for count, spot in enumerate((low, (high[0], low[1]), high, (low[0], high[1])), 1):
        viewer.click(*city.degrees(*spot), city.ground(*spot))
        page.wait_for_selector(f"[data-drawing='{count}']")
    page.keyboard.press("Enter")
    touched = [one for one in city.buildings() if low[0] - one.wide / 2 < one.x < high[0] + one.wide / 2 and low[1] - one.deep / 2 < one.y < high[1] + one.deep / 2]
    page.wait_for_function("text => document.querySelector('city-twin').app.questions.matched.get('buildings') === text", arg=len(touched))
    viewer.tiles()
    outside = min((one for one in city.buildings() if one not in touched), key=lambda one: abs(one.x - 455) + abs(one.y - 470))
    for building, drawn in ((touched[0], True), (outside, False)):
        hit = page.evaluate("([lon, lat, height]) => twin.pick(lon, lat, height)", [*building.degrees, building.roof])
        assert (hit["id"] == building.id) is drawn, building.id
    page.click("[data-place] button")


def drawn_vectors(viewer: Any, city: Any, pictures: Path) -> None:
    """A filter and a colouring of streets reach their picture on the ground."""
    page = viewer.page
    roads = [(99.0 + 78.0 * column, 222.0) for column in (3, 4)]
    viewer.look(*city.degrees(370.0, 222.0), city.ground(370.0, 222.0), pitch=-89, span=240, heading=0)

    def colours(name: str) -> list[tuple[int, int, int]]:
        viewer.tiles()
        path = viewer.shot(pictures / name)
        return [viewer.color(path, *city.degrees(*road), city.ground(*road)) for road in roads]

    def shown() -> None:
        page.wait_for_function("() => { const { ground, states } = document.querySelector('city-twin').app; "
                               "return ground.settled('roads', states.get('roads')); }")  # fmt: skip

    plain = colours("roads-plain.png")
    page.click("[data-layer=roads] .name")
    panel = "[data-layer=roads] twin-layer-style"
    page.click(f"{panel} [data-role=add-condition]")
    page.select_option(f"{panel} .condition select >> nth=0", "name")
    page.fill(f"{panel} .condition input", "四马路")
    page.keyboard.press("Tab")
    shown()
    left = colours("roads-filter.png")
    assert np.abs(np.subtract(left[0], plain[0])).max() < 12, "the street that matches stays"
    assert np.subtract(plain[1], left[1]).max() > 25, "the other is gone: the field shows"
    page.click(f"{panel} .condition button")
    page.select_option(f"{panel} [data-role=colour-by]", "attribute:name_en")
    page.wait_for_selector("twin-legends [data-legend=roads]")
    shown()
    coloured = colours("roads-colour.png")
    assert np.abs(np.subtract(coloured[0], coloured[1])).max() > 40, "two names, two colours"
