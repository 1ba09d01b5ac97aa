from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from realm.core import events
from realm.core.errors import DataError, RealmError
from realm.core.events import Event
from realm.core.records import Example, Message


def test_an_event_survives_being_written_and_read() -> None:
    event = events.CheckpointStaged(run="r", stage="/s", step=3, hero_step=9, stats={"loss": 0.5}, final=True)
    assert events.read(events.write(event)) == event


def test_every_event_class_has_its_own_kind_and_is_readable() -> None:
    classes = get_args(get_args(Event)[0])
    kinds = [cls.model_fields["kind"].default for cls in classes]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize(
    "line", ["", "{}", '{"kind":"unknown"}', '{"kind":"run_finished","run":1}', "nonsense"]
)
def test_a_garbled_line_is_an_error(line: str) -> None:
    with pytest.raises(ValidationError):
        events.read(line)


def test_an_example_has_one_form() -> None:
    with pytest.raises(ValidationError):
        Example(messages=(Message(role="user", content="a"),), text="b")
    with pytest.raises(ValidationError):
        Example()


def test_an_error_says_what_happened_where_and_what_next() -> None:
    error = DataError("no assistant turn", file="mine.jsonl", line=3, hint="add one")
    assert str(error) == "mine.jsonl:3: no assistant turn\n  → add one"
    assert isinstance(error, RealmError)
    assert error.exit_code == 1
