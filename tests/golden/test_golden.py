"""The comparison of golden pictures itself: it lets pass what fonts and drivers change and nothing that a reader would call another scene."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.e2e.golden import FOLDER, LARGEST, difference

KEPT = sorted(FOLDER.glob("*.jpg"))


def test_every_scene_is_kept_and_small() -> None:
    assert {path.stem for path in KEPT} >= {"city", "flood", "phone", "wall"}
    assert all(path.stat().st_size <= LARGEST for path in KEPT)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_passes_and_what_does_not(path: Path) -> None:
    picture = Image.open(path).convert("RGB")
    pixels = np.asarray(picture, np.int16)
    assert difference(picture, picture).changed == 0
    packed = io.BytesIO()
    picture.save(packed, "JPEG", quality=55)
    assert difference(picture, Image.open(packed)).alike, "another compression"
    assert difference(picture, picture.filter(ImageFilter.GaussianBlur(1.2))).alike, "another smoothing"
    noise = np.random.default_rng(1).normal(0, 8, pixels.shape)
    assert difference(picture, Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))).alike, "another dithering"

    assert not difference(picture, Image.fromarray(pixels[..., ::-1].astype(np.uint8))).alike, "red and blue exchanged"
    assert not difference(picture, Image.new("RGB", picture.size, tuple(int(v) for v in pixels.mean(axis=(0, 1))))).alike, "an empty globe"
    moved = np.roll(pixels, picture.width // 12, axis=1)
    assert not difference(picture, Image.fromarray(moved.astype(np.uint8))).alike, "another place"
    hole = picture.copy()
    hole.paste((236, 229, 216), (0, 0, picture.width // 3, picture.height // 3))
    assert not difference(picture, hole).alike, "a ninth of it is gone"
