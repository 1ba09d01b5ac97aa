"""Look at a file as training would: its tokens, which of them are trained, and checks 1 to 5."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from realm.core.errors import DataError, MaskingError, NotFoundError, UsageError
from realm.core.records import Example, Record
from realm.core.text import printable
from realm.corpus import specs
from realm.corpus.files import lines
from realm.corpus.intake import DEFAULT_LIMITS, Problem
from realm.flows.asked_model import whole_folder
from realm.flows.checkpoints import chosen, verified_checkpoint
from realm.flows.config import file_recipe, load_recipe
from realm.flows.home import find_home
from realm.models.extra import require_training_extra
from realm.training.dropping import Account, Cause
from realm.training.lengths import context_of, limit_of
from realm.training.method import METHODS
from realm.training.recipe import Recipe, Resolved
from realm.training.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from realm.flows.context import Lab
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
    recipe: str
    """By whose rules it would be trained."""
    max_tokens: int
    """The longest sequence by these rules and the model's context."""
    context_tokens: int | None
    """What the model reads; None where only a tokenizer is known, so that the rules alone limit rows."""
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
    hint: str = ""
    """What to do about that."""
    problems: tuple[Problem, ...] = ()
    """The first 20 rows that cannot be read."""
    shown: tuple[RowTokens, ...] = ()
    """The first rows."""


def model_folder(lab: Lab, reference: str | None) -> Path:
    """Return the folder of the model that a name means; without a name the champion, else the latest."""
    return Path(verified_checkpoint(lab, chosen(lab, reference)))


def rules_of(home: Path | None, name: str | None, overrides: Iterable[str] = ()) -> Resolved:
    """Return the recipe of a name, else the one that `realm train FILE` takes."""
    try:
        realm = find_home(home)
    except NotFoundError:
        if home is not None:
            raise
        realm = None
    return load_recipe(realm, name or file_recipe(realm, overrides))


def look(path: Path, folder: Path, *, rows: int, rules: Resolved) -> TokensReport:
    """Encode a file as a run by these rules would, on the model or with the tokenizer in `folder`."""
    require_training_extra()
    from realm.models.chat import load_tokenizer
    from realm.training.masking import prove_rows
    from realm.training.rows import refuse_empty

    recipe, model, tokenizer = rules.recipe, _model(folder), load_tokenizer(folder)
    settings = Settings.of_recipe(recipe, limit_of(recipe, model.context_tokens))
    examples, numbers, problems = _read(path)
    report = TokensReport(
        file=printable(path.name),
        recipe=rules.name,
        max_tokens=settings.max_tokens,
        context_tokens=context_of(recipe, model.context_tokens),
        rows=0,
        tokens=0,
        trained_tokens=0,
        dropped={},
        problems=problems,
    )
    if problems or not examples:
        bad = f"{len(problems)} bad {'row' if len(problems) == 1 else 'rows'}"
        return report.model_copy(update={"refusal": bad if problems else "there are no rows"})
    found, account = _encoded(examples, numbers, tokenizer, settings, report.file, recipe)
    shown = tuple(
        RowTokens(line=int(found.numbers[index]), tokens=_tokens(tokenizer, sequence))
        for index in range(min(rows, len(found)))
        for sequence in found.sequences[index]
    )
    counts = {"rows": len(found), "tokens": found.tokens, "trained_tokens": found.trained_tokens}
    report = report.model_copy(update={**counts, "dropped": account.lines(), "shown": shown})
    try:
        refuse_empty(account, settings, report.context_tokens)
        # Rows that are prompts to answer hold nothing that is trained yet.
        if settings.generates:
            return report
        size = model.vocabulary or len(tokenizer)
        checks = prove_rows(found.flat(), tokenizer, size, recipe.rules.masking)
    except MaskingError as error:
        return report.model_copy(update={"refusal": error.what, "hint": error.hint})
    return report.model_copy(update={"checks": checks})


class _Model(NamedTuple):
    """What a model's `config.json` says; nothing where there is a tokenizer alone."""

    context_tokens: int | None = None
    vocabulary: int | None = None


def _model(folder: Path) -> _Model:
    path = whole_folder(folder) / "config.json"
    if not path.is_file():
        return _Model()
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"not readable as JSON: {error}", file=str(path)) from None
    if not isinstance(config, dict):
        raise DataError("not a JSON object", file=str(path))
    text = {**config, **(config.get("text_config") or {})}
    return _Model(text.get("max_position_embeddings"), text.get("vocab_size"))


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
    settings: Settings,
    file: str,
    recipe: Recipe,
) -> tuple[Rows, Account]:
    """Return the rows that would be trained on, and what would become of all of them."""
    from realm.training.rows import rows_of, set_apart

    parts_of = METHODS.build(recipe.method).sequences
    given = rows_of(examples, tokenizer, settings, parts_of, lines=numbers, file=file)
    found, held = set_apart(given, recipe.where.validation.share)
    return found, given.account.without(len(held), Cause.HELD_OUT)


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
