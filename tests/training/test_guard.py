from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.models.blank import BLANKS, SpecialIds
from realm.training.guard import Guard, GuardState, Verdict, judge

GUARD = Guard()
Curve = list[tuple[float, float]]


def _feed(curve: Curve, guard: Guard = GUARD, state: GuardState | None = None) -> list[Verdict]:
    verdicts = []
    state = state or GuardState()
    for batch, (loss, norm) in enumerate(curve):
        verdicts.append(judge(guard, state, loss, norm, batch=batch))
        state = verdicts[-1].state
    return verdicts


def _calm(steps: int = 64, seed: int = 0) -> Curve:
    draw = random.Random(seed)
    return [(2.0 + 0.1 * draw.gauss(0, 1), math.exp(0.3 * draw.gauss(0, 1))) for _ in range(steps)]


def _causes(curve: Curve) -> list[int]:
    return [i for i, verdict in enumerate(_feed(curve)) if verdict.cause]


CALM = _feed(_calm())[-1].state


# --- what is discarded ---------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 5, 70])
@pytest.mark.parametrize("bad", [(math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (2.0, math.inf)])
def test_what_is_no_number_is_discarded_at_once(bad: tuple[float, float], at: int) -> None:
    verdict = _feed([*_calm(at), bad])[-1]
    assert verdict.cause is not None
    assert bad[0] not in verdict.state.losses


@pytest.mark.parametrize("loss", [4.5, 9.3, 1e6])
def test_a_spike_of_loss_and_gradient_is_discarded_with_its_figures(loss: float) -> None:
    verdict = judge(GUARD, CALM, loss, 50.0 * CALM.norm)
    assert verdict.cause is not None
    assert not verdict.back
    assert verdict.state.losses == CALM.losses
    both = judge(GUARD, CALM, 9.3, 5 * CALM.norm)
    assert both.cause is not None
    for part in (
        "the loss 9.3 is ",
        " sigmas above the median 2.01 of 64 steps",
        "5 times the largest of late",
    ):
        assert part in both.cause


def test_a_high_loss_with_a_usual_gradient_is_a_matter_of_the_batch_before() -> None:
    for again in (None, lambda batch: 2.0, lambda batch: 2.0 + 7.3 / 2 - 0.1):
        hard = judge(GUARD, CALM, 9.3, 2 * CALM.norm, batch=64, again=again)
        assert hard.cause is None
        assert (hard.state.losses, hard.state.sound) == (CALM.losses, 63), "nothing is compared with it"
    broken = judge(GUARD, CALM, 9.3, 2 * CALM.norm, batch=64, again=lambda batch: 9.0)
    assert broken.cause is not None
    assert broken.cause.endswith("and that of a batch before rose with it")


def test_losses_that_stay_high_begin_the_window_anew() -> None:
    state, asked = CALM, list[int]()

    def again(batch: int) -> float:
        asked.append(batch)
        return 2.0

    for batch in range(64, 64 + GUARD.patience):
        verdict = judge(GUARD, state, 9.3, 1.0, batch=batch, again=again)
        assert verdict.cause is None
        state = verdict.state
    assert asked == [63] * GUARD.patience
    assert (state.losses, state.sound, state.high) == ((9.3,), 66, 0)


def test_a_gradient_beyond_all_of_the_run_is_discarded_alone() -> None:
    assert judge(GUARD, CALM, 2.0, 99 * CALM.peak).cause is None
    cause = judge(GUARD, CALM, 2.0, 101 * CALM.peak).cause
    assert cause is not None
    assert "101 times the run's largest" in cause


def test_nothing_finite_is_looked_at_before_the_warm_up_or_when_switched_off() -> None:
    early = _feed(_calm(GUARD.warmup_steps - 1))[-1].state
    assert judge(GUARD, early, 1e9, 1e9).cause is None
    off = Guard(spike_sigmas=None)
    assert judge(off, CALM, 1e9, 1e9).cause is None
    assert judge(off, CALM, math.nan, 1.0).cause is not None


@pytest.mark.parametrize("window", [8, 16, 32, 64])
def test_spikes_are_looked_for_once_a_smaller_window_is_full(window: int) -> None:
    guard = Guard(window_steps=window)
    sound = min(window, guard.warmup_steps)
    early, late = (_feed(_calm(steps), guard)[-1].state for steps in (sound - 1, sound))
    assert judge(guard, early, 50.0, 5000.0).cause is None
    assert judge(guard, late, 50.0, 5000.0).cause is not None


# --- back, or on ---------------------------------------------------------------------------


def _persistent(again: Callable[[int], float] | None) -> list[Verdict]:
    state, verdicts = CALM, []
    for batch in range(100, 100 + GUARD.patience):
        verdicts.append(judge(GUARD, state, 9.0, 9 * CALM.peak, batch=batch, again=again))
        state = verdicts[-1].state
    return verdicts


def test_weights_that_no_longer_know_an_old_batch_are_broken() -> None:
    asked: list[int] = []

    def again(batch: int) -> float:
        asked.append(batch)
        return 8.0

    verdicts = _persistent(again)
    assert [v.back for v in verdicts] == [False, False, True]
    assert all(v.cause for v in verdicts)
    assert asked == [63], "the batch of the last sound step, and only when patience is at its end"


def test_rows_of_a_new_kind_are_no_fault() -> None:
    verdicts = _persistent(lambda batch: 2.05)
    assert [bool(v.cause) for v in verdicts] == [True, True, False]
    assert not any(v.back for v in verdicts)
    after = verdicts[-1].state
    assert (after.losses, after.bad, after.sound, after.peak) == ((9.0,), 0, 102, 9 * CALM.peak)
    assert not any(v.cause for v in _feed([(9.0, 5.0)] * 100, state=after))


@pytest.mark.parametrize("again", [None, lambda batch: math.nan, lambda batch: math.inf])
def test_without_proof_the_weights_are_taken_to_be_broken(again: Callable[[int], float] | None) -> None:
    assert _persistent(again)[-1].back


def test_a_row_of_nans_goes_back_without_asking() -> None:
    def never(batch: int) -> float:
        raise AssertionError

    state = CALM
    for _ in range(GUARD.patience):
        verdict = judge(GUARD, state, math.nan, 1.0, batch=9, again=never)
        state = verdict.state
    assert verdict.back


def test_a_sound_step_between_two_bad_ones_starts_patience_anew() -> None:
    bad, good = (math.nan, 1.0), (2.0, 1.0)
    backs = [v.back for v in _feed([*_calm(), bad, bad, good, bad, bad])]
    assert not any(backs)
    assert _feed([*_calm(), bad, bad, bad])[-1].back


# --- properties ----------------------------------------------------------------------------

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)
NORMS = st.one_of(st.floats(0, 1e30), st.just(math.nan), st.just(math.inf))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NORMS), max_size=120), st.integers(0, 120))
def test_a_state_survives_json_and_goes_on_bit_by_bit(curve: Curve, cut: int) -> None:
    whole = _feed(curve)
    if not curve[:cut] or not curve[cut:]:
        return
    halfway = GuardState.model_validate_json(_feed(curve[:cut])[-1].state.model_dump_json())
    state = halfway
    for batch, (loss, norm) in enumerate(curve[cut:], start=len(curve[:cut])):
        verdict = judge(GUARD, state, loss, norm, batch=batch)
        assert verdict == whole[batch]
        state = verdict.state


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NORMS), max_size=120))
def test_no_number_that_is_none_is_ever_remembered(curve: Curve) -> None:
    for verdict in _feed(curve):
        state = verdict.state
        assert all(map(math.isfinite, (*state.losses, state.rise, state.norm, state.peak)))
        assert len(state.losses) <= GUARD.window_steps
        assert verdict.back == (state.bad >= GUARD.patience)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(40, 150), st.floats(1.5, 1e6))
