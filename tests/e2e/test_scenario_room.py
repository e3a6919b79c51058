"""The scenario room in a real browser: a flood from the form with a drawn barrier to the animated result, its lists, and a second run beside it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from pyproj import Geod

from tests.e2e import golden
from twin.city import City

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("browser")]

AREA = (360.0, 230.0, 600.0, 440.0)
"""West, south, east, north of the flooded part, metres from the city's corner: the river bed and both banks."""
BARRIER = ((480.0, 303.0), (480.0, 367.0))
SOURCE = (400.0, 335.0)
FLOODED = (560, 60, 930, 440)
"""Part of the picture that shows the flood and no panel: left, top, right, bottom."""


def fill(page: Any, **values: str) -> None:
    for name, value in values.items():
        page.fill(f"form [name={name}]", value)


def unfold(page: Any) -> None:
    """Open all parts of the form."""
    for part in page.locator("form details.part").all():
        part.evaluate("part => { part.open = true; }")


def deep(picture: Path) -> float:
    """Share of the map that has the two darkest colours of the depth legend; nothing else in the city is so dark a blue."""
    pixels = np.asarray(Image.open(picture).convert("RGB"), np.int16)[60:340, 340:900]
    return float(((pixels[..., 0] < 70) & (pixels[..., 2] > 85)).mean())


def moment(viewer: Any, index: int) -> None:
    """Set the clock to a moment and wait until the map shows it."""
    viewer.page.locator("[data-role=time]").fill(str(index))
    viewer.page.wait_for_selector("twin-time-slider [data-shown=true]")
    viewer.page.wait_for_function("() => document.querySelector('city-twin').app.playback.shown")
    viewer.tiles()


def finish(viewer: Any, number: int) -> str:
    """Wait for the newest of so many runs started here; its id. Earlier tests may have left runs of their own on this server."""
    page = viewer.page
    ended = "document.querySelector('city-twin').app.runs.list.filter(run => !run.earlier && ['successful', 'failed'].includes(run.job.status))"
    page.wait_for_function(f"() => {ended}.length === {number}")
    newest = page.evaluate(f"() => {ended}[0].job.jobID")
    card = page.locator(f"[data-run='{newest}']")
    assert card.get_attribute("data-status") == "successful", card.inner_text()
    page.wait_for_selector(f"[data-run='{newest}'] [data-role=play]")
    return str(newest)


def difference_is_right(viewer: Any, city: City) -> None:
    """The table's figures of both runs and B less A, against the depths and buildings as they lie in the lake."""

    def told(quantity: str) -> list[float]:
        cells = viewer.page.locator(f"[data-role=difference] [data-figure='{quantity}'] td").all_inner_texts()
        return [float(re.sub(r"[^\d.\-]", "", cell.replace("m²", "").replace("−", "-"))) for cell in cells]

    depths, cell, hit = [], [], []
    for run in ("flood", "flood-2"):
        version = city.published(f"{run}-depth")[1]
        with rasterio.open(city.lake.path(version.parts[0].key)) as source:
            depth = source.read(1, masked=True).filled(0) * version.parts[0].properties.get("scale", 1)
            cell.append(source.transform.a * -source.transform.e)
        depths.append(np.nan_to_num(depth))
        hit.append(viewer.page.request.get(f"{viewer.url}/collections/{run}-buildings/items?limit=1000").json().get("numberMatched"))  # no layer where none is hit
    deepest, wet = [float(depth.max()) for depth in depths], [float((depth > 0).sum()) * area for depth, area in zip(depths, cell, strict=True)]
    assert deepest[0] != deepest[1], "the barrier makes no difference: nothing is compared"
    figures = [("depth_max", deepest, 0.006), ("flooded_area", wet, 0.6)] + ([] if None in hit else [("buildings_flooded", hit, 0)])
    for quantity, (a, b), close in figures:
        assert told(quantity) == pytest.approx([a, b, b - a], abs=close), quantity


def fly_to_a_hit(viewer: Any) -> None:
    """A click on a row of the list opens the card of what is hit and flies there. No frame is waited for: the camera says when it has arrived."""
    page = viewer.page
    row = page.locator("[data-hits] tr[data-hit]").first
    hit = row.get_attribute("data-hit")
    row.locator("button").click()
    page.wait_for_function("id => twin.selection.kind === 'feature' && twin.selection.feature.id === id", arg=hit, polling=250)
    assert viewer.text("twin-feature-card [data-field=id]") == hit
    # From straight above to 400 m off at 45 degrees: 283 m beside what was hit, and as high above it.
    page.wait_for_function("() => Math.abs(twin.viewer.camera.pitch + Math.PI / 4) < 0.02", polling=250)
    at = page.evaluate("() => { const at = twin.viewer.camera.positionCartographic; return [at.longitude, at.latitude].map(angle => angle * 180 / Math.PI); }")
    layer = page.evaluate("twin.selection.layer.id")
    shape = shapely.geometry.shape(page.request.get(f"{viewer.url}/collections/{layer}/items/{quote(hit)}").json()["geometry"])
    away = [Geod(ellps="WGS84").inv(*at, *corner[:2])[2] for corner in shapely.get_coordinates(shape)]
    assert min(away) - 40 < 400 / math.sqrt(2) < max(away) + 40
    page.evaluate("() => document.querySelector('city-twin').app.selection.clear()")


