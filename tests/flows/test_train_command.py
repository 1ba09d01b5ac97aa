"""`realm train` as a person uses it: recipes of their own, adapters, preferences, ranks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm import Realm
from realm.core.errors import NotFoundError, StateError
from realm.flows.train import plan_training
from tiny_endpoint import served
from tiny_lab import chat_rows, lab_up, make_lab, realm, realm_json, wait_until

SMALL = "rules: {batch_rows: 8, steps: 4, saving: {every_steps: 2}, threads: 1"
RECIPES = {
    "lora": f"""
extends: study
{SMALL},
  parameters: {{kind: lora, rank: 4, alpha: 8}},
  watch:
    {{layers_every_steps: 2, sinks: [jsonl],
     previews: {{prompts: ["What is 3?"], every_steps: 2, max_tokens: 4}}}}}}
where: {{validation: {{share: 0.2, every_steps: 2}}}}
""",
    "whole": f"extends: study\n{SMALL}}}\n",
    "merged": """
extends: lora
rules: {parameters: {dora: true}, saving: {merge: true}, watch: {previews: {made_by: checkpoint}}}
""",
    "prefer": f"extends: study\n{SMALL}}}\nmethod: {{kind: dpo, beta: 0.5}}\n",
    "ranks": f"extends: study\n{SMALL}, launcher: {{kind: torchrun, processes: 2}}}}\n",
    "longer": f"extends: study\n{SMALL}}}\nmodel: {{context_tokens: 2048}}\n",
}


def prepared(path: Path) -> Path:
    home = make_lab(path, drills=False)
    for name, text in RECIPES.items():
        (home / "recipes" / f"{name}.yaml").write_text(text)
    (home / "chats.jsonl").write_text(chat_rows(60))
    rows = [
        {
            "prompt": [{"role": "user", "content": f"What is {n}?"}],
            "chosen": [{"role": "assistant", "content": f"{n} is {n * n}."}],
            "rejected": [{"role": "assistant", "content": "No idea."}],
        }
        for n in range(40)
    ]
    (home / "prefs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a home whose lab is up, so that one process imports what training needs, once for all runs."""
    home = prepared(tmp_path_factory.mktemp("train") / "home")
    with lab_up(home):
        wait_until(home, lambda lab: lab.status().holder is not None)
        yield home


def _train(home: Path, file: str, recipe: str) -> dict[str, object]:
    job = realm_json(home, "train", str(home / file), "--recipe", recipe)
    assert job["state"] == "done", job
    shown = realm_json(home, "run", "show", job["id"])
    assert [checkpoint["step"] for checkpoint in shown["checkpoints"]] == [2, 4]
    return dict(shown)


def _folder(home: Path, shown: dict[str, object]) -> Path:
    checkpoints = shown["checkpoints"]
    assert isinstance(checkpoints, list)
    return home / "vault" / "checkpoints" / str(checkpoints[-1]["hash"]).removeprefix("sha256:")


def test_an_adapter_is_trained_watched_served_and_taken_up_by_the_next_runs(home: Path) -> None:
    first = _train(home, "chats.jsonl", "lora")
    folder = _folder(home, first)
    below = json.loads((folder / "base.json").read_text())["base"]
    assert below == first["start"]
    events = realm_json(home, "run", "watch", str(first["id"]), "--no-follow")
    kinds = {event["kind"] for event in events}
    assert {"layers_measured", "validation_measured", "preview_written", "step_taken"} <= kinds
    started = next(event for event in events if event["kind"] == "run_started")
    assert 0 < started["trained_parameters"] < started["parameters"]
    assert [line.split(":")[0] for line in started["servable"]] == ["transformers", "vllm", "llama.cpp"]
    figures = [
        json.loads(line)
        for line in (home / ".realm" / "tracking" / f"{first['id']}.figures.jsonl").read_text().splitlines()
    ]
    assert "train/loss" in str(figures)
    assert "eval/held-out_loss" in str(figures)
    with Realm(home) as lab:
        assert isinstance(lab.ask("What is 3?", "dio@latest"), str)

    again = _train(home, "chats.jsonl", "lora")
    assert json.loads((_folder(home, again) / "base.json").read_text())["base"] == below
    whole = _train(home, "chats.jsonl", "whole")
    assert (_folder(home, whole) / "model.safetensors").is_file()


