"""Documents put aside on the disk while a shaper waits for what they belong to."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from realm.corpus.document import Document
from realm.storage.durable import explained


class Place(NamedTuple):
    """Where a document lies in the spool."""

    offset: int
    size_bytes: int


class Spool:
    """A nameless file that only this process can read; it is gone when the spool is left."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir())
        with explained(self._folder):
            self._file = tempfile.TemporaryFile(prefix="realm-spool-")  # noqa: SIM115 - closed by __exit__
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, document: Document) -> Place:
        """Put a document aside. Raises StorageError where the disk is full."""
        data = json.dumps(document.model_dump(mode="json")).encode()
        with explained(self._folder):
            self._file.seek(self._end)
            self._file.write(data)
        place = Place(self._end, len(data))
        self._end += len(data)
        return place

    def get(self, place: Place) -> Document:
        """Return a document that was put aside."""
        with explained(self._folder):
            self._file.seek(place.offset)
            data = self._file.read(place.size_bytes)
        return Document.model_validate(json.loads(data))
