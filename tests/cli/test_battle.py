from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from realm.cli.battle import Battle, Pace, clock, plain, progress, sparkline
from realm.core import events
from realm.core.events import Event
from realm.evaluation.intervals import wilson
from realm.skills.skill import SKILLS

BIN = SKILLS.build("bin")


def step(number: int, loss: float = 0.5) -> events.StepTaken:
    return events.StepTaken(
        run="run-0001",
        step=number,
        steps_total=40,
        hero_step=100 + number,
        loss=loss,
        gradient_norm=1.0,
        learning_rate=2e-3,
        tokens=2000,
        trained_tokens=500,
        seconds=0.1,
    )


def evaluated() -> events.Evaluated:
    scores = {name: wilson(30, 40) for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "binary_compare")}
    return events.Evaluated(
        checkpoint="checkpoint-140-20261120-1900",
        hero_step=140,
        suite="s",
        skill="bin",
        level=3,
        pooled=wilson(120, 160),
        primitives=scores,
        passed=False,
        streak=0,
    )


def drawn(*seen: Event) -> str:
    view = Battle("Realm", lambda name, level: BIN.level(level), needed=3)
    for event in seen:
        view.take(event)
    console = Console(file=StringIO(), width=100, force_terminal=False)
    console.print(view.render())
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_view_shows_loss_rate_and_eta() -> None:
    shown = drawn(step(1), step(10, loss=0.25))
    assert "0.2500" in shown
    assert "20,000 tokens/s" in shown
    assert "10/40 · ETA 0:03 · 110 in all" in shown


def test_one_slow_step_does_not_move_the_time_that_is_left() -> None:
    pace = Pace()
    usual = [pace.left_s(step(n)) for n in range(1, 10)]
    slow = step(10).model_copy(update={"seconds": 9.0})
    assert pace.left_s(slow) == pytest.approx(usual[-1] - step(1).seconds)
    assert "ETA 0:03" in progress(slow, pace.left_s(slow))
    other = slow.model_copy(update={"run": "another"})
    assert pace.left_s(other) == 30 * 9.0


def test_the_view_shows_each_primitive_with_its_interval_or_says_it_cannot_be_tested() -> None:
    lines = {
        line.split()[1]: line for line in drawn(step(1), evaluated()).splitlines() if len(line.split()) > 2
    }
    assert "30/40" in lines["bitwise_and"]
    assert "0.598 – 0.858" in lines["bitwise_and"]
    assert "not testable here" in lines["binary_to_decimal"]
    assert "120/160" in lines["all"]


def test_the_view_fits_a_terminal_of_24_lines() -> None:
    news = [events.LevelMastered(skill="bin", level=n, next_level=n + 1, hero_step=n) for n in range(9)]
    shown = drawn(step(1), evaluated(), *news)
    assert len(shown.splitlines()) <= 24
    assert "bin level 8 mastered" in shown


def test_rows_that_are_left_out_or_cut_are_told() -> None:
    dropped = {"too long": 3, "cut into pieces": 1}
    proof = events.MaskingProven(run="r", rows=5, tokens=50, trained_tokens=9, checks=(), dropped=dropped)
    assert "r does not train all rows as they are: 3 too long, 1 cut into pieces" in drawn(proof)
    assert plain(proof.model_copy(update={"dropped": {}})) is None


def begun(trained: int, *lines: str) -> events.RunStarted:
    return events.RunStarted(
        run="run-0001",
        steps_total=1,
        step=0,
        parameters=10,
        trained_parameters=trained,
        device="cpu",
        servable=lines,
    )


def test_which_engines_serve_an_adapter_is_told_and_of_a_whole_model_what_is_no_matter_of_course() -> None:
    fine, merge = "vllm: as is (an adapter of rank 8 beside its base)", "vllm: only merged (it is DoRA)"
    assert fine in drawn(begun(1, fine)).replace("\n", " ")
    assert "only merged" in drawn(begun(1, merge))
    assert "vllm: no (strange)" in drawn(begun(10, "vllm: no (strange)"))
    assert "leaves" not in drawn(begun(10, "vllm: as is (a whole model in float32)"))


def test_names_from_files_cannot_draw_on_the_terminal() -> None:
    line = plain(events.FileRefused(file="a\x1b[2J.jsonl", line=1, reason="no\u202e", quarantine="/q"))
    assert line is not None
    assert "\x1b" not in line.plain
    assert "\u202e" not in line.plain


@pytest.mark.parametrize(("values", "line"), [([], ""), ([1.0], "▁"), ([0.0, 1.0], "▁█"), ([2.0, 2.0], "▁▁")])
def test_sparkline(values: list[float], line: str) -> None:
    assert sparkline(values) == line


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.9, 61, 3600)] == ["0:00", "0:59", "1:01", "60:00"]
