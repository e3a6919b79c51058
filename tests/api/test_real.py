"""The API over real buildings, streets and terrain (Andorra la Vella), against GeoPandas reading the same file."""

from __future__ import annotations

import geopandas
import numpy as np
import shapely
from fastapi.testclient import TestClient

from twin import parts, registry
from twin.api import create_app
from twin.city import City
from twin.model import Layer, Report


def test_real_buildings_by_box_and_by_id(shared_data, tmp_path):
    source = shared_data / "dem_flood" / "andorra_la_vella" / "building.geoparquet"
    city = City.open(tmp_path)
    reader = registry.readers()["footprints"].load()
    report = Report(source=source.name)
    version = parts.write_version(city.lake, "buildings", "blocks", reader.read(source, reader.Options(default_height=9.0), report), report, provenance={})
    manifest = city.lake.put_json(parts.to_json(version))
    with city.catalog.write() as connection:
        number = city.catalog.add_version(connection, Layer("buildings", "blocks", {"zh": "建筑"}), manifest, version.count, job="j", who="test")
        city.catalog.publish(connection, "buildings", number, manifest, None, "test")
    client = TestClient(create_app(city))

    want = geopandas.read_parquet(source).to_crs(4326)
    low, high = want.total_bounds[:2], want.total_bounds[2:]
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(60):
        corner = rng.uniform(low, high)
        box = (*corner, *(corner + rng.uniform(0, 0.004, 2)))
        page = client.get("/collections/buildings/items", params={"bbox": ",".join(map(repr, map(float, box))), "limit": 10000}).json()
        expected = want[want.intersects(shapely.box(*box))]
        assert page["numberMatched"] == len(expected)
        assert {feature["id"] for feature in page["features"]} == set(expected["id"])
        hits += len(expected)
    assert hits > 100

    row = want.iloc[17]
    feature = client.get(f"/collections/buildings/items/{row['id']}").json()
    assert shapely.hausdorff_distance(shapely.geometry.shape(feature["geometry"]), row.geometry) < 2e-8
    assert feature["properties"]["height"] > 0
