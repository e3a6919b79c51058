"""The sample city: generated, then taken in by the ordinary readers like any delivery of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from twin import intake, scratch, tasks
from twin.city import City

Listener = Callable[[str, float, str], None]
FIRST = {"terrain": 0, "raster": 1, "footprints": 2, "vector": 3}


def build(city: City, seed: int | None, listener: Listener | None, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Generate the delivery and ingest every file in it that a reader takes; layers that are already shown are left alone.

    The terrain comes first, because what stands on it needs it.
    """
    shown = {publication.layer for publication in city.catalog.published()}
    marker = city.settings.home / "delivery.json"
    if marker.exists() and set(json.loads(marker.read_text("utf-8"))["layers"]) <= shown:
        return {"layers": len(shown), "built": 0}
    with scratch.folder("delivery") as folder:
        say("Generating the sample city …")
        generate = import_module("data_samples").generate
        manifest_path = Path(generate(folder) if seed is None else generate(folder, seed=seed))
        manifest = json.loads(manifest_path.read_text("utf-8"))
        deliveries = [item for item in manifest["files"] if item.get("reader")]
        deliveries.sort(key=lambda item: FIRST.get(item["reader"], 9))
        built = 0
        for item in deliveries:
            if item["layer"] in shown:
                continue
            options = dict(item.get("options") or {})
            options |= {key: item[key] for key in ("crs", "vertical") if item.get(key) and key not in options}
            title = item.get("title") or {}
            describe = {"title_zh": title.get("zh"), "title_en": title.get("en"), "group": item.get("group"), "licence": item.get("licence"),
                        "description": item.get("description")}  # fmt: skip
            params = intake.ingest_params(manifest_path.parent / item["path"], item["layer"], reader=item["reader"], options=options,
                                         describe={k: v for k, v in describe.items() if v}, columns=item.get("columns"), publish=True)  # fmt: skip
            result = tasks.require(tasks.work(city, tasks.submit(city, "ingest", params), listener))
            built += 1
            say(f"  {item['layer']}: {result['count']:,}")
    marker.write_text(json.dumps({"layers": [item["layer"] for item in deliveries]}), "utf-8")
    return {"layers": len(deliveries), "built": built}
