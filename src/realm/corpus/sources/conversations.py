"""Conversations exported from a chat program: one document each.

The forms that are read are in `rows.chat_exports`; a file holds a list of them, one a line, or one alone.
A document's id is the conversation's own, so that a later export of a longer one replaces it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from realm.core.errors import DataError
from realm.core.paths import expanded
from realm.corpus.document import Document, Maker
from realm.corpus.files import folders
from realm.corpus.rows import rowfiles
from realm.corpus.rows.chat_exports import Conversation, conversation
from realm.corpus.rows.tables import Numbered, read_rows
from realm.corpus.source import Item, SourceConfig
from realm.corpus.tally import Tally


class Conversations:
    """Read each exported conversation as one chat that ends with an answer."""

    version = "1"

    class Config(SourceConfig):
        """Which export."""

        kind: Literal["conversations"] = "conversations"
        path: Path
        """The unpacked export: a file such as `conversations.json`, or a folder with some."""
        made_by: Maker = "mixed"
        """Who wrote them: a person and a model, unless said otherwise."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._root = expanded(config.path)

    def items(self, tally: Tally) -> Iterator[Item]:
        """List the files of conversations. Raises NotFoundError where there is nothing."""
        yield from rowfiles.rows_in(self._root, tally)

    def read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield the conversations of one file. Raises DataError where it holds none at all."""
        path = folders.at(self._root, item.key)
        where = rowfiles.Provenance(self.config, "conversations", item.key, self.config.made_by, path)
        seen: set[str] = set()
        rows = documents = 0
        for numbered in read_rows(path, item.key, tally):
            rows += 1
            document = self._document(numbered, where, seen, tally)
            if document is not None:
                documents += 1
                yield document
        if not documents:
            raise DataError(
                "no conversation in it",
                file=item.key,
                hint="a list of {id, title, messages} or {id, title, mapping}",
            )
        where.count_against(rows, tally)

    def _document(
        self, numbered: Numbered, where: rowfiles.Provenance, seen: set[str], tally: Tally
    ) -> Document | None:
        place = f"{where.path}:{numbered.first_line or numbered.number}"
        try:
            found = conversation(numbered.row, lambda phrase: tally.add(phrase, place))
        except DataError as error:
            tally.add(error.reason, place)
            return None
        name = found.id if rowfiles.is_showable(found.id) else ""
        if name in seen:
            tally.add("a conversation that the file holds twice", place)
            return None
        if name:
            seen.add(name)
        return Document(
            id=name or f"{where.path}#{numbered.number}",
            form="chat",
            messages=tuple(found.messages),
            fields=_facts(found),
            tags=where.tags({}),
            group=name,
            origin=where.origin(
                numbered.first_line, numbered.last_line, session=name or None, at=found.created
            ),
        )


def _facts(found: Conversation) -> Mapping[str, Any]:
    facts = {
        "title": found.title,
        "updated": found.updated.isoformat() if found.updated else "",
        "models": list(found.models),
    }
    return {key: value for key, value in facts.items() if value}
