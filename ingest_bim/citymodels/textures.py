"""Image files that a model refers to → textures: found beside the source, looked at before they are decoded, kept once each.

An image must lie in the source's own folder or below (of a package, in the package): no absolute paths, no addresses, no
`..` that climbs out, no links that lead out. It is refused when its header states more than `MAX_PIXELS` or its file has more than `MAX_BYTES`; files that
do not decode are refused too. What is absent or refused is listed, once each, and its faces are drawn plain.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from twin.errors import BadOption
from twin.model import Material, Report, Texture, Wrap

MAX_PIXELS = 1 << 26
MAX_BYTES = 1 << 26
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "TGA")
#: Wrap modes of CityGML and CityJSON; what is outside of a border colour or of none is drawn as the nearest pixel.
WRAPS: dict[str, Wrap] = {"wrap": "repeat", "mirror": "mirror", "clamp": "clamp", "border": "clamp", "none": "clamp", "": "repeat"}


Kind = Literal["materials", "textures"]
Themes = dict[Kind, Counter[str]]


def no_themes() -> Themes:
    """None counted yet: how many surfaces each theme has, of materials and of textures."""
    return {"materials": Counter(), "textures": Counter()}


def choose_themes(themes: Themes, wanted: str | None, report: Report, defaults: dict[Kind, str] | None = None) -> dict[Kind, str | None]:
    """The theme to draw of materials and of textures: the wanted one, else the file's default, else that of most surfaces (then by name).

    The others are listed.

    Raises:
        BadOption: no surface has the wanted theme.
    """
    found = {kind: dict(sorted(names.items())) for kind, names in themes.items() if names}
    if found:
        report.facts["themes"] = found
    if wanted is not None and not any(wanted in names for names in found.values()):
        there = sorted({name or "(none)" for names in found.values() for name in names})
        raise BadOption(f"theme={wanted}: the model has no such appearance.", f"It has: {', '.join(there) or 'none'}.")
    chosen: dict[Kind, str | None] = {}
    for kind, names in themes.items():
        best = min(names, key=lambda name, names=names: (-names[name], name), default=None)  # type: ignore[misc]
        default = (defaults or {}).get(kind)
        chosen[kind] = (wanted if wanted in names else None) if wanted is not None else default if default in names else best
        others = sorted((name or "(none)") for name in names if name != chosen[kind])
        if others:
            report.note("skipped", "", f"Of the appearances' {kind}, {chosen[kind] or '(none)'!r} is drawn; not {', '.join(others)} (--option theme=NAME).")
    return chosen


def beside(folder: Path, uri: str) -> Path:
    """Where a model's URI leads from its folder, links followed: as it is written, else with its escapes decoded (a blank is %20)."""
    path = (folder / uri).resolve()
    if "%" in uri and not path.is_file() and "\0" not in (plain := unquote(uri)):
        path = (folder / plain).resolve()
    return path


