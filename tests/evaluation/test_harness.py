from __future__ import annotations

import json
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from realm.core.errors import ConfigError, MissingExtraError, RefusedError, StateError, UnavailableError
from realm.core.events import AnswersGraded, Event
from realm.core.hashing import hash_bytes
from realm.evaluation.child import EvaluateJob, evaluate
from realm.evaluation.score import comparable
from realm.evaluation.suite import Sampling, parts_of
from realm.evaluation.task import TASKS, Result
from realm.skills.skill import Problem
from tiny_model_list import Models, models_served

FIGURES = {"alias": "sums", "exact_match,strict": 0.75, "exact_match_stderr,strict": 0.1, "f1,none": 0.5}
CONFIG: dict[str, Any] = {
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


@pytest.fixture(scope="module")
def served() -> Iterator[Models]:
    """Serve what CONFIG names, beside another model."""
    with models_served(("other", CONFIG["model"])) as endpoint:
        yield endpoint


@pytest.fixture
def url(served: Models) -> str:
    return served.url


def ask(url: str, size: str = "lite", **changes: Any) -> Result:
    task = TASKS.build({**CONFIG, "url": url, **changes})
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


def test_a_benchmark_is_run_and_its_metric_is_the_score(program: Any, url: str) -> None:
    folder = program(WRITES.format(figures=FIGURES))
    found = ask(url)
    assert found.score == 0.75
    told = json.loads(found.answer)
    assert (told["metric"], told["questions"], told["figures"]["f1,none"]) == ("exact_match,strict", 5, 0.5)
    assert told["answers"] == ["two", ""]
    assert (told["model"], told["served"], found.notes) == ("dio@12", ["dio@12", "other"], ())
    words = seen(folder)["words"]
    assert words[words.index("--tasks") + 1] == "sums"
    assert words[words.index("--limit") + 1] == "5"
    assert f"model=dio@12,base_url={url}/chat/completions" in words[words.index("--model_args") + 1]
    assert not {"--trust_remote_code", "--confirm_run_unsafe_code"} & set(words)
    assert ask(url, metric="f1").score == 0.5
    ask(url, everything=True)
    assert "--limit" not in seen(folder)["words"]
    ask(url, "full")
    assert "30" in seen(folder)["words"]


def test_the_key_travels_in_the_environment_alone(
    program: Any, served: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = served.url
    monkeypatch.setenv("OTHER_SECRET", "hunter2")
    monkeypatch.setenv("OPENAI_API_KEY", "of somebody else")
    folder = program(WRITES.format(figures=FIGURES))
    key = tmp_path / "key"
    key.write_text("s3cret\n")
    ask(url, key_file=str(key))
    found = seen(folder)
    assert found["environment"]["OPENAI_API_KEY"] == "s3cret"
    assert "s3cret" not in " ".join(found["words"])
    assert "OTHER_SECRET" not in found["environment"]
    assert served.asked[-1] == ("/v1/models", "Bearer s3cret")
    ask(url)
    assert seen(folder)["environment"]["OPENAI_API_KEY"] == "none"
    assert served.asked[-1] == ("/v1/models", None)
    os.mkfifo(tmp_path / "pipe")
    for nothing in ("gone", "pipe"):
        with pytest.raises(ConfigError, match="no key"):
            ask(url, key_file=str(tmp_path / nothing))
    for bad in ("", "two\r\nHost: elsewhere"):
        key.write_bytes(bad.encode())
        with pytest.raises(ConfigError, match="no key"):
            ask(url, key_file=str(key))


MANY = tuple(f"model-{n}" for n in range(150))


@pytest.mark.parametrize(
    ("listed", "error", "told"),
    [
        (("dio@11", "dio"), RefusedError, "serves dio@11, dio; expected dio@12"),
        ((), RefusedError, "serves nothing; expected dio@12"),
        (MANY, RefusedError, "model-7 and 142 more; expected dio@12"),
        (("dio@12\u202e",), RefusedError, "serves dio@12; expected dio@12"),
        (401, RefusedError, "answered with status 401"),
        (b'{"data": []' + b" " * (4 << 20) + b"}", RefusedError, "more than 4 MiB"),
        (500, UnavailableError, "gave no answer: status 500"),
    ],
)
def test_an_endpoint_that_does_not_serve_the_model_is_not_asked(
    program: Any, monkeypatch: pytest.MonkeyPatch, listed: Any, error: type[Exception], told: str
) -> None:
    monkeypatch.setattr("realm.http.client.time.sleep", lambda _: None)
    folder = program(WRITES.format(figures=FIGURES))
    with models_served(listed) as endpoint, pytest.raises(error, match=told):
        ask(endpoint.url)
    assert not (folder / "seen.json").exists()
    assert {path for path, _ in endpoint.asked} == {"/v1/models"}


def test_a_server_that_is_away_is_told_before_the_program_runs(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm.http.client.time.sleep", lambda _: None)
    folder = program(WRITES.format(figures=FIGURES))
    with pytest.raises(UnavailableError, match="gave no answer") as caught:
        ask("http://127.0.0.1:1/v1")
    assert "is it running" in caught.value.hint
    assert not (folder / "seen.json").exists()


@pytest.mark.parametrize(
    "listed", [404, 405, 501, b"<html>", b"[]", b"[" * 99_999, b'{"data": 3}', b'{"data": ["dio@12"]}']
)
def test_a_server_that_does_not_say_what_it_serves_is_asked_with_a_note(program: Any, listed: Any) -> None:
    program(WRITES.format(figures=FIGURES))
    with models_served(listed) as endpoint:
        found = ask(endpoint.url)
    assert (found.score, json.loads(found.answer)["served"]) == (0.75, None)
    assert found.notes == ("the server does not say what it serves",)


def test_what_is_served_is_recorded_up_to_a_hundred_names(program: Any) -> None:
    program(WRITES.format(figures=FIGURES))
    with models_served((*MANY, "dio@12")) as endpoint:
        names = json.loads(ask(endpoint.url).answer)["served"]
    assert (len(names), names[:2]) == (100, ["dio@12", "model-0"])


def test_without_the_program_the_extra_is_named(program: Any, url: str) -> None:
    with pytest.raises(MissingExtraError, match="lm_eval") as caught:
        ask(url)
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
    program: Any, url: str, work: str, error: type[Exception], message: str
) -> None:
    program(work)
    with pytest.raises(error, match=message):
        ask(url, timeout_s=0.4 if "sleep" in work else 60)


def test_nothing_but_names_and_safe_addresses_reaches_the_program() -> None:
    for change in (
        {"model": "a,base_url=http://evil"},
        {"benchmarks": ["--trust_remote_code"]},
        {"benchmarks": []},
        {"url": "http://192.168.0.7/v1"},
        {"url": "https://user:pass@host/v1"},
        {"url": "http://127.0.0.1:9/v1,tokenizer=evil/repo,trust_remote_code=True,x=1"},
        {"url": "https://host,trust_remote_code=True,x=y/v1"},
        {"url": "https://host/v1'"},
        {"url": "https://host/v1(x"},
        {"url": "https://host/v1 x"},
        {"url": "https://host\n/v1"},
        {"program": "/bin/sh"},
    ):
        with pytest.raises((ConfigError, ValidationError)):
            TASKS.config({**CONFIG, **change})


NAMES = ("1", "1_0", "0x1f", "1e5", "1.5", "3j", "1+2j", "inf", "NaN", "None", "true", "False")


@pytest.mark.parametrize("model", ["dio@12", "org/dio-7b:v1.5", "7b", "2026-11-20", "x1e5", "1.5b", *NAMES])
@pytest.mark.parametrize(
    "root", ["http://127.0.0.1:9/v1", "http://[::1]:9/a%20b/v1", "https://a.example/-/v1"]
)
def test_the_program_reads_name_and_address_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, root: str
) -> None:
    if model in NAMES:
        with pytest.raises((ConfigError, ValidationError), match="does not read"):
            TASKS.config({**CONFIG, "url": root, "model": model})
        return
    task = TASKS.build({**CONFIG, "url": root, "model": model})
    benchmark: Any = task.begin(task.problems("lite")[0])
    words = list(benchmark._arguments(tmp_path))[1:]
    monkeypatch.setattr(sys, "argv", ["lm_eval", "run", *words])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lm_eval.__main__ import HarnessCLI
        from lm_eval.utils import simple_parse_args_string

        found = HarnessCLI().parse_args().model_args
        older = simple_parse_args_string(words[words.index("--model_args") + 1])
    assert found == older
    assert found == {
        "model": model,
        "base_url": f"{root}/chat/completions",
        "tokenized_requests": False,
        "seed": 1234,
    }


class Unasked:
    """A generator that nothing is asked of."""

    description = {"backend": "transformers 5.3.0", "template": "t", "dtype": "float32"}  # noqa: RUF012

    def generate(self, *given: Any, **how: Any) -> list[str]:
        raise AssertionError("the endpoint is asked, not the model")

    def stream(self, *given: Any, **how: Any) -> Iterator[str]:
        raise AssertionError("the endpoint is asked, not the model")

    def loss(self, chats: Any) -> tuple[float, int]:
        raise AssertionError("there is no right answer to measure")


def told_of(url: str, model: str = "dio@12") -> AnswersGraded:
    """Return what the evaluating process tells of a suite whose sampling is another than the program's."""
    config = TASKS.config({**CONFIG, "url": url, "model": model})
    sampling = Sampling(temperature=0.7, max_tokens=3, seed=5)
    task = TASKS.build(config)
    parts = parts_of("known", task, task.problems("lite"), sampling)
    job = EvaluateJob(run="r", checkpoint=hash_bytes(b"x"), folder="", suites=parts, events="events.jsonl")
    told: list[Event] = []
    evaluate(job, Unasked(), told.append)
    [event] = told
    assert isinstance(event, AnswersGraded)
    return event


def test_what_is_stored_says_how_the_endpoint_was_asked(program: Any) -> None:
    program(WRITES.format(figures=FIGURES))
    with models_served(("dio@12", "other")) as endpoint:
        found = told_of(endpoint.url).context
    assert found.pop("backend").startswith("endpoint lm_eval")
    assert found == {
        "url": endpoint.url,
        "server": "realm",
        "model": "dio@12",
        "sampling": "greedy",
        "seed": "1234",
        "max_tokens": "the benchmark's",
        "template": "the endpoint's",
        "profile": "the endpoint's",
        "dtype": "the endpoint's",
    }


def test_another_server_behind_the_same_address_is_another_way(program: Any) -> None:
    program(WRITES.format(figures=FIGURES))
    with models_served(("dio@12",)) as endpoint:
        first = told_of(endpoint.url)
        listed = {"data": [{"id": name, "owned_by": "llamacpp"} for name in ("dio@12", "dio@13")]}
        endpoint.listed = json.dumps(listed).encode()
        other, later = told_of(endpoint.url), told_of(endpoint.url, "dio@13")
        endpoint.listed = 404
        silent = told_of(endpoint.url)
    assert first.suite == other.suite == later.suite
    found = comparable(first.context, other.context, (first.suite, other.suite))
    assert found.against == ("server: realm and llamacpp",)
    named = comparable(other.context, later.context, (other.suite, later.suite))
    assert (named.against, named.labels) == ((), ("model: dio@12 and dio@13",))
    assert silent.context["server"] == "unknown"


def test_a_server_that_is_away_costs_no_answers(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realm.http.client.time.sleep", lambda _: None)
    folder = program(WRITES.format(figures=FIGURES))
    with pytest.raises(UnavailableError):
        told_of("http://127.0.0.1:1/v1")
    assert not (folder / "seen.json").exists()


def test_an_episode_that_has_not_run_has_no_result(program: Any) -> None:
    program("pass")
    task = TASKS.build(CONFIG)
    episode = task.begin(task.problems("lite")[0])
    with pytest.raises(StateError):
        episode.result()
    with pytest.raises(StateError):
        episode.take("an answer")
