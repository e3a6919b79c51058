"""Every error of the product, one tree.

TwinError
├── BadInput              what the user gave cannot be used (file, option, parameter)
│   ├── UnreadableSource  the file is empty, truncated, of another format or malformed
│   ├── MissingReference  no horizontal CRS, or no vertical datum where heights are absolute
│   ├── BadReference      a CRS or datum that is unknown, or contradicts the data
│   ├── BadFeature        a feature (or all of them) cannot be used
│   ├── BadOption         an option or parameter that is unknown or out of range
│   └── BadTileset        a tileset that does not follow the specification
├── NotFound              no such layer, version, item, tile, job, scenario
├── Conflict              the catalogue is in another state than the request supposes
├── Cancelled             the job was dismissed by a user
├── LostLease             another worker took the job over; this one must stop writing
├── OverLimit             a query or request needs more time, memory or space than it is given
└── StorageError          the lake or the catalogue cannot be read or written (disk full, missing part)

A message names the file and feature, says what is wrong and, in ``remedy``, what to do about it.
"""

from __future__ import annotations


class TwinError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what is wrong, naming the file and the feature.
        remedy: what the reader can do about it; shown after the message.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


def brief(text: str, most: int = 80) -> str:
    """A text of others (an id) as a message shows it: of a very long one, the beginning."""
    return text if len(text) <= most else f"{text[:most]}…"


class BadInput(TwinError):
    """What the user gave cannot be used."""


class UnreadableSource(BadInput):
    """The file is empty, truncated, malformed or of another format."""


class MissingReference(BadInput):
    """The source states no horizontal CRS, or no vertical datum although its heights are absolute."""


class BadReference(BadInput):
    """A CRS or vertical datum that is unknown, or that contradicts the coordinates."""


class BadFeature(BadInput):
    """Features that cannot be used and could not be repaired."""


class BadOption(BadInput):
    """An option or parameter that is unknown, of the wrong type, or out of range."""


class BadTileset(BadInput):
    """A tileset or archive that does not follow the specification."""


class NotFound(TwinError):
    """No such layer, version, item, tile, job or scenario."""


class Conflict(TwinError):
    """The catalogue is in another state than the request supposes."""


class Cancelled(TwinError):
    """The job was dismissed."""


class LostLease(TwinError):
    """Another worker has taken the job over; this one must not write any more."""


class OverLimit(TwinError):
    """A query or request needs more time, memory or space than it is given."""


class StorageError(TwinError):
    """The lake or the catalogue cannot be read or written."""
