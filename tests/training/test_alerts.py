from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest

from realm.training.alerts import Alert, Alerts, AlertState, after_step, after_validation, while_waiting

ALERTS = Alerts()
Found = list[tuple[int, str]]


def _steps(
    losses: Iterable[float], alerts: Alerts = ALERTS, state: AlertState | None = None
) -> tuple[AlertState, Found]:
    state, found = state or AlertState(), Found()
    for step, loss in enumerate(losses, start=1):
        state, new = after_step(alerts, state, loss, 0.1)
        found += [(step, alert.kind) for alert in new]
    return state, found


def _noisy(levels: Iterable[float], seed: int = 0, noise: float = 0.1) -> list[float]:
    draw = random.Random(seed)
    return [level * (1 + noise * draw.gauss(0, 1)) for level in levels]


def _falling(steps: int) -> list[float]:
    return [1 + 4 * math.exp(-i / 1000) for i in range(steps)]


# --- plateau and divergence ----------------------------------------------------------------


def test_a_loss_that_falls_raises_nothing() -> None:
    for seed in range(5):
        assert _steps(_noisy(_falling(2000), seed))[1] == []


def test_a_plateau_is_told_once_until_the_loss_falls_again() -> None:
    levels = [2.0] * 1200 + [2.0 - i / 500 for i in range(600)] + [0.8] * 900
    _, found = _steps(_noisy(levels, noise=0.02))
    assert [kind for _, kind in found] == ["plateau", "plateau"]
    first, second = (step for step, _ in found)
    assert ALERTS.window_steps <= first <= 1200
    assert second > 1800 + ALERTS.window_steps / 2


def test_a_plateau_says_where_and_how_long() -> None:
    state, new = AlertState(), tuple[Alert, ...]()
    for loss in _noisy([1.25] * 400, seed=1):
        state, new = after_step(ALERTS, state, loss, 0.1)
        if new:
            break
    assert new[0].what.startswith("the loss stands at 1.2")
    assert "for 400 steps" in new[0].what
    assert new[0].hint


def test_standing_still_to_the_last_digit_is_a_plateau() -> None:
    assert _steps([1.0] * 400)[1] == [(400, "plateau")]


@pytest.mark.parametrize("seed", range(5))
def test_a_rising_loss_diverges_once_an_episode_and_is_no_plateau_as_well(seed: int) -> None:
    levels = [*_falling(600), *(3.2 + i / 100 for i in range(300))]
    _, found = _steps(_noisy(levels, seed, noise=0.05))
    assert [kind for _, kind in found] == ["divergence"]
    assert 620 <= found[0][0] <= 800


def test_noise_is_no_divergence() -> None:
    for seed in range(20):
        kinds = {kind for _, kind in _steps(_noisy([2.0] * 1000, seed, noise=0.3))[1]}
        assert "divergence" not in kinds


def test_a_method_whose_loss_is_around_nothing_may_fall_below_it() -> None:
    assert _steps([-i / 1000 for i in range(1000)])[1] == []


# --- overfitting ---------------------------------------------------------------------------


def _validated(losses: list[float], training: list[float]) -> list[str]:
    state, found = AlertState(), list[str]()
    for number, (loss, level) in enumerate(zip(losses, training, strict=True)):
        state, _ = _steps([level] * 20, state=state)
        state, new = after_validation(ALERTS, state, 20 * number, {"held-out": loss})
        found += [alert.what for alert in new]
    return found


FALLING = [2.0, 1.8, 1.6, 1.4, 1.2, 1.0, 0.8, 0.6]


def test_validation_that_rises_while_training_falls_is_overfitting_once() -> None:
    (what,) = _validated([2.0, 1.9, 1.8, 1.9, 2.0, 2.1, 2.2, 2.3], FALLING)
    assert what == (
        "the loss of held-out rose to 2.1 from its lowest, 1.8 at step 40, "
        "while that of training fell from 1.6 to 1"
    )


@pytest.mark.parametrize(
    ("losses", "training"),
    [
        (FALLING, FALLING),
        ([2.0, 1.9, 1.8, 1.9, 2.0, 1.79, 1.9, 2.0], FALLING),
        ([1.8, 1.805, 1.81, 1.805, 1.81, 1.8, 1.81, 1.81], FALLING),
        ([2.0, 1.9, 1.8, 1.9, 2.0, 2.1, 2.2, 2.3], FALLING[:3] + [1.7] * 5),
    ],
    ids=["both fall", "a new lowest between", "within a hundredth", "training rises too"],
)
def test_what_is_no_overfitting(losses: list[float], training: list[float]) -> None:
    assert _validated(losses, training) == []


def test_a_new_lowest_ends_the_episode_and_sets_are_apart() -> None:
    found = _validated([1.0, 1.5, 1.5, 1.5, 0.9, 1.5, 1.5, 1.5], FALLING)
    assert len(found) == 2
    state, _ = _steps([2.0] * 20)
    for number, level in enumerate([1.9, 1.8, 1.7, 1.6]):
        state, _ = _steps([level] * 20, state=state)
        state, new = after_validation(ALERTS, state, number, {"a": 1.0 + number, "b": 1.0 - number / 10})
    assert [alert.what.split()[3] for alert in new] == ["a"]


# --- stall ---------------------------------------------------------------------------------


def test_a_stall_is_told_once_until_a_step_comes() -> None:
    state, _ = _steps([2.0] * 5)
    waits = [0.5, 59.0, 61.0, 120.0]
    found = []
    for waited in waits:
        state, new = while_waiting(ALERTS, state, waited)
        found.append([alert.kind for alert in new])
    assert found == [[], [], ["stall"], []]
    state, _ = _steps([2.0], state=state)
    assert while_waiting(ALERTS, state, 61.0)[1][0].what == (
        "no step for 61 s; the last 6 took 0.1 s each (median)"
    )


def test_slow_steps_are_given_their_time() -> None:
    state = AlertState()
    assert while_waiting(ALERTS, state, 1e6)[1] == ()
    for _ in range(5):
        state, _ = after_step(ALERTS, state, 2.0, 30.0)
    assert while_waiting(ALERTS, state, 299.0)[1] == ()
    assert while_waiting(ALERTS, state, 301.0)[1][0].kind == "stall"


# --- state ---------------------------------------------------------------------------------


def test_a_state_survives_json_and_goes_on_alike() -> None:
    losses = _noisy([*_falling(500), *[1.6] * 900], seed=3)
    whole, found = _steps(losses)
    half, early = _steps(losses[:777])
    again = AlertState.model_validate_json(half.model_dump_json())
    end, late = _steps(losses[777:], state=again)
    assert end == whole
    assert early + [(step + 777, kind) for step, kind in late] == found != []


def test_switched_off_nothing_is_raised_nor_remembered() -> None:
    off = Alerts(enabled=False)
    state, found = _steps([1.0] * 500, off)
    assert (state, found) == (AlertState(), [])
    assert after_validation(off, state, 1, {"a": 1.0}) == (state, ())
    assert while_waiting(off, state, 1e9) == (state, ())
