"""Documents of rows: what every source of files of rows does alike.

A document's id is `file#place`, its group the session the row names, else a hash of how its chat opens, so
that two answers to one question never stand on both sides of a split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from realm.core.errors import DataError
from realm.core.records import Message
from realm.core.text import printable
from realm.corpus.document import Document, Maker, Origin
from realm.corpus.files import folders
from realm.corpus.files.sidecar import SIDECAR, Sidecar, read_sidecar, sidecar_of
from realm.corpus.rows.detection import Sorter, detect, sample, without_nulls
from realm.corpus.rows.shapes import SHAPES, Shape, Words
from realm.corpus.rows.tables import READERS, Numbered, read_rows, suffix_of
from realm.corpus.source import Item, SourceConfig
from realm.corpus.tally import Tally

_GROUPS = ("group", "session_id", "conversation_id")
_COMMON = frozenset({"id", "tags", "metadata", "weight", *_GROUPS})
_LONGEST_TAG = 200
_LONGEST_FIELD = 2000
_LONGEST_KEY = 400
_INT64 = 1 << 63

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def rows_in(root: Path, tally: Tally, more: str = "") -> Iterator[Item]:
    """List the files of rows beneath a root; count files of other suffixes. Hidden names are passed over."""
    for found in folders.walk(root, tally, enter=lambda name: not name.startswith(".")):
        name = found.path.name
        if name.startswith(".") or name.endswith(SIDECAR):
            continue
        if not is_showable(found.key):
            tally.add("a name that cannot be shown, or too long", found.key)
        elif suffix_of(name) not in READERS:
            tally.add("not a file of rows", found.key)
        else:
            yield found.item(more="-".join(filter(None, (sidecar_state(found.path), more))))


def is_showable(key: str) -> bool:
    """Tell whether a path can stand in a document's id."""
    return len(key) <= _LONGEST_KEY and printable(key, len(key)) == key


def sidecar_state(path: Path) -> str:
    """Return what changes with a file's sidecar, since its documents name the generator."""
    try:
        state = sidecar_of(path).lstat()
    except OSError:
        return ""
    return f"{state.st_size}-{state.st_mtime_ns}"


class Provenance:
    """Where the rows of one file come from."""

    def __init__(self, config: SourceConfig, kind: str, path: str, made_by: Maker, at: Path) -> None:
        """`path` names the file at `at` within the source. Raises DataError for a bad sidecar."""
        self.sidecar: Sidecar | None = read_sidecar(at)
        self.path = path
        self._tags = config.tags
        generator = None
        if self.sidecar is not None:
            said = f"{self.sidecar.generator_id}@{self.sidecar.generator_version}"
            generator, made_by = printable(said), "program"
        self._facts: dict[str, Any] = {
            "source": config.name,
            "kind": kind,
            "path": path,
            "contributor": config.contributor,
            "rig": config.rig,
            "licence": config.licence or "unknown",
            "made_by": made_by,
            "generator": generator,
        }

    def origin(self, first_line: int | None, last_line: int | None, **more: Any) -> Origin:
        """Return the origin of one row; `more` holds further fields of `Origin`."""
        return Origin(**{**self._facts, "first_line": first_line, "last_line": last_line, **more})

    def tags(self, tags: Mapping[str, str | int]) -> dict[str, str | int]:
        """Return a row's tags over those that the source puts on everything."""
        return {**self._tags, **tags}

    def count_against(self, rows: int, tally: Tally) -> None:
        """Count a sidecar that speaks of another number of rows."""
        if self.sidecar is not None and self.sidecar.example_count != rows:
            tally.add("a sidecar that counts other rows than the file has", self.path)


def documents(path: Path, where: Provenance, tally: Tally, shape: str | None = None) -> Iterator[Document]:
    """Yield the documents of one file whose shape is detected, or given.

    Raises DataError where it has no row that can be read, fits no shape or cannot be read to its end.
    """
    rows = read_rows(path, where.path, tally)
    beginning = sample(rows)
    name = shape or detect(beginning, where.path).shape
    builder = _Builder(name, where, tally)
    seen = 0
    for part in (beginning, rows):
        for numbered in part:
            seen += 1
            document = builder.build(numbered)
            if document is not None:
                yield document
    where.count_against(seen, tally)


