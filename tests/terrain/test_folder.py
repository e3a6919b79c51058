"""A terrain taken out of the city: checked and compared as a folder as it is as an archive, and packed to the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_mosaic import coarse

from twin import checking, diffing, exporting
from twin.city import City

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("output", ["quantized-mesh", "both"])
def test_a_folder_is_what_the_archive_is(tmp_path: Path, city: City, deliver: Run, output: str) -> None:
    deliver(coarse(tmp_path / "old.tif"), vertical="EGM96", output=output, max_level=12, apron=300)
    folder, archive = tmp_path / "folder", tmp_path / "a.3tz"
    exporting.export(city, "dem", folder)
    exporting.export(city, "dem", archive)
    of = [checking.check(None, str(path)) for path in (folder, archive)]
    assert [(found["errors"], found["tiles"], found["vertices"]) for found in of] == [(0, of[1]["tiles"], of[1]["vertices"])] * 2
    exporting.pack(folder, tmp_path / "b.3tz")
    assert (tmp_path / "b.3tz").read_bytes() == archive.read_bytes()
    assert diffing.diff(lambda: city, str(folder), "dem")["equal"]
    tile = next(folder.rglob("12/*/*.terrain"))
    data = bytearray(tile.read_bytes())
    data[100] ^= 1
    tile.write_bytes(data)
    assert diffing.diff(lambda: city, str(folder), "dem")["tiles"]["changed"] == [tile.relative_to(folder).as_posix()]
    tile.unlink()
    assert checking.check(None, str(folder / "layer.json"))["errors"]
