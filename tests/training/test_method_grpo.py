"""GRPO against TRL's GRPOTrainer on identical rollouts, and how it samples and grades."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_rewards
from tiny_methods import GRPO, Gradients, assert_equal_gradients, gradients_of, made, step, turns, units_of
from tiny_runs import chat, drills, make_job, qwen3, run, tokenizer

from realm.core.errors import ConfigError, DataError, NotFoundError, RefusedError
from realm.core.events import StepTaken
from realm.core.records import Example
from realm.models.chat import prompt_ids
from realm.training.batching import Unit
from realm.training.method import METHODS
from realm.training.rollouts import Sampling, sample

PROMPTS = [*drills(3), Example(messages=turns("the quick brown"))]
LIMIT = 4
MASKED = {"truncated": "masked", "truncated_reward": 0.0}
LETTERS = [{"reward": {"kind": "python", "function": "training_rewards:letters"}}]


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import datasets
    from trl import GRPOConfig, GRPOTrainer

    arguments = GRPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        num_generations=2,
        per_device_train_batch_size=2,
        max_completion_length=LIMIT,
        temperature=0.8,
        beta=0.0,
        epsilon=0.2,
        epsilon_high=0.3,
        num_iterations=2,
    )
    return GRPOTrainer(
        model=qwen3(0),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=arguments,
        train_dataset=datasets.Dataset.from_list([{"prompt": "a"}]),
        processing_class=tokenizer(),
    )


def _trl(trainer: Any, units: list[Unit], loss_type: str, kl_weight: float) -> tuple[float, Gradients, float]:
    """Return TRL's loss, gradients and mean KL of the same answers; prompts padded left, answers right."""
    from trl.trainer.utils import add_fused_lm_head

    rows = [unit.sequences[0] for unit in units]
    prompts = [int(np.argmax(row.trained)) for row in rows]
    p, c = max(prompts), max(len(row.ids) - n for row, n in zip(rows, prompts, strict=True))
    inputs = {name: torch.zeros(len(rows), p, dtype=torch.long) for name in ("prompt_ids", "prompt_mask")}
    for name in ("completion_ids", "completion_mask"):
        inputs[name] = torch.zeros(len(rows), c, dtype=torch.long)
    inputs["old_per_token_logps"] = torch.zeros(len(rows), c)
    written = torch.zeros(len(rows), c, dtype=torch.long)
    for place, (unit, row, n) in enumerate(zip(units, rows, prompts, strict=True)):
        ids, size = torch.from_numpy(row.ids).long(), len(row.ids) - n
        inputs["prompt_ids"][place, p - n :], inputs["prompt_mask"][place, p - n :] = ids[:n], 1
        inputs["completion_ids"][place, :size], written[place, :size] = ids[n:], 1
        inputs["completion_mask"][place, :size] = int(not unit.silent)
        inputs["old_per_token_logps"][place, :size] = torch.from_numpy(unit.facts["log_probs"])
    inputs["advantages"] = torch.tensor([float(unit.facts["advantage"][0]) for unit in units])
    inputs["num_items_in_batch"] = inputs["completion_mask"].sum()
    trainer.loss_type, trainer.beta, trainer.current_gradient_accumulation_steps = loss_type, kl_weight, 1
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    mask = torch.cat([inputs["prompt_mask"], written], 1)
    reference = qwen3(1)
    add_fused_lm_head(reference, temperature=0.8)
    with torch.no_grad():
        found = trainer._get_per_token_logps_and_entropies(reference, ids, mask, c)
        inputs["ref_per_token_logps"] = found[0]
    trainer.model.zero_grad(set_to_none=True)
    trainer._metrics["train"].clear()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    kl = trainer._metrics["train"]["kl"][-1] if kl_weight else 0.0
    return float(loss.detach()), gradients_of(trainer.model), kl


def _disturbed(units: list[Unit]) -> list[Unit]:
    """Move the sampler's log-probabilities, so that ratios leave the clipping range on both sides."""
    draw = np.random.default_rng(0)

    def moved(unit: Unit) -> Unit:
        old = unit.facts["log_probs"]
        return replace(
            unit, facts={**unit.facts, "log_probs": old + draw.normal(0, 0.5, len(old)).astype(np.float32)}
        )

    return [moved(unit) for unit in units]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("truncated", "kl_weight"), [(MASKED, 0.1), ({}, 0.0)])
