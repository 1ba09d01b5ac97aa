"""DPO against TRL's DPOTrainer on the same batch, and what its options mean."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_methods import (
    PREFERENCES,
    Gradients,
    assert_equal_gradients,
    gradients_of,
    made,
    step,
    turns,
    units_of,
)
from tiny_runs import losses, make_job, qwen3, run, stages, tokenizer
from transformers import PreTrainedModel

from realm.core.errors import ConfigError, DataError
from realm.core.events import Event, StepTaken
from realm.core.records import ArtifactKind, Example
from realm.models.encodings import Encoded
from realm.storage.store import Store
from realm.training.batching import Unit
from realm.training.method import METHODS

ALIKE = [row.model_copy(update={"weight": 1.0}) for row in PREFERENCES]


@pytest.fixture(scope="module")
def trl_loss(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import datasets
    from trl import DPOConfig, DPOTrainer

    folder = tmp_path_factory.mktemp("trl")

    def loss(units: list[Unit], **settings: Any) -> tuple[float, Gradients, dict[str, float]]:
        arguments = DPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            **settings,
        )
        trainer = DPOTrainer(
            model=qwen3(0),
            ref_model=qwen3(1),
            args=arguments,
            train_dataset=datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
            processing_class=tokenizer(),
        )
        value = trainer._compute_loss(trainer.model, _padded(units), False)
        value.backward()
        metrics = {name: values[-1] for name, values in trainer._metrics["train"].items()}
        return float(value.detach()), gradients_of(trainer.model), metrics

    return loss


def _padded(units: list[Unit]) -> dict[str, torch.Tensor]:
    rows = [unit.sequences[0] for unit in units] + [unit.sequences[1] for unit in units]
    width = max(len(row.ids) for row in rows)
    batch = {
        name: torch.zeros(len(rows), width, dtype=torch.long) for name in ("input_ids", "attention_mask")
    }
    batch["completion_mask"] = batch["attention_mask"].clone()
    for place, row in enumerate(rows):
        size = len(row.ids)
        batch["input_ids"][place, :size] = torch.from_numpy(row.ids)
        batch["attention_mask"][place, :size] = 1
        batch["completion_mask"][place, :size] = torch.from_numpy(row.trained).long()
    return batch


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"loss_type": ["sigmoid"]}),
        ({"beta": 0.7}, {"loss_type": ["sigmoid"], "beta": 0.7}),
        ({"length_normalised": True, "beta": 2.0}, {"loss_type": ["sigmoid_norm"], "beta": 2.0}),
        ({"loss": "ipo", "length_normalised": True}, {"loss_type": ["ipo"]}),
    ],
)
def test_loss_and_gradients_equal_trl(
    tmp_path: Path, trl_loss: Any, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    trainee = made(tmp_path)
    method, units = units_of(trainee, {"kind": "dpo", **ours}, ALIKE)
    loss, gradients, figures = step(trainee, method, units)
    expected, reference, metrics = trl_loss(units, **theirs)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert_equal_gradients(gradients, reference)
    if "length_normalised" not in ours:
        names = {"rewards_chosen": "chosen", "rewards_rejected": "rejected", "margin": "margins"}
        for name, other in {**names, "accuracy": "accuracies"}.items():
            assert figures[name] == pytest.approx(metrics[f"rewards/{other}"], rel=1e-4, abs=1e-6)


def test_ipo_without_normalised_lengths_is_the_printed_formula(tmp_path: Path) -> None:
    """Against the sums of log-probabilities of the two models, one ending at a time."""
    trainee = made(tmp_path)
    method, units = units_of(trainee, {"kind": "dpo", "loss": "ipo", "beta": 0.7}, ALIKE)
    loss, _, _ = step(trainee, method, units)
    squares = []
    for unit in units:
        better, worse = (_summed(qwen3(0), part) - _summed(qwen3(1), part) for part in unit.sequences)
        squares.append((better - worse - 1 / (2 * 0.7)) ** 2)
    assert loss == pytest.approx(sum(squares) / len(squares), rel=1e-4)


def _summed(model: PreTrainedModel, sequence: Encoded) -> float:
    """Return the log-probability of what is trained of a sequence."""
    ids = torch.from_numpy(sequence.ids).long()
    with torch.no_grad():
        log_p = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)
    return float(log_p.gather(-1, ids[1:, None])[torch.from_numpy(sequence.trained)[1:]].sum())


@pytest.mark.filterwarnings("ignore")
def test_label_smoothing_equals_trl_pair_by_pair(tmp_path: Path, trl_loss: Any) -> None:
    """TRL smooths labels in `aot`, which sorts a batch; of a single pair it is conservative DPO."""
    trainee = made(tmp_path)
    method, units = units_of(trainee, {"kind": "dpo", "label_smoothing": 0.2, "beta": 0.5}, ALIKE)
    for unit in units:
        loss, gradients, _ = step(trainee, method, [unit])
        expected, reference, _ = trl_loss([unit], loss_type=["aot"], label_smoothing=0.2, beta=0.5)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert_equal_gradients(gradients, reference)


@pytest.mark.filterwarnings("ignore")
def test_sft_weight_equals_trl_of_a_single_pair(tmp_path: Path, trl_loss: Any) -> None:
    trainee = made(tmp_path)
    method, units = units_of(trainee, {"kind": "dpo", "sft_weight": 0.5}, ALIKE)
    loss, gradients, _ = step(trainee, method, units[:1])
    expected, reference, _ = trl_loss(units[:1], loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.5])
    assert loss == pytest.approx(expected, rel=1e-5)
    assert_equal_gradients(gradients, reference)


def test_a_row_of_weight_two_counts_like_two_rows(tmp_path: Path) -> None:
    trainee = made(tmp_path)
    method, units = units_of(trainee, "dpo", PREFERENCES)
    _, twice = units_of(trainee, "dpo", [*ALIKE, ALIKE[1]])
    loss, gradients, _ = step(trainee, method, units)
    expected, reference, _ = step(trainee, method, twice)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert_equal_gradients(gradients, reference, 1e-6)


def test_a_run_that_just_began_has_no_margin(tmp_path: Path) -> None:
    trainee = made(tmp_path, model=qwen3(1))
    method, units = units_of(trainee, "dpo", ALIKE)
    loss, _, figures = step(trainee, method, units)
    assert loss == pytest.approx(math.log(2))
    assert figures["margin"] == pytest.approx(0, abs=1e-6)


def _adapted(model: PreTrainedModel, seed: int) -> Any:
    from realm.models.adapters import AdapterShape, wrap

    shape = AdapterShape(r=4, lora_alpha=8, target_modules=("q_proj", "v_proj"))
    adapted = wrap(model, shape, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return adapted


def test_the_reference_of_a_fresh_adapter_is_its_base(tmp_path: Path) -> None:
    """The same, computed with a frozen copy of the base."""
    trainee = made(tmp_path, model=_adapted(qwen3(1), 3))
    method, units = units_of(trainee, "dpo", ALIKE)
    assert trainee.frozen is None
    loss, gradients, figures = step(trainee, method, units)
    assert gradients
    assert all("lora" in name for name in gradients)
    assert abs(figures["margin"]) > 1e-4
    plain = made(tmp_path, model=copy.deepcopy(trainee.model).merge_and_unload().requires_grad_(True))
    method, units = units_of(plain, "dpo", ALIKE)
    assert plain.frozen is not None
    assert step(plain, method, units)[0] == pytest.approx(loss, rel=1e-5)


def test_an_adapter_is_compared_with_what_its_run_began_with(tmp_path: Path) -> None:
    """A fresh one, the same after an interruption, and one that a new run goes on with."""
    store = Store(tmp_path / "vault")

    def put(folder: str | Path) -> str:
        return store.publish(Path(folder), ArtifactKind.CHECKPOINT, lambda ref: ref.hash)

    def at(content: str) -> str:
        return str(store.path(ArtifactKind.CHECKPOINT, content))

    def first(events: Sequence[Event]) -> dict[str, float]:
        return next(event.figures for event in events if isinstance(event, StepTaken))

    job = make_job(
        tmp_path,
        ALIKE,
        steps=4,
        method={"kind": "dpo", "beta": 0.5},
        parameters={"kind": "lora", "rank": 4},
        optimizer={"learning_rate": 2e-2},
    )
    base = put(job.start)
    job = job.model_copy(update={"base": base, "start": at(base), "origin": at(base)})
    events = run(job)
    assert first(events)["margin"] == pytest.approx(0, abs=1e-5)
    half = stages(run(job, stop_after=2))[-1].stage
    ended = stages(run(job.model_copy(update={"start": at(put(half))})))[-1].stage
    for file in Path(stages(events)[-1].stage).iterdir():
        assert (Path(ended) / file.name).read_bytes() == file.read_bytes(), file.name
    adapter = at(put(ended))
    again = run(job.model_copy(update={"run": "next", "start": adapter, "origin": adapter}))
    assert first(again)["margin"] == pytest.approx(0, abs=1e-5)


def test_only_the_endings_are_trained() -> None:
    shared = turns("hello", "the fox", "and now")
    end, worse = turns("", "quick")[1:], turns("", "brown")[1:]
    row = Example(messages=(*shared, *end), rejected=(*shared, *worse))
    for part, ending in zip(METHODS.build("dpo").sequences(row), ("quick", "brown"), strict=True):
        weighed = [m.content for m in part.messages if m.role == "assistant" and m.weight]
        assert weighed == [ending]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (Example(messages=turns("a", "b")), "rejected"),
        (Example(messages=turns("a", "b"), rejected=turns("c", "d")), "same prompt"),
        (Example(messages=turns("a", "b"), rejected=turns("a", "b")), "nothing that the other"),
        (Example(messages=turns("a"), rejected=turns("a", "b")), "nothing that the other"),
    ],
)
def test_rows_that_are_no_preference_are_refused(row: Example, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        METHODS.build("dpo").sequences(row)


def test_smoothing_the_ipo_loss_is_refused() -> None:
    with pytest.raises(ConfigError, match="label_smoothing belongs to the sigmoid loss"):
        METHODS.config({"kind": "dpo", "loss": "ipo", "label_smoothing": 0.1})


def test_a_tiny_run_widens_the_margin(tmp_path: Path) -> None:
    job = make_job(
        tmp_path, ALIKE, steps=20, method={"kind": "dpo", "beta": 0.5}, optimizer={"learning_rate": 5e-3}
    )
    taken = [event for event in run(job) if isinstance(event, StepTaken)]
    assert taken[0].figures["margin"] == pytest.approx(0, abs=1e-5)
    assert taken[-1].figures["margin"] > 1
    assert taken[-1].figures["accuracy"] == 1
    assert losses(run(job))[-1] < 0.3