def test_an_adapter_that_vllm_refuses_is_merged_at_the_end_when_asked(home: Path) -> None:
    shown = _train(home, "chats.jsonl", "merged")
    folder = _folder(home, shown)
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "adapter_config.json").exists()
    with Realm(home) as lab:
        kept = [entry[-1].kind for entry in lab.lab.ledger.events.list()]
    assert "preview_written" in kept


def test_a_service_answers_previews_for_each_saved_adapter(home: Path) -> None:
    with served(lambda asked: f"{asked.get('model', '')[:8]}: nine") as endpoint:
        previews = (
            f"{{made_by: endpoint, endpoint: {{url: '{endpoint.url}', model: hero, load_adapter: true}}}}"
        )
        recipe = f"extends: lora\nrules: {{watch: {{previews: {previews}}}}}\n"
        (home / "recipes" / "served.yaml").write_text(recipe)
        shown = _train(home, "chats.jsonl", "served")
        asked = [(path.rpartition("/")[2], request) for path, request, _ in endpoint.asked]
    checkpoints = shown["checkpoints"]
    assert isinstance(checkpoints, list)
    first = str(checkpoints[0]["hash"]).removeprefix("sha256:")
    assert asked[0][0] == "load_lora_adapter"
    assert asked[0][1]["lora_name"] == first
    assert (Path(asked[0][1]["lora_path"]) / "adapter_model.safetensors").is_file()
    assert asked[1][1]["model"] == first
    with Realm(home) as lab:
        made = [entry[-1] for entry in lab.lab.ledger.events.list() if entry[-1].kind == "preview_written"]
    [told] = [event for event in made if event.run == shown["id"] and event.step == 2]
    assert told.samples == (("What is 3?", f"{first[:8]}: nine"),)
    assert told.source == f"endpoint {endpoint.url}, {first}"


def test_a_service_out_of_reach_costs_previews_and_no_run(home: Path) -> None:
    with served(lambda _: "") as endpoint:
        url = endpoint.url
    service = f"{{url: '{url}', model: hero, attempts: 1}}"
    recipe = f"extends: lora\nrules: {{watch: {{previews: {{made_by: endpoint, endpoint: {service}}}}}}}\n"
    (home / "recipes" / "unserved.yaml").write_text(recipe)
    _train(home, "chats.jsonl", "unserved")


def test_preferences_are_trained_from_a_file(home: Path) -> None:
    shown = _train(home, "prefs.jsonl", "prefer")
    checkpoints = shown["checkpoints"]
    assert isinstance(checkpoints, list)
    assert {"margin", "accuracy", "loss"} <= set(checkpoints[-1]["stats"])


def test_two_ranks_train_where_no_lab_is_up(tmp_path: Path) -> None:
    home = prepared(tmp_path / "home")
    shown = _train(home, "chats.jsonl", "ranks")
    assert (_folder(home, shown) / "optimizer.safetensors").is_file()


def test_what_a_campaign_is_bound_to_is_changed_only_on_purpose(tmp_path: Path) -> None:
    home = prepared(tmp_path / "home")
    with Realm(home) as lab:
        plan_training(lab.lab, str(home / "chats.jsonl"), recipe="whole")
        with pytest.raises(StateError, match=r"context_tokens 1024 → 2048") as caught:
            plan_training(lab.lab, str(home / "chats.jsonl"), recipe="longer")
        assert "--migrate" in caught.value.hint
        job = plan_training(lab.lab, str(home / "chats.jsonl"), recipe="longer", migrate=True)
        assert lab.lab.ledger.runs.get(job.id).spec["migrated"] == ["context_tokens 1024 → 2048"]
        with pytest.raises(StateError, match=r"context_tokens 2048 → 1024"):
            plan_training(lab.lab, str(home / "chats.jsonl"), recipe="whole")
        with pytest.raises(NotFoundError, match="no dataset is called 'nothing'"):
            plan_training(lab.lab, "nothing")


def test_what_a_recipe_overrides_is_said(home: Path) -> None:
    [found] = realm_json(home, "config", "check", "ranks")
    assert "rules.batch_rows: 4 → 8" in found["overrides"]
    done = realm(home, "config", "check", "nope")
    assert done.returncode == 3