@pytest.mark.parametrize(
    ("aggregation", "loss_type"),
    [("sequence", "grpo"), ("token", "bnpo"), ("token", "dapo"), ("constant", "dr_grpo")],
)
def test_loss_and_gradients_equal_trl(
    tmp_path: Path,
    trainer: Any,
    aggregation: str,
    loss_type: str,
    truncated: dict[str, Any],
    kl_weight: float,
) -> None:
    trainee = made(tmp_path)
    settings = {"aggregation": aggregation, "kl_weight": kl_weight, **truncated}
    sampling = {"temperature": 0.8, "max_answer_tokens": LIMIT, "clip_high": 0.3}
    method, units = units_of(trainee, {**GRPO, **settings, **sampling}, PROMPTS)
    units = _disturbed(_ended(units))
    loss, gradients, figures = step(trainee, method, units)
    expected, reference, _ = _trl(trainer, units, loss_type, kl_weight)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert_equal_gradients(gradients, reference)
    assert 0 < figures["clipped"] < 1
    assert figures["truncated"] > 0
    assert (figures["kl"] > 0) == bool(kl_weight)


@pytest.mark.filterwarnings("ignore")
def test_a_second_update_on_the_same_answers_equals_trls(tmp_path: Path, trainer: Any) -> None:
    settings = {"kl_weight": 0.1, "temperature": 0.8, "max_answer_tokens": LIMIT, "clip_high": 0.3}
    trainee = made(tmp_path)
    method, units = units_of(trainee, {**GRPO, **settings}, PROMPTS)
    units = _ended(units)
    models = (trainee.model, trainer.model)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.5) for model in models]
    began = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    clipped = []
    for _ in range(2):
        loss, gradients, figures = step(trainee, method, units)
        expected, reference, _ = _trl(trainer, units, "dapo", 0.1)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert_equal_gradients(gradients, reference)
        clipped.append(figures["clipped"])
        for optimizer in optimizers:
            optimizer.step()
    trainer.model.load_state_dict(began)
    assert clipped[0] == 0
    assert 0 < clipped[1] < 1


def _ended(units: list[Unit]) -> list[Unit]:
    """Call every other answer ended, however it did, so that masking has something to tell apart."""
    one, none = np.ones(1, np.float32), np.zeros(1, np.float32)
    ended = {"truncated": none, "advantage": 2 * one}
    return [replace(u, facts={**u.facts, **ended}, silent=False) if i % 2 else u for i, u in enumerate(units)]


@pytest.mark.parametrize("scale", ["group", "none"])
def test_advantages_are_taken_within_groups(tmp_path: Path, scale: str) -> None:
    trainee = made(tmp_path)
    config = {**GRPO, "scale": scale, "group_size": 4, "rewards": LETTERS, **MASKED}
    _, units = units_of(trainee, config, PROMPTS)
    assert [unit.row for unit in units] == [row for row in range(4) for _ in range(4)]
    rewards = np.array([unit.facts["reward"][0] for unit in units]).reshape(4, 4)
    assert rewards.std() > 0
    expected = rewards - rewards.mean(1, keepdims=True)
    if scale == "group":
        expected /= rewards.std(1, ddof=1, keepdims=True) + 1e-4
    found = np.array([unit.facts["advantage"][0] for unit in units]).reshape(4, 4)
    assert np.allclose(found, expected, atol=1e-4)


def _answer(unit: Unit) -> str:
    row = unit.sequences[0]
    return str(tokenizer().decode(row.ids[row.trained], skip_special_tokens=True))


def test_rewards_are_added_up_by_weight(tmp_path: Path) -> None:
    functions = {"letters": 2.0, "ones": -0.5}
    rewards = [
        {"reward": {"kind": "python", "function": f"training_rewards:{name}"}, "weight": weight}
        for name, weight in functions.items()
    ]
    config = {**GRPO, "rewards": rewards, "max_answer_tokens": 30, **MASKED}
    _, units = units_of(made(tmp_path), config, PROMPTS)
    expected = [
        sum(
            weight * getattr(training_rewards, name)((), _answer(u), None)
            for name, weight in functions.items()
        )
        for u in units
    ]
    assert any("①" in _answer(unit) for unit in units)
    assert np.allclose([unit.facts["reward"][0] for unit in units], expected, atol=1e-6)


