"""Chats, preferences and texts in files of rows: JSON Lines, JSON, CSV and Parquet.

Which of the known shapes a file has is told, or detected and shown by `rows.detection.describe`. The shapes
and the rule where several fit are in `rows.shapes`, the readers of the formats in `rows.tables`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from realm.core.paths import expanded
from realm.corpus.document import Document, Maker
from realm.corpus.files import folders
from realm.corpus.rows import rowfiles
from realm.corpus.rows.shapes import SHAPES
from realm.corpus.source import Item, SourceConfig
from realm.corpus.tally import Tally


def _known(shape: str | None) -> str | None:
    if shape is not None and shape not in SHAPES:
        raise ValueError(f"no such shape; there are: {', '.join(SHAPES)}")
    return shape


class ChatJsonl:
    """Read each row of a file, or of the files beneath a folder, as one document."""

    version = "1"

    class Config(SourceConfig):
        """Which files, and what their rows are."""

        kind: Literal["chat_jsonl"] = "chat_jsonl"
        path: Path
        """A file, or a folder whose files of rows are all read; hidden ones are not."""
        shape: Annotated[str | None, AfterValidator(_known)] = None
        """The shape of every row where it shall not be detected; others are counted and left out."""
        made_by: Maker = "human"
        """Who wrote the rows of a file without a sidecar."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._root = expanded(config.path)

    def items(self, tally: Tally) -> Iterator[Item]:
        """List the files of rows. Raises NotFoundError where there is nothing."""
        yield from rowfiles.rows_in(self._root, tally, self.config.shape or "")

    def read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield one document a row. Raises DataError for a file that fits no shape."""
        path = folders.at(self._root, item.key)
        where = rowfiles.Provenance(self.config, "chat_jsonl", item.key, self.config.made_by, path)
        yield from rowfiles.documents(path, where, tally, self.config.shape)
