"""Code and manuals become questions and answers, by function.

Every row comes of a function that is whole by its language's grammar, taken alone. Where a type of pair
may be made several times a function, the number is its cap; 0 switches it off. Which of them a function
gets, with which wording, depends on its place alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.records import Example, Message
from realm.core.seeds import rng
from realm.corpus.code import pairs
from realm.corpus.code.context import Above
from realm.corpus.code.joins import Joined, Joins
from realm.corpus.code.markdown import blocks
from realm.corpus.code.pairs import Pair, Place
from realm.corpus.code.syntax import GRAMMARS, parses
from realm.corpus.code.units import Unit, find
from realm.corpus.document import Document, Origin
from realm.corpus.repos.licences import together
from realm.corpus.shaper import Row
from realm.corpus.tally import Tally

Cap = Annotated[int, Field(ge=0, le=8)]
_EXAMPLE_FOLDERS = ("example", "examples", "demo", "demos", "sample", "samples", "tutorial", "tutorials")
_MOST_SEEN = 1_000_000


class Code:
    """Make rows of the functions and code blocks of text documents."""

    version = "2"

    class Config(BaseConfig):
        """Which pairs are made of a function, and how many of each."""

        kind: Literal["code"] = "code"
        doc_to_body: Cap = 1
        """Doc comment → function."""
        signature_to_body: Cap = 1
        """Signature → function."""
        explain: Cap = 1
        """Function → doc comment."""
        fill_in: Cap = 1
        """Function with a marked gap → the missing lines."""
        usage: Cap = 1
        """Question for an API → the example that calls it."""
        cross_file: Cap = 1
        """A call, or a declaration, and its definition in another file."""
        markdown: bool = True
        """Heading and prose → code block."""
        per_function: Annotated[int, Field(ge=1, le=32)] = 4
        """Most rows made of one function alone; which ones is drawn by hash. Those of several files are
        capped by `usage` and `cross_file`."""
        min_lines: Annotated[int, Field(ge=1)] = 3
        max_lines: Annotated[int, Field(ge=1)] = 120
        """Functions of other lengths are left out."""
        context_lines: Annotated[int, Field(ge=0, le=200)] = 30
        """Lines of the file above a function that are shown with its signature or doc."""
        examples: tuple[str, ...] = _EXAMPLE_FOLDERS
        """Names of folders that hold examples; `*` makes all files examples."""
        domains: dict[str, str] = Field(default_factory=dict)
        """System prompts by domain, the tag of the document."""
        system: str = ""
        """System prompt of all other domains; empty for none."""
        held_mb: Annotated[int, Field(ge=1, le=4096)] = 64
        """Memory for units that pairs of several files are made of."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._joins = bool(config.usage or config.cross_file)

    def shape(self, documents: Iterable[Document], tally: Tally) -> Iterator[Row]:
        """Yield rows of code and Markdown; pairs of several files come last.

        Holds the units of at most `held_mb`. Raises MissingExtraError without tree-sitter.
        """
        joins, seen = Joins(self.config.held_mb * 1_000_000), _Seen()
        for document in documents:
            if document.form != "text" or document.text is None:
                tally.add("code: not a text", document.id)
            elif document.language == "markdown":
                yield from self._manual(document, document.text, tally) if self.config.markdown else ()
            elif document.language in GRAMMARS:
                yield from self._units(document, document.text, document.language, joins, seen, tally)
            else:
                tally.add("code: a language without a grammar", document.id)
        for joined in joins.usages(self.config.usage) if self.config.usage else ():
            yield self._joined_row(joined)
        for joined in joins.crossings(self.config.cross_file) if self.config.cross_file else ():
            yield self._joined_row(joined)

    def _units(
        self, document: Document, text: str, language: str, joins: Joins, seen: _Seen, tally: Tally
    ) -> Iterator[Row]:
        found = find(text, language)
        if isinstance(found, str):
            tally.add(f"code: {found}", document.id)
            return
        if found.refused:
            where = f"{document.id}:{found.refused[0].start}"
            tally.add("code: a function does not parse by itself", where, len(found.refused))
        if not found.units and not found.prototypes:
            tally.add("code: no function or section", document.id)
        for prototype in found.prototypes if self._joins else ():
            joins.declare(prototype, document, tally)
        is_example = self._is_example(document.origin.path)
        above = Above(text, (*found.refused, *found.asides))
        for unit in found.units:
            where = f"{document.id}:{unit.first_line}"
            if unit.is_function and self._joins:
                joins.name(unit, document, tally)
            context = above.of(unit, self.config.context_lines)
            if unit.lines < self.config.min_lines:
                tally.add("code: a unit too short", where)
            elif unit.lines > self.config.max_lines:
                tally.add("code: a unit too long", where)
            elif not seen.is_new(document.origin.source, unit):
                tally.add("code: a unit seen before", where)
            else:
                place = Place(document.origin.source, document.origin.path, context)
                yield from self._rows(document, unit, place, where, tally)
                if unit.is_function and self._joins:
                    joins.add(unit, place, document, is_example, tally)

    def _rows(self, document: Document, unit: Unit, place: Place, where: str, tally: Tally) -> Iterator[Row]:
        config = self.config
        makers: tuple[tuple[Callable[[Unit, Place, int], Iterator[Pair]], int], ...] = (
            (pairs.doc_to_body, config.doc_to_body),
            (pairs.signature_to_body, config.signature_to_body),
            (pairs.explain, config.explain),
            (pairs.fill_in, config.fill_in),
        )
        made = [pair for make, count in makers for pair in make(unit, place, count)]
        if len(made) > config.per_function:
            tally.add("code: over the cap of a function", where, len(made) - config.per_function)
            draw = rng("code/cap", place.source, place.path, unit.first_line)
            kept = sorted(draw.sample(range(len(made)), config.per_function))
            made = [made[index] for index in kept]
        for pair in made:
            origin = _at(document.origin, unit)
            yield self._row(pair, origin, document.id, document.split_group, document.tags, unit.language)

    def _manual(self, document: Document, text: str, tally: Tally) -> Iterator[Row]:
        for block in blocks(text):
            where = f"{document.id}:{block.first_line}"
            if block.language is None or block.language not in GRAMMARS:
                tally.add("code: a block without a gated language", where)
            elif block.is_step:
                tally.add("code: a block of a list of things to do", where)
            elif not parses(block.code, block.language):
                tally.add("code: a block does not parse", where)
            else:
                pair = pairs.manual(block, block.language, document.origin.source, document.origin.path)
                if pair is None:
                    tally.add("code: a block without heading or prose", where)
                    continue
                lines = {"first_line": block.first_line, "last_line": block.last_line}
                origin = document.origin.model_copy(update=lines)
                yield self._row(
                    pair, origin, document.id, document.split_group, document.tags, block.language
                )

    def _joined_row(self, joined: Joined) -> Row:
        held = joined.answer
        origin = _at(held.origin, held.unit)
        tags = dict(held.tags)
        if joined.other_licence is not None:
            licence = together([origin.licence, joined.other_licence])
            origin = origin.model_copy(update={"licence": licence})
            tags["with"] = joined.other
        row = self._row(joined.pair, origin, held.document, held.group, tags, held.unit.language)
        return row.model_copy(update={"also": (joined.other_group,)}) if joined.other_group else row

    def _row(
        self, pair: Pair, origin: Origin, document: str, group: str, tags: dict[str, str | int], language: str
    ) -> Row:
        domain = str(tags.get("domain", ""))
        system = self.config.domains.get(domain, self.config.system)
        turns = [Message(role="system", content=system)] if system else []
        turns += [Message(role="user", content=pair.question), Message(role="assistant", content=pair.answer)]
        example = Example(messages=tuple(turns), tags={**tags, "task": pair.task, "language": language})
        return Row(
            example=example, origin=origin, document=document, shaper=f"code@{self.version}", group=group
        )

    def _is_example(self, path: str) -> bool:
        folders = path.lower().split("/")[:-1]
        return "*" in self.config.examples or any(folder in self.config.examples for folder in folders)


class _Seen:
    """Remember units by their text without its blanks; a copy in the same source gives no rows."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def is_new(self, source: str, unit: Unit) -> bool:
        """Say whether a unit is the first of its text."""
        text = f"{source}\0{unit.language}\0{''.join(unit.text.split())}"
        digest = blake2b(text.encode(), digest_size=12).digest()
        if digest in self._digests:
            return False
        if len(self._digests) < _MOST_SEEN:
            self._digests.add(digest)
        return True


def _at(origin: Origin, unit: Unit) -> Origin:
    return origin.model_copy(update={"first_line": unit.first_line, "last_line": unit.last_line})
