"""Conventions, specs and formulas: markdown by sections, TOML formulas as a whole.

A section is one text with `fields`:

    subject   its headings in one form (`testing/unit-tests`), without the document's only title
    headings  as they are written, from the outermost
    version   when the file was last committed, or written where git does not know it; ISO 8601, UTC
    convention  instructions (CLAUDE.md, AGENTS.md, …), template, spec or formula

so that of two conventions with the same subject the newer one can win.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from realm.core.errors import DataError
from realm.corpus.document import Document, Origin
from realm.corpus.files import folders, lines
from realm.corpus.files.folders import Found, walk
from realm.corpus.repos.gittime import Committed, commit_times
from realm.corpus.source import Item, SourceConfig
from realm.corpus.tally import Tally
from realm.corpus.texts.formula import read_formula
from realm.corpus.texts.sections import Section, sections, subject

_INSTRUCTIONS = frozenset({"claude", "claude.local", "agents", "gemini", "prime", "copilot-instructions"})
_MARKDOWN = (".md", ".markdown", ".mdc")
_TEMPLATES = (".md.tmpl",)
_FORMULA = ".toml"
_SKIPPED = frozenset(
    {".git", ".hg", ".svn", "node_modules", "vendor", ".venv", "venv", "target", "dist", "build"}
)
_FORMULA_MARK = ".formula"


class Documents:
    """Read conventions, specs and formulas beneath a folder."""

    version = "1"

    class Config(SourceConfig):
        """Where the documents lie."""

        kind: Literal["documents"] = "documents"
        path: Path
        """A folder, or one file."""
        instructions_only: bool = False
        """Take only instructions to agents (CLAUDE.md, AGENTS.md, …), role templates and formulas."""
        max_file_bytes: Annotated[int, Field(ge=1)] = 2_000_000

    def __init__(self, config: Config) -> None:
        self.config = config
        self._times: dict[str, Committed] = {}

    def items(self, tally: Tally) -> Iterator[Item]:
        """List documents. Raises NotFoundError where there is no such folder."""
        listed = [
            found
            for found in walk(self.config.path, tally, enter=lambda name: name not in _SKIPPED)
            if self._takes(found, tally)
        ]
        self._times = self._commit_times([found.key for found in listed])
        for found in listed:
            committed = self._times.get(found.key)
            yield found.item(more=committed.commit if committed else "")

    def read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield one document a section, or one for a formula."""
        path = folders.at(self.config.path, item.key)
        with lines.open_regular(path) as file:
            data = file.read(self.config.max_file_bytes + 1)
        if len(data) > self.config.max_file_bytes:
            raise DataError("the document grew beyond the limit", file=item.key)
        try:
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            raise DataError("not UTF-8", file=item.key, hint="save it as UTF-8") from None
        if "\0" in text:
            raise DataError("not a text", file=item.key)
        committed = self._times.get(item.key) or self._commit_times([item.key]).get(item.key)
        if item.key.endswith(_FORMULA):
            yield from self._formula(text, item.key, path, committed, tally)
        else:
            yield from self._sections(text, item.key, path, committed, tally)

    def _takes(self, found: Found, tally: Tally) -> bool:
        kind = _convention(found.key)
        if not kind or (self.config.instructions_only and kind == "spec"):
            return False
        if found.size_bytes > self.config.max_file_bytes:
            tally.add("a document larger than the limit", found.key)
            return False
        return True

    def _commit_times(self, keys: list[str]) -> dict[str, Committed]:
        root = self.config.path
        return commit_times(root if root.is_dir() else root.parent, keys)

    def _sections(
        self, text: str, key: str, path: Path, committed: Committed | None, tally: Tally
    ) -> Iterator[Document]:
        found = sections(text)
        title = _title(found)
        seen: dict[str, int] = {}
        for section in found:
            if section.bare:
                tally.add("a heading without a text of its own", f"{key}:{section.first_line}")
                continue
            headings = (
                section.headings[1:] if title and section.headings[:1] == (title,) else section.headings
            )
            about = subject(headings)[:300] or subject((_stem(key),)) or "document"
            seen[about] = seen.get(about, 0) + 1
            number = f"~{seen[about]}" if seen[about] > 1 else ""
            fields = {"subject": about, "headings": list(section.headings), "convention": _convention(key)}
            yield self._document(
                f"{key[-180:]}#{about}{number}",
                section.text,
                "markdown",
                key,
                path,
                committed,
                fields,
                section,
            )

    def _formula(
        self, text: str, key: str, path: Path, committed: Committed | None, tally: Tally
    ) -> Iterator[Document]:
        try:
            formula = read_formula(text)
        except DataError as error:
            tally.add(f"not a formula: {error.reason}", key)
            return
        fields = {
            "subject": f"formula/{formula.name}"[:300],
            "convention": "formula",
            "formula": formula.model_dump(mode="json", exclude={"description"}),
            "description": formula.description,
        }
        whole = Section((), 1, text.count("\n") + 1, text, False)
        yield self._document(key[-500:], text, "toml", key, path, committed, fields, whole)

    def _document(
        self,
        id_: str,
        text: str,
        language: str,
        key: str,
        path: Path,
        committed: Committed | None,
        fields: dict[str, Any],
        section: Section,
    ) -> Document:
        at = committed.at if committed else datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return Document(
            id=id_,
            form="text",
            text=text,
            language=language,
            fields={**fields, "version": at.isoformat()},
            tags={"task": "convention", **self.config.tags},
            group=key,
            origin=Origin(
                source=self.config.name,
                kind=self.config.kind,
                path=key,
                first_line=section.first_line,
                last_line=section.last_line,
                commit=committed.commit if committed else None,
                rig=self.config.rig,
                contributor=self.config.contributor,
                licence=self.config.licence or "unknown",
                made_by="human",
                at=at,
            ),
        )


def _convention(key: str) -> str:
    """Return what a file is by its name, empty for what is not taken."""
    name = key.rpartition("/")[2].lower()
    if name.endswith(_TEMPLATES):
        return "template"
    if name.endswith(_FORMULA):
        stem = name.removesuffix(_FORMULA)
        return "formula" if stem.endswith(_FORMULA_MARK) or "formulas/" in key.lower() else ""
    if not name.endswith(_MARKDOWN):
        return ""
    return "instructions" if name.rpartition(".")[0] in _INSTRUCTIONS else "spec"


def _title(found: list[Section]) -> str:
    """Return the only outermost heading of a document that has several: its title, no subject."""
    outer = {section.headings[0] for section in found if section.headings}
    deeper = any(len(section.headings) > 1 for section in found)
    return outer.pop() if len(outer) == 1 and deeper else ""


def _stem(key: str) -> str:
    return key.rpartition("/")[2].partition(".")[0]