class _Builder:
    """Make documents of the rows of one file."""

    def __init__(self, name: str, where: Provenance, tally: Tally) -> None:
        self._name = name
        self._shape: Shape = SHAPES[name]
        self._known = self._shape.keys | self._shape.optional | _COMMON
        self._where = where
        self._tally = tally
        self._sorter = Sorter()

    def build(self, numbered: Numbered) -> Document | None:
        """Return the document of a row, None (and a count) where it gives none."""
        row = without_nulls(numbered.row)
        place = f"{self._where.path}:{numbered.first_line or numbered.number}"
        found = self._sorter.shape_of(row)
        if found != self._name and not self._shape.keys <= row.keys():
            other = f"of shape {found}" if found else "of no known shape"
            self._tally.add(f"a row {other} in a file of shape {self._name}", place)
            return None
        try:
            words = self._shape.read(row, lambda phrase: self._tally.add(phrase, place))
            self._refuse_empty(words)
            return self._document(numbered, row, words, place)
        except DataError as error:
            self._tally.add(error.reason, place)
            return None

    @staticmethod
    def _refuse_empty(words: Words) -> None:
        if words.form != "text" and not any(turn.content.strip() for turn in words.messages):
            raise DataError("a chat without words", file="row")

    def _document(self, numbered: Numbered, row: dict[str, Any], words: Words, place: str) -> Document:
        tags: dict[str, str | int] = dict(words.tags)
        fields: dict[str, Any] = dict(words.fields)
        if not row.keys() <= self._shape.keys:
            self._take_rest(row, tags, fields, place)
        session = row.get("session_id")
        return Document(
            id=f"{self._where.path}#{numbered.number}",
            form=words.form,
            messages=tuple(words.messages),
            rejected=tuple(words.rejected),
            text=words.text,
            fields=fields,
            tags=self._where.tags(tags),
            group=_group_of(row) or opening(words.messages),
            origin=self._where.origin(
                numbered.first_line,
                numbered.last_line,
                session=session[:_LONGEST_TAG] if isinstance(session, str) else None,
            ),
        )

    def _take_rest(
        self, row: dict[str, Any], tags: dict[str, str | int], fields: dict[str, Any], place: str
    ) -> None:
        """Keep what a row says beside its shape: facts as tags, numbers and short strings as fields."""
        for group in ("metadata", "tags"):
            facts = row.get(group)
            for key, value in facts.items() if isinstance(facts, dict) else ():
                if _is_tag(value) and len(key) <= _LONGEST_TAG:
                    tags[key] = value
                else:
                    self._tally.add("a fact that is no short string or whole number left out", place)
        if _is_tag(row.get("id")):
            tags["id"] = row["id"]
        if "weight" in row:
            fields["weight"] = _weight(row["weight"])
        for key in row.keys() - self._known:
            value = row[key]
            if isinstance(value, bool | int | float) or (isinstance(value, str) and _fits(key, value)):
                fields[key] = value
            else:
                self._tally.add("a column that the shape does not have left out", place)


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1000:
        raise DataError("the row's weight is no number from 0 to 1000", file="row")
    return float(value)


def _fits(key: str, value: str) -> bool:
    return len(key) <= _LONGEST_TAG and len(value) <= _LONGEST_FIELD


def _is_tag(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TAG
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64


def _group_of(row: Mapping[str, Any]) -> str:
    """Return what a row says it belongs together with, empty where it says nothing."""
    return next((f"{row[key]}"[:_LONGEST_TAG] for key in _GROUPS if _is_tag(row.get(key))), "")


def opening(messages: Sequence[Message]) -> str:
    """Return a hash of the first thing a user says, blanks and case aside; empty where there is none.

    Written in short groups of letters, which no one takes for a key.
    """
    first = next((turn.content for turn in messages if turn.role == "user"), "")
    folded = " ".join(first.casefold().split())
    if not folded:
        return ""
    digest = hashlib.blake2b(folded.encode("utf-8", "replace"), digest_size=8).hexdigest()
    letters = digest.translate(_LETTERS)
    return "opening " + " ".join(letters[at : at + 4] for at in range(0, len(letters), 4))
