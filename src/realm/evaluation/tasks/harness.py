"""Benchmarks of lm-evaluation-harness, run by its own program against an OpenAI-compatible endpoint.

The program is `lm_eval` (extra `harness`), beside the interpreter or on the PATH; it runs in this child's
session, so it ends with it. Covered: its time, what is read of its output, that it is never told to
trust code from elsewhere (no setting holds what its parser splits at or reads as anything but text), and
that the endpoint names the model at `/models`, where it has that page.
Not covered: what a task's own files do (they may hold Python), what it downloads, and whether the
checkpoint that is evaluated is what the endpoint serves under that name: that is yours to see to.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import which
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from realm.core.config import Config as BaseConfig
from realm.core.errors import ConfigError, MissingExtraError, RefusedError, StateError, UnavailableError
from realm.core.records import Message, Name
from realm.core.text import printable
from realm.evaluation.suite import ANSWER_TOKENS
from realm.evaluation.task import HOW_ASKED, PER_PRIMITIVE, Result, Size
from realm.http.client import Client, Limits, NoReply, SafeUrl
from realm.jobs.environment import child_environment
from realm.skills.skill import Problem

PROGRAM = "lm_eval"
_MAX_RESULT_BYTES = 16 << 20
_TAIL_BYTES = 2000
_MAX_KEY_BYTES = 4096
_UNREAD = b"Could not parse generations"
"""What the program logs where it takes an answer for an empty one."""
_LIMITS = Limits(timeout_s=30.0, attempts=3, answer_bytes=4 << 20)
_NO_PAGE = frozenset({404, 405, 501})
"""Statuses of a server that has no `/models`."""
_MOST_NAMES = 100
_SHOWN_NAMES = 8
_UNTOLD = "the server does not say what it serves"
_SEED = 1234
"""Sent with every request."""
_THEIRS = "the endpoint's"
_METRICS = ("exact_match", "acc_norm", "acc", "f1", "pass@1")
"""Which of a benchmark's metrics is taken where none is named, first come first."""

_URL = re.compile(r"[A-Za-z0-9._~/%:@+\[\]-]+")
"""What of an address the program takes as it stands: it splits at commas outside of quotes and brackets."""
_NO_TEXT = re.compile(
    r"none|true|false|inf(inity)?|nan|0[xob][0-9a-f_]+"
    r"|[0-9][0-9_.]*(e[+-]?[0-9_]+)?(j|[+-][0-9][0-9_.]*(e[+-]?[0-9_]+)?j)?",
    re.IGNORECASE,
)
"""Words that the program reads as a number, a truth value or nothing."""


def _whole(url: str) -> str:
    if not _URL.fullmatch(url):
        raise ValueError("letters, digits and ._~/%:@+-[] are all that an endpoint's URL may hold here")
    return url


def _text(name: str) -> str:
    if _NO_TEXT.fullmatch(name):
        raise ValueError(f"{PROGRAM} does not read {name!r} as a name: serve the model under another one")
    return name


EndpointUrl = Annotated[SafeUrl, AfterValidator(_whole)]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9@:/._+-]{0,199}$"), AfterValidator(_text)]
TaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]


class Harness:
    """Ask each benchmark as one problem; its score is the benchmark's metric."""

    class Config(BaseConfig):
        kind: Literal["harness"] = "harness"
        url: Annotated[EndpointUrl, HOW_ASKED]
        """Root of the endpoint, such as `http://127.0.0.1:8000/v1`; it must serve what is evaluated."""
        model: Annotated[ModelName, HOW_ASKED]
        """Name of the model at the endpoint."""
        benchmarks: Annotated[tuple[TaskName, ...], Field(min_length=1)]
        """Names that the harness knows; only those that generate text can be asked through a chat."""
        metric: Name | None = None
        """Which metric counts, such as `exact_match`; none takes the first known one."""
        task_folder: Path | None = None
        """Folder with task files of your own, relative to the suite's file. They may run code."""
        key_file: Annotated[Path | None, HOW_ASKED] = None
        """File that holds the endpoint's key and nothing else, relative to the suite's file."""
        everything: bool = False
        """Ask whole benchmarks; else the first 5 (lite) or 30 (full) of their questions."""
        timeout_s: Annotated[float, Field(gt=0, le=86_400), HOW_ASKED] = 3600.0
        """For one benchmark."""

    version = "1"
    turn_tokens = ANSWER_TOKENS

    def __init__(self, config: Config) -> None:
        self.config = config

    def problems(self, size: Size) -> tuple[Problem, ...]:
        """Return one problem a benchmark; its form says how many questions are asked."""
        form = "" if self.config.everything else str(PER_PRIMITIVE[size])
        return tuple(
            Problem(key=name, primitive=name, level=0, messages=(), expected="", form=form)
            for name in dict.fromkeys(self.config.benchmarks)
        )

    def asked_elsewhere(self) -> dict[str, str]:
        """Say what serves the model and how it is asked. Raises RefusedError, UnavailableError.

        Nothing of the checkpoint's own template and manner, nor of the suite's sampling, reaches it.
        """
        listed = _listed(self.config)
        return {
            "backend": f"endpoint {_program_version()}",
            "url": self.config.url,
            "server": listed.owner if listed else "unknown",
            "model": self.config.model,
            "sampling": "greedy",
            "seed": str(_SEED),
            "max_tokens": "the benchmark's",
            "template": _THEIRS,
            "profile": _THEIRS,
            "dtype": _THEIRS,
        }

    def begin(self, problem: Problem) -> _Benchmark:
        """Begin one benchmark. Raises MissingExtraError where the program is absent."""
        beside = Path(sys.executable).with_name(PROGRAM)
        program = str(beside) if beside.is_file() else which(PROGRAM)
        if program is None:
            raise MissingExtraError(
                f"the benchmark {problem.key} needs {PROGRAM}",
                hint="install the extra: pip install 'realm-lab[harness]'",
            )
        return _Benchmark(self.config, program, problem)


