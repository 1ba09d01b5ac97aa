from __future__ import annotations

import itertools
from typing import Any

import pytest

from realm.core.errors import ConfigError, NotFoundError, RefusedError, UsageError
from realm.core.records import Example, Message
from realm.models.blank import BLANKS, SpecialIds
from realm.training import calibration, hardware, lengths, pieces, remedies, shapes
from realm.training import estimate_activations as counted
from realm.training.calibration import Factors, Observation, Prediction
from realm.training.estimate import PROCESS_BYTES, Plan, estimate
from realm.training.fast import head
from realm.training.hardware import GB
from realm.training.parameter import PARAMETERS
from realm.training.recipe import Recipe
from realm.training.settings import Settings
from realm.training.trained import trained

VOCABULARY = 400
QWEN3 = shapes.of_blank(BLANKS.config("qwen3"), VOCABULARY)


def plan(**rules: Any) -> Plan:
    recipe = Recipe.model_validate({"rules": {"steps": 10, "device": "cpu", "precision": "fp32", **rules}})
    rows = lengths.equal(256, trained_share=0.5)
    return Plan(recipe=recipe, shape=QWEN3, lengths=rows, hardware=hardware.cpu(8 * GB))


def part(of: Plan, name: str) -> int:
    return sum(part.bytes for part in estimate(of).parts if part.name == name)


@pytest.mark.parametrize("kind", BLANKS.names())
def test_a_shape_has_exactly_the_weights_of_the_model(kind: str) -> None:
    blank = BLANKS.build(kind)
    model = blank.build(VOCABULARY, SpecialIds(end=1, pad=2), 0)
    text = {name: tuple(p.shape) for name, p in model.named_parameters() if ".visual." not in name}
    by_blank = shapes.of_blank(blank.config, VOCABULARY)
    by_config = shapes.of_config(model.config.to_dict(), "config.json")
    assert by_blank == by_config
    assert {tensor.name: tensor.size for tensor in by_blank.tensors()} == text
    assert by_blank.parameters == model.num_parameters()


@pytest.mark.parametrize("kind", BLANKS.names())
@pytest.mark.parametrize(
    "choice",
    [
        {"kind": "full"},
        {"kind": "full", "freeze": ["embed_tokens", "*.layers.0.*"]},
        {"kind": "lora", "rank": 4, "dora": True, "targets": ["q_proj", "v_proj"]},
    ],
    ids=["full", "freeze", "dora"],
)
def test_as_many_values_are_trained_as_training_would(kind: str, choice: dict[str, Any]) -> None:
    blank = BLANKS.build(kind)
    parameters = PARAMETERS.build(choice)
    model = parameters.apply(blank.build(VOCABULARY, SpecialIds(end=1, pad=2), 0), 0)
    real = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained(shapes.of_blank(blank.config, VOCABULARY), parameters.config).parameters == real


@pytest.mark.parametrize("kind", BLANKS.names())
def test_the_default_adapter_is_as_large_as_training_makes_it(kind: str) -> None:
    blank, parameters = BLANKS.build(kind), PARAMETERS.build("lora")
    model = parameters.apply(blank.build(VOCABULARY, SpecialIds(end=1, pad=2), 0), 0)
    real = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained(shapes.of_blank(blank.config, VOCABULARY), parameters.config).parameters == real


def test_routers_are_never_counted_as_trained() -> None:
    shape = shapes.of_blank(BLANKS.config("qwen3_next"), VOCABULARY)
    found = trained(shape, PARAMETERS.config("full"))
    assert not [tensor.name for tensor in found.own if ".gate." in tensor.name or "_gate." in tensor.name]


def test_a_config_that_is_no_language_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_hidden_layers"):
        shapes.of_config({"model_type": "resnet", "vocab_size": 3}, "config.json")


def test_pieces_of_logits_are_counted_as_large_as_the_engine_makes_them() -> None:
    assert counted.LOGITS_AT_ONCE == {False: pieces.LOGITS_AT_ONCE, True: head.LOGITS_AT_ONCE}
    assert counted.ROWS_AT_ONCE == head.ROWS_AT_ONCE


def test_parts_add_up_to_the_peak_and_weights_are_exact() -> None:
    told = estimate(plan())
    assert sum(each.bytes for each in told.parts) == told.peak_bytes
    assert part(plan(), "weights") == 4 * QWEN3.parameters
    assert part(plan(), "optimizer") == 8 * QWEN3.parameters


