from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from table_generator import Table

from realm.core import events
from realm.core.errors import UsageError
from realm.core.events import AnswersGraded, Event, Failed
from realm.core.hashing import hash_bytes
from realm.core.records import Message
from realm.evaluation.child import EvaluateJob, evaluate, main
from realm.evaluation.early import Early
from realm.evaluation.suite import Sampling, build_suite, ended_early, probe_suite
from realm.jobs.tail import EventTail
from realm.skills.catalogue.bin import Bin

SKILL = Bin(Bin.Config(answer="result", digit_order="lsb", pad_digits=6))
SUITES = tuple(
    suite.model_copy(update={"sampling": Sampling(max_tokens=16)})
    for suite in (build_suite(SKILL, 4, 40), probe_suite(SKILL, 4, 10, seed=0))
)
KNOWN = {p.messages: p.expected for suite in SUITES for p in suite.problems}


class Oracle(Table):
    """A generator that knows every answer, but those of the calls named `unknown`."""

    def __init__(self, unknown: str = "no such call") -> None:
        super().__init__(lambda prompt: "?" if unknown in prompt[1].content else KNOWN[prompt])

    def loss(self, chats: Sequence[Sequence[Message]]) -> tuple[float, int]:
        assert all(KNOWN[tuple(chat[:-1])] == chat[-1].content for chat in chats)
        return super().loss(chats)


class Short(Oracle):
    """A generator that loses an answer."""

    def generate(self, prompts: Sequence[Sequence[Message]], **settings: Any) -> list[str]:
        return super().generate(prompts, **settings)[1:]


def make_job(folder: Path) -> EvaluateJob:
    return EvaluateJob(
        run="r1",
        checkpoint=hash_bytes(b"x"),
        folder=str(folder / "model"),
        suites=SUITES,
        events=str(folder / "events.jsonl"),
        device="cpu",
        threads=1,
    )


def test_every_problem_is_answered_once_and_graded(tmp_path: Path) -> None:
    told: list[Event] = []
    evaluate(make_job(tmp_path), Oracle("bitwise_xor"), told.append)
    graded = [event for event in told if isinstance(event, AnswersGraded)]
    assert graded == told
    for suite in SUITES:
        batches = [event for event in graded if event.suite == suite.id]
        assert batches[-1].done == batches[-1].total == len(suite.problems)
        results = [result for event in batches for result in event.results]
        assert [r.key for r in results] == [p.key for p in suite.problems]
        assert {r.score for r in results if r.primitive == "bitwise_xor"} == {0.0}
        assert {r.score for r in results if r.primitive != "bitwise_xor"} == {1.0}
        assert {r.answer for r in results if r.score < 1} == {"?"}
        assert sum(event.loss_tokens for event in batches) == len(suite.problems)
        assert sum(event.loss for event in batches) == 0.5 * len(suite.problems)


def test_nothing_is_asked_once_the_verdict_is_certain(tmp_path: Path) -> None:
    whole = SUITES[0]
    job = make_job(tmp_path).model_copy(
        update={"suites": (ended_early(whole, Early(threshold=0.8, binary=True)), SUITES[1])}
    )
    told: list[Event] = []
    evaluate(job, Oracle("("), told.append)
    graded = [event for event in told if isinstance(event, AnswersGraded)]
    early = [event for event in graded if event.suite != SUITES[1].id]
    asked = sum(len(event.results) for event in early)
    assert 0.2 * len(whole.problems) < asked < 0.2 * len(whole.problems) + 17
    assert [bool(event.verdict) for event in early] == [False] * (len(early) - 1) + [True]
    assert early[-1].verdict.startswith("fails for certain")
    assert early[-1].done == asked < early[-1].total == len(whole.problems)
    assert sum(len(event.results) for event in graded) - asked == len(SUITES[1].problems)


def test_a_lost_answer_is_an_error_and_never_a_wrong_answer(tmp_path: Path) -> None:
    told: list[Event] = []
    with pytest.raises(ValueError, match="zip"):
        evaluate(make_job(tmp_path), Short(), told.append)
    assert told == []


def test_a_suite_of_another_version_is_refused(tmp_path: Path) -> None:
    old = SUITES[0].model_copy(update={"version": "0"})
    job = make_job(tmp_path).model_copy(update={"suites": (old,)})
    with pytest.raises(UsageError, match="bin 0"):
        evaluate(job, Oracle(), events.ignore)


def test_a_missing_model_ends_in_a_failed_event(tmp_path: Path) -> None:
    spec = tmp_path / "evaluation.json"
    spec.write_text(make_job(tmp_path).model_dump_json())
    assert main(spec) == 1
    [failed] = EventTail(tmp_path / "events.jsonl").read()
    assert isinstance(failed, Failed)
    assert (failed.run, failed.error) == ("r1", "NotFoundError")
    assert "model" in failed.what


def test_a_blank_model_is_examined_from_its_files(tmp_path: Path) -> None:
    import torch

    from realm.models.blank import BLANKS, SpecialIds
    from realm.models.files import save
    from realm.models.tokenizer import train_tokenizer

    torch.set_num_threads(1)
    texts, alphabet = SKILL.vocabulary()
    tokenizer = train_tokenizer(texts[:300], 400, alphabet)
    special = SpecialIds(end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    shape = {"kind": "qwen3", "hidden_size": 16, "layers": 1, "heads": 2, "kv_heads": 2, "head_dim": 8}
    model = BLANKS.build({**shape, "intermediate_size": 16}).build(len(tokenizer), special, seed=0)
    (tmp_path / "model").mkdir()
    save(model, tokenizer, tmp_path / "model")
    spec = tmp_path / "evaluation.json"
    spec.write_text(make_job(tmp_path).model_dump_json())
    assert main(spec) == 0
    told = EventTail(tmp_path / "events.jsonl").read()
    graded = [event for event in told if isinstance(event, AnswersGraded)]
    assert len(graded) == len(told)
    total = sum(len(event.results) for event in graded)
    assert total == sum(len(suite.problems) for suite in SUITES)
    assert sum(r.score for event in graded for r in event.results) < total / 4
    assert all("transformers" in event.context["backend"] for event in graded)
    assert all(event.at for event in graded)
