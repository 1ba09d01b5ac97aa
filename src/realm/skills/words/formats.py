"""The twelve formats of an answer: how each is asked for and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from pydantic import ConfigDict

from realm.core.records import Record
from realm.skills.words.lexicon import Word

FormatName = Literal[
    "json_list",
    "json_map",
    "json_nested",
    "numbered_list",
    "lines",
    "comma_list",
    "markdown_table",
    "semicolon_list",
    "csv",
    "key_value",
    "yaml_list",
    "bulleted_list",
]


class Solution(Record):
    """One word of a nested answer."""

    model_config = ConfigDict(strict=True)

    ans_num: int
    """Position among the clues, from 1."""
    syllables: list[str]
    answer: str


class Inventory(Record):
    """What became of the bank's tiles."""

    model_config = ConfigDict(strict=True)

    total_tiles: int
    usage: dict[str, int]
    """How often each used tile is used."""
    used: int
    """Tiles that are used at all."""
    unused_tiles: list[str]
    status: Literal["complete", "leftover"]
    """Whether every tile is used."""


class Nested(Record):
    """The answer `json_nested` asks for."""

    model_config = ConfigDict(strict=True)

    solutions: list[Solution]
    inventory_check: Inventory


class Solved(NamedTuple):
    """A puzzle's answer, before it is written in a format."""

    labels: tuple[str, ...]
    words: tuple[Word, ...]
    """In the order of the clues."""
    tiles: Sequence[str]
    """The bank, each tile once."""


class Format(NamedTuple):
    """One way to write an answer."""

    asks: str
    """What the question says of it, in one line."""
    write: Callable[[Solved], str]


def _upper(solved: Solved) -> list[str]:
    return [word.word.upper() for word in solved.words]


def _rows(template: str) -> Callable[[Solved], str]:
    """Write one line for each word."""

    def write(solved: Solved) -> str:
        pairs = zip(solved.labels, _upper(solved), strict=True)
        return "\n".join(template.format(label, word) for label, word in pairs)

    return write


def _under(header: str, rows: Callable[[Solved], str]) -> Callable[[Solved], str]:
    return lambda solved: f"{header}\n{rows(solved)}"


def _json_map(solved: Solved) -> str:
    return json.dumps(dict(zip(solved.labels, _upper(solved), strict=True)))


def _json_nested(solved: Solved) -> str:
    usage = dict.fromkeys(solved.tiles, 0)
    for word in solved.words:
        for syllable in word.syllables:
            usage[syllable] += 1
    unused = [tile for tile, times in usage.items() if not times]
    solutions = [
        Solution(ans_num=n, syllables=list(word.syllables), answer=word.word.upper())
        for n, word in enumerate(solved.words, 1)
    ]
    inventory = Inventory(
        total_tiles=len(usage),
        usage={tile: times for tile, times in usage.items() if times},
        used=len(usage) - len(unused),
        unused_tiles=unused,
        status="leftover" if unused else "complete",
    )
    return Nested(solutions=solutions, inventory_check=inventory).model_dump_json()


TABLE_HEADER = "| label | word |\n| --- | --- |"
CSV_HEADER = "label,word"
YAML_HEADER = "answers:"

FORMATS: dict[FormatName, Format] = {
    "json_list": Format(
        'Answer with a JSON list such as ["WORD", "WORD"].', lambda solved: json.dumps(_upper(solved))
    ),
    "json_map": Format('Answer with a JSON object such as {"label": "WORD"}.', _json_map),
    "json_nested": Format(
        'Answer with JSON: {"solutions":[{"ans_num":1,"syllables":["tile"],"answer":"WORD"}],'
        '"inventory_check":{"total_tiles":1,"usage":{"tile":1},"used":1,"unused_tiles":[],'
        '"status":"complete or leftover"}}.',
        _json_nested,
    ),
    "numbered_list": Format("Answer with a list of lines such as 1. WORD", _rows("{0}. {1}")),
    "lines": Format("Answer with one word a line.", _rows("{1}")),
    "comma_list": Format(
        "Answer with the words in one line, commas between them.", lambda s: ", ".join(_upper(s))
    ),
    "markdown_table": Format(
        "Answer with a Markdown table under the header | label | word |",
        _under(TABLE_HEADER, _rows("| {0} | {1} |")),
    ),
    "semicolon_list": Format(
        "Answer with the words in one line, semicolons between them.", lambda s: "; ".join(_upper(s))
    ),
    "csv": Format("Answer with CSV under the header label,word", _under(CSV_HEADER, _rows("{0},{1}"))),
    "key_value": Format("Answer with lines such as label=WORD", _rows("{0}={1}")),
    "yaml_list": Format(
        "Answer with a YAML list under the key answers.", _under(YAML_HEADER, _rows("  - {1}"))
    ),
    "bulleted_list": Format("Answer with a bulleted list.", _rows("- {1}")),
}
JSON_FORMATS: tuple[FormatName, ...] = ("json_list", "json_map", "json_nested")