def test_every_large_spike_is_found_wherever_it_is(seed: int, at: int, size: float) -> None:
    curve = _calm(200, seed)
    loss, norm = curve[at]
    curve[at] = (loss + 2 * size, norm + 100 * size)
    assert at in _causes(curve)


# --- false alarms --------------------------------------------------------------------------


def _noisy(kind: str, steps: int) -> Iterator[tuple[float, float]]:
    draw = random.Random(f"{kind}/1")
    for i in range(steps):
        level = 0.5 + 5 * math.exp(-i / 2000)
        if kind == "gaussian":
            yield level * (1 + 0.1 * draw.gauss(0, 1)), math.exp(0.5 * draw.gauss(0, 1))
        elif kind == "lognormal":
            yield level * math.exp(0.5 * draw.gauss(0, 1)), math.exp(draw.gauss(0, 1))
        elif kind == "heavy":
            yield (
                level + 0.1 * abs(draw.gauss(0, 1) / math.sqrt(draw.gammavariate(1.5, 2 / 3))),
                math.exp(draw.gauss(0, 1)),
            )
        else:  # a drill that is learnt: nearly always right, rarely wrong
            wrong = draw.random() < 0.1
            yield (draw.expovariate(3), draw.expovariate(0.3)) if wrong else (0.001, 0.01)