def test_flood_from_a_drawn_barrier_to_the_animation(viewer: Any, small_city: Any, served: Any, pictures: Path) -> None:
    city = small_city
    viewer.open()
    page = viewer.page
    page.evaluate("() => twin.set('buildings', { visible: false })")
    viewer.look(*city.degrees(470.0, 335.0), 14.0, pitch=-89, span=430, heading=0)
    page.click("[data-tab=scenarios]")
    page.click("[data-process=flood]")
    unfold(page)
    assert page.input_value("form [name=terrain]") == "terrain", "the only terrain need not be chosen"
    for name in ("buildings", "roads"):
        page.select_option(f"form [name={name}]", name)
    box = (*city.degrees(*AREA[:2]), *city.degrees(*AREA[2:]))
    fill(page, bbox=", ".join(f"{angle:.6f}" for angle in box), cell="5", hours="0.25", frames="5", inflow_m3_s="250")

    assert page.locator("[data-draw=rain_area]").count() == 0, "without rain nothing is asked about it"
    page.select_option("form [name=rain]", "uniform")
    assert page.locator("[data-draw=rain_area]").inner_text() == "在图上画范围", "an area of rain is drawn, not typed"
    page.select_option("form [name=rain]", "none")
    page.click("[data-draw=inflow_point]")
    viewer.click(*city.degrees(*SOURCE), city.ground(*SOURCE))
    page.wait_for_function("() => document.querySelector('city-twin').app.drawing.order === null")

    page.locator("twin-rows", has=page.locator("[data-add=barrier]")).locator("[data-add=barrier]").click()
    for count, spot in enumerate(BARRIER, 1):
        viewer.click(*city.degrees(*spot), city.ground(*spot))
        page.wait_for_selector(f"[data-drawing='{count}']")
    page.keyboard.press("Enter")
    drawn = page.input_value("[name='structures.0.line']")
    corners = [[float(number) for number in place.split(",")] for place in drawn.split(";")]
    length = Geod(ellps="WGS84").line_length([lon for lon, _ in corners], [lat for _, lat in corners])
    assert length == pytest.approx(BARRIER[1][1] - BARRIER[0][1], abs=3), "the barrier is as long as it was drawn"
    page.fill("[name='structures.0.height_m']", "3")
    page.locator("[name='structures.0.height_m']").blur()
    page.locator("twin-rows").filter(has=page.locator("[name=sections-json]")).locator("[data-add=row]").click()
    for spot in ((440.0, 303.0), (440.0, 367.0)):
        viewer.click(*city.degrees(*spot), city.ground(*spot))
    page.wait_for_selector("[data-drawing='2']")
    viewer.shot(pictures / "scenario-form.png")
    page.keyboard.press("Enter")
    page.wait_for_selector("[name='sections.0.line']")
    page.click("form button[type=submit]")
    assert page.locator("form .fault").count() == 0, viewer.texts("form .fault")
    first = finish(viewer, 1)

    page.wait_for_selector("[data-legend=flood-frames]")
    moment(viewer, 0)
    early = deep(viewer.shot(pictures / "flood-0.png"))
    moment(viewer, 5)
    late = deep(viewer.shot(pictures / "flood-5.png"))
    assert late > early + 0.1, "the water spreads while the clock runs"
    assert golden.compare(pictures / "flood-5.png", "flood", FLOODED).alike
    assert viewer.text("[data-role=clock]") == "0:15:00"
    card = page.locator(f"[data-run='{first}']")
    card.locator("[data-role=details]").click()
    page.wait_for_selector("twin-hydrographs twin-chart svg")
    assert "m³/s" in viewer.text("twin-hydrographs [data-role=now]")
    page.wait_for_selector("[data-hits=buildings], [data-hits=roads]")
    viewer.shot(pictures / "flood-lists.png")
    fly_to_a_hit(viewer)
    report = page.request.get(page.locator("[data-role=report]").first.get_attribute("href"))
    assert report.ok
    assert "html" in report.headers["content-type"]

    card.locator("[data-role=play]").click()
    page.wait_for_function("() => document.querySelector('city-twin').app.playback.time > 0 && document.querySelector('city-twin').app.playback.playing")
    page.locator("[data-role=time]").focus()
    page.keyboard.press("Space")
    page.wait_for_selector("[data-playing=false]")
    viewer.look(*city.degrees(470.0, 335.0), 14.0, pitch=-89, span=430, heading=0)

    page.locator("[data-row='0'] button[aria-label=删除这一行]").first.click()
    page.click("form button[type=submit]")
    finish(viewer, 2)
    page.click("[data-role=compare] summary")
    page.click("[data-role=compare-show]")
    page.wait_for_selector("[data-role=difference]")
    sides = page.evaluate(
        "() => twin.layers.filter(layer => layer.state.visible && layer.kind === 'raster' && layer.run).map(layer => [layer.id, layer.state.side])"
    )
    assert sorted(sides) == [["flood-2-frames", "right"], ["flood-frames", "left"]]
    moment(viewer, 5)
    page.locator("[data-role=difference]").scroll_into_view_if_needed()
    viewer.shot(pictures / "flood-compare.png")
    difference_is_right(viewer, City.open(served.home))
    assert viewer.errors == []
