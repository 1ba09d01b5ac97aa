"""The dataset card: a README for people, with the head that dataset hubs read.

The head is YAML between two lines of `---`, written by a YAML writer, so that no name can break out of
it. What is foreign in the text is shown without control characters and with the signs of Markdown and
HTML escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import yaml
from pydantic import Field

from realm.core.records import Name, Record
from realm.core.text import printable
from realm.corpus.assembly.statistics import DatasetStatistics, Lengths

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
_LARGEST = "n>1B"
_SIGNS = re.compile(r"([\\`*_{}\[\]()#+!|~<>&$@-])")
_SHOWN = 20
_OTHER = "other"


class Split(Record):
    """One file of the dataset."""

    name: str
    """`train` or `eval`, or a partition's."""
    file: str
    """Within the dataset, with `/`."""
    rows: Annotated[int, Field(ge=0)]


class CardFacts(Record):
    """What the rows themselves do not say."""

    name: Name
    hash: str
    """Content name of the dataset."""
    summary: str = ""
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")], ...] = ()
    """Natural languages, ISO 639; empty where nobody said."""
    splits: tuple[Split, ...] = ()
    created_by: str
    """Version of Realm."""
    facts: tuple[tuple[str, str], ...] = ()
    """What a reader wants to know first, as names and values: spec, side, sources, what the scrubber did."""
    files: tuple[tuple[str, str], ...] = ()
    """Every file beside the card, and what it holds."""
    fields: tuple[tuple[str, str], ...] = ()
    """The keys or columns of a row, and what they mean."""
    build_rows: Annotated[int, Field(ge=0)] | None = None
    """Of all datasets that one build made together; None where this is not one of a build."""
    against: tuple[str, ...] = ()
    """What stands against publication, licences included; empty where the licences alone decide."""


class Publishability(Record):
    """Whether the dataset may be published, and which rows stand against it."""

    allowed: bool
    licences: tuple[str, ...]
    """All of them, most rows first."""
    against: dict[str, int]
    """Rows by licence that may not be published."""


def publishability(statistics: DatasetStatistics) -> Publishability:
    """Return what the licences of the rows allow together."""
    return Publishability(
        allowed=statistics.publishable,
        licences=tuple(each.licence for each in statistics.licences),
        against={each.licence: each.rows for each in statistics.licences if not each.publishable},
    )


def card(statistics: DatasetStatistics, facts: CardFacts) -> str:
    """Write the card as Markdown with a YAML head."""
    sections = [
        f"# {escaped(facts.name)}",
        escaped(facts.summary, 2000) if facts.summary else "",
        _opening(statistics, facts),
        _table(("", " "), facts.facts) if facts.facts else "",
        _licence_text(statistics, facts.against),
        "## Files" if facts.files else "",
        _table(("file", "holds"), facts.files) if facts.files else "",
        "## Rows",
        _table(("field", "meaning"), facts.fields) if facts.fields else "",
        _table(("form", "rows"), statistics.forms.items()),
        *(
            part
            for name, counts in statistics.by.items()
            for part in (f"### By {escaped(name)}", _counts(name, counts))
        ),
        "## Lengths",
        _lengths(statistics),
        "## Left out",
        _dropped(statistics, facts.build_rows),
        "## Checks",
        _checks(statistics),
    ]
    return f"---\n{_head(statistics, facts)}---\n\n" + "\n\n".join(part for part in sections if part) + "\n"


def _opening(statistics: DatasetStatistics, facts: CardFacts) -> str:
    of = f" of {statistics.groups:,} sessions, files and work items" if statistics.groups else ""
    return (
        f"{statistics.rows:,} rows{of}; content name `{_plain(facts.hash)}`; "
        f"made by {escaped(facts.created_by)}."
    )


def escaped(text: str, limit: int = 200) -> str:
    """Return foreign text on one line such that Markdown and HTML show it as it is."""
    return _SIGNS.sub(r"\\\1", printable(text, limit)).replace("\\<", "&lt;").replace("\\&", "&amp;")


