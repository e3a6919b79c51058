"""The seed decides everything, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely

from data_samples import generate
from data_samples.city import build
from tests.data_samples.conftest import Sample


def test_same_seed_same_bytes(sample: Sample, tmp_path: Path) -> None:
    generate(tmp_path)
    for path in sorted(sample.folder.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_another_seed_is_another_city_that_still_works(sample: Sample) -> None:
    city = build(sample.manifest["seed"] + 1)
    ours = sample.read("buildings")
    assert not np.array_equal(shapely.area(city.buildings["geometry"])[:500].round(3), ours.area.to_numpy()[:500].round(3))
    assert len(city.buildings["id"]) >= 2000 and sum(d.bim != "" for d in city.drafts) == 1
    uses = {b.use for b in city.blocks}
    assert {"old", "school", "hospital", "industry", "park", "ponds", "bim", "civic"} <= uses
