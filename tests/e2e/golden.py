"""Golden pictures: a scene must look as it did, within a tolerance that fonts and drivers need and a wrong style does not get.

Pictures are compared by the mean colour of blocks (Pillow's box filter), so that a letter's edge or a pixel of smoothing counts for
nothing, while a layer that is missing, shifted or of another colour changes many blocks. `TWIN_GOLDEN=renew` writes the kept pictures anew
instead of comparing; look at them before they are committed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "golden"
BLOCK = 20
"""Pixels: larger than a letter, smaller than a building of the test city."""
FAR = 26
"""Of 255: a block whose mean differs by more in any channel has changed."""
SHARE = 0.03
"""Of all blocks may have changed."""
LARGEST = 300_000
"""Bytes of a kept picture."""


@dataclass(frozen=True)
class Difference:
    """Share of changed blocks, and the mean difference of all blocks (0–255)."""

    changed: float
    mean: float

    @property
    def alike(self) -> bool:
        """Whether this passes as the same scene."""
        return self.changed <= SHARE and self.mean <= FAR / 4


def blocks(picture: Image.Image) -> np.ndarray:
    """(rows, columns, 3) mean colours of whole blocks."""
    columns, rows = picture.width // BLOCK, picture.height // BLOCK
    whole = picture.convert("RGB").crop((0, 0, columns * BLOCK, rows * BLOCK))
    return np.asarray(whole.resize((columns, rows), Image.Resampling.BOX), np.int16)


def difference(a: Image.Image, b: Image.Image) -> Difference:
    """How far two pictures of one size differ."""
    assert a.size == b.size, f"{a.size} is not {b.size}"
    apart = np.abs(blocks(a) - blocks(b)).max(axis=-1)
    return Difference(float((apart > FAR).mean()), float(apart.mean()))


def compare(shot: Path, name: str, box: tuple[int, int, int, int]) -> Difference:
    """A screenshot's part (left, top, right, bottom) against the kept picture of this name; writes that one when asked to."""
    part = Image.open(shot).convert("RGB").crop(box)
    kept = FOLDER / f"{name}.jpg"
    if os.environ.get("TWIN_GOLDEN") == "renew":
        FOLDER.mkdir(exist_ok=True)
        part.save(kept, quality=82)
        assert kept.stat().st_size <= LARGEST, f"{kept.name} is too large to keep"
    assert kept.is_file(), f"{kept.name} is missing: run this test with TWIN_GOLDEN=renew, look at the picture and commit it"
    return difference(part, Image.open(kept))