def size_category(rows: int) -> str:
    """Return the size as hubs name it."""
    return next((name for bound, name in _SIZES if rows < bound), _LARGEST)


def _head(statistics: DatasetStatistics, facts: CardFacts) -> str:
    head: dict[str, Any] = {
        "pretty_name": printable(facts.name),
        "license": _licence_ids(statistics),
        "size_categories": [size_category(statistics.rows)],
        "task_categories": ["text-generation"],
    }
    if facts.languages:
        head["language"] = list(facts.languages)
    if facts.splits:
        paths: dict[str, list[str]] = {}
        for split in facts.splits:
            paths.setdefault(split.name, []).append(split.file)
        files = [
            {"split": name, "path": found[0] if len(found) == 1 else found} for name, found in paths.items()
        ]
        head["configs"] = [{"config_name": "default", "data_files": files}]
    written: str = yaml.safe_dump(head, sort_keys=False, allow_unicode=False, width=100)
    return written


def _licence_ids(statistics: DatasetStatistics) -> list[str]:
    """Return the licences as hubs name them: SPDX in lower case, `other` for what is no single one."""
    found: list[str] = []
    for each in statistics.licences:
        is_one = each.publishable and re.fullmatch(r"[A-Za-z0-9.+-]{1,40}", each.licence)
        name = each.licence.lower() if is_one else _OTHER
        if name not in found:
            found.append(name)
    return found or [_OTHER]


def _licence_text(statistics: DatasetStatistics, against: tuple[str, ...]) -> str:
    found = publishability(statistics)
    lines = [
        "## Licences",
        _table(
            ("licence", "rows", "may be published"),
            (
                (each.licence or "none", each.rows, "yes" if each.publishable else "no")
                for each in statistics.licences
            ),
        ),
    ]
    if against:
        lines.append("**Not publishable**: this copy is for use in house.")
        lines.append("\n".join(f"- {escaped(reason, 500)}" for reason in against))
    elif found.allowed:
        lines.append("The dataset as a whole is under all of these licences; each row is under its own.")
    else:
        rows = sum(found.against.values())
        lines.append(f"**Not publishable**: {rows:,} rows have a licence that is unknown or forbids it.")
    return "\n\n".join(lines)


def _counts(name: str, counts: Mapping[str, int]) -> str:
    shown = list(counts.items())[:_SHOWN]
    rest = list(counts.items())[_SHOWN:]
    if rest:
        shown.append((f"{len(rest)} more", sum(count for _, count in rest)))
    return _table((name, "rows"), shown)


def _lengths(statistics: DatasetStatistics) -> str:
    rows = [("characters", statistics.chars)]
    if statistics.tokens is not None:
        rows.append(("tokens", statistics.tokens))
    return _table(("", *Lengths.model_fields), ((name, *each.model_dump().values()) for name, each in rows))


def _dropped(statistics: DatasetStatistics, build_rows: int | None) -> str:
    if not statistics.dropped:
        return (
            "Nothing."
            if build_rows is not None
            else "Not known: this dataset was not built from collections."
        )
    table = _table(("reason", "count"), ((each.reason, each.count) for each in statistics.dropped))
    if build_rows is None or build_rows == statistics.rows:
        return table
    whole = f"Documents and rows of the whole build, which kept {build_rows:,} rows in all its datasets."
    return f"{whole}\n\n{table}"


def _checks(statistics: DatasetStatistics) -> str:
    if not statistics.checks:
        return "None."
    return _table(
        ("check", "version", "depth"), ((each.name, each.version, each.depth) for each in statistics.checks)
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    def line(cells: Iterable[object]) -> str:
        shown = (f"{cell:,}" if isinstance(cell, int) else escaped(str(cell)) for cell in cells)
        return f"| {' | '.join(shown)} |"

    body = [line(row) for row in rows]
    return "\n".join([line(head), f"|{'---|' * len(head)}", *body]) if body else "None."


def _plain(text: str) -> str:
    """Return what may stand between two backticks."""
    return re.sub(r"[^A-Za-z0-9:._-]", "", printable(text))