@pytest.mark.parametrize(
    "rules",
    [
        {"memory": {"tokens_at_once": 2048}},
        {"saving": {"asynchronous": False}},
        {"parameters": "lora"},
        {"optimizer": "adamw8bit"},
        {"batch_rows": 32},
    ],
)
def test_what_saves_memory_is_seen_to(rules: dict[str, Any]) -> None:
    assert estimate(plan(**rules)).peak_bytes < estimate(plan()).peak_bytes


def test_layers_that_are_computed_again_are_not_kept() -> None:
    deep = shapes.of_blank(BLANKS.config({"kind": "qwen3", "layers": 24}), VOCABULARY)
    on_gpu = {"shape": deep, "hardware": hardware.named("h100")}
    kept = [
        part(plan(memory=memory).model_copy(update=on_gpu), "activations")
        for memory in ({}, {"recompute_layers": 2}, {"recompute_layers": 1})
    ]
    assert kept[2] < kept[1] / 2 < kept[0] / 2


def test_recomputing_costs_time_and_smaller_packs_do_not_change_the_work() -> None:
    assert estimate(plan(memory={"recompute_layers": 1})).step_seconds > estimate(plan()).step_seconds
    assert estimate(plan(memory={"tokens_at_once": 2048})).step_flops == estimate(plan()).step_flops


def test_flops_of_a_dense_model_are_six_a_weight_and_token_and_attention() -> None:
    blank = BLANKS.config({"kind": "qwen3", "tie_embeddings": False})
    shape = shapes.of_blank(blank, VOCABULARY)
    wanted = plan().model_copy(update={"shape": shape, "lengths": lengths.equal(256)})
    told = estimate(wanted)
    matrices = sum(t.values for t in shape.tensors() if t.linear)
    attention = 3.5 * 4 * (256 / 2) * shape.heads * shape.head_dim * shape.layers
    assert told.step_flops == pytest.approx(told.step_tokens * (6 * matrices + attention))


def test_a_small_step_of_a_large_model_peaks_where_all_gradients_are_there() -> None:
    large = shapes.of_blank(BLANKS.config("qwen3"), 100_000)
    few = plan(batch_rows=1).model_copy(
        update={"shape": large, "lengths": lengths.equal(16, trained_share=0.5), "saves": False}
    )
    assert estimate(few).moment == "embedding"
    assert part(few, "gradients") == 4 * large.parameters + 4 * large.vocabulary * large.hidden
    update = few.model_copy(
        update={"recipe": plan(batch_rows=1, parameters={"freeze": ["embed_tokens"]}).recipe}
    )
    assert part(update, "gradients") == 4 * (large.parameters - large.vocabulary * large.hidden)


def test_a_longer_row_is_never_split_over_packs() -> None:
    assert estimate(plan(memory={"tokens_at_once": 64})).pack_tokens == 256


def test_moments_on_the_host_leave_the_gpu() -> None:
    on_gpu = plan(optimizer="adamw").model_copy(update={"hardware": hardware.named("h100")})
    away = plan(optimizer={"offload": True}).model_copy(update={"hardware": hardware.named("h100")})
    assert part(away, "optimizer") == 0
    assert [p.bytes for p in estimate(away).host_parts if p.name == "optimizer"] == [
        part(on_gpu, "optimizer")
    ]


def test_sharding_divides_weights_gradients_and_moments() -> None:
    one = plan().model_copy(update={"hardware": hardware.named("h100")})
    shared = {"kind": "torchrun", "processes": 8, "strategy": "fsdp2"}
    eight = plan(launcher=shared).model_copy(update={"hardware": hardware.named("8xh100")})
    copied = plan(launcher={**shared, "strategy": "ddp"}).model_copy(update={"hardware": eight.hardware})
    assert part(copied, "weights") == part(one, "weights")
    assert part(eight, "weights") == pytest.approx(part(one, "weights") / 8, abs=1)
    assert part(eight, "optimizer") == pytest.approx(part(one, "optimizer") / 8, abs=1)


def test_dpo_keeps_a_reference_only_where_all_is_trained() -> None:
    def with_dpo(**rules: Any) -> Plan:
        bare = plan(**rules)
        recipe = Recipe.model_validate({**bare.recipe.model_dump(mode="json"), "method": "dpo"})
        return bare.model_copy(update={"recipe": recipe})

    assert part(with_dpo(), "reference") == part(plan(), "weights")
    assert part(with_dpo(parameters="lora"), "reference") == 0


