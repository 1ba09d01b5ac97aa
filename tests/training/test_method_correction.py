"""Self-correction: the form of its rows, and its loss against transformers' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_methods import (
    CORRECTIONS,
    assert_equal_gradients,
    correction,
    gradients_of,
    made,
    step,
    turns,
    units_of,
)
from tiny_runs import losses, make_job, qwen3, run

from realm.core.errors import DataError
from realm.core.records import Example
from realm.training.method import METHODS

GOOD = CORRECTIONS[1]


def test_loss_and_gradients_equal_transformers_reply_by_reply(tmp_path: Path) -> None:
    trainee = made(tmp_path)
    method, units = units_of(trainee, "correction", CORRECTIONS)
    loss, gradients, _ = step(trainee, method, units)
    reference = qwen3(0)
    expected = torch.zeros(())
    whole = sum(row.weight for row in CORRECTIONS)
    for unit, row in zip(units, CORRECTIONS, strict=True):
        ids = torch.from_numpy(unit.sequences[0].ids).long()[None]
        labels = ids.masked_fill(torch.from_numpy(~unit.sequences[0].trained)[None], -100)
        expected = expected + row.weight / whole * reference(input_ids=ids, labels=labels).loss
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert_equal_gradients(gradients, gradients_of(reference))


def test_only_the_last_turn_is_trained() -> None:
    earlier = GOOD.model_copy(update={"messages": (*turns("hello", "the fox"), *GOOD.messages)})
    (part,) = METHODS.build("correction").sequences(earlier)
    assert [m.weight for m in part.messages if m.role == "assistant"] == [0.0, 1.0]


def _asked(text: str) -> dict[str, Any]:
    return {"messages": turns(text, "①")}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tags": {}}, "the tag `type` has none"),
        ({"tags": {"type": "guess"}}, "the tag `type` says 'guess'"),
        ({"messages": turns("a")}, "ends with a user's and an assistant's turn"),
        (_asked("Compute\n\nProposed answer:\n①\n\nRight?"), "no problem, rule"),
        (_asked("Compute\n\n---\n\n①\n\nRight?"), "no problem, rule"),
        (_asked("Compute\n\n---\n\nProposed answer:\n①"), "no problem, rule"),
        (_asked("---\n\nProposed answer:\n①\n\nRight?"), "no problem, rule"),
        (_asked("Compute\n\n---\n\nProposed answer:\n\nRight?"), "no problem, rule"),
        ({"messages": (GOOD.messages[0], turns("", " ")[1])}, "reply is empty"),
        ({"expected": "①"}, "the proposed answer is right in a correction"),
        ({"tags": {"type": "confirm_correct"}}, "the proposed answer is wrong in a confirm_correct"),
    ],
)
def test_rows_of_another_form_are_refused(change: dict[str, Any], reason: str) -> None:
    row = GOOD.model_copy(update=change)
    with pytest.raises(DataError, match=reason):
        METHODS.build("correction").sequences(row)


def test_a_bad_row_is_refused_with_its_line(tmp_path: Path) -> None:
    rows = [GOOD, GOOD.model_copy(update={"tags": {"type": "guess"}})]
    with pytest.raises(DataError, match=r"rows\.jsonl:2: the tag `type`"):
        run(make_job(tmp_path, rows, method="correction"))


def test_a_tiny_run_learns_to_judge(tmp_path: Path) -> None:
    rows = [correction("identify_incorrect", "①", "wrong"), correction("confirm_correct", "①⓪", "right")]
    job = make_job(tmp_path, rows, steps=25, method="correction", optimizer={"learning_rate": 5e-3})
    found: list[float] = losses(run(job))
    assert found[-1] < 0.2 * found[0]


def test_a_proposal_may_span_lines_and_rules() -> None:
    asked = "Sum:\n\n1\n---\n2\n\n---\nProposed answer:\nfirst\nsecond\n\nIs it right?\nSay why."
    row = Example(messages=turns(asked, "no"), tags={"type": "correction"}, expected="first\nsecond!")
    assert METHODS.build("correction").sequences(row)