class _Benchmark:
    """One run of the program; the model is asked by it, not through this episode."""

    def __init__(self, config: Harness.Config, program: str, problem: Problem) -> None:
        self._config = config
        self._program = program
        self._problem = problem
        self._result: Result | None = None

    def asks(self) -> tuple[Message, ...] | None:
        """Run the program to its end and ask nothing. Raises RefusedError, UnavailableError."""
        if self._result is None:
            listed = _listed(self._config)
            served = listed.names if listed else None
            with tempfile.TemporaryDirectory(prefix="realm-harness-") as folder:
                self._run(Path(folder))
                answers = _answers(Path(folder), self._problem.key)
                told = {"model": self._config.model, "served": served, "answers": answers}
                result = _read(Path(folder), self._problem.key, self._config.metric, told)
            self._result = result.model_copy(update={"notes": () if served else (_UNTOLD,)})
        return None

    def take(self, answer: str) -> None:
        """Take no turn: nothing is asked."""
        raise StateError(f"{self._problem.key} asked nothing of this model")

    def result(self) -> Result:
        """Return the benchmark's metric, with all its figures and what was said as the answer."""
        if self._result is None:
            raise StateError(f"{self._problem.key} has not been run")
        return self._result

    def close(self) -> None:
        """Hold nothing: the program has ended when `asks` returns."""

    def _run(self, folder: Path) -> None:
        output = folder / "output.txt"
        with output.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - an argv list of checked names, no shell
                list(self._arguments(folder / "results")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=self._environment(),
            )
            try:
                code = process.wait(self._config.timeout_s)
            except subprocess.TimeoutExpired:
                raise UnavailableError(
                    f"{self._problem.key} was not done within {self._config.timeout_s:.0f} s",
                    hint="ask fewer questions, or raise timeout_s",
                ) from None
            finally:
                process.kill()
                process.wait()
        if code != 0:
            raise RefusedError(
                f"{PROGRAM} ended with code {code} on {self._problem.key}: {_tail(output)}",
                hint=f"try it by hand: {PROGRAM} --tasks {self._problem.key}",
            )

    def _arguments(self, results: Path) -> Iterator[str]:
        config, problem = self._config, self._problem
        model = f"model={config.model},base_url={config.url}/chat/completions,tokenized_requests=False"
        model += f",seed={_SEED}"
        yield from (self._program, "--model", "local-chat-completions", "--model_args", model)
        yield from ("--apply_chat_template", "--tasks", problem.key, "--seed", "0")
        yield from ("--gen_kwargs", "temperature=0", "--output_path", str(results), "--log_samples")
        if problem.form:
            yield from ("--limit", problem.form)
        if config.task_folder is not None:
            yield from ("--include_path", str(config.task_folder))

    def _environment(self) -> dict[str, str]:
        """Return what the program sees; the key reaches it in no other way."""
        return {**child_environment(), "OPENAI_API_KEY": _key(self._config.key_file) or "none"}


def _key(file: Path | None) -> str | None:
    """Return the key that a file holds, None without a file. Raises ConfigError where it holds none."""
    if file is None:
        return None
    key = ""
    with suppress(OSError, UnicodeDecodeError):
        if file.is_file():  # a pipe would be waited on
            with file.open("rb") as opened:
                key = opened.read(_MAX_KEY_BYTES).decode("ascii").strip()
    if not key or not key.isprintable():
        raise ConfigError(f"{file}: no key can be read there", hint="put the key alone into it, on one line")
    return key


# --- what the endpoint serves ---------------------------------------------------------------


