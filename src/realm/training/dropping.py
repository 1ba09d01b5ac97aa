"""What becomes of rows: counted, with why they are left out, and what to do where none is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from realm.core.records import Example, Record

if TYPE_CHECKING:
    from realm.training.settings import Settings


class Cause(StrEnum):
    """Why a row is left out, in words that stand behind the number of such rows."""

    LONG = "longer than {limit} tokens"
    LONG_PART = "with a part longer than {limit} tokens"
    """Of several sequences, such as both chats of a preference: these are never cut."""
    NO_EXCHANGE = "without an exchange that fits {limit} tokens"
    """A chat that was to be cut and of which no piece is left."""
    UNANSWERED = "without an answer"
    OTHER_ROLES = "without a turn of a trained role"
    WEIGHTLESS = "of weight 0"
    SILENT = "without a trained token"
    """For another reason: a text of one token, which nothing precedes."""
    HELD_OUT = "held out for validation"

    def words(self, limit: int) -> str:
        """Return the words for rows that may have `limit` tokens."""
        return self.value.format(limit=limit)


CHOSEN_ALONE = "with a rejected ending that the method does not read"
NO_ROW_LEFT = "no row is left to train on"


class NoneLeft(NamedTuple):
    """What to say where no row is left."""

    reasons: str
    """With how many rows each left out, the most frequent first."""
    hint: str
    """What helps against each, in the same order."""


class Account(Record):
    """What became of the rows of a file, or of several."""

    rows: int
    """In the file."""
    kept: int
    """Rows that are trained on; a piece counts as one."""
    pieces: int
    """How many of those are pieces."""
    split: int
    """Rows that were cut into pieces."""
    dropped: dict[str, int]
    """Rows of which nothing is trained, by reason."""
    lost: dict[str, int]
    """Trained tokens that are not trained on, by reason; those of dropped rows too."""
    tokens: int
    """In what is trained on."""
    trained_tokens: int
    chosen_alone: int = 0
    """Preferences that are kept by their better ending: the method does not read the worse one."""
    shortest: int = 0
    """Tokens of the shortest row that is left out since it is too long; 0 where none is."""
    roles: tuple[str, ...] = ()
    """Who speaks in the rows that are left out since nobody does whose turns are trained."""

    def __add__(self, other: Account) -> Account:
        return Account(
            rows=self.rows + other.rows,
            kept=self.kept + other.kept,
            pieces=self.pieces + other.pieces,
            split=self.split + other.split,
            dropped=dict(Counter(self.dropped) + Counter(other.dropped)),
            lost=dict(Counter(self.lost) + Counter(other.lost)),
            tokens=self.tokens + other.tokens,
            trained_tokens=self.trained_tokens + other.trained_tokens,
            chosen_alone=self.chosen_alone + other.chosen_alone,
            shortest=min(filter(None, (self.shortest, other.shortest)), default=0),
            roles=tuple(sorted({*self.roles, *other.roles})),
        )

    def without(self, rows: int, reason: str) -> Account:
        """Return the account with some of the kept rows counted as left out."""
        dropped = Counter(self.dropped) + Counter({reason: rows})
        return self.model_copy(update={"kept": self.kept - rows, "dropped": dict(dropped)})

    def lines(self) -> dict[str, int]:
        """Return what was left out or cut, by reason, for the event that tells of it."""
        alone = {CHOSEN_ALONE: self.chosen_alone} if self.chosen_alone else {}
        cut = {"cut into pieces": self.split} if self.split else {}
        lost = {
            f"trained tokens {'of rows ' if why in self.dropped else ''}{why}": count
            for why, count in self.lost.items()
        }
        return {**self.dropped, **alone, **cut, **lost}


class Tally:
    """What is left out of some rows, counted while they are looked at."""

    def __init__(self, limit: int) -> None:
        """Count rows that may have `limit` tokens."""
        self.dropped: Counter[str] = Counter()
        """Rows by reason."""
        self.lost: Counter[str] = Counter()
        """Trained tokens by reason."""
        self.shortest = 0
        """Tokens of the shortest row that is too long; 0 where none is."""
        self.roles: set[str] = set()
        """Who speaks in the rows of `Cause.OTHER_ROLES`."""
        self._limit = limit

    def leave_out(self, cause: Cause, *, lost: int = 0) -> None:
        """Count one row, and the trained tokens that are lost with it."""
        self.dropped[cause.words(self._limit)] += 1
        self.lose(cause.words(self._limit), lost)

    def lose(self, reason: str, tokens: int) -> None:
        """Count trained tokens that are not trained on."""
        if tokens > 0:
            self.lost[reason] += tokens

    def too_long(self, tokens: int, *, parts: int, lost: int = 0) -> None:
        """Count a row whose longest part has so many tokens."""
        self.shortest = min(self.shortest or tokens, tokens)
        self.leave_out(Cause.LONG if parts == 1 else Cause.LONG_PART, lost=lost)

    def silent(self, example: Example, roles: Sequence[str], *, lost: int = 0) -> None:
        """Count a row with this sequence of which nothing is trained where these roles are."""
        cause = _silence(example, roles)
        if cause is Cause.OTHER_ROLES:
            self.roles |= {turn.role for turn in example.messages}
        self.leave_out(cause, lost=lost)


def _silence(example: Example, roles: Sequence[str]) -> Cause:
    """Return why nothing of a sequence is trained."""
    spoken = [turn for turn in example.messages if turn.role in roles]
    if example.messages and not spoken:
        return Cause.UNANSWERED if "assistant" in roles else Cause.OTHER_ROLES
    if not example.weight or (spoken and not any(turn.weight for turn in spoken)):
        return Cause.WEIGHTLESS
    return Cause.SILENT


def none_left(account: Account, settings: Settings, context_tokens: int | None) -> NoneLeft:
    """Say why no row is left, and what helps.

    `context_tokens` is what the model reads; None where that is not known, so that `rules.max_tokens` alone
    is taken for the limit.
    """
    case = _Case(account, settings, context_tokens)
    causes = {cause.words(settings.max_tokens): cause for cause in Cause}
    counted = sorted(account.dropped.items(), key=lambda each: -each[1])
    reasons = ", ".join(f"{count} {reason}" for reason, count in counted) or "there are none"
    hints = dict.fromkeys(_HINTS[causes[reason]](case) for reason, _ in counted)
    return NoneLeft(reasons, "; ".join(hints))


class _Case(NamedTuple):
    """What hints depend on."""

    account: Account
    settings: Settings
    context_tokens: int | None

    def too_long(self) -> str:
        """Return what helps where whole rows are too long; prompts are never cut."""
        cut = "set rules.encoding.over_long: split, which cuts texts, and chats between exchanges"
        return self._shorten("" if self.settings.generates else cut)

    def part_too_long(self) -> str:
        """Return what helps where cutting does not."""
        return self._shorten("")

    def _shorten(self, cut: str) -> str:
        shortest, context = self.account.shortest, self.context_tokens
        if context is None or shortest <= context:
            raised = f"raise rules.max_tokens to at least {shortest}, the length of the shortest of them"
            return f"{raised}, or {cut}" if cut else raised
        instead = f"{cut}, or take a model" if cut else "take a model"
        return (
            f"the model reads {context} tokens and the shortest of them has {shortest}, so raising "
            f"rules.max_tokens does not help: {instead} with a longer context"
        )

    def exchange_too_long(self) -> str:
        """Return what helps where rows are cut already."""
        context = self.context_tokens
        if context is None or self.settings.max_tokens < context:
            most = f", to {context} at most, which the model reads" if context else ""
            return f"raise rules.max_tokens so that an exchange fits{most}"
        return (
            f"the model reads {context} tokens, so raising rules.max_tokens does not help: "
            "write shorter exchanges, or take a model with a longer context"
        )

    def other_roles(self) -> str:
        """Return which roles there are."""
        trained, there = ", ".join(self.settings.roles), ", ".join(self.account.roles)
        return f"rules.encoding.train_roles names {trained}; these rows have turns of {there}"


def _always(hint: str) -> Callable[[_Case], str]:
    return lambda _: hint


_HINTS: dict[Cause, Callable[[_Case], str]] = {
    Cause.LONG: _Case.too_long,
    Cause.LONG_PART: _Case.part_too_long,
    Cause.NO_EXCHANGE: _Case.exchange_too_long,
    Cause.UNANSWERED: _always(
        "give rows with answers, or let a method answer these prompts itself, such as method.kind: grpo"
    ),
    Cause.OTHER_ROLES: _Case.other_roles,
    Cause.WEIGHTLESS: _always("give rows and turns that are to be trained a weight above 0"),
    Cause.SILENT: _always("give longer rows: a row's first token has nothing before it and is never trained"),
    Cause.HELD_OUT: _always("lower where.validation.share, or give more rows"),
}
