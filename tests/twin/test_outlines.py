"""twin.outlines against shapely: what it is sure of is valid, and of ordinary footprints it is sure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twin.bench.cities import generate_buildings
from twin.keys import offsets_and_data
from twin.outlines import MOST, inspect, measure_outlines


def judged(shapes: list[object]) -> tuple[np.ndarray, np.ndarray]:
    wkb = pa.array(shapely.to_wkb(np.array(shapes, object)), pa.binary())
    offsets, data = offsets_and_data(wkb)
    sizes, boxes, sure = np.empty((len(wkb), 3), np.int64), np.zeros((len(wkb), 4)), np.zeros(len(wkb), bool)
    measure_outlines(offsets, data, sizes)
    inspect(offsets, data, sizes, boxes, sure)
    return sure, boxes


def test_ordinary_footprints_are_sure_and_their_boxes_are_those_of_shapely() -> None:
    """Rectangles, angles, courtyards and pairs of wings, turned any way."""
    batch = next(iter(generate_buildings(3000, 4)))
    sure, boxes = judged(list(batch.geometry))
    assert sure.all()
    assert np.array_equal(boxes, shapely.bounds(batch.geometry))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 7), st.sampled_from([0.0, 1e-9, 0.3]))
@example(seed=65557, side=2, jitter=1e-9)  # a valid sliver in whose coordinates its area is lost
def test_what_it_is_sure_of_is_valid(seed: int, side: int, jitter: float) -> None:
    """Random rings on a small lattice touch, cross, nest and repeat in every way."""
    rng = np.random.default_rng(seed)

    def ring(corners: int, low: int, high: int) -> np.ndarray:
        return 4e5 + rng.integers(low, high, (corners, 2)) + rng.uniform(-jitter, jitter, (corners, 2))

    def polygon() -> shapely.Polygon:
        shift = rng.integers(0, 4, 2)
        holes = [ring(int(rng.integers(3, 5)), 0, side) + shift for _ in range(rng.integers(0, 3))]
        outer = np.array([(0, 0), (side, 0), (side, side), (0, side)]) + 4e5 if rng.random() < 0.5 else ring(int(rng.integers(3, 7)), 0, side + 1)
        return shapely.Polygon(outer + shift, holes)

    shapes = [polygon() if rng.random() < 0.6 else shapely.MultiPolygon([polygon() for _ in range(rng.integers(1, 4))]) for _ in range(60)]
    sure, boxes = judged(shapes)
    valid = shapely.is_valid(np.array(shapes, object))
    assert not (sure & ~valid).any(), [s.wkt for s, a, b in zip(shapes, sure, valid, strict=True) if a and not b]
    assert np.array_equal(boxes[sure], shapely.bounds(np.array(shapes, object))[sure])
    assert (shapely.area(np.array(shapes, object))[sure] > 0).all()


def test_what_it_leaves_to_others() -> None:
    box = shapely.box(0, 0, 9, 9)
    inner = shapely.box(2, 2, 4, 4)
    left = [
        shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]),  # a bow
        shapely.Polygon([(0, 0), (4, 0), (8, 0)]),  # no area
        shapely.Polygon([(0, 0), (4, 0), (4, 4), (4, 0)]),  # turns back on itself
        shapely.Polygon(box.exterior, [shapely.box(20, 20, 22, 22).exterior]),  # a courtyard outside
        shapely.Polygon(box.exterior, [inner.exterior, shapely.box(2.5, 2.5, 3, 3).exterior]),  # one in another
        shapely.MultiPolygon([box, inner]), shapely.MultiPolygon([box, shapely.box(9, 0, 12, 4)]),  # a part in, or beside, another
        shapely.Polygon([(0, 0), (float("nan"), 1), (1, 1)]), shapely.Polygon([(0, 0), (float("inf"), 1), (1, 1)]),
        shapely.Point(1, 1), shapely.Polygon(), shapely.Point(0, 0).buffer(5, MOST), shapely.Polygon([(0, 0, 1), (4, 0, 1), (4, 4, 1)]),
    ]  # fmt: skip
    assert not judged(left)[0].any()
    kept = [box, shapely.Polygon(box.exterior, [inner.exterior]), shapely.MultiPolygon([box, shapely.box(9.1, 0, 12, 4)]),
            shapely.Polygon([(0, 0), (4, 0), (8, 0), (8, 5)]), box.reverse()]  # fmt: skip
    assert judged(kept)[0].all()
