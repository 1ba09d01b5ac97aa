"""Rows out of a model's own mistakes: three for each wrong answer.

The wrong answer is judged (`incorrect`), put right, and a fresh problem of the same primitive and level is
shown with its right answer and judged (`correct`). So as many judgements say the one as the other, and
neither can be learnt as a default. All problems come from the training side of the split; form and types of
the rows are in `models.correction`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from realm.core.records import Example, Message, Record
from realm.core.seeds import rng, seed
from realm.models import correction
from realm.skills.skill import Problem, Skill

JUDGE = "Is it correct?"
CORRECT = "What is correct?"
VERDICTS = {True: "correct", False: "incorrect"}
NO_ANSWER = "(no answer)"
LONGEST = 2000
"""Characters of a wrong answer that are shown; the rest of a runaway answer teaches nothing more."""

_BLANK_LINES = re.compile(r"\n[ \t]*(?=\n)")


class Mistake(Record):
    """A training problem and the wrong answer that was given."""

    problem: Problem
    answer: str


def draw(
    skill: Skill, level: int, count: int, *, weights: dict[str, float], draws: int
) -> tuple[Problem, ...]:
    """Return up to so many different training problems of a level, by the weights of its primitives."""
    found: dict[str, Problem] = {}
    # Small levels repeat problems; a few rounds find nearly all that there are.
    for problem in skill.drills(level, 4 * count, weights=weights, seed=seed("sparring", draws)):
        found.setdefault(problem.key, problem)
        if len(found) == count:
            break
    return tuple(found.values())


def rows(skill: Skill, mistakes: Sequence[Mistake], *, draws: int) -> Iterator[Example]:
    """Yield three rows for each mistake, in an order that the seed decides.

    A mistake that cannot be told from the right answer once its blank lines are gone, or whose primitive
    has no other training problem, gives none.
    """
    made = [row for index, mistake in enumerate(mistakes) for row in _three(skill, mistake, draws, index)]
    rng("sparring order", skill.name, draws).shuffle(made)
    yield from made


def _three(skill: Skill, mistake: Mistake, draws: int, index: int) -> tuple[Example, ...]:
    problem, wrong = mistake.problem, shown(mistake.answer)
    fresh = _fresh(skill, problem, seed("sparring fresh", draws, index))
    if fresh is None or wrong == shown(problem.expected):
        return ()
    right = shown(fresh.expected)
    return (
        _row(skill, problem, "identify_incorrect", wrong, JUDGE, VERDICTS[False]),
        _row(skill, problem, "correction", wrong, CORRECT, problem.expected),
        _row(skill, fresh, "confirm_correct", right, JUDGE, VERDICTS[True]),
    )


def shown(answer: str) -> str:
    """Return an answer as a proposal shows it: bounded, without the blank lines that would end it."""
    return _BLANK_LINES.sub("", answer.strip()[:LONGEST]).strip() or NO_ANSWER


def _fresh(skill: Skill, problem: Problem, draws: int) -> Problem | None:
    weights = {problem.primitive: 1.0}
    for other in skill.drills(problem.level, 64, weights=weights, seed=draws):
        if other.key != problem.key:
            return other
    return None


def _row(
    skill: Skill, problem: Problem, kind: correction.Type, proposed: str, question: str, reply: str
) -> Example:
    *before, asked = problem.messages
    turn = correction.write(correction.Proposal(asked.content, proposed, question))
    return Example(
        messages=(
            *before,
            Message(role="user", content=turn),
            Message(role="assistant", content=reply),
        ),
        expected=shown(problem.expected),
        tags={**problem.example(skill.name).tags, correction.TAG: kind},
    )
