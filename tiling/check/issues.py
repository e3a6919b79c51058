"""What a check found: findings, the report that collects them, and the place a check is looking at.

A finding is data, not prose to parse: the ``code`` is stable, the ``path`` says which file and which
JSON pointer (``tiles/0.glb#/meshes/0/primitives/0``), the message is for people.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]

#: A broken encoder repeats one mistake in every tile; this many of a kind are kept, the rest only counted.
KEPT_PER_CODE = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: ``path`` is ``uri#json-pointer`` (the pointer left out for a whole file)."""

    severity: Severity
    code: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity} {self.code} at {self.path}: {self.message}"


@dataclass(slots=True)
class Report:
    """Everything one check found, and how much it looked at (so that an empty list means something)."""

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[tuple[Severity, str]] = field(default_factory=Counter)
    tilesets: int = 0
    tiles: int = 0
    contents: int = 0
    contents_not_decoded: int = 0
    vertices: int = 0
    positions: dict[str, Any] | None = None  # figures of the comparison with the source, where there was one

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it unless there are already ``KEPT_PER_CODE`` like it."""
        key = (finding.severity, finding.code)
        self.counts[key] += 1
        if self.counts[key] <= KEPT_PER_CODE:
            self.findings.append(finding)

    @property
    def errors(self) -> list[Finding]:
        """The kept findings that are errors."""
        return [f for f in self.findings if f.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """The kept findings that are warnings."""
        return [f for f in self.findings if f.severity == "warning"]

    @property
    def ok(self) -> bool:
        """True when nothing was found that breaks the specification or a law of the project."""
        return not any(n for (severity, _), n in self.counts.items() if severity == "error")

    def codes(self, severity: Severity = "error") -> set[str]:
        """The distinct codes of one severity."""
        return {code for (s, code), n in self.counts.items() if s == severity and n}

    def to_dict(self) -> dict[str, object]:
        """The report as plain JSON values, for ``--json`` and the API."""
        return {
            "ok": self.ok,
            "tilesets": self.tilesets,
            "tiles": self.tiles,
            "contents": self.contents,
            "contentsNotDecoded": self.contents_not_decoded,
            "vertices": self.vertices,
            "positions": self.positions,
            "counts": {f"{s}:{c}": n for (s, c), n in sorted(self.counts.items())},
            "findings": [
                {"severity": f.severity, "code": f.code, "path": f.path, "message": f.message}
                for f in self.findings
            ],
        }

    def summary(self) -> str:
        """One line for people."""
        total = Counter[str]()
        for (severity, _), n in self.counts.items():
            total[severity] += n
        return (
            f"{'valid' if self.ok else 'INVALID'}: {total['error']} errors, {total['warning']} warnings in "
            f"{self.tilesets} tilesets, {self.tiles} tiles, {self.contents} contents "
            f"({self.vertices} vertices decoded, {self.contents_not_decoded} contents not decoded)"
        )


class Where:
    """The place being checked; ``where / "root" / "children" / 3`` walks down like the JSON does.

    Most places are walked through and never told, so the pointer is put together when it is asked for.
    """

    __slots__ = ("_above", "_key", "report", "uri")

    def __init__(self, report: Report, uri: str, pointer: str = "", above: Where | None = None) -> None:
        """A place in a file; below `above`, `pointer` is the key there (internal)."""
        self.report, self.uri, self._key, self._above = report, uri, pointer, above

    def __truediv__(self, key: str | int) -> Where:
        return Where(self.report, self.uri, key, self)  # type: ignore[arg-type]  # numbers become text in `pointer`

    @property
    def pointer(self) -> str:
        """The JSON pointer (RFC 6901) within the file."""
        keys: list[str] = []
        at = self
        while at._above is not None:
            keys.append(str(at._key).replace("~", "~0").replace("/", "~1"))
            at = at._above
        return str(at._key) + "".join(f"/{key}" for key in reversed(keys))  # noqa: SLF001  of its own kind

    @property
    def path(self) -> str:
        """The place as a finding shows it."""
        return f"{self.uri}#{self.pointer}" if self.pointer else self.uri

    def error(self, code: str, message: str) -> None:
        """Report what breaks the standard, or a law of the project."""
        self.report.add(Finding("error", code, self.path, message))

    def warning(self, code: str, message: str) -> None:
        """Report what is allowed but unwise, or could not be checked."""
        self.report.add(Finding("warning", code, self.path, message))

    def info(self, code: str, message: str) -> None:
        """Report what is only worth knowing."""
        self.report.add(Finding("info", code, self.path, message))
