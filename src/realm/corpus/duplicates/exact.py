"""Which digests occurred before, in bounded memory."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Self

from realm.core.errors import StorageError

_HELD = 500_000
_CACHE_KIB = 65_536


class SeenDigests:
    """Remember digests: half a million (some 50 MB) in memory, the others in a temporary SQLite file.

    A disk that fills up raises StorageError. What is remembered is lost with the process.
    """

    def __init__(self, scratch: Path | None = None, held: int = _HELD) -> None:
        """Keep the file in a folder of its own beneath `scratch`, or where the system keeps such files."""
        self._scratch = scratch
        self._bound = held
        self._held: set[bytes] = set()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._spilled: sqlite3.Connection | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def first(self, digest: bytes) -> bool:
        """Remember a digest and return whether it is new."""
        if digest in self._held or self._is_spilled(digest):
            return False
        self._held.add(digest)
        self._count += 1
        if len(self._held) >= self._bound:
            self._spill()
        return True

    def close(self) -> None:
        """Forget everything and remove the file."""
        self._held.clear()
        self._count = 0
        if self._spilled is not None:
            self._spilled.close()
            self._spilled = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_spilled(self, digest: bytes) -> bool:
        if self._spilled is None:
            return False
        found = self._spilled.execute("SELECT 1 FROM seen WHERE digest = ?", (digest,)).fetchone()
        return found is not None

    def _spill(self) -> None:
        try:
            if self._spilled is None:
                self._spilled = self._open()
            # In order, so that the pages of the tree are touched one after the other.
            self._spilled.executemany("INSERT INTO seen VALUES (?)", ((each,) for each in sorted(self._held)))
            self._spilled.commit()
        except sqlite3.Error as error:
            raise StorageError(
                f"remembering digests failed: {error}", hint="free some space for temporary files"
            ) from error
        self._held.clear()

    def _open(self) -> sqlite3.Connection:
        self._folder = tempfile.TemporaryDirectory(prefix="digests-", dir=self._scratch)
        made = sqlite3.connect(Path(self._folder.name) / "seen.db")
        # A temporary file needs neither a journal nor the disk's word.
        made.execute("PRAGMA journal_mode = OFF")
        made.execute("PRAGMA synchronous = OFF")
        made.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        made.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        return made