def test_every_update_on_a_batch_of_answers_takes_its_time() -> None:
    reward = {"kind": "python", "function": "training_rewards:letters"}

    def grpo(updates: int) -> Plan:
        method = {"kind": "grpo", "rewards": [{"reward": reward}], "updates_per_batch": updates}
        bare = plan()
        recipe = Recipe.model_validate({**bare.recipe.model_dump(mode="json"), "method": method})
        return bare.model_copy(update={"recipe": recipe})

    one, three = estimate(grpo(1)), estimate(grpo(3))
    assert three.step_seconds == pytest.approx(3 * one.step_seconds)
    assert three.step_flops == pytest.approx(3 * one.step_flops)


def test_hardware_is_named_and_a_wrong_name_finds_the_nearest() -> None:
    eight = hardware.named("8xh100")
    assert (eight.count, eight.memory_bytes) == (8, 80 * GB)
    assert hardware.named("cuda", 16).memory_bytes == 16 * GB
    with pytest.raises(NotFoundError, match="did you mean rtx4090"):
        hardware.named("rtx4091")
    with pytest.raises(UsageError, match="--memory-gb"):
        hardware.named("cpu")


# --- what would make it fit ---------------------------------------------------------------


def test_what_fits_needs_no_remedy() -> None:
    assert remedies.remedies(plan()) == []
    remedies.refuse(plan(), estimate(plan()))


def test_the_cheapest_change_comes_first_and_is_checked_by_the_same_formula() -> None:
    tight = plan().model_copy(update={"hardware": hardware.cpu(int(0.75 * GB))})
    assert not estimate(tight).fits
    best = remedies.remedies(tight)[0]
    assert best.rank == 0
    assert "tokens_at_once" in best.changes[0]
    again = estimate(tight.with_recipe(best.recipe))
    assert again.fits
    assert again.peak_bytes == best.peak_bytes


def test_a_model_that_leaves_no_room_gets_an_adapter() -> None:
    blank = BLANKS.config({"kind": "qwen3", "hidden_size": 1024, "layers": 24, "intermediate_size": 4096})
    large = plan().model_copy(
        update={"shape": shapes.of_blank(blank, 32_000), "hardware": hardware.cpu(3 * GB)}
    )
    best = remedies.remedies(large)[0]
    assert best.rank == 2
    assert "rules.parameters.kind: lora" in best.changes


def test_a_remedy_writes_a_rate_that_another_kind_would_change() -> None:
    blank = BLANKS.config({"kind": "qwen3", "hidden_size": 1024, "layers": 24, "intermediate_size": 4096})
    large = {"shape": shapes.of_blank(blank, 32_000), "hardware": hardware.cpu(3 * GB)}
    by_muon = remedies.remedies(plan(optimizer="muon").model_copy(update=large))[0].changes
    assert {"rules.optimizer.kind: adamw8bit", "rules.optimizer.learning_rate: 0.01"} <= set(by_muon)
    written = plan(optimizer={"kind": "muon", "learning_rate": 0.003}).model_copy(update=large)
    assert not [line for line in remedies.remedies(written)[0].changes if "learning_rate" in line]


