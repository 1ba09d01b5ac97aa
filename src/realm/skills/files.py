"""Files that people name, opened without ever waiting on them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from realm.core.errors import DataError, NotFoundError
from realm.core.text import printable

_PATH_LIMIT = 300


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading, links followed.

    Raises NotFoundError where there is nothing, DataError for what is no regular file, such as a folder,
    a pipe or a device, and for what cannot be read.
    """
    shown = printable(str(path), _PATH_LIMIT)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NotFoundError(f"{shown}: no such file") from None
    except OSError as error:
        raise DataError(f"not readable: {error.strerror}", file=shown) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError("not a regular file", file=shown)
    return os.fdopen(descriptor, "rb")
