"""What worker processes do at their start."""

from __future__ import annotations

import subprocess
import sys

SPARE = """
import sys
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
    code = "import sys, twin.tasks, ingest_bim.ifc, tiling.mesh; print(sorted({'numba', 'scipy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout.strip() == "[]"
