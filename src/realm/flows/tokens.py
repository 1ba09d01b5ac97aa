"""Look at a file as training would: its tokens, which of them are trained, and checks 1 to 5."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from realm.core.errors import DataError, MaskingError, UsageError
from realm.core.records import Example, Record
from realm.core.text import printable
from realm.corpus import specs
from realm.corpus.files import lines
from realm.corpus.intake import DEFAULT_LIMITS, Problem
from realm.flows.checkpoints import chosen, verified_checkpoint
from realm.models.extra import require_training_extra

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from realm.flows.context import Lab
    from realm.training.recipe import Recipe
    from realm.training.rows import Rows

_SHOWN_PROBLEMS = 20
_LONGEST_CHARACTER = 4
"""Bytes, and so tokens at most."""


class Token(Record):
    """One token of a row."""

    id: int
    text: str
    """Empty where the character goes on in the next token, which then has all of it."""
    weight: float
    """How much predicting it counts; 0 where it is masked."""


class RowTokens(Record):
    """One sequence of a row."""

    line: int
    tokens: tuple[Token, ...]


class TokensReport(Record):
    """What training would make of a file."""

    file: str
    rows: int
    """Rows that would be trained on; a piece of a row counts as one."""
    tokens: int
    trained_tokens: int
    dropped: dict[str, int]
    """Rows left out or cut, and trained tokens lost, by reason."""
    checks: tuple[str, ...] = ()
    """Those of checks 1 to 5 that hold, with their figures; none of prompts that a method answers itself."""
    refusal: str = ""
    """Why training would refuse the file; empty where it would not."""
    problems: tuple[Problem, ...] = ()
    """The first 20 rows that cannot be read."""
    shown: tuple[RowTokens, ...] = ()
    """The first rows."""


def model_folder(lab: Lab, reference: str | None) -> Path:
    """Return the folder of the model that a name means; without a name the champion, else the latest."""
    return Path(verified_checkpoint(lab, chosen(lab, reference)))


def look(path: Path, folder: Path, *, rows: int, recipe: Recipe | None = None) -> TokensReport:
    """Encode a file with the tokenizer in `folder`, under a recipe's rules where one is given."""
    require_training_extra()
    from realm.models.chat import load_tokenizer
    from realm.training.masking import prove_rows
    from realm.training.method import METHODS
    from realm.training.rules import Masking

    tokenizer = load_tokenizer(folder)
    shown = printable(path.name)
    examples, numbers, problems = _read(path)
    if problems or not examples:
        refusal = (
            f"{len(problems)} bad {'row' if len(problems) == 1 else 'rows'}"
            if problems
            else "there are no rows"
        )
        return TokensReport(
            file=shown, rows=0, tokens=0, trained_tokens=0, dropped={}, refusal=refusal, problems=problems
        )
    found = _encoded(examples, numbers, tokenizer, shown, recipe)
    masking = recipe.rules.masking if recipe else Masking()
    # Rows that are prompts to answer hold nothing that is trained yet.
    proven = len(found) and not (recipe and METHODS.build(recipe.method).generates)
    checks: tuple[str, ...] = ()
    refusal = "" if len(found) else "no row is left to train on"
    try:
        if proven:
            checks = prove_rows(found.flat(), tokenizer, len(tokenizer), masking)
    except MaskingError as error:
        refusal = error.what
    return TokensReport(
        file=shown,
        rows=len(found),
        tokens=found.tokens,
        trained_tokens=found.trained_tokens,
        dropped=found.dropped,
        checks=checks,
        refusal=refusal,
        shown=tuple(
            RowTokens(line=int(found.numbers[index]), tokens=_tokens(tokenizer, sequence))
            for index in range(min(rows, len(found)))
            for sequence in found.sequences[index]
        ),
    )


def _read(path: Path) -> tuple[list[Example], list[int], tuple[Problem, ...]]:
    """Return the rows that can be read, their lines, and what is wrong with the others."""
    if path.suffix != lines.SUFFIX:
        raise UsageError(f"{printable(str(path))}: not a {lines.SUFFIX} file", hint=f"see {lines.DOCS}")
    examples, numbers, problems, spec = list[Example](), list[int](), list[Problem](), ""
    with lines.open_rows(path) as file:
        for number, raw in lines.read_lines(file, DEFAULT_LIMITS.line_bytes):
            line = lines.strip(raw, number)
            if not line or len(problems) == _SHOWN_PROBLEMS:
                continue
            try:
                row = lines.parse(line, DEFAULT_LIMITS.json_depth)
                spec = spec or specs.detect(row)
                examples.append(specs.read_row(spec, row))
                numbers.append(number)
            except DataError as error:
                problems.append(Problem(line=number, reason=error.reason, hint=error.hint))
    return examples, numbers, tuple(problems)


def _encoded(
    examples: list[Example],
    numbers: list[int],
    tokenizer: PreTrainedTokenizerFast,
    file: str,
    recipe: Recipe | None,
) -> Rows:
    from realm.training.encoding import Settings
    from realm.training.method import METHODS
    from realm.training.rows import rows_of
    from realm.training.rules import Encoding

    if recipe is None:
        settings = Settings.of(Encoding(), max_tokens=1 << 30)
        return rows_of(examples, tokenizer, settings, lines=numbers, file=file)
    method = METHODS.build(recipe.method)
    settings = Settings.of(
        recipe.rules.encoding,
        max_tokens=recipe.rules.max_tokens,
        method=recipe.method.model_dump(mode="json"),
        generates=method.generates,
    )
    return rows_of(examples, tokenizer, settings, method.sequences, lines=numbers, file=file)


def _tokens(tokenizer: PreTrainedTokenizerFast, sequence: object) -> tuple[Token, ...]:
    from realm.models.encodings import Encoded

    assert isinstance(sequence, Encoded)
    result, begun = list[Token](), list[int]()
    for token, weight in zip(sequence.ids.tolist(), sequence.weights.tolist(), strict=True):
        begun.append(token)
        text = tokenizer.decode(begun)
        whole = "\ufffd" not in text or len(begun) == _LONGEST_CHARACTER
        result.append(Token(id=token, text=text if whole else "", weight=round(weight, 6)))
        if whole:
            begun = []
    return tuple(result)
