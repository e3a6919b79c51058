"""Shared fixtures: where the real data lies, and a lake to write into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from twin.lake import Lake

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_path(*parts: str) -> Path:
    """A file of the real-data folder; skips the test, saying so, where the folder is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data is absent: ../shared/data/{'/'.join(parts)}")
    return path


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a disk that is nearly full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real, openly licensed data beside the checkout."""
    return shared_path()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")
