"""100 of a million buildings change: what the update costs beside the full build.

Once as a whole command, and in a running process: there another update of the same layer comes first, so that kernels are
loaded and pages are in memory, as in a server that takes a delivery every night.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from twin.bench.measure import Cost, measure

EDITS = 100
TURNS = 5
"""Updates of either kind in a running process: of one the wall time jumps by half."""
_OPTIONS = ("--layer", "buildings", "--vertical", "above ground", "--option", "height=height", "--option", "ground=0")
_INSIDE = """
import json, resource, sys, time
from pathlib import Path
from twin import intake, tasks
from twin.city import City
def work(home, source, update):
    city = City.open(Path(home))
    params = intake.ingest_params(source, "buildings", options={"vertical": "above ground", "height": "height", "ground": "0"}, update=update)
    start = time.perf_counter(), time.process_time()
    tasks.require(tasks.work(city, tasks.submit(city, "ingest", params)))
    return time.perf_counter() - start[0], time.process_time() - start[1]
if __name__ == "__main__":
    home, *deliveries = sys.argv[1:]
    print(json.dumps([work(home, delivery, True) for delivery in deliveries]))
"""


def update(size: float, twin: list[str], write_buildings: Any, row: Any) -> dict[str, Any]:
    """1,000,000 footprints with 12 attributes are tiled; then 100 of them change, all over the city and in one place."""
    count = max(1000, int(1_000_000 * size))
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as scratch:
        folder = Path(scratch)
        source = write_buildings(folder / "buildings.parquet", count)
        home = folder / "city"
        full = measure([*twin, "ingest", str(source), "--home", str(home), "--json", *_OPTIONS])
        rng = np.random.default_rng(5)
        scattered = [changed(source, folder / f"scattered{k}.parquet", rng.choice(count, EDITS, replace=False), 0.3 + k / 100) for k in range(TURNS)]
        clustered = [changed(source, folder / f"clustered{k}.parquet", np.arange(EDITS) + count * (k + 1) // (TURNS + 2), 0.4 + k / 100) for k in range(TURNS)]
        whole = measure([*twin, "ingest", str(changed(source, folder / "first.parquet", rng.choice(count, EDITS, replace=False), 0.5)),
                         "--home", str(home), "--json", "--update", *_OPTIONS])  # fmt: skip
        other = changed(source, folder / "other.parquet", rng.choice(count, EDITS, replace=False), 0.6)
        inside = measure([sys.executable, "-c", _INSIDE, str(home), str(other), *map(str, scattered), *map(str, clustered)])
        (first, first_cpu), *turns = json.loads(inside.output.strip().splitlines()[-1])
        far, far_cpu = np.median(turns[:TURNS], axis=0).tolist()
        near, near_cpu = np.median(turns[TURNS:], axis=0).tolist()
        details = {
            "buildings": f"{count:,}", "full (ingest and tiles, whole process)": f"{full.wall:.1f} s wall, {full.cpu:.1f} CPU-s",
            "update, whole process, scattered": f"{whole.wall:.2f} s wall ({whole.wall / full.wall:.1%} of full), {whole.cpu:.2f} CPU-s ({whole.cpu / full.cpu:.1%})",
            "the first in a process, scattered": f"{first:.2f} s wall ({first / full.wall:.1%}), {first_cpu:.2f} CPU-s ({first_cpu / full.cpu:.1%})",
            f"in a running process, scattered, median of {TURNS}": f"{far:.2f} s wall ({far / full.wall:.1%}), {far_cpu:.2f} CPU-s ({far_cpu / full.cpu:.1%})",
            f"in a running process, clustered, median of {TURNS}": f"{near:.2f} s wall ({near / full.wall:.1%}), {near_cpu:.2f} CPU-s ({near_cpu / full.cpu:.1%})",
        }  # fmt: skip
        result: dict[str, Any] = row(full.wall / near, "× faster than a full build (clustered)", Cost(near, near_cpu, inside.peak_mb, ""), details=details)
        return result


def changed(source: Path, path: Path, rows: Any, by: float) -> Path:
    """A delivery of some rows of a file, each `by` metres higher."""
    table = pq.read_table(source).take(pa.array(np.sort(rows)))
    column = table.schema.get_field_index("height")
    pq.write_table(table.set_column(column, "height", pc.add(table.column("height"), by)), path)
    return path