@pytest.mark.parametrize("kind", ["gaussian", "lognormal", "heavy", "learnt"])
def test_noise_raises_at_most_one_false_alarm_in_twenty_thousand_steps(kind: str) -> None:
    assert len(_causes(list(_noisy(kind, 20_000)))) <= 1


# --- a real drill --------------------------------------------------------------------------

VOCABULARY, PLUS, EQUALS, END = 8, 2, 3, 4


class Drill:
    """Binary addition, least significant digit first: a small model, its optimizer and its rows."""

    def __init__(self) -> None:
        shape = {"kind": "qwen3", "hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 2, "head_dim": 16}
        special = SpecialIds(end=END, pad=5)
        self.model = BLANKS.build({**shape, "intermediate_size": 64}).build(VOCABULARY, special, 0)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3, betas=(0.9, 0.98))

    def gradient(self, digits: int, batch: int) -> tuple[float, float]:
        """Leave the gradient of a batch in the parameters; return loss and norm before clipping."""
        draw = random.Random(f"{digits}/{batch}")
        rows = []
        for _ in range(16):
            a, b = draw.randrange(2**digits), draw.randrange(2**digits)
            rows.append([*_bits(a, digits), PLUS, *_bits(b, digits), EQUALS, *_bits(a + b, digits + 1), END])
        tokens_BT = torch.tensor(rows)
        self.optimizer.zero_grad()
        logits_BTV = self.model(input_ids=tokens_BT[:, :-1]).logits[:, 2 * digits + 1 :]
        targets_BT = tokens_BT[:, 2 * digits + 2 :]
        loss = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())
        loss.backward()
        return float(loss.detach()), float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0))

    def loss(self, digits: int, batch: int) -> float:
        return self.gradient(digits, batch)[0]


def _bits(number: int, digits: int) -> list[int]:
    return [(number >> place) & 1 for place in range(digits)]


@cache
def _learnt() -> tuple[Drill, GuardState, tuple[tuple[float, float], ...]]:
    torch.set_num_threads(1)
    drill, state, curve = Drill(), GuardState(), []
    for batch in range(300):
        loss, norm = drill.gradient(2, batch)
        curve.append((loss, norm))
        state = judge(GUARD, state, loss, norm, batch=batch).state
        drill.optimizer.step()
    return drill, state, tuple(curve)


def test_a_drill_that_learns_raises_no_alarm() -> None:
    _, _, curve = _learnt()
    assert curve[0][0] > 1.5
    assert sum(loss for loss, _ in curve[-20:]) / 20 < 0.2
    assert _causes(list(curve)) == []


def test_a_new_level_within_a_run_is_not_rolled_back() -> None:
    drill, state, _ = _learnt()
    losses = []
    for batch in range(1000, 1006):
        loss, norm = drill.gradient(5, batch)
        losses.append(loss)
        verdict = judge(GUARD, state, loss, norm, batch=batch, again=lambda sound: drill.loss(2, sound))
        state = verdict.state
        assert not verdict.back
    assert min(losses) > 1.5, "the new level is much harder"
    assert state.bad == 0


def test_broken_weights_are_taken_back() -> None:
    drill, state, _ = _learnt()
    before = {name: value.clone() for name, value in drill.model.state_dict().items()}
    drill.gradient(2, 1)
    with torch.no_grad():
        for parameter in drill.model.parameters():
            parameter += 0.4 * parameter.grad.sign()
    verdicts = []
    for batch in range(2000, 2003):
        loss, norm = drill.gradient(2, batch)
        verdicts.append(
            judge(GUARD, state, loss, norm, batch=batch, again=lambda sound: drill.loss(2, sound))
        )
        state = verdicts[-1].state
    drill.model.load_state_dict(before)
    assert [v.back for v in verdicts] == [False, False, True]
