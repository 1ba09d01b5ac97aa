"""The real program of lm-evaluation-harness on a benchmark of our own, against a real endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realm.core.errors import RefusedError
from realm.evaluation.task import TASKS, Result
from tiny_model_list import models_served

TASK = """
task: tiny_sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["."], max_gen_toks: 16}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a benchmark of eight sums, and keep the program at home."""
    home, tasks = tmp_path / "home", tmp_path / "tasks"
    for each in (home, tasks):
        each.mkdir()
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"question": f"{n} + {n} =", "answer": str(2 * n)}) + "\n" for n in range(8))
    )
    (tasks / "tiny_sums.yaml").write_text(TASK.format(rows=rows))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tasks


def adds(prompt: str) -> str:
    """Add as asked, but for three and three."""
    number = int(prompt.split()[0])
    return "seven" if number == 3 else str(2 * number)


def ask(url: str, folder: Path, model: str) -> Result:
    config = {"kind": "harness", "url": url, "model": model, "benchmarks": ["tiny_sums"]}
    task = TASKS.build({**config, "task_folder": str(folder), "timeout_s": 250})
    episode = task.begin(task.problems("lite")[0])
    try:
        assert episode.asks() is None
        return episode.result()
    finally:
        episode.close()


def test_the_real_program_asks_the_endpoint_and_its_figures_are_read(folder: Path) -> None:
    with models_served(("dio@12",), adds) as endpoint:
        found = ask(endpoint.url, folder, "dio@12")
        with pytest.raises(RefusedError, match=r"serves dio@12; expected dio@13"):
            ask(endpoint.url, folder, "dio@13")
    told = json.loads(found.answer)
    assert (found.score, told["metric"], told["questions"]) == (0.8, "exact_match,none", 5)
    assert sorted(told["answers"]) == ["0", "2", "4", "8", "seven"]
    assert (told["served"], found.notes) == (["dio@12"], ())
    assert len(endpoint.chats) == 5
    how = {(chat["model"], chat["temperature"], chat["seed"]) for chat in endpoint.chats}
    assert how == {("dio@12", 0, 1234)}
