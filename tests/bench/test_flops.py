from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, Qwen3Config

from realm.bench.cases import SUITES, Case
from realm.bench.flops import Shape, Work, must_compute, work_of
from realm.models.adapters import AdapterShape, wrap

ONE = Shape(hidden_size=2, layers=1, heads=1, kv_heads=1, head_dim=2, intermediate_size=3, vocabulary=5)
TWO = ONE.model_copy(update={"layers": 2})
WORK = Work(inputs=10, trained=4, pairs=55, trained_pairs=20)


def test_the_sizes_of_chats() -> None:
    # Four tokens, the last two trained: 3 inputs, 1 + 2 + 3 pairs; places 2 and 3 look at 2 and 3 tokens.
    assert work_of([[False, False, True, True]]) == Work(inputs=3, trained=2, pairs=6, trained_pairs=5)
    # A first token is never predicted.
    assert work_of([[True, True]]) == Work(inputs=1, trained=1, pairs=1, trained_pairs=1)
    both = work_of([[False, False, True, True], [True, True]])
    assert both == Work(inputs=4, trained=3, pairs=7, trained_pairs=6)


def test_full_training_by_hand() -> None:
    # One layer is the last one: k and v (2·2 each) everywhere, q and o (2·2) and the MLP (3·2·3) at 4 places.
    layer = 10 * (4 + 4) + 4 * (4 + 4 + 18)
    head = 4 * 2 * 5
    attention = 12 * 2 * 20
    assert must_compute(ONE, WORK, None) == 6 * (layer + head) + attention
    # The layer before it does everything everywhere.
    assert must_compute(TWO, WORK, None) == must_compute(ONE, WORK, None) + 6 * 10 * 34 + 12 * 2 * 55


def test_lora_by_hand() -> None:
    rank = 1
    # First and last layer at once: nothing trained lies before q (4 places), k and v (10 places).
    begins = (2 * 4 + 4 * 2 * rank + 6 * 2 * rank) * (4 + 10 + 10)
    o = (4 * 4 + 6 * (2 + 2) * rank) * 4
    mlp = 3 * (4 * 6 + 6 * (2 + 3) * rank) * 4
    head, attention = 4 * 4 * 2 * 5, 12 * 2 * 20
    assert must_compute(ONE, WORK, rank) == begins + o + mlp + head + attention


def test_the_projections_are_what_torch_counts() -> None:
    hidden, wide, tokens = 8, 12, 5
    shape = Shape(
        hidden_size=hidden,
        layers=1,
        heads=2,
        kv_heads=1,
        head_dim=4,
        intermediate_size=wide,
        vocabulary=16,
    )
    work = Work(inputs=tokens, trained=tokens, pairs=0, trained_pairs=0)
    sizes = [(8, 8), (8, 4), (8, 4), (8, 8), (8, 12), (8, 12), (12, 8), (8, 16)]
    with FlopCounterMode(display=False) as counter:
        for inputs, outputs in sizes:
            x_TC = torch.randn(tokens, inputs, requires_grad=True)
            weight = torch.randn(outputs, inputs, requires_grad=True)
            torch.nn.functional.linear(x_TC, weight).sum().backward()
    assert must_compute(shape, work, None) == counter.get_total_flops()


@pytest.mark.parametrize(
    "case", [case for suite in SUITES.values() for case in suite.cases("fp32")], ids=lambda case: case.name
)
def test_what_a_case_must_compute_is_what_torch_counts(case: Case) -> None:
    # The first layer, the last one, and two like all between.
    layers, tokens = 4, 7
    shape = case.shape.model_copy(update={"layers": layers})
    # Plain attention looks at all pairs, behind every token of it something is predicted.
    work = Work(inputs=tokens, trained=tokens, pairs=tokens**2, trained_pairs=tokens**2)
    model = _model(case, layers)
    with FlopCounterMode(display=False) as counter:
        ids_1T = torch.zeros(1, tokens, dtype=torch.long, device="meta")
        mask_11TT = torch.zeros(1, 1, tokens, tokens, device="meta")
        model(input_ids=ids_1T, attention_mask=mask_11TT, use_cache=False).logits.sum().backward()
    assert must_compute(shape, work, case.rank) == counter.get_total_flops()


def _model(case: Case, layers: int) -> torch.nn.Module:
    """Return transformers' own model of a case, with PEFT's adapter where it has one, without memory."""
    blank, lora = case.blank, case.lora
    config = Qwen3Config(
        vocab_size=case.vocabulary,
        hidden_size=blank.hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=blank.heads,
        num_key_value_heads=blank.kv_heads,
        head_dim=blank.head_dim,
        intermediate_size=case.shape.intermediate_size,
        tie_word_embeddings=blank.tie_embeddings,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        if lora is not None:
            model = wrap(model, AdapterShape(**lora.model_dump()), 0)
    return model


@pytest.mark.parametrize("rank", [None, 16])
def test_only_trained_places_cost_a_head(rank: int | None) -> None:
    larger = ONE.model_copy(update={"vocabulary": 105})
    more = must_compute(larger, WORK, rank) - must_compute(ONE, WORK, rank)
    assert more == (6 if rank is None else 4) * 2 * 100 * WORK.trained