class _Listed(NamedTuple):
    """What an endpoint says of the models that it serves."""

    names: list[str]
    """The asked one first."""
    owner: str
    """Whose the asked one is said to be: with servers of open models the name of their software."""


def _listed(config: Harness.Config) -> _Listed | None:
    """Return what the endpoint says that it serves; None if it does not say.

    Raises RefusedError where the asked one is not among them, UnavailableError without an answer.
    """
    endpoint = Client("the endpoint", config.url, None, _LIMITS, key=_key(config.key_file))
    reply = endpoint.get("/models", may_send=lambda: True)
    if isinstance(reply, NoReply):
        raise UnavailableError(
            f"{endpoint.whose} gave no answer: {reply.why}", hint="is it running, and at this port?"
        )
    if reply.status in _NO_PAGE:
        return None
    owners = _owners(endpoint.checked(reply))
    if owners is None:
        return None
    names = list(owners)
    if config.model not in names:
        shown = ", ".join(printable(name) for name in names[:_SHOWN_NAMES]) or "nothing"
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        raise RefusedError(
            f"{endpoint.whose} serves {shown}{more}; expected {config.model}",
            hint="start it with the checkpoint that is evaluated, or set the task's model to the served name",
        )
    others = [printable(name) for name in names if name != config.model]
    return _Listed([config.model, *others][:_MOST_NAMES], owners[config.model])


def _owners(body: bytes) -> dict[str, str] | None:
    """Read a list of models, by name whose each is; None where the answer has another form."""
    try:
        entries = json.loads(body)["data"]
        return {
            str(entry["id"]): printable(str(entry.get("owned_by") or "unknown"), limit=60)
            for entry in entries
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _program_version() -> str:
    try:
        return f"{PROGRAM} {version(PROGRAM)}"
    except PackageNotFoundError:
        return PROGRAM


# --- what the program left ------------------------------------------------------------------


def _tail(output: Path) -> str:
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - _TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace").strip()
    lines = [printable(line, limit=160) for line in text.splitlines()[-3:]]
    return " | ".join(lines) or "it said nothing"


def _answers(folder: Path, benchmark: str) -> list[str]:
    """Return what the endpoint said. Raises RefusedError where the program could not read all of it.

    It goes on without what it cannot read, and scores that 0.
    """
    with (folder / "output.txt").open("rb") as file:
        unread = any(_UNREAD in line for line in iter(partial(file.readline, _MAX_RESULT_BYTES), b""))
    answers = list[str]()
    for path in sorted((folder / "results").rglob(f"samples_{benchmark}_*.jsonl"))[-1:]:
        with path.open("rb") as file:
            answers += [_answer(line) for line in iter(partial(file.readline, _MAX_RESULT_BYTES), b"")]
    if unread or (answers and not any(answers)):
        raise RefusedError(
            f"{PROGRAM} could not read what the endpoint answered on {benchmark}",
            hint="it expects OpenAI's shape: choices with index and message",
        )
    return answers


def _answer(line: bytes) -> str:
    try:
        return str(json.loads(line)["resps"][0][0])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return ""


def _read(folder: Path, benchmark: str, metric: str | None, told: dict[str, Any]) -> Result:
    """Read the figures that the program left, to what is told. Raises RefusedError where there are none."""
    found = sorted((folder / "results").rglob("results*.json"))
    if not found or found[-1].stat().st_size > _MAX_RESULT_BYTES:
        raise RefusedError(f"{PROGRAM} left no results of {benchmark}", hint="is its version 0.4 or newer?")
    try:
        document = json.loads(found[-1].read_bytes())
        figures = {str(name): value for name, value in document["results"][benchmark].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RefusedError(f"{PROGRAM} left unreadable results of {benchmark}") from None
    name, score = _chosen(benchmark, figures, metric)
    told = {"metric": name, "questions": _asked(document, benchmark), "figures": figures, **told}
    return Result(score=score, answer=json.dumps(told, ensure_ascii=False, default=str))


def _chosen(benchmark: str, figures: dict[str, Any], metric: str | None) -> tuple[str, float]:
    """Return the metric that counts; `exact_match,strict-match` is `exact_match` through a filter."""
    for wanted in (metric,) if metric else _METRICS:
        for name, value in figures.items():
            matches = name == wanted or name.partition(",")[0] == wanted
            if matches and isinstance(value, int | float) and 0 <= value <= 1:
                return name, float(value)
    names = ", ".join(sorted(name for name, value in figures.items() if isinstance(value, int | float)))
    raise RefusedError(
        f"{benchmark} has no metric {metric or 'that is known'} between 0 and 1",
        hint=f"set metric to one of: {names}",
    )


def _asked(document: Any, benchmark: str) -> int | None:
    try:
        return int(document["n-samples"][benchmark]["effective"])
    except (KeyError, TypeError, ValueError):
        return None
