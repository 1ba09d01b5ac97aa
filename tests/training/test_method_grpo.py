"""GRPO against TRL's GRPOTrainer on identical rollouts, and how it samples and grades."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_methods import GRPO, Gradients, assert_equal_gradients, gradients_of, made, step, turns, units_of
from tiny_runs import chat, drills, make_job, qwen3, run, stages, tokenizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from realm.core.errors import DataError, NotFoundError, RefusedError
from realm.core.events import Emit, Event, RolledBack, StepTaken, ignore
from realm.core.records import Example
from realm.models.chat import prompt_ids
from realm.training.batching import Unit
from realm.training.engine import Trainer, train
from realm.training.job import TrainJob
from realm.training.method import METHODS
from realm.training.rollouts import Sampling, sample

PROMPTS = [*drills(3), Example(messages=turns("the quick brown"))]
LIMIT = 4
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
        inputs["completion_mask"][place, :size] = int(unit.facts["trained"][0])
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
@pytest.mark.parametrize(("truncated", "kl_weight"), [("masked", 0.1), ("penalised", 0.0)])
@pytest.mark.parametrize(
    ("aggregation", "loss_type"),
    [("sequence", "grpo"), ("token", "bnpo"), ("token", "dapo"), ("constant", "dr_grpo")],
)
def test_loss_and_gradients_equal_trl(
    tmp_path: Path, trainer: Any, aggregation: str, loss_type: str, truncated: str, kl_weight: float
) -> None:
    trainee = made(tmp_path)
    settings = {"aggregation": aggregation, "kl_weight": kl_weight, "truncated": truncated}
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
    trained = {"trained": one, "truncated": none, "advantage": 2 * one}
    return [replace(u, facts={**u.facts, **trained}) if i % 2 else u for i, u in enumerate(units)]


@pytest.mark.parametrize("scale", ["group", "none"])
def test_advantages_are_taken_within_groups(tmp_path: Path, scale: str) -> None:
    trainee = made(tmp_path)
    config = {**GRPO, "scale": scale, "group_size": 4, "rewards": LETTERS, "truncated": "masked"}
    _, units = units_of(trainee, config, PROMPTS)
    assert [unit.row for unit in units] == [row for row in range(4) for _ in range(4)]
    rewards = np.array([unit.facts["reward"][0] for unit in units]).reshape(4, 4)
    assert rewards.std() > 0
    expected = rewards - rewards.mean(1, keepdims=True)
    if scale == "group":
        expected /= rewards.std(1, ddof=1, keepdims=True) + 1e-4
    found = np.array([unit.facts["advantage"][0] for unit in units]).reshape(4, 4)
    assert np.allclose(found, expected, atol=1e-4)


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
    config = {**GRPO, "truncated": "masked"}
    rewards = [{"reward": {"kind": "python", "function": "training_rewards:broken"}}]
    with pytest.raises(RefusedError, match="gave nan"):
        units_of(made(tmp_path), {**config, "rewards": rewards}, PROMPTS)


SEVERAL = {
    **GRPO,
    "rewards": LETTERS,
    "group_size": 4,
    "max_answer_tokens": 60,
    "updates_per_batch": 3,
}


def _several(tmp_path: Path, **method: Any) -> TrainJob:
    return make_job(
        tmp_path,
        drills(6),
        steps=2,
        method={**SEVERAL, **method},
        saving={"every_steps": 1},
        optimizer={"learning_rate": 2e-2},
        schedule={"kind": "constant", "warmup_steps": 0},
        clip_norm=None,
    )


def _prepared(job: TrainJob, emit: Emit = ignore) -> Trainer:
    trainer = Trainer(job, emit)
    trainer.prepare()
    return trainer


def _weights(stage: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(stage).glob("*.safetensors")}


def test_a_step_of_several_updates_clips_and_tells_of_all(tmp_path: Path) -> None:
    """What it does is what as many updates on its answers do."""
    job = _several(tmp_path, kl_weight=0.0)
    trainer, other = _prepared(job), _prepared(job)
    units = other._batches.units(0)
    other._set_rate()
    clipped = []
    for _ in range(3):
        _, _, figures = step(other.trainee, METHODS.build(job.recipe.method), units)
        clipped.append(figures["clipped"])
        other._optimizer.step()
    trainer.take_step()
    for found, expected in zip(trainer.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(found, expected)
    assert clipped[0] == 0 < clipped[1]
    assert trainer.progress.tokens == 3 * sum(unit.tokens for unit in units)
    assert trainer._statistics.summary()["clipped"] == pytest.approx(sum(clipped) / 3)


def test_a_run_that_ends_between_two_updates_is_resumed_exactly(tmp_path: Path) -> None:
    job = _several(tmp_path)
    expected = _weights(stages(run(job))[-1].stage)
    for updates in (1, 2, 4, 5):
        events: list[Event] = []
        with pytest.raises(KeyboardInterrupt), _killed_after(updates):
            train(job, events.append, lambda: False)
        saved = stages(events)
        assert len(saved) == (updates - 1) // 3
        start = saved[-1].stage if saved else job.start
        found = stages(run(job.model_copy(update={"start": start})))[-1]
        assert _weights(found.stage) == expected, updates


@contextmanager
def _killed_after(updates: int) -> Iterator[None]:
    """Interrupt the process once the optimizer has stepped so often."""
    left = [updates]

    def count(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    hook = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        hook.remove()


def test_a_second_update_that_would_do_harm_is_left_out_alone(tmp_path: Path) -> None:
    job = _several(tmp_path, kl_weight=0.0)
    events: list[Event] = []
    trainer = _prepared(job, events.append)
    first = next(trainer.model.parameters())

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        return gradient * float("nan") if len(passes) == 2 else gradient

    passes: list[int] = []
    first.register_hook(spoil)
    trainer.take_step()
    [back] = [event for event in events if isinstance(event, RolledBack)]
    assert (back.step, back.to_step) == (1, 1)
    assert (trainer.progress.step, trainer.progress.batch, trainer.progress.discarded) == (1, 1, 1)
    trainer.take_step()
    assert trainer.progress.step == 2
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())
