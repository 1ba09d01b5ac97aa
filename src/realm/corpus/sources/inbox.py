"""A folder of dropped files whose rows fit a known spec, as a source.

The rules are those of the lab's inbox (`docs/data.md`): a file that is not wholly good is refused and nothing
of it is used, so every file is read twice, once to check it and once for its documents.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from realm.core.errors import DataError, NotFoundError
from realm.core.paths import expanded
from realm.core.records import Example
from realm.core.text import printable
from realm.corpus import intake, specs
from realm.corpus.document import Document, Form, Maker
from realm.corpus.files import folders, lines
from realm.corpus.files.inbox import PARTIAL_SUFFIXES
from realm.corpus.files.sidecar import SIDECAR
from realm.corpus.rows import rowfiles
from realm.corpus.source import Item, SourceConfig
from realm.corpus.tally import Tally

_LIMITS = intake.DEFAULT_LIMITS


class DroppedFiles:
    """Read each row of a wholly good file as one document."""

    version = "1"

    class Config(SourceConfig):
        """Which folder."""

        kind: Literal["inbox"] = "inbox"
        path: Path
        """The folder; folders in it, hidden names and partial copies are left alone."""
        made_by: Maker = "human"
        """Who wrote the rows of a file without a sidecar."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._root = expanded(config.path)

    def items(self, tally: Tally) -> Iterator[Item]:
        """List the files that lie there, by name. Raises NotFoundError where there is no folder."""
        if not self._root.is_dir():
            raise NotFoundError(f"{printable(str(self._root), 300)}: no such folder")
        for found in folders.walk(self._root, tally, enter=lambda name: False):
            name = found.key
            if name.startswith(".") or name.endswith(SIDECAR) or name.lower().endswith(PARTIAL_SUFFIXES):
                continue
            yield found.item(more=rowfiles.sidecar_state(found.path))

    def read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield one document a row. Raises DataError (file, line, reason) for a file that is not good."""
        path = folders.at(self._root, item.key)
        with lines.open_rows(path) as file:
            before = os.fstat(file.fileno())
            spec = intake.check(path).spec
            where = rowfiles.Provenance(self.config, "inbox", item.key, self.config.made_by, path)
            for number, raw in lines.read_lines(file, _LIMITS.line_bytes):
                line = lines.strip(raw, number)
                if line:
                    yield _document(number, _example(spec, line, item.key, number), where)
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise DataError("the file changed while it was read", file=item.key, hint="read it again")


def _example(spec: str, line: bytes, shown: str, number: int) -> Example:
    """Read a row once more: the file may have changed since it was checked."""
    try:
        return specs.read_row(spec, lines.parse(line, _LIMITS.json_depth))
    except DataError as error:
        raise DataError(error.reason, file=printable(shown), line=number, hint=error.hint) from None


def _document(line: int, example: Example, where: rowfiles.Provenance) -> Document:
    form: Form = "text" if example.text is not None else "preference" if example.rejected else "chat"
    return Document(
        id=f"{where.path}#{line}",
        form=form,
        messages=example.messages,
        rejected=example.rejected,
        text=example.text,
        fields={} if example.weight == 1 else {"weight": example.weight},
        tags=where.tags(example.tags),
        group=rowfiles.opening(example.messages),
        origin=where.origin(line, line),
    )
