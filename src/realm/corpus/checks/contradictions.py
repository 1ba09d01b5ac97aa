"""Rows that answer one question in ways that cannot both be right."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.records import Example, Message
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import digest_int, ending, normalised

if TYPE_CHECKING:
    from realm.corpus.texts.shingles import Numbers


class Contradictions:
    """Find rows that share all turns but the last answer, where the answers are short and differ.

    Long answers may differ and all be right, so only those of up to `answer_words` words count, as well as
    expected answers, and preferences that rank the same two endings both ways. Where one answer has at
    least twice the rows of all others, the others go; where none has, all are told. White space, case and
    punctuation make no other question or answer. Holds 16 bytes a row.
    """

    depth: Depth = Depth.DEEP
    version: str = "1"

    class Config(BaseConfig):
        """Which answers count."""

        kind: Literal["contradictions"] = "contradictions"
        answer_words: Annotated[int, Field(ge=1)] = 8
        """Words of an answer that has one right form: a label, a number, yes or no."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._questions = array("Q")
        self._answers = array("Q")

    def begin(self, context: Context) -> None:
        """Forget earlier rows."""
        self._questions, self._answers = array("Q"), array("Q")

    def see(self, row: Row) -> Iterator[Problem]:
        """Remember what is asked and answered."""
        asked, said = _claim(row.example, self.config.answer_words)
        self._questions.append(asked)
        self._answers.append(said)
        return iter(())

    def end(self) -> Iterator[Problem]:
        """Name the rows that contradict others."""
        from realm.corpus.texts.shingles import np

        questions = np.array(self._questions, dtype=np.uint64)
        answers = np.array(self._answers, dtype=np.uint64)
        order = np.lexsort((answers, questions))
        order = order[questions[order] != 0]
        changes = np.flatnonzero(questions[order][1:] != questions[order][:-1]) + 1
        for begin, last in zip([0, *changes.tolist()], [*changes.tolist(), len(order)], strict=True):
            if last - begin > 1 and answers[order[begin]] != answers[order[last - 1]]:
                yield from _problems(sorted(order[begin:last].tolist()), answers)


def _problems(rows: list[int], answers: Numbers) -> Iterator[Problem]:
    counts = Counter(int(answers[row]) for row in rows)
    right, most = counts.most_common(1)[0]
    settled = most >= 2 * (len(rows) - most)
    detail = f"{len(counts)} answers in {len(rows)} rows, the commonest {most} times"
    for row in rows:
        if not settled:
            yield Problem(row=row, reason="contradicts other rows", detail=detail, drops=False)
        elif answers[row] != right:
            yield Problem(row=row, reason="contradicts most other rows", detail=detail)


def _claim(example: Example, answer_words: int) -> tuple[int, int]:
    """Return numbers of what is asked and of what is answered; 0 and 0 where it cannot contradict."""
    if example.text is not None:
        return 0, 0
    if example.rejected:
        worse = ending(example)
        common = len(example.rejected) - len(worse)
        better = _said(example.messages[common:])
        pair = sorted((better, _said(worse)))
        asked = f"{_said(example.messages[:common])}\n\n{pair[0]}\n\n{pair[1]}"
        return digest_int(asked), digest_int(better)
    if example.expected is not None:
        answer = " ".join(normalised(example.expected))
        before = example.messages if example.messages[-1].role != "assistant" else example.messages[:-1]
    else:
        found = normalised(example.messages[-1].content)
        if not found or len(found) > answer_words:
            return 0, 0
        answer, before = " ".join(found), example.messages[:-1]
    return (digest_int(_said(before)), digest_int(answer)) if before else (0, 0)


def _said(turns: Sequence[Message]) -> str:
    return "\n".join(f"{turn.role}: {' '.join(normalised(turn.content))}" for turn in turns)
