"""What people decided about findings, remembered without the values themselves.

A decision is filed under HMAC-SHA-256 of the value. The key lies in a file of its own beside the
decisions, so that the decisions alone give nobody a digest to guess a short password by. Both files are
readable by their owner only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationError

from realm.core.errors import CorruptError, StorageError
from realm.core.records import Record
from realm.storage.durable import fsync_dir, fsync_file
from realm.storage.lock import exclusive

KEY_SUFFIX = ".key"
_MODE = 0o600
_KEY_BYTES = 32
_FLUSHING = 16
"""Files that are flushed at once."""


class Decision(StrEnum):
    """What a person said of a value, or of a row."""

    SECRET = "secret"  # noqa: S105 - a word of the review
    NOT_SECRET = "not_secret"  # noqa: S105
    DROP_ROW = "drop_row"


class _File(Record):
    format: int = 1
    decisions: dict[str, Decision] = Field(default_factory=dict)


class Decisions:
    """The decisions of one file. Reading makes no file; deciding writes it as a whole, atomically.

    What another process decides meanwhile is followed at once.
    """

    def __init__(self, path: Path) -> None:
        """Raises CorruptError for a file or key that is not what this class writes."""
        self.path = path
        self._key: bytes | None = None
        self._stamp = self._state()
        self._known = self._read()

    def of(self, value: bytes) -> Decision | None:
        """Return what was decided about a value, if anything."""
        stamp = self._state()
        if stamp != self._stamp:
            self._stamp, self._known = stamp, self._read()
        return self._known.get(self.digest(value)) if self._known else None

    def remember(self, values: dict[bytes, Decision]) -> None:
        """Add decisions and write the file. Raises StorageError when it cannot be written."""
        if not values:
            return
        digests = {self.digest(value): decision for value, decision in values.items()}
        with self._alone():
            known = {**self._read(), **digests}
            content = _File(decisions=dict(sorted(known.items()))).model_dump_json(indent=1)
            write_private(self.path, content.encode())
            self._stamp, self._known = self._state(), known

    def __len__(self) -> int:
        return len(self._known)

    def digest(self, value: bytes) -> str:
        """Return the keyed digest of a value, in hexadecimal."""
        if self._key is None:
            self._key = self._read_key()
        return hmac.new(self._key, value, hashlib.sha256).hexdigest()

    def _state(self) -> tuple[int, int, int] | None:
        """Return what differs once the file has been written again."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _alone(self) -> AbstractContextManager[None]:
        return exclusive(self.path.with_name(self.path.name + ".lock"))

    def _read(self) -> dict[str, Decision]:
        try:
            return _File.model_validate(json.loads(self.path.read_bytes())).decisions
        except FileNotFoundError:
            return {}
        except (ValueError, ValidationError):
            raise CorruptError(
                f"{self.path.name}: not a file of decisions",
                hint="restore it from a backup, or move it away: what was decided is asked again",
            ) from None

    def _read_key(self) -> bytes:
        file = self.path.with_name(self.path.name + KEY_SUFFIX)
        try:
            key = file.read_bytes()
        except FileNotFoundError:
            key = self._make_key(file)
        if len(key) != _KEY_BYTES:
            raise CorruptError(f"{file.name}: not a key of {_KEY_BYTES} bytes")
        return key

    def _make_key(self, file: Path) -> bytes:
        """Make the key, unless another process is quicker."""
        if self._known:
            raise CorruptError(
                f"{file.name}: the key of the decisions is missing",
                hint="restore it from a backup, or move the decisions away",
            )
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            if not file.exists():
                write_private(file, secrets.token_bytes(_KEY_BYTES))
            return file.read_bytes()


def write_private(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file that only its owner may read, as a whole or not at all.

    What is not written `durable` survives the process, and a power cut only after `flush_private`. Raises
    StorageError when it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.rename(part, path)
        if durable:
            fsync_dir(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{path.name}: not written: {error.strerror}", hint="free some space") from None


def flush_private(paths: Sequence[Path]) -> None:
    """Make files of one folder durable, several at a time: the disk then writes them together."""
    if not paths:
        return
    with ThreadPoolExecutor(_FLUSHING) as threads:
        list(threads.map(fsync_file, paths))
    fsync_dir(paths[0].parent)