def test_a_refusal_says_what_takes_the_memory_and_what_would_help() -> None:
    tight = plan().model_copy(update={"hardware": hardware.cpu(int(0.75 * GB))})
    with pytest.raises(RefusedError, match=r"does not fit.*activations(.|\n)*it fits with rules\.memory"):
        remedies.refuse(tight, estimate(tight))
    none = plan().model_copy(update={"hardware": hardware.cpu(PROCESS_BYTES // 2)})
    with pytest.raises(RefusedError, match="no setting makes it fit"):
        remedies.refuse(none, estimate(none))


# --- rows ---------------------------------------------------------------------------------


def test_lengths_of_rows_are_measured() -> None:
    found = lengths.of_tokens([10, 20, 30], [5, 5, 5])
    assert found is not None
    assert (found.rows, found.mean_tokens, found.longest_tokens) == (3, 20, 30)
    assert found.trained_share == pytest.approx(15 / 60)
    assert found.attended_tokens == pytest.approx((100 + 400 + 900) / 60 / 2)
    assert found.of_step(1) == 30
    assert lengths.of_tokens([], []) is None


def chatted(*lengths_of_turns: int) -> Example:
    """Return a chat of turns of so many tokens, as they are counted without a tokenizer."""
    roles = itertools.cycle(("user", "assistant"))
    turns = zip(roles, lengths_of_turns, strict=False)
    return Example(messages=tuple(Message(role=role, content="x" * 7 * (n // 2)) for role, n in turns))


def test_rows_that_training_leaves_out_are_left_out_of_estimates_and_counted() -> None:
    rows = [chatted(20, 10), chatted(200, 10), chatted(20), Example(text="x" * 350), Example(text="x")]
    found, account = lengths.measure(rows, None, Settings(max_tokens=100))
    assert found is not None
    assert (found.rows, found.longest_tokens) == (2, 36)
    assert account.dropped == {"longer than 100 tokens": 2, "without an answer": 1}
    assert account.shortest == 101
    prompts, account = lengths.measure(rows, None, Settings(max_tokens=100, generates=True))
    assert prompts is not None
    assert (prompts.rows, account.dropped) == (3, {"longer than 100 tokens": 2})


def test_estimates_count_the_pieces_that_training_cuts_rows_into() -> None:
    rows = [chatted(20, 20, 20, 20, 20, 20), Example(text="x" * 350), chatted(200, 20)]
    settings = Settings(max_tokens=100, over_long="split")
    found, account = lengths.measure(rows, None, settings)
    assert found is not None
    assert (found.rows, account.split, account.pieces) == (4, 2, 4)
    assert account.tokens == 3 * (20 + 3 + 20 + 3) + (100 + 2), "the text's pieces overlap by one"
    assert account.dropped == {"without an exchange that fits 100 tokens": 1}


def test_chats_count_what_the_assistant_says() -> None:
    chat = Example(
        messages=(Message(role="user", content="x" * 70), Message(role="assistant", content="y" * 35))
    )
    found, _ = lengths.measure([chat, chat], None, Settings(max_tokens=1000))
    assert found is not None
    assert found.mean_tokens == 20 + 3 + 10 + 3
    assert found.trained_share == pytest.approx(13 / 36)


# --- what past runs teach -----------------------------------------------------------------

MACHINE = "cpu/here"
BESIDE = 200 << 20
"""Bytes of a run beside its process."""
TOLD = Prediction(machine=MACHINE, peak_bytes=PROCESS_BYTES + BESIDE, step_seconds=2.0, step_tokens=100)


def seen(memory: float, seconds: float = 2.0, machine: str = MACHINE) -> Observation:
    return Observation(
        predicted=TOLD.model_copy(update={"machine": machine}),
        peak_bytes=PROCESS_BYTES + round(BESIDE * memory),
        step_seconds=seconds,
        step_tokens=100,
    )


def test_without_runs_the_factors_are_one() -> None:
    assert calibration.factors([], MACHINE) == Factors()
    assert calibration.factors([seen(1.5, machine="cpu/elsewhere")], MACHINE) == Factors()


def test_factors_approach_what_was_measured() -> None:
    few = calibration.factors([seen(1.4)] * 2, MACHINE)
    many = calibration.factors([seen(1.4, seconds=4.0)] * 20, MACHINE)
    assert 1 < few.memory < many.memory < 1.4
    assert many.memory == pytest.approx(1.4, rel=0.05)
    assert many.seconds == pytest.approx(2.0, rel=0.1)
    assert many.runs == 20


def test_one_odd_run_moves_nothing_and_factors_are_bounded() -> None:
    odd = calibration.factors([seen(1.2)] * 9 + [seen(900.0, seconds=1e6)], MACHINE)
    assert odd == calibration.factors([seen(1.2)] * 10, MACHINE)
    assert calibration.factors([seen(900.0)] * 20, MACHINE).memory == 2.0


def test_a_run_smaller_than_its_process_teaches_nothing_about_memory() -> None:
    tiny = seen(5.0).model_copy(
        update={"predicted": TOLD.model_copy(update={"peak_bytes": PROCESS_BYTES + (8 << 20)})}
    )
    assert calibration.factors([tiny] * 20, MACHINE).memory == 1


def test_a_run_that_measured_nothing_teaches_nothing() -> None:
    empty = Observation(predicted=TOLD)
    assert calibration.factors([empty], MACHINE) == Factors()


def test_factors_are_taken_out_of_what_is_kept_so_that_they_do_not_multiply() -> None:
    learnt = Factors(memory=1.5, seconds=3.0, runs=9)
    corrected = plan().model_copy(update={"memory_factor": 1.5, "seconds_factor": 3.0})
    kept = calibration.prediction(estimate(corrected), machine=MACHINE, factors=learnt)
    bare = estimate(plan())
    assert kept.peak_bytes == pytest.approx(bare.peak_bytes, rel=1e-6)
    assert kept.step_seconds == pytest.approx(bare.step_seconds)
