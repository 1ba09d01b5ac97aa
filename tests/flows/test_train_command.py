"""`realm train` as a person uses it: recipes of their own, adapters, preferences, ranks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm import Realm
from realm.core.errors import NotFoundError, StateError
from realm.flows import control
from realm.flows.train import plan_training
from realm.flows.watching import tracked_id
from realm.skills.skill import SKILLS
from tiny_endpoint import served
from tiny_lab import carry_out_here, chat_rows, lab_up, make_lab, realm, realm_json, wait_until

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
    "rewarded": f"""
extends: study
{SMALL}}}
method:
  kind: grpo
  group_size: 2
  max_answer_tokens: 8
  rewards: [{{reward: {{kind: skill, skill: {{kind: bin}}}}}}]
""",
    "ranks": f"extends: study\n{SMALL}, device: cpu, launcher: {{kind: torchrun, processes: 2}}}}\n",
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
    assert first["servable"] == started["servable"]
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


def test_the_last_checkpoint_answers_though_it_was_saved_while_another_did(home: Path) -> None:
    def answer(asked: dict[str, object]) -> str:
        wait_until(home, lambda lab: lab.checkpoints()[-1].step == 4 and lab.checkpoints()[-1].run == run)
        return "nine"

    with Realm(home) as lab:
        run = f"run-{len(lab.runs()) + 1:04d}"
    with served(answer) as endpoint:
        previews = f"{{made_by: endpoint, endpoint: {{url: '{endpoint.url}', model: hero}}}}"
        recipe = f"extends: lora\nrules: {{watch: {{previews: {previews}}}}}\n"
        (home / "recipes" / "slow.yaml").write_text(recipe)
        assert _train(home, "chats.jsonl", "slow")["id"] == run
    with Realm(home) as lab:
        made = [entry[-1] for entry in lab.lab.ledger.events.list(["preview_written"])]
    assert [event.step for event in made if event.run == run] == [2, 4]


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


def test_prompts_with_what_is_expected_are_answered_under_a_reward(home: Path) -> None:
    rows = [
        {"prompt": row.messages[-2].content, "expected": row.messages[-1].content, "tags": row.tags}
        for problem in SKILLS.build("bin").drills(1, 8, weights={}, seed=1)
        for row in [problem.example("bin")]
    ]
    (home / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = _train(home, "prompts.jsonl", "rewarded")
    checkpoints = shown["checkpoints"]
    assert isinstance(checkpoints, list)
    assert {"reward", "answer_tokens", "loss"} <= set(checkpoints[-1]["stats"])


def test_two_ranks_train_where_no_lab_is_up(tmp_path: Path) -> None:
    home = prepared(tmp_path / "home")
    shown = _train(home, "chats.jsonl", "ranks")
    assert (_folder(home, shown) / "optimizer.safetensors").is_file()


def test_a_run_in_ranks_goes_on_in_another_number_of_them(tmp_path: Path) -> None:
    home = prepared(tmp_path / "home")
    with Realm(home) as lab:
        run, single = (
            plan_training(lab.lab, str(home / "chats.jsonl"), recipe=name).id for name in ("ranks", "whole")
        )
        lab.lab.queue.pause(run)
        lab.lab.queue.pause(single)
        planned = lab.lab.ledger.runs.get(run)
    refused = realm(home, "run", "resume", single, "--processes", "2")
    assert refused.returncode == 1
    assert f"{single} trains in one process" in refused.stderr
    assert realm(home, "run", "resume", run, "--processes", "65").returncode == 2
    assert realm_json(home, "run", "resume", run, "--processes", "3")["state"] == "queued"
    with Realm(home) as lab:
        assert lab.lab.queue.get(single).state.value == "paused"
        changed = lab.lab.ledger.runs.get(run)
        launcher = {"kind": "torchrun", "processes": 3, "strategy": "ddp", "timeout_s": 600.0}
        assert changed.spec["recipe"]["rules"]["launcher"] == launcher
        assert changed.spec_hash != planned.spec_hash
        assert {**changed.spec, "recipe": None} == {**planned.spec, "recipe": None}
        control.drop(lab.lab, run, "too many")
        control.drop(lab.lab, single, "not now")
    assert realm(home, "queue", "retry", single, "--processes", "2").returncode == 1
    assert realm_json(home, "queue", "retry", run, "--processes", "1")["state"] == "queued"
    with Realm(home) as lab:
        assert carry_out_here(lab.lab, run).state.value == "done"
        assert lab.lab.ledger.runs.get(run).spec["recipe"]["rules"]["launcher"]["processes"] == 1


def test_what_a_campaign_is_bound_to_is_changed_only_on_purpose(tmp_path: Path) -> None:
    home = prepared(tmp_path / "home")
    with Realm(home) as lab:
        plan_training(lab.lab, str(home / "chats.jsonl"), recipe="whole")
        with pytest.raises(StateError, match=r"context_tokens 1024 → 2048") as caught:
            plan_training(lab.lab, str(home / "chats.jsonl"), recipe="longer")
        assert "--migrate" in caught.value.hint
        job = plan_training(lab.lab, str(home / "chats.jsonl"), recipe="longer", migrate=True)
        assert lab.lab.ledger.runs.get(job.id).spec["migrated"] == ["context_tokens 1024 → 2048"]
        silent = plan_training(lab.lab, str(home / "chats.jsonl"), recipe="whole")
        assert lab.lab.ledger.runs.get(silent.id).spec["locked"]["context_tokens"] == 2048
        with pytest.raises(NotFoundError, match="no dataset is called 'nothing'"):
            plan_training(lab.lab, "nothing")
        for path in ("/nowhere.jsonl", "nowhere/rows", "rows.jsonl"):
            with pytest.raises(NotFoundError, match=f"^no such file: {path}\n.*check the path"):
                plan_training(lab.lab, path)


def test_runs_of_two_labs_are_two_in_a_tracker(tmp_path: Path) -> None:
    ids = set()
    for name in ("one", "two"):
        home = prepared(tmp_path / name / "lab")
        with Realm(home) as lab:
            run = plan_training(lab.lab, str(home / "chats.jsonl"), recipe="whole").id
        moved = home.rename(home.with_name(f"{name} moved"))
        with Realm(moved) as lab:
            ids.add(tracked_id(lab.lab.ledger.runs.get(run)))
            ids.add(tracked_id(lab.lab.ledger.runs.get(run)))
    assert len(ids) == 2
    assert all(found.startswith("first-run-0001-") for found in ids)


def test_what_a_recipe_overrides_is_said(home: Path) -> None:
    [found] = realm_json(home, "config", "check", "ranks")
    assert "rules.batch_rows: 4 → 8" in found["overrides"]
    done = realm(home, "config", "check", "nope")
    assert done.returncode == 3
