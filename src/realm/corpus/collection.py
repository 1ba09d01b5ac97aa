"""Collections: scrubbed documents as they lie in the vault, `documents.jsonl` and `collection.json`.

Documents lie in the order of their items. The same items read and scrubbed by the same versions give the
same bytes, so that collecting again after a crash gives the collection that is there already.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import Field, ValidationError

from realm.core.config import Config, first_problem
from realm.core.errors import CorruptError, StorageError
from realm.core.records import Record
from realm.corpus.document import Document
from realm.corpus.tally import Reason

DOCUMENTS = "documents.jsonl"
INFO = "collection.json"


class ScrubInfo(Record):
    """What the scrubber did to the documents of a collection."""

    version: str
    config: str
    """Hash of its settings."""
    clean: int = 0
    replaced: int = 0
    quarantined: int = 0
    """Documents that wait for a person, and are not in the collection."""
    kinds: dict[str, int] = Field(default_factory=dict)
    """Findings by kind."""


class CollectionInfo(Config):
    """What `collection.json` says."""

    format: int = 1
    source: str
    kind: str
    version: str
    """Of the reading code."""
    config: dict[str, Any]
    items: int
    documents: int
    conventions: int = 0
    """Documents that name a subject; of one subject only the newest is taught."""
    left_out: tuple[Reason, ...]
    scrub: ScrubInfo


class Stored(Record):
    """A document in a collection, with the item that it was read from."""

    item: str
    document: Document


class CollectionWriter:
    """Write documents into a stage, then the description; use as a context."""

    def __init__(self, stage: Path) -> None:
        self._stage = stage
        self.documents = 0
        self.conventions = 0
        self.bytes = 0
        """Written so far."""

    def __enter__(self) -> Self:
        try:
            self._file = (self._stage / DOCUMENTS).open("wb", buffering=1 << 20)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def add(self, item: str, document: Document) -> None:
        """Add one scrubbed document."""
        line = Stored.model_construct(item=item, document=document).model_dump_json(exclude_defaults=True)
        try:
            self.bytes += self._file.write(line.encode() + b"\n")
        except OSError as error:
            raise self._failed(error) from error
        self.documents += 1
        self.conventions += "subject" in document.fields

    def finish(self, info: CollectionInfo) -> CollectionInfo:
        """Close the documents and write the description behind them."""
        try:
            self._file.close()
            (self._stage / INFO).write_text(info.model_dump_json(indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise self._failed(error) from error
        return info

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self._stage}: not writable: {error.strerror}", hint="free some space and try again"
        )


def read_documents(folder: Path) -> Iterator[Stored]:
    """Yield the documents of a published collection. Raises CorruptError for a line that none holds."""
    path = folder / DOCUMENTS
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield Stored.model_validate_json(line)
            except ValidationError as error:
                reason = first_problem(error)
                raise CorruptError(f"{path}:{number}: not a document of a collection: {reason}") from None


def read_info(folder: Path) -> CollectionInfo:
    """Read a collection's description."""
    try:
        return CollectionInfo.model_validate_json((folder / INFO).read_bytes())
    except (FileNotFoundError, ValidationError):
        raise CorruptError(f"{folder / INFO}: not the description of a collection") from None
