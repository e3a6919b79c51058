"""A disk that is full while a ZIP is unpacked is no damaged ZIP."""

from __future__ import annotations

import errno
import zipfile

import pytest

from twin import zips
from twin.errors import StorageError, UnreadableSource


@pytest.mark.parametrize(("error", "kind"), [(OSError(errno.ENOSPC, "No space left on device"), StorageError), (OSError(errno.EINVAL, "x"), UnreadableSource),
                                             (zipfile.BadZipFile("x"), UnreadableSource)])  # fmt: skip
def test_what_an_error_means(error: Exception, kind: type[Exception]) -> None:
    assert isinstance(error, zips.UNREADABLE)
    assert type(zips.failure(error, UnreadableSource("damaged", "again"))) is kind
