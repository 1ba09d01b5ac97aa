"""What is called certain before all is asked agrees with what asking all says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_generator import Table

from realm.core.events import AnswersGraded, Event, Graded
from realm.core.hashing import hash_bytes
from realm.evaluation.child import EvaluateJob, evaluate
from realm.evaluation.early import PASSES, STRIDE, Early, verdict
from realm.evaluation.score import Scoring, SuiteScore, share
from realm.evaluation.suite import Suite, build_suite
from realm.evaluation.suitefile import Answered, ResolvedSuite, ResolvedTask, SuiteConfig, suite_score
from realm.skills.catalogue.bin import Bin
from realm.skills.skill import Problem

BIN = build_suite(Bin(Bin.Config()), 5, 30)
# Of answers that have several lines, that is half.
FIRST_LINES = {problem.messages: problem.expected.partition("\n")[0] for problem in BIN.problems}


def suite_of(part: Suite, threshold: float, scoring: Scoring = "binary") -> ResolvedSuite:
    entry = {"name": "bits", "task": part.task, "scoring": scoring}
    config = SuiteConfig.model_validate({"name": "own", "threshold": threshold, "tasks": [entry]})
    return ResolvedSuite(
        config=config, size="full", tasks=(ResolvedTask(entry=config.tasks[0], parts=(part,)),)
    )


def asked(suite: ResolvedSuite, folder: Path) -> SuiteScore:
    job = EvaluateJob(
        run="r1", checkpoint=hash_bytes(b"x"), folder="", suites=suite.parts, events=str(folder / "events")
    )
    told: list[Event] = []
    evaluate(job, Table(FIRST_LINES.__getitem__), told.append)
    batches = [event for event in told if isinstance(event, AnswersGraded)]
    answers = {
        part.id: (
            [event for event in batches if event.suite == part.id][-1].verdict,
            [result for event in batches if event.suite == part.id for result in event.results],
        )
        for part in suite.parts
    }
    return suite_score(suite, answers)


@pytest.mark.parametrize("threshold", [0.4, 0.65, 0.68, 0.8])
@pytest.mark.parametrize("scoring", ["binary", "graded"])
def test_half_right_answers_count_as_the_scoring_says(
    tmp_path: Path, threshold: float, scoring: Scoring
) -> None:
    whole = asked(suite_of(BIN, threshold, scoring), tmp_path)
    early = asked(suite_of(BIN, threshold, scoring).ended_early(), tmp_path)
    assert 0.6 < whole.composite.mean < (0.65 if scoring == "binary" else 0.95)
    assert early.passed is whole.passed is (whole.composite.mean >= threshold)
    for said in early.tasks[0].verdicts:
        assert (f": {PASSES} for certain" in said) is whole.passed


# --- whatever the scores --------------------------------------------------------------------

WORTH = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.0, 1.0])
THRESHOLDS = st.sampled_from([0.1, 0.3, 0.5, 0.625, 0.8, 1.0])


@st.composite
def suites(draw: st.DrawFn) -> tuple[ResolvedSuite, dict[str, list[float]]]:
    """Draw a suite of a few tasks of a few parts, and what each part's answers are worth."""
    scores: dict[str, list[float]] = {}
    tasks, names = [], count()
    for number in range(draw(st.integers(1, 3))):
        entry = {"name": f"t{number}", "task": BIN.task, "weight": draw(st.sampled_from([1, 3]))}
        entry["scoring"] = draw(st.sampled_from(["binary", "graded"]))
        entry["threshold"] = draw(st.none() | THRESHOLDS)
        parts = []
        for _ in range(draw(st.integers(1, 2))):
            size = draw(st.integers(1, 70))
            part = BIN.model_copy(update={"id": f"part{next(names)}", "problems": BIN.problems[:size]})
            # Much of a kind, so that verdicts come early: the first of them as drawn, the rest alike.
            first = draw(st.lists(WORTH, max_size=size))
            scores[part.id] = [*first, *[draw(WORTH)] * (size - len(first))]
            parts.append(part)
        tasks.append((entry, tuple(parts)))
    config = SuiteConfig.model_validate(
        {"name": "own", "threshold": draw(THRESHOLDS), "tasks": [entry for entry, _ in tasks]}
    )
    resolved = tuple(
        ResolvedTask(entry=entry, parts=parts) for entry, (_, parts) in zip(config.tasks, tasks, strict=True)
    )
    return ResolvedSuite(config=config, size="full", tasks=resolved), scores


def answered(suite: ResolvedSuite, scores: dict[str, list[float]]) -> Answered:
    """Ask every part in strides until a verdict, as the child does."""
    found = {}
    for part in suite.parts:
        worth = scores[part.id.partition("-early-")[0]]
        given, said = 0, ""
        while given < len(worth) and not said:
            given = min(len(worth), given + STRIDE)
            said = verdict(part.early, worth[:given], len(worth)) if part.early else ""
        problems: Sequence[Problem] = part.problems[:given]
        found[part.id] = (
            said,
            [
                Graded(key=p.key, primitive=p.primitive, score=score, answer="")
                for p, score in zip(problems, worth, strict=False)
            ],
        )
    return found


@settings(max_examples=150, deadline=None)
@given(suites())
def test_what_is_certain_early_agrees_with_asking_all(
    drawn: tuple[ResolvedSuite, dict[str, list[float]]],
) -> None:
    suite, scores = drawn
    cut = suite.ended_early()
    everything, beginning = answered(suite, scores), answered(cut, scores)
    whole, early = suite_score(suite, everything), suite_score(cut, beginning)
    assert whole.passed is not None
    assert early.passed in (None, whole.passed)
    for task, cut_task in zip(suite.tasks, cut.tasks, strict=True):
        threshold = task.entry.threshold or suite.config.threshold
        for part, cut_part in zip(task.parts, cut_task.parts, strict=True):
            mean = share(everything[part.id][1], task.entry.scoring, len(part.problems)).mean
            if said := beginning[cut_part.id][0]:
                assert said.startswith(PASSES) is (mean >= threshold - 1e-9)
    for mine, theirs in zip(early.tasks, whole.tasks, strict=True):
        assert mine.passed in (None, theirs.passed)


def test_a_verdict_goes_by_the_scoring() -> None:
    half = [0.5] * 6
    assert verdict(Early(threshold=0.5, binary=True), half, 10) == "fails for certain after 6 of 10 problems"
    assert verdict(Early(threshold=0.25, binary=False), half, 10).startswith(PASSES)
