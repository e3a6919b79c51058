"""What worker processes do at their start."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest

SPARE = """
import sys

import pytest
from twin.processes import spare_pandas
spare_pandas()
import pyarrow as pa
table = pa.table({"a": pa.array([1, None]), "b": ["x", "y"]})
assert "pandas" not in sys.modules
frame = table.to_pandas()
assert sys.modules["pandas"].DataFrame is type(frame)
assert pa.Table.from_pandas(frame).column("b").to_pylist() == ["x", "y"]
spare_pandas()
import pandas
"""


def test_pandas_is_loaded_only_when_it_is_asked_for() -> None:
    subprocess.run([sys.executable, "-c", SPARE], check=True, timeout=60)


def test_small_models_load_no_compiler() -> None:
    """Numba costs half a second and scipy a tenth: reading a model and tiling it as one tile needs neither."""
    code = "import sys, twin.tasks, ingest_bim.ifc.reader, tiling.meshes.tiler; print(sorted({'numba', 'scipy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout.strip() == "[]"


LEAN = """
import sys
from twin.processes import spare_pandas
spare_pandas()
import pyarrow, twin.crs
print(sorted({"certifi", "dateutil", "pyproj.network", "pyproj.sync"} & set(sys.modules)))
import pyproj
assert pyproj.network.is_network_enabled() in (True, False) and pyproj.sync.get_transform_grid_list
assert twin.crs.to_lonlat("EPSG:32650", 500000.0, 0.0)[0].round(9) == 117.0
"""


def test_positions_are_read_without_what_downloads_grids() -> None:
    """Certificates and downloads cost a tenth of the start of a command (and PROJ's database, opened for them, is opened again by every fork); who asks for them has them."""
    run = partial(subprocess.run, [sys.executable, "-c", LEAN], check=True, timeout=60, capture_output=True, text=True)
    plain = {name: value for name, value in os.environ.items() if name != "PROJ_NETWORK"}
    assert run(env=plain).stdout.strip() == "[]"
    assert run(env={**plain, "PROJ_NETWORK": "ON"}).stdout.strip() == "['certifi', 'pyproj.network']"


COMPILED = """
import sys, threading
from twin.compiled import njit
import tiling.blocks.kernels, tiling.partition_kernels
add = njit(lambda a, b: a + b)
assert add(1, 2) == 3
print(sorted({"scipy", "pandas"} & set(sys.modules)))
import scipy.linalg
from numba import njit as compiled
import numpy as np
dot = compiled(lambda a, b: np.dot(a, b))
assert dot(np.ones(3), np.ones(3)) == 3
"""


def test_the_compiler_is_loaded_without_scipy() -> None:
    """Which those who ask for it later still get, kernels with `numpy.dot` among them."""
    assert subprocess.run([sys.executable, "-c", COMPILED], check=True, timeout=120, capture_output=True, text=True).stdout.strip() == "[]"


REFUSED = """
import sys, threading
from twin.processes import without
found = []
def other():
    import colorsys
    found.append(colorsys)
with without("colorsys"):
    try:
        import colorsys
    except ImportError:
        found.append("refused")
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
import colorsys
assert found == ["refused", colorsys]
"""


def test_a_library_is_refused_to_one_thread_alone() -> None:
    subprocess.run([sys.executable, "-c", REFUSED], check=True, timeout=60)


def test_a_parquet_file_is_read_without_gdal() -> None:
    """GDAL's binding brings pandas: a third of a second."""
    code = "import sys, twin.tasks, ingest_gis.footprints, tiling.blocks.tiler; print(sorted({'pyogrio', 'scipy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout.strip() == "[]"


LEAVE = """
import atexit, sys, threading, time
from twin.processes import leave
atexit.register(lambda: print("at the end", flush=False))
print("said", end=" ")
def late():
    time.sleep(0.3)
    print("late", end=" ")
if len(sys.argv) > 1:
    threading.Thread(target=late).start()
leave(7)
"""


@pytest.mark.parametrize(("arguments", "said"), [((), "said at the end\n"), (("thread",), "said late at the end\n")])
def test_leaving_loses_no_output_no_duty_and_no_status(arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run([sys.executable, "-c", LEAVE, *arguments], check=False, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, said, "")


def test_computing_without_its_texts_computes() -> None:
    code = """
import sys

import pytest
from twin.processes import spare_pandas
spare_pandas()
import pyarrow as pa, pyarrow.compute as pc
assert pc.round(pa.scalar(2.456), ndigits=1).as_py() == 2.5
assert pc.index_in(pa.array(["b", "x"]), pa.array(["a", "b"])).to_pylist() == [1, None]
from pyarrow.vendored.docscrape import NumpyDocString
assert NumpyDocString("Text.")["Summary"] == ["Text."]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