def test_a_truncated_answer_has_the_truncated_reward_whatever_it_says(tmp_path: Path) -> None:
    config = {**GRPO, "rewards": LETTERS, "max_answer_tokens": 60, "group_size": 6, "truncated_reward": -3.5}
    _, units = units_of(made(tmp_path), config, PROMPTS)
    cut = [bool(unit.facts["truncated"][0]) for unit in units]
    assert 0 < sum(cut) < len(cut)
    assert [float(unit.facts["reward"][0]) == -3.5 for unit in units] == cut


@pytest.mark.parametrize("aggregation", ["sequence", "token", "constant"])
def test_a_prompt_of_weight_two_counts_like_two_prompts(tmp_path: Path, aggregation: str) -> None:
    trainee = made(tmp_path)
    config = {**GRPO, "rewards": LETTERS, "aggregation": aggregation, "max_answer_tokens": 20}
    rows = [PROMPTS[0], PROMPTS[-1].model_copy(update={"weight": 2.0})]
    method, units = units_of(trainee, config, rows)
    single = [replace(u, facts={**u.facts, "weight": np.ones(1, np.float32)}) for u in units]
    loss, gradients, _ = step(trainee, method, units)
    expected, reference, _ = step(trainee, method, [*single, *single[3:]])
    assert loss == pytest.approx(expected, rel=1e-5)
    assert_equal_gradients(gradients, reference)
    assert step(trainee, method, single)[0] != pytest.approx(expected, rel=1e-3)


