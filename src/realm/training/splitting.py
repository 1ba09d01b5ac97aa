"""Cut rows that are too long: chats between exchanges, texts between tokens.

Pieces of a chat are whole exchanges that end with a trained answer, each with the chat's system turn
before it; where answers are not trained, an exchange begins with the user and holds something trained.
Pieces of a text overlap by one token, which is masked in the later one, so that every token
is predicted once and from a token before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from realm.core.records import Example, Message

if TYPE_CHECKING:
    from realm.models.encodings import Encoded, Encodings


def cut_chats(
    chats: Sequence[Example],
    roles: tuple[str, ...],
    limit: int,
    sizes_of: Callable[[Sequence[Example]], list[int]],
) -> list[list[Example]]:
    """Cut each chat, from its beginning, into pieces of as many whole exchanges as fit `limit` tokens.

    Exchanges that do not fit alone are left out, and so is what follows the last trained answer.
    """
    cuts = [_Cut(example, roles) for example in chats]
    sizes = iter(sizes_of([single for cut in cuts for single in cut.singles()]))
    for cut in cuts:
        cut.sizes = [next(sizes) for _ in cut.exchanges]
    pairs = [cut for cut in cuts if len(cut.exchanges) > 1]
    for cut, size in zip(pairs, sizes_of([cut.piece(0, 2) for cut in pairs]), strict=True):
        cut.repeated = sum(cut.sizes[:2]) - size
    while open_cuts := [cut for cut in cuts if cut.propose(limit)]:
        found = sizes_of([cut.piece(cut.begin, cut.end) for cut in open_cuts])
        for cut, size in zip(open_cuts, found, strict=True):
            cut.settle(fits=size <= limit)
    return [cut.pieces for cut in cuts]


def cut_text(row: Encoded, limit: int) -> Encodings:
    """Cut a text into pieces of `limit` tokens that overlap by one, masked in the later piece."""
    import numpy as np

    from realm.models.encodings import Encodings

    begins = range(0, len(row.ids) - 1, limit - 1)
    ids = [row.ids[begin : begin + limit] for begin in begins]
    weights = [row.weights[begin : begin + limit].copy() for begin in begins]
    for piece in weights[1:]:
        piece[0] = 0
    sizes_S = np.asarray([len(piece) for piece in ids], np.int64)
    return Encodings.of(np.concatenate(ids), np.concatenate(weights), sizes_S, limit)


class _Cut:
    """One chat while it is cut."""

    def __init__(self, example: Example, roles: tuple[str, ...]) -> None:
        self.example = example
        turns = example.messages
        self.system = turns[:1] if turns[0].role == "system" else ()
        self.exchanges = _exchanges(turns[len(self.system) :], roles)
        self.sizes: list[int] = []
        """Tokens of each exchange alone, the system turn before it."""
        self.repeated = 0
        """Tokens that two exchanges share."""
        self.pieces: list[Example] = []
        self.begin, self.end = 0, 0
        self._most = len(self.exchanges)

    def piece(self, begin: int, end: int) -> Example:
        """Return some exchanges; what the system says is trained in the first piece only."""
        system = self.system if not self.pieces else tuple(_masked(turn) for turn in self.system)
        turns = [turn for exchange in self.exchanges[begin:end] for turn in exchange]
        return self.example.model_copy(update={"messages": (*system, *turns)})

    def singles(self) -> list[Example]:
        """Return every exchange alone."""
        return [self.piece(place, place + 1) for place in range(len(self.exchanges))]

    def propose(self, limit: int) -> bool:
        """Choose the next exchanges to measure; tell whether there are any."""
        while self.begin < len(self.exchanges) and self.sizes[self.begin] > limit:
            self.begin += 1
            self._most = len(self.exchanges)
        self.end, total = self.begin, self.repeated
        while self.end < self._most and total + self.sizes[self.end] - self.repeated <= limit:
            total += self.sizes[self.end] - self.repeated
            self.end += 1
        return self.end > self.begin

    def settle(self, *, fits: bool) -> None:
        """Keep what was measured as a piece, or try with one exchange less."""
        if fits:
            self.pieces.append(self.piece(self.begin, self.end))
            self.begin, self._most = self.end, len(self.exchanges)
        else:
            self._most = self.end - 1


def _exchanges(turns: Sequence[Message], roles: tuple[str, ...]) -> list[tuple[Message, ...]]:
    """Cut turns into exchanges with something trained in each; what follows the last one is left out."""
    ends = _behind_answers(turns) if "assistant" in roles else _before_questions(turns)
    result: list[tuple[Message, ...]] = []
    begin = 0
    for end in ends:
        ends_trained = turns[end - 1].weight > 0 or "assistant" not in roles
        if ends_trained and any(turn.role in roles and turn.weight for turn in turns[begin:end]):
            result.append(tuple(turns[begin:end]))
            begin = end
    return result


def _behind_answers(turns: Sequence[Message]) -> list[int]:
    """Return where another speaker, or none, follows the assistant."""
    roles = [turn.role for turn in turns] + ["user"]
    return [i for i in range(1, len(roles)) if roles[i - 1] == "assistant" != roles[i]]


def _before_questions(turns: Sequence[Message]) -> list[int]:
    """Return where the user begins to speak behind another, and the end.

    Where no answers are trained, pieces have them nevertheless: templates want a chat to begin with the user.
    """
    roles = [turn.role for turn in turns] + ["user"]
    return [
        i for i in range(1, len(roles)) if roles[i] == "user" and (roles[i - 1] != "user" or i == len(turns))
    ]


def _masked(turn: Message) -> Message:
    return turn.model_copy(update={"weight": 0.0})