class Pictures:
    """The images of one source: `texture` answers what a surface may be drawn with, `data` gives the file again."""

    def __init__(self, folder: Path, report: Report, root: Path | None = None) -> None:
        """`folder` is where relative names start, `root` (the folder itself, if not given) what they may not leave."""
        self.folder, self.report = folder.resolve(), report
        self.root = self.folder if root is None else root.resolve()
        self._known: dict[str, tuple[str, tuple[int, int]] | None] = {}
        self._paths: dict[str, Path | bytes] = {}
        self._materials: dict[tuple[str, tuple[Wrap, Wrap]], Material | None] = {}
        self.missing = 0

    def texture(self, uri: str, wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")) -> Texture | None:
        """The texture of an image file named in the source, or None (which the report explains)."""
        if uri not in self._known:
            path = self._find(uri)
            self._known[uri] = None if path is None else self._look(uri, path)
        return self._made(self._known[uri], wrap)

    def material(self, uri: str, wrap: tuple[Wrap, Wrap]) -> Material | None:
        """White with the texture of an image file named in the source, the same object each time; or None (which the report explains)."""
        if (uri, wrap) not in self._materials:
            texture = self.texture(uri, wrap)
            self._materials[uri, wrap] = None if texture is None else Material("", (1.0, 1.0, 1.0, 1.0), False, texture)
        return self._materials[uri, wrap]

    def world_file(self, uri: str) -> NDArray[np.float64] | None:
        """(2, 3) x, y, 1 → column, row, of the world file beside an image (.jgw, .pgw, .wld); None where there is none."""
        stem, _, suffix = uri.strip().replace("\\", "/").rpartition(".")
        for ending in (f"{suffix[:1]}{suffix[-1:]}w", f"{suffix}w", "wld"):
            path = (self.folder / f"{stem}.{ending}").resolve()
            if path.is_relative_to(self.root) and path.is_file() and path.stat().st_size < 1000:
                try:
                    a, d, b, e, c, f = (float(v) for v in path.read_text("ascii", "replace").split()[:6])
                    return ground_to_pixels([a, b, d, e, c, f])
                except (ValueError, np.linalg.LinAlgError):
                    continue
        return None

    def embedded(self, name: str, data: bytes, wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")) -> Texture | None:
        """The texture of an image whose bytes are at hand."""
        return self._made(self._look(name, data), wrap)

    def data(self, image: str) -> bytes:
        """The bytes of an image by its SHA-256."""
        kept = self._paths[image]
        return kept if isinstance(kept, bytes) else kept.read_bytes()

    def size(self, image: str) -> int:
        """Bytes of an image file."""
        kept = self._paths[image]
        return len(kept) if isinstance(kept, bytes) else kept.stat().st_size

    def _made(self, known: tuple[str, tuple[int, int]] | None, wrap: tuple[Wrap, Wrap]) -> Texture | None:
        return None if known is None else Texture(known[0], known[1], wrap)

    def _refuse(self, uri: str, reason: str) -> None:
        self.missing += 1
        self.report.note("refused", "", f"The texture {uri[:100]!r} {reason}; its surfaces are drawn plain.")

    def _find(self, uri: str) -> Path | None:
        name = uri.strip().replace("\\", "/")
        if not name or "://" in name or name.startswith(("data:", "//")) or PurePosixPath(name).is_absolute() or PureWindowsPath(uri.strip()).drive or "\0" in name:
            self._refuse(uri, "is not a path beside the source")
            return None
        path = beside(self.folder, name)
        if not path.is_relative_to(self.root):
            self._refuse(uri, "leads out of the source's folder")
            return None
        if not path.is_file():
            self.missing += 1
            self.report.note("skipped", "", f"The texture {uri[:100]!r} is absent; its surfaces are drawn plain.")
            return None
        return path

    def _look(self, uri: str, path: Path | bytes) -> tuple[str, tuple[int, int]] | None:
        """(SHA-256, pixels), from the header first; then decoded, JPEG at an eighth, so that a broken file is found here."""
        if (len(path) if isinstance(path, bytes) else path.stat().st_size) > MAX_BYTES:
            self._refuse(uri, f"has more than {MAX_BYTES >> 20} MiB")
            return None
        data = path if isinstance(path, bytes) else path.read_bytes()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # judged below, by our own limit
                with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                    size = image.size
                    if size[0] * size[1] > MAX_PIXELS or not all(size):
                        self._refuse(uri, f"is {size[0]} by {size[1]} pixels; up to {MAX_PIXELS >> 20} million are read")
                        return None
                    if image.mode in ("I", "F"):
                        self._refuse(uri, "has numbers of 32 bits for pixels, whose white nobody states (8 or 16 bits are read)")
                        return None
                    image.draft("RGB", (max(1, size[0] // 8), max(1, size[1] // 8)))
                    image.load()
        except UnidentifiedImageError:  # Pillow names an address in memory
            self._refuse(uri, f"is no image of a kind that is read ({', '.join(FORMATS)})")
            return None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            self._refuse(uri, f"cannot be decoded ({str(error)[:80] or type(error).__name__})")
            return None
        digest = hashlib.sha256(data).hexdigest()
        self._paths.setdefault(digest, path)
        return digest, size


def ground_to_pixels(numbers: list[float]) -> NDArray[np.float64]:
    """Six numbers a, b, d, e, c, f (x = a·col + b·row + c, y = d·col + e·row + f) → (2, 3): x, y, 1 → col, row.

    Raises:
        ValueError, LinAlgError: not six finite numbers, or not invertible.
    """
    array = np.array(numbers, np.float64)
    if array.shape != (6,) or not np.isfinite(array).all():
        raise ValueError("not six numbers")
    inverse = np.linalg.inv(array[:4].reshape(2, 2))
    return np.column_stack([inverse, -inverse @ array[4:]])
