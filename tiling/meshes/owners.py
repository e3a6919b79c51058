"""Which feature each instance of a mesh layer belongs to: found by hashes of the ids, some at a time, so that no list of ids is held."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tiling.store import Store
from twin import keys
from twin.errors import BadFeature
from twin.keys import id_hash
from twin.lake import Lake
from twin.meshes import stream_instances
from twin.model import LayerVersion

I64 = NDArray[np.int64]
Texts = Callable[[], Iterator[pa.Array]]


def owners(lake: Lake, version: LayerVersion, store: Store, limit: int) -> Iterator[tuple[I64, I64]]:
    """((N,) instances, (N,) the row of the feature parts that each belongs to), some at a time, all instances in all.

    Args:
        store: its column `sought` holds the hashes of the instances' ids; `known` is filled.
        limit: hashes that are sorted at a time.

    Raises:
        BadFeature: an instance's feature is not among the rows.
    """

    def ids() -> Iterator[pa.Array]:
        for part in version.parts:
            if part.role == "features":
                with pq.ParquetFile(lake.path(part.key), pre_buffer=False) as file:
                    yield from (batch.column(0) for batch in file.iter_batches(columns=["id"], use_threads=False))

    def features() -> Iterator[pa.Array]:
        for part in version.parts:
            if part.role == "mesh:instances":
                yield from (feature for _, feature, _ in stream_instances(lake, part))

    for some in ids():
        store.add("known", id_hash(some))
    for instances, rows, again in keys.matches(store["known"], store["sought"], limit):
        if again.any():
            rows[again] = exact(ids, features, store["sought"], instances[again])
        if len(rows) and rows.min() < 0:
            raise BadFeature(f"Layer {version.layer}: a mesh belongs to a feature that the layer does not hold.", "Ingest its source again.")
        yield instances, rows


def exact(ids: Texts, features: Texts, sought: NDArray[np.uint64], instances: I64) -> I64:
    """(N,) rows of the features of some instances (ascending) whose hash several ids have: the texts decide; −1 for one that is not there."""
    alike = pa.array(np.unique(sought[instances]))
    row_of: dict[str, int] = {}
    at = 0
    for some in ids():
        for here in np.flatnonzero(pc.is_in(pa.array(id_hash(some)), value_set=alike).to_numpy(zero_copy_only=False)).tolist():
            row_of[some[here].as_py()] = at + here
        at += len(some)
    found, at = np.empty(len(instances), np.int64), 0
    for some in features():
        a, b = np.searchsorted(instances, (at, at + len(some)))
        found[a:b] = [row_of.get(some[int(i) - at].as_py(), -1) for i in instances[a:b]]
        at += len(some)
    return found
