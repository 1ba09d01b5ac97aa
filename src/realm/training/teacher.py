"""The contract of the `teacher` family: a model whose answers another one learns.

A teacher in the training process gives its whole distribution at every token (`token_level`). One
elsewhere gives words: `fetch_answers` lets it answer the rows of a dataset before the run, in a process
that may use the network and holds its key; the run itself needs neither.

Shapes: M trained tokens of a pack, D hidden size of the teacher, X some of the tokens, V vocabulary.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from pydantic import ValidationError

from realm.core.errors import CorruptError, DataError
from realm.core.hashing import PREFIX, hash_json
from realm.core.kinds import Family
from realm.core.records import Example, Message, Record
from realm.storage.durable import make_dir, rename_dir, write_file
from realm.training.reward import question_of

if TYPE_CHECKING:
    import torch

    from realm.training.batching import Batch
    from realm.training.trainee import Trainee

TAG = "teacher"
"""Tag of a row that a teacher has answered: the teacher's name."""


class Scorer(Protocol):
    """A loaded teacher: its distribution at every trained token, in two halves."""

    def hidden(self, batch: Batch) -> torch.Tensor:
        """Return its last hidden states (M, D), without gradients."""
        ...

    def logits(self, hidden_XD: torch.Tensor) -> torch.Tensor:
        """Return its logits (X, V) in fp32, without gradients."""
        ...


class Teacher(Protocol):
    """A model to learn from."""

    config: Any
    token_level: ClassVar[bool]
    """It is loaded by the training process; otherwise its answers are fetched before the run."""

    def check(self, example: Example) -> None:
        """Raise DataError where the row is not one that the teacher can or did answer."""
        ...

    def open(self, trainee: Trainee) -> Scorer | None:
        """Load it beside the trainee; None where the rows hold its answers already.

        Raises ConfigError where it speaks another vocabulary.
        """
        ...


class Answer(Record):
    """What a teacher wrote."""

    text: str
    complete: bool
    """It ended by itself, not at a limit."""


class Writer(Protocol):
    """A teacher that is asked for words."""

    @property
    def name(self) -> str:
        """Return what its answers are tagged with."""
        ...

    @property
    def identity(self) -> dict[str, str | int | float]:
        """Return all that an answer depends on beside the prompt."""
        ...

    @property
    def at_once(self) -> int:
        """Return how many prompts it is asked at a time."""
        ...

    def write(self, prompt: Sequence[Message]) -> Answer:
        """Answer a prompt; called from several threads. Raises RefusedError or UnavailableError."""
        ...


class Answered(NamedTuple):
    """Rows with a teacher's answers."""

    rows: tuple[Example, ...]
    """In the order given; each ends with what the teacher wrote and is tagged with its name."""
    dropped: dict[str, int]
    """Rows left out, by reason."""


TEACHERS: Family[Teacher] = Family("teacher", "realm.training.teachers")
"""Kinds of the `teacher` family."""


def fetch_answers(teacher: Writer, rows: Sequence[Example], cache: Path, *, file: str) -> Answered:
    """Let a teacher answer rows; what a row's chat ended with is replaced.

    Every answer is kept in `cache` by its content as soon as it came, so that a call that was cut off
    goes on where it stood, and equal prompts are asked once. Raises DataError for a row that asks
    nothing, with its line in `file`, and what the teacher raises.
    """
    make_dir(cache)
    prompts = [_prompt(row, file, line) for line, row in enumerate(rows, 1)]
    keys = [_key(teacher, prompt) for prompt in prompts]
    known = {key: found for key in dict.fromkeys(keys) if (found := _read(cache, key)) is not None}
    missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
    with ThreadPoolExecutor(max_workers=teacher.at_once, thread_name_prefix="teacher") as pool:
        asked = {key: pool.submit(_ask, teacher, prompt, cache, key) for key, prompt in missing.items()}
        try:
            known |= {key: future.result() for key, future in asked.items()}
        finally:
            pool.shutdown(cancel_futures=True)
    dropped: Counter[str] = Counter()
    answered = list[Example]()
    for row, prompt, key in zip(rows, prompts, keys, strict=True):
        answer = known[key]
        if not answer.complete:
            dropped["the teacher's answer was cut off"] += 1
        elif not answer.text.strip():
            dropped["the teacher answered nothing"] += 1
        else:
            answered.append(_with_answer(row, prompt, answer.text, teacher.name))
    return Answered(tuple(answered), dict(dropped))


def _prompt(row: Example, file: str, line: int) -> tuple[Message, ...]:
    try:
        return question_of(row).prompt
    except DataError as error:
        raise DataError(error.reason, file=file, line=line, hint=error.hint) from None


def _with_answer(row: Example, prompt: Sequence[Message], text: str, name: str) -> Example:
    silent = tuple(message.model_copy(update={"weight": 0.0}) for message in prompt)
    said = Message(role="assistant", content=text)
    return row.model_copy(
        update={"messages": (*silent, said), "rejected": (), "tags": {**row.tags, TAG: name}}
    )


def _key(teacher: Writer, prompt: Sequence[Message]) -> str:
    turns = [[message.role, message.content] for message in prompt]
    return hash_json({"teacher": teacher.identity, "prompt": turns}).removeprefix(PREFIX)


def _read(cache: Path, key: str) -> Answer | None:
    path = cache / f"{key}.json"
    try:
        return Answer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise CorruptError(f"{path}: not a teacher's answer", hint="delete it; it is fetched again") from None


def _ask(teacher: Writer, prompt: Sequence[Message], cache: Path, key: str) -> Answer:
    answer = teacher.write(prompt)
    partial = cache / f".{key}-{secrets.token_hex(4)}"
    write_file(partial, answer.model_dump_json().encode())
    rename_dir(partial, cache / f"{key}.json")
    return answer