def test_constant_aggregation_divides_by_the_longest_answer_allowed(tmp_path: Path) -> None:
    trainee = made(tmp_path)
    config = {**GRPO, "rewards": LETTERS, "max_answer_tokens": 60, "group_size": 6}
    constant, units = units_of(trainee, {**config, "aggregation": "constant"}, PROMPTS)
    by_token = METHODS.build({**config, "aggregation": "token"})
    by_token.begin(trainee)
    short = [unit for unit in units if unit.trained_tokens < 50]
    tokens = sum(unit.trained_tokens for unit in short)
    found, expected = step(trainee, constant, short)[0], step(trainee, by_token, short)[0]
    assert found * 60 * len(short) == pytest.approx(expected * tokens, rel=1e-5)
    assert abs(found) > 1e-4


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"truncated": "masked"}, "truncated_reward belongs to truncated: penalised"),
        ({"temperature": 1e-300}, "temperature: must be at least 0.01"),
        ({"truncated_reward": 1e308}, "truncated_reward: must be at most 1000000"),
        ({"rewards": [{**LETTERS[0], "weight": -1e308}]}, "weight: must be at least -1000000"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        METHODS.config({**GRPO, **settings})


def test_the_lowest_temperature_writes_the_likeliest_tokens(tmp_path: Path) -> None:
    trainee = made(tmp_path)
    (ids,) = prompt_ids(tokenizer(), [turns("a")])
    likeliest = int(qwen3(0)(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
    found = sample(trainee, [np.asarray(ids, np.int32)], [[1, 2, 3]], Sampling(1, 0.01, 1.0))
    assert {int(rollout.ids[0]) for rollout in found[0]} == {likeliest}


def test_the_sampler_gives_the_log_probabilities_of_the_trained_model(tmp_path: Path) -> None:
    """So that the ratio of a step that samples anew is 1, at any temperature and `top_p`."""
    trainee = made(tmp_path)
    settings = {"temperature": 0.7, "top_p": 0.9, "kl_weight": 0.0, "group_size": 6, "max_answer_tokens": 60}
    method, units = units_of(trainee, {**GRPO, **settings}, PROMPTS)
    _, _, figures = step(trainee, method, units)
    assert figures["clipped"] == 0
    assert 0 < figures["truncated"] < 1, "some answers have to leave the batch before others"
    model = qwen3(0)
    for unit in units:
        row = unit.sequences[0]
        ids = torch.from_numpy(row.ids).long()
        log_p = (model(input_ids=ids[None]).logits[0, :-1] / 0.7).log_softmax(-1)
        found = log_p.gather(-1, ids[1:, None])[:, 0].detach().numpy()[row.trained[1:]]
        assert np.allclose(found, unit.facts["log_probs"], atol=1e-5)


def test_answers_depend_on_their_seed_and_leave_the_model_as_it_was(tmp_path: Path) -> None:
    trainee = made(tmp_path)
    trainee.model.train()
    prompts = [np.asarray(ids, np.int32) for ids in prompt_ids(tokenizer(), [turns("a"), turns("the fox")])]
    sampling = Sampling(max_tokens=6, temperature=1.0, top_p=1.0)
    before = torch.random.get_rng_state()
    first = sample(trainee, prompts, [[1, 2], [3, 4]], sampling)
    again = sample(trainee, prompts, [[1, 9], [3, 4]], sampling)
    assert trainee.model.training
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [list(r.ids) for r in first[1]] == [list(r.ids) for r in again[1]]
    assert list(first[0][0].ids) == list(again[0][0].ids)
    assert list(first[0][1].ids) != list(again[0][1].ids)


def test_sampling_follows_the_distribution(tmp_path: Path) -> None:
    trainee = made(tmp_path)
    (ids,) = prompt_ids(tokenizer(), [turns("a")])
    expected = qwen3(0)(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1).detach().numpy()
    drawn = sample(trainee, [np.asarray(ids, np.int32)], [list(range(4000))], Sampling(1, 1.0, 1.0))
    counts = np.bincount([int(r.ids[0]) for r in drawn[0]], minlength=len(expected)) / 4000
    assert np.abs(counts - expected).max() < 0.03
    kept = sample(trainee, [np.asarray(ids, np.int32)], [list(range(500))], Sampling(1, 1.0, 0.3))
    likeliest = np.argsort(-expected)
    nucleus = set(likeliest[: 1 + int(np.searchsorted(expected[likeliest].cumsum(), 0.3))].tolist())
    assert {int(r.ids[0]) for r in kept[0]} <= nucleus


def test_no_room_for_an_answer_is_refused(tmp_path: Path) -> None:
    trainee = made(tmp_path)
    with pytest.raises(RefusedError, match="no room for an answer in 256 tokens"):
        sample(trainee, [np.ones(256, np.int32)], [[1]], Sampling(1, 1.0, 1.0))


def test_the_last_answer_of_a_chat_is_what_is_expected() -> None:
    (part,) = METHODS.build(GRPO).sequences(chat("a", "b"))
    assert [message.role for message in part.messages] == ["system", "user"]


SKILL = {"kind": "skill", "skill": {"kind": "bin"}}


@pytest.mark.parametrize(
    ("reward", "row", "reason"),
    [
        (None, Example(text="a"), "a text asks nothing"),
        (None, Example(messages=turns("", "b")[1:]), "a prompt ends with a user's"),
        (SKILL, Example(messages=turns("a")), "needs its right answer"),
        (SKILL, Example(messages=turns("a", "b")), "missing or wrong: key, level, primitive"),
        (SKILL, Example(messages=turns("a", "b"), tags={"skill": "sy"}), "a problem of the skill 'sy'"),
    ],
)
def test_rows_that_cannot_be_graded_are_refused(
    reward: dict[str, Any] | None, row: Example, reason: str
) -> None:
    config = {**GRPO, "rewards": [{"reward": reward}]} if reward else GRPO
    with pytest.raises(DataError, match=reason):
        METHODS.build(config).sequences(row)


def test_a_tiny_run_raises_its_reward(tmp_path: Path) -> None:
    """Answers learn to end in time, and then to be of letters."""
    config = {**GRPO, "rewards": LETTERS, "group_size": 8, "kl_weight": 0.0, "max_answer_tokens": 30}
    job = make_job(
        tmp_path,
        drills(4),
        steps=25,
        method={**config, "truncated_reward": 0.0},
        optimizer={"learning_rate": 1e-2},
    )
    taken = [event.figures["reward"] for event in run(job) if isinstance(event, StepTaken)]
    assert sum(taken[-5:]) > 2 * sum(taken[:5])


def test_a_reward_that_is_missing_is_refused() -> None:
    config = {**GRPO, "rewards": [{"reward": {"kind": "python", "function": "training_rewards:missing"}}]}
    with pytest.raises(NotFoundError, match="training_rewards:missing"):
        METHODS.build(config).sequences(chat("a", "b"))


def test_a_reward_that_is_no_number_is_refused(tmp_path: Path) -> None:
    config = {**GRPO, **MASKED}
    rewards = [{"reward": {"kind": "python", "function": "training_rewards:broken"}}]
    with pytest.raises(RefusedError, match=r"^row 1: the reward training_rewards:broken gave nan"):
        units_of(made(tmp_path), {**config, "rewards": rewards}, PROMPTS)
