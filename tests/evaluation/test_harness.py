from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from realm.core.errors import ConfigError, MissingExtraError, RefusedError, StateError, UnavailableError
from realm.evaluation.task import TASKS, Result
from realm.skills.skill import Problem

FIGURES = {"alias": "sums", "exact_match,strict": 0.75, "exact_match_stderr,strict": 0.1, "f1,none": 0.5}
CONFIG = {
    "kind": "harness",
    "url": "http://127.0.0.1:9/v1",
    "model": "dio@12",
    "benchmarks": ["sums", "facts"],
}
PROGRAM = """#!{python}
import json, os, sys, time
from pathlib import Path
folder = Path({folder!r})
words = sys.argv[1:]
(folder / "seen.json").write_text(json.dumps({{"words": words, "environment": dict(os.environ)}}))
print("loading", "x" * 100_000)
{work}
"""
WRITES = """
out = Path(words[words.index("--output_path") + 1]) / "some__model"
out.mkdir(parents=True)
task = words[words.index("--tasks") + 1]
document = {{"results": {{task: {figures}}}, "n-samples": {{task: {{"original": 99, "effective": 5}}}}}}
(out / "results_2026.json").write_text(json.dumps(document))
said = ["two", ""]
lines = "".join(json.dumps({{"resps": [[word]]}}) + "\\n" for word in said)
(out / f"samples_{{task}}_2026.jsonl").write_text(lines)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put an `lm_eval` on the PATH that does what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    # A harness that is installed beside the interpreter would come first.
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(folder))

    def install(work: str) -> Path:
        path = folder / "lm_eval"
        path.write_text(PROGRAM.format(python=PYTHON, folder=str(folder), work=work))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return folder

    return install


PYTHON = sys.executable


def ask(size: str = "lite", **changes: Any) -> Result:
    task = TASKS.build({**CONFIG, **changes})
    problem: Problem = task.problems(size)[0]  # type: ignore[arg-type]
    episode = task.begin(problem)
    try:
        assert episode.asks() is None
        return episode.result()
    finally:
        episode.close()


def seen(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return found


def test_a_benchmark_is_run_and_its_metric_is_the_score(program: Any) -> None:
    folder = program(WRITES.format(figures=FIGURES))
    found = ask()
    assert found.score == 0.75
    told = json.loads(found.answer)
    assert (told["metric"], told["questions"], told["figures"]["f1,none"]) == ("exact_match,strict", 5, 0.5)
    assert told["answers"] == ["two", ""]
    words = seen(folder)["words"]
    assert words[words.index("--tasks") + 1] == "sums"
    assert words[words.index("--limit") + 1] == "5"
    assert (
        "model=dio@12,base_url=http://127.0.0.1:9/v1/chat/completions"
        in words[words.index("--model_args") + 1]
    )
    assert not {"--trust_remote_code", "--confirm_run_unsafe_code"} & set(words)
    assert ask(metric="f1").score == 0.5
    ask(everything=True)
    assert "--limit" not in seen(folder)["words"]
    ask("full")
    assert "30" in seen(folder)["words"]


def test_the_key_travels_in_the_environment_alone(
    program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_SECRET", "hunter2")
    monkeypatch.setenv("OPENAI_API_KEY", "of somebody else")
    folder = program(WRITES.format(figures=FIGURES))
    key = tmp_path / "key"
    key.write_text("s3cret\n")
    ask(key_file=str(key))
    found = seen(folder)
    assert found["environment"]["OPENAI_API_KEY"] == "s3cret"
    assert "s3cret" not in " ".join(found["words"])
    assert "OTHER_SECRET" not in found["environment"]
    ask()
    assert seen(folder)["environment"]["OPENAI_API_KEY"] == "none"
    with pytest.raises(ConfigError, match="no key"):
        ask(key_file=str(tmp_path / "gone"))


def test_without_the_program_the_extra_is_named(program: Any) -> None:
    with pytest.raises(MissingExtraError, match="lm_eval") as caught:
        ask()
    assert "realm-lab[harness]" in caught.value.hint


@pytest.mark.parametrize(
    ("work", "error", "message"),
    [
        ("print('no such task'); sys.exit(3)", RefusedError, "code 3 on sums: .*no such task"),
        ("pass", RefusedError, "left no results of sums"),
        (WRITES.format(figures={"alias": "sums", "perplexity,none": 7.5}), RefusedError, "no metric"),
        (
            WRITES.format(figures={"exact_match,none": True}).replace("task: {", "'x': {"),
            RefusedError,
            "unreadable",
        ),
        (
            WRITES.format(figures=FIGURES) + "(out / 'results_9.json').write_text('[' * 9999)",
            RefusedError,
            "unread",
        ),
        (WRITES.format(figures=FIGURES).replace('"two", ""', '"", ""'), RefusedError, "could not read"),
        (
            WRITES.format(figures=FIGURES) + "print('Could not parse generations: x')",
            RefusedError,
            "could not read",
        ),
        ("time.sleep(60)", UnavailableError, "not done within 0 s"),
    ],
)
def test_what_goes_wrong_is_an_error_and_never_a_score(
    program: Any, work: str, error: type[Exception], message: str
) -> None:
    program(work)
    with pytest.raises(error, match=message):
        ask(timeout_s=0.4 if "sleep" in work else 60)


def test_nothing_but_names_and_safe_addresses_reaches_the_program() -> None:
    for change in (
        {"model": "a,base_url=http://evil"},
        {"benchmarks": ["--trust_remote_code"]},
        {"benchmarks": []},
        {"url": "http://192.168.0.7/v1"},
        {"url": "https://user:pass@host/v1"},
        {"program": "/bin/sh"},
    ):
        with pytest.raises((ConfigError, ValidationError)):
            TASKS.config({**CONFIG, **change})


def test_an_episode_that_has_not_run_has_no_result(program: Any) -> None:
    program("pass")
    task = TASKS.build(CONFIG)
    episode = task.begin(task.problems("lite")[0])
    with pytest.raises(StateError):
        episode.result()
    with pytest.raises(StateError):
        episode.take("an answer")
