from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tiny_runs import drills, make_job, run, stages

from realm.core.events import RunStarted
from realm.core.records import ArtifactKind
from realm.storage.store import Store
from realm.training.parameter import PARAMETERS
from realm.training.rules import Saving
from realm.training.servability import Engine, ModelFacts, Servable, servable

QWEN3 = ModelFacts(model_type="qwen3")


def found(
    settings: Any, model: ModelFacts = QWEN3, *, on_adapter: bool = False, **saving: Any
) -> dict[Engine, Servable]:
    parameters, rules = PARAMETERS.config(settings), Saving(**saving)
    return {each.engine: each for each in servable(parameters, model, rules, on_adapter=on_adapter)}


def hows(settings: Any, **settled: Any) -> tuple[str, ...]:
    return tuple(each.how for each in found(settings, **settled).values())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("full", ("as is", "as is", "as is")),
        ("lora", ("as is", "as is", "as is")),
        ({"kind": "lora", "bits": 4}, ("as is", "as is", "as is")),
        ({"kind": "lora", "rank": 17}, ("as is", "only merged", "as is")),
        ({"kind": "lora", "dora": True}, ("as is", "only merged", "only merged")),
        ({"kind": "lora", "experts": True}, ("as is", "only merged", "only merged")),
        ({"kind": "lora", "rank_stabilised": True}, ("as is", "as is", "only merged")),
        ({"kind": "lora", "frozen": ["/vault/" + "a" * 64]}, ("only merged",) * 3),
    ],
)
def test_each_engine_says_how_it_serves_the_result(settings: Any, expected: tuple[str, ...]) -> None:
    assert hows(settings) == expected
    assert list(found(settings)) == ["transformers", "vllm", "llama.cpp"]


def test_what_must_be_merged_names_the_remedy() -> None:
    vllm = found({"kind": "lora", "dora": True, "rank": 64})["vllm"]
    assert vllm.how == "only merged"
    assert "set rules.saving.merge: true" in vllm.reason


def test_a_run_that_merges_leaves_a_whole_model() -> None:
    settings = {"kind": "lora", "dora": True, "rank": 64}
    for each in found(settings, merge=True, on_adapter=True).values():
        assert each.how == "as is"
        assert each.reason.startswith("a whole model")
        assert each.reason.endswith("merged at the end")
    assert "merged" not in found("full", merge=True)["vllm"].reason


def test_an_adapter_on_an_adapter_is_served_by_no_engine_as_it_is() -> None:
    """One adapter a prompt: what lies between it and the whole model would be left out."""
    assert hows("lora", on_adapter=True) == ("only merged",) * 3
    assert hows("full", on_adapter=True) == ("as is",) * 3


def test_a_run_on_another_runs_adapter_tells_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "vault")

    def put(folder: str) -> str:
        return store.publish(Path(folder), ArtifactKind.CHECKPOINT, lambda ref: ref.hash)

    def told(rank: int, base: str, **saving: Any) -> tuple[tuple[str, ...], str]:
        folder = str(store.path(ArtifactKind.CHECKPOINT, base))
        adapter = {"kind": "lora", "rank": rank}
        name = f"rank{rank}-{len(saving)}"
        job = make_job(tmp_path, drills(8), run=name, steps=1, parameters=adapter, saving=saving)
        events = run(job.model_copy(update={"base": base, "start": folder, "origin": folder}))
        [started] = [event for event in events if isinstance(event, RunStarted)]
        return started.servable, stages(events)[-1].stage

    whole = put(make_job(tmp_path, drills(8)).start)
    lines, adapter = told(5, whole)
    assert lines[1] == "vllm: as is (an adapter of rank 5 beside its base)"
    below = put(adapter)
    lines, _ = told(4, below)
    assert all(": only merged (its base is itself an adapter" in line for line in lines)
    lines, merged = told(4, below, merge=True)
    assert all(": as is (a whole model" in line for line in lines)
    assert (Path(merged) / "model.safetensors").is_file()


def test_vllm_serves_ranks_up_to_what_it_was_started_with() -> None:
    assert found({"kind": "lora", "rank": 64}, vllm_max_rank=64)["vllm"].how == "as is"
    vllm = found({"kind": "lora", "rank": 33})["vllm"]
    assert vllm.how == "only merged"
    assert "--max-lora-rank 64 would do" in vllm.reason
    assert "end at 512" in found({"kind": "lora", "rank": 600}, vllm_max_rank=512)["vllm"].reason


def test_a_rank_that_vllm_cannot_be_started_with_is_refused() -> None:
    with pytest.raises(ValidationError):
        Saving.model_validate({"vllm_max_rank": 17})


def test_all_reasons_are_told() -> None:
    reason = found({"kind": "lora", "rank": 64, "dora": True})["vllm"].reason
    assert "DoRA" in reason
    assert "--max-lora-rank" in reason


def test_an_engine_that_does_not_know_the_model_says_so() -> None:
    told = found("full", ModelFacts(model_type="strange"))
    assert (told["vllm"].how, told["llama.cpp"].how) == ("no", "no")
    assert told["transformers"].how == "as is"
    assert "strange" in told["vllm"].reason
