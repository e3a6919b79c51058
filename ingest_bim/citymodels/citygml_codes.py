"""Code lists of CityGML: what a code such as `422` means, where the dictionary that `codeSpace` names is at hand.

Dictionaries are GML files beside the model, in national packages in a folder `codelists` above it. They are read only below
the package's own folder, only where small, and never with a document type declaration.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from ingest_bim.citymodels.citygml_names import local
from twin.model import Report

MAX_BYTES = 1 << 24
LEVELS = 4


def package_root(source: Path) -> Path:
    """The folder that files of a source may refer to: the delivered package's, told by its folder `codelists` or `udx`; else the source's own."""
    folder = source.resolve().parent
    above = [folder, *folder.parents][:LEVELS]
    return next((place for place in above if (place / "codelists").is_dir() or (place != folder and (place / "udx").is_dir())), folder)


class CodeLists:
    """The dictionaries met so far, by the text of `codeSpace`."""

    def __init__(self, source: Path, root: Path, report: Report) -> None:
        self.folder, self.root, self.report = source.resolve().parent, root.resolve(), report
        self._lists: dict[str, dict[str, str]] = {}

    def label(self, space: str, code: str) -> str | None:
        """What a code means, or None."""
        if space not in self._lists:
            self._lists[space] = self._read(space)
        return self._lists[space].get(code)

    def _read(self, space: str) -> dict[str, str]:
        if "://" in space or space.startswith(("urn:", "/", "\\")) or not space.lower().endswith((".xml", ".gml")):
            return {}
        path = (self.folder / space.replace("\\", "/")).resolve()
        if not path.is_relative_to(self.root):
            self.report.note("skipped", "", f"The code list {space[:100]!r} lies outside of the model's package and is not read; codes are kept as they are.")
            return {}
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            self.report.note("skipped", "", f"The code list {space[:100]!r} is absent (or too large); its codes are kept as they are.")
            return {}
        data = path.read_bytes()
        if b"\0" in data or b"<!" in data.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
            self.report.note("refused", "", f"The code list {space[:100]!r} has a document type declaration; its codes are kept as they are.")
            return {}
        try:
            return _definitions(ET.fromstring(data))  # noqa: S314  no declarations, so no entities
        except (ET.ParseError, ValueError) as error:
            self.report.note("refused", "", f"The code list {space[:100]!r} cannot be read ({str(error)[:80]}); its codes are kept as they are.")
            return {}


def _definitions(root: ET.Element) -> dict[str, str]:
    """`gml:name` is the code and `gml:description` its meaning (GML 3.1.1, 16.2: Dictionary)."""
    found: dict[str, str] = {}
    for entry in root.iter():
        if local(entry.tag) in ("Definition", "DefinitionProxy"):
            texts = {local(child.tag): (child.text or "").strip() for child in entry}
            if texts.get("name") and texts.get("description"):
                found.setdefault(texts["name"], texts["description"])
    return found
