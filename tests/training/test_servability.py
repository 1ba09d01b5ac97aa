from __future__ import annotations

from typing import Any

import pytest

from realm.training.parameter import PARAMETERS
from realm.training.servability import ModelFacts, servable

QWEN3 = ModelFacts(model_type="qwen3")


def hows(settings: Any, model: ModelFacts = QWEN3, most: int = 16) -> dict[str, str]:
    return {each.engine: each.how for each in servable(PARAMETERS.config(settings), model, most)}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("full", ("as is", "as is", "as is")),
        ("lora", ("as is", "as is", "as is")),
        ({"kind": "lora", "bits": 4}, ("as is", "as is", "as is")),
        ({"kind": "lora", "rank": 17}, ("as is", "merged", "as is")),
        ({"kind": "lora", "dora": True}, ("as is", "merged", "merged")),
        ({"kind": "lora", "experts": True}, ("as is", "merged", "merged")),
        ({"kind": "lora", "rank_stabilised": True}, ("as is", "as is", "merged")),
    ],
)
def test_each_engine_says_how_it_serves_the_result(settings: Any, expected: tuple[str, ...]) -> None:
    assert tuple(hows(settings).values()) == expected
    assert list(hows(settings)) == ["transformers", "vllm", "llama.cpp"]


def test_vllm_serves_ranks_up_to_what_it_was_started_with() -> None:
    assert hows({"kind": "lora", "rank": 64}, most=64)["vllm"] == "as is"
    [vllm] = [
        s for s in servable(PARAMETERS.config({"kind": "lora", "rank": 33}), QWEN3) if s.engine == "vllm"
    ]
    assert vllm.how == "merged"
    assert "--max-lora-rank 64 would do" in vllm.reason
    [above] = [
        s
        for s in servable(PARAMETERS.config({"kind": "lora", "rank": 600}), QWEN3, 512)
        if s.engine == "vllm"
    ]
    assert "end at 512" in above.reason


def test_all_reasons_are_told() -> None:
    config = PARAMETERS.config({"kind": "lora", "rank": 64, "dora": True})
    reasons = {each.engine: each.reason for each in servable(config, QWEN3)}
    assert "DoRA" in reasons["vllm"]
    assert "--max-lora-rank" in reasons["vllm"]


def test_an_engine_that_does_not_know_the_model_says_so() -> None:
    found = {s.engine: s for s in servable(PARAMETERS.config("full"), ModelFacts(model_type="strange"))}
    assert (found["vllm"].how, found["llama.cpp"].how) == ("no", "no")
    assert found["transformers"].how == "as is"
    assert "strange" in found["vllm"].reason
