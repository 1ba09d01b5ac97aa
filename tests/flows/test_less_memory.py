"""A run whose memory runs out starts again with smaller packs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from realm import Realm
from realm.core.errors import OutOfMemoryError
from realm.core.events import Event, MaskingProven, MemoryLowered
from realm.flows.train import plan_training
from realm.flows.training import Packs
from realm.jobs.worker import Outcome
from tiny_lab import FILE_RECIPE, chat_rows, make_lab


@pytest.mark.parametrize(
    ("launcher", "halved"),
    [
        ("{kind: child}", [200, 100]),
        # A rank holds two rows of a step of four, and one where there are more ranks than rows.
        ("{kind: torchrun, processes: 2}", [100, 50]),
        ("{kind: torchrun, processes: 8}", [50, 25]),
    ],
)
def test_packs_are_halved_at_most_twice_and_it_is_told(
    tmp_path: Path, launcher: str, halved: list[int]
) -> None:
    recipe = f"{FILE_RECIPE}  launcher: {launcher}\n  device: cpu\n"
    home = make_lab(tmp_path / "home", drills=False, file_recipe=recipe)
    (home / "chats.jsonl").write_text(chat_rows(8))
    told: list[Event] = []
    with Realm(home) as realm:
        realm.attach(told.append)
        packs = Packs(realm.lab, plan_training(realm.lab, str(home / "chats.jsonl")).id)
        proven = {"run": "r", "trained_tokens": 1, "checks": (), "dropped": {}}
        packs.learn(MaskingProven(rows=10, tokens=1000, **proven))
        limits: list[int | None] = []

        async def starved() -> Outcome:
            limits.append(packs.tokens_at_once)
            raise OutOfMemoryError("too much")

        with pytest.raises(OutOfMemoryError):
            asyncio.run(packs.fitting(starved))
        # Four rows of 100 tokens are a step of this recipe.
        assert limits == [None, *halved]
        lowered = [event.tokens_at_once for event in told if isinstance(event, MemoryLowered)]
        assert lowered == halved

        async def enough() -> Outcome:
            return Outcome(state="done")

        assert asyncio.run(packs.fitting(enough)).state == "done"
        # After a pause it goes on with what it has learnt, and halves no further.
        packs = Packs(realm.lab, "run-0001")
        limits.clear()
        with pytest.raises(OutOfMemoryError):
            asyncio.run(packs.fitting(starved))
        assert limits == halved[-1:]
        other = plan_training(realm.lab, str(home / "chats.jsonl")).id
        assert (other, Packs(realm.lab, other).tokens_at_once) == ("run-0002", None)
