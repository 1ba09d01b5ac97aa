"""What is compared with what: only answers to the same questions, asked in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from realm import Realm
from realm.cli.main import run
from realm.core.errors import NotFoundError
from realm.core.hashing import hash_bytes
from realm.evaluation.calibration import CalibrationConfig
from realm.flows.appraisal import evaluated
from realm.flows.calibration import of_checkpoint
from realm.ledger.records import NewCheckpoint, NewEvaluation, ProblemResult
from tiny_lab import make_lab

HERE = {"backend": "transformers 5.3.0", "template": "t"}
ELSEWHERE = {"backend": "vllm 0.32", "template": "t"}


@pytest.fixture
def realm(tmp_path: Path) -> Iterator[Realm]:
    with Realm(make_lab(tmp_path / "home", drills=False)) as realm:
        yield realm


def answer(
    realm: Realm,
    step: int,
    right: int,
    *,
    suite: str = "bin/3",
    level: int = 3,
    context: dict[str, str] = HERE,
    confidence: float | None = None,
) -> str:
    """Save a checkpoint of this step that answered so many of ten problems rightly; return its hash."""
    ledger, content = realm.lab.ledger, hash_bytes(b"%d" % step)
    ledger.checkpoints.add(
        NewCheckpoint(
            campaign="first",
            hero="dio",
            hash=content,
            size_bytes=1,
            step=step,
            hero_step=step,
            stats={"loss": float(step)},
        ),
        None,
    )
    found = [
        ProblemResult(
            key=f"p{n}",
            primitive="binary_add",
            correct=n < right,
            score=float(n < right),
            answer="",
            confidence=confidence,
        )
        for n in range(10)
    ]
    new = NewEvaluation(
        checkpoint=content, hero_step=step, suite=suite, skill="bin", level=level, context=context
    )
    ledger.evaluations.add(new, found, None)
    return content


def test_a_checkpoints_calibration_is_over_all_it_was_asked_in_one_way(
    realm: Realm, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(realm, 10, 10, context=ELSEWHERE)
    content = answer(realm, 10, 8, suite="bin/4", confidence=0.6)
    answer(realm, 10, 4, suite="bin/5", confidence=0.6)
    found = of_checkpoint(realm.lab, realm.checkpoint("dio@10"), CalibrationConfig(bins=4))
    assert (found.hash, len(found.evaluations), len(found.left_out), found.answers) == (content, 2, 1, 20)
    sure = found.calibration
    assert sure is not None
    assert [(row.low, row.answers, row.score) for row in sure.table if row.answers] == [
        (0.5, 20, pytest.approx(0.6))
    ]
    assert sure.width_error == pytest.approx(0)
    assert run(["--home", str(realm.home.root), "eval", "calibration", "dio@10", "--bins", "4"]) == 0
    told = capsys.readouterr().out
    assert "20 of 20 answers" in told
    assert "1 measured in another way" in told
    answer(realm, 20, 3)
    assert of_checkpoint(realm.lab, realm.checkpoint("dio@20")).calibration is None


def qualities(realm: Realm) -> list[float]:
    found = evaluated(realm.lab, realm.lab.ledger.checkpoints.list("first", "dio"))
    return [0.0 if each.quality is None else round(each.quality, 4) for each in found.values()]


def test_the_trend_is_within_one_suite_and_one_way_of_asking(realm: Realm) -> None:
    answer(realm, 10, 9)
    answer(realm, 20, 1, suite="sy/3")
    answer(realm, 30, 1, context=ELSEWHERE)
    answer(realm, 40, 9)
    first, other_problems, other_backend, same = qualities(realm)
    assert other_problems == other_backend, "neither has anything before it to fall from"
    assert same == first, "as many right answers as the last time that was asked"
    answer(realm, 50, 10)
    assert qualities(realm)[-1] > same + 0.06, "better by .1: accuracy and trend"


def test_the_most_accurate_is_found_among_those_asked_the_same(realm: Realm) -> None:
    with pytest.raises(NotFoundError):
        realm.checkpoint("dio@best:accuracy")
    easy = answer(realm, 10, 10)
    answer(realm, 20, 9, context=ELSEWHERE)
    answer(realm, 30, 8)
    assert realm.checkpoint("dio@best:accuracy").hash == easy
    hard = answer(realm, 40, 5, suite="bin/7", level=7)
    assert realm.checkpoint("dio@best:accuracy").hash == hard, "the others were asked something easier"
    answer(realm, 50, 4, suite="bin/7", level=7)
    assert realm.checkpoint("dio@best:accuracy").hash == hard
    newer = answer(realm, 60, 5, suite="bin/7", level=7)
    assert realm.checkpoint("dio@best:accuracy").hash == newer, "of equals the newest"
    assert realm.checkpoint("dio@best:loss").hash == easy
    with pytest.raises(NotFoundError, match="gradient_norm"):
        realm.checkpoint("dio@best:gradient_norm")


@pytest.mark.parametrize(
    "words",
    [
        ["ledger", "show", f"dio@{10**20}"],
        ["ledger", "list", "--limit", str(10**20)],
        ["eval", "list", "--limit", str(10**20)],
        ["eval", "show", str(10**20)],
    ],
)
def test_a_number_beyond_all_bounds_is_one_message(
    realm: Realm, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(realm.home.root), *words]) == 2
    told = capsys.readouterr().err
    assert "larger than the ledger holds" in told
    assert "Traceback" not in told
