"""The Skill API: what is said to a skill server and what is understood of its answers.

| request | answer |
|---|---|
| `GET /health` | `{"status": "ok"}` |
| `GET /info` | skill, name, description, category, tags, min_level, max_level, version |
| `GET /levels` | `{"levels": [{level, name, description, eval_samples, pass_threshold}]}` |
| `POST /generate {"level", "count", "seed"}` | `{"samples": […]}` or `{"puzzles": […]}` |
| `GET /eval/{level}`, or `GET /eval?level=N` | `{"problems": […]}` |

An item is one question with its answer: `messages` (of which the last may be the assistant's), or
`user_prompt` and `assistant_response`, or `prompt` and `response`, `solution`, `expected` or `answer`.
An item that is none of these is left out and counted. Answers are bounded in size, number and time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from realm.core.config import first_problem
from realm.core.errors import RefusedError, UnavailableError
from realm.http.client import Client, Limits, NoReply, Reply

MOST_ITEMS = 10_000
MOST_LEVELS = 200
_MOST_CHARS = 20_000
_NO_TOKEN = 401
_NOT_SO = frozenset({400, 404, 405, 422})
"""Statuses of a server that has its evaluations at the other address."""
_LIMITS = Limits(timeout_s=60.0, attempts=3, answer_bytes=32 << 20)

Line = Annotated[str, StringConstraints(max_length=400)]
LevelNumber = Annotated[int, Field(ge=0, le=10_000)]
_ANSWERS = ("assistant_response", "response", "solution", "expected", "answer")
_PROMPTS = ("user_prompt", "prompt", "question")


class _Said(BaseModel):
    """Base of what another program says: fields that nobody here reads are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


T = TypeVar("T", bound=_Said)


class Info(_Said):
    """What a skill server says of its skill."""

    skill: Line = ""
    name: Line = ""
    description: Annotated[str, StringConstraints(max_length=4000)] = ""
    category: Line = ""
    tags: Annotated[tuple[Line, ...], Field(max_length=100)] = ()
    min_level: LevelNumber = 1
    max_level: LevelNumber = 1
    version: Line | int | float = ""


class Level(_Said):
    """One level of a skill server."""

    level: Annotated[int, Field(ge=1, le=10_000)]
    name: Line = ""
    description: Annotated[str, StringConstraints(max_length=4000)] = ""
    eval_samples: Annotated[int, Field(ge=0)] = 0
    pass_threshold: Annotated[float, Field(ge=0, le=100)] = 0.8


class Levels(_Said):
    """Answer to `/levels`."""

    levels: Annotated[tuple[Level, ...], Field(max_length=MOST_LEVELS)]


class Turn(_Said):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, StringConstraints(max_length=_MOST_CHARS)]


class Item(NamedTuple):
    """One question with its answer."""

    turns: tuple[Turn, ...]
    """Ends with the user's."""
    answer: str
    primitive: str
    """Empty where none is named."""


class Items(NamedTuple):
    """The items of one answer."""

    items: tuple[Item, ...]
    unreadable: int
    """Items left out because they have another shape."""


class SkillClient:
    """Ask one skill server. Raises UnavailableError without an answer, RefusedError for a bad one."""

    def __init__(self, url: str, token_variable: str | None, limits: Limits = _LIMITS) -> None:
        self._client = Client("the skill server", url, token_variable, limits)

    def health(self) -> None:
        """Return when the server says that it is well."""
        if self._object(self._get("/health"), "/health").get("status") != "ok":
            raise self._client.refusal("is not well")

    def info(self) -> Info:
        """Ask what the skill is."""
        return self._read(Info, self._get("/info"), "/info")

    def levels(self) -> tuple[Level, ...]:
        """Ask for the levels, lowest first."""
        found = self._read(Levels, self._get("/levels"), "/levels").levels
        if not found or len({each.level for each in found}) < len(found):
            raise self._client.refusal("names no level, or one twice, at /levels")
        return tuple(sorted(found, key=lambda each: each.level))

    def generate(self, level: int, count: int, seed: int) -> Items:
        """Ask for training items; the same arguments are meant to give the same ones."""
        body = json.dumps({"level": level, "count": count, "seed": seed}).encode()
        reply = self._client.post("/generate", body, may_send=_always)
        said = self._object(self._checked(reply), "/generate")
        return self._items(said.get("samples", said.get("puzzles")), "/generate", count)

    def evaluation(self, level: int) -> Items:
        """Ask for the problems of a level's evaluation."""
        reply = self._asked(f"/eval/{level}")
        if isinstance(reply, Reply) and reply.status in _NOT_SO:
            reply = self._asked(f"/eval?level={level}")
        said = self._object(self._checked(reply), "/eval")
        return self._items(said.get("problems"), "/eval", MOST_ITEMS)

    def _asked(self, path: str) -> Reply | NoReply:
        return self._client.get(path, may_send=_always)

    def _checked(self, reply: Reply | NoReply) -> bytes:
        if isinstance(reply, NoReply):
            raise UnavailableError(
                f"{self._client.whose} gave no answer: {reply.why}", hint="is it running, and at this port?"
            )
        if reply.status == _NO_TOKEN:
            raise RefusedError(
                f"{self._client.whose} wants a token, or another one",
                hint="put its token into an environment variable and name that one as token_variable",
            )
        return self._client.checked(reply)

    def _get(self, path: str) -> bytes:
        return self._checked(self._asked(path))

    def _object(self, body: bytes, path: str) -> Mapping[str, Any]:
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise self._client.refusal(f"answered at {path} with no JSON object", body)
        return said

    def _read(self, model: type[T], body: bytes, path: str) -> T:
        said = self._object(body, path)
        try:
            json.dumps(said, ensure_ascii=False).encode()
            return model.model_validate(said)
        except UnicodeEncodeError:
            raise self._client.refusal(f"answered at {path} with invalid Unicode") from None
        except ValidationError as error:
            raise self._client.refusal(f"answered at {path}: {first_problem(error)}") from None

    def _items(self, said: object, path: str, most: int) -> Items:
        if not isinstance(said, list):
            raise self._client.refusal(f"answered at {path} without a list of items")
        found = [item_of(each) for each in said[:most]]
        items = tuple(each for each in found if each is not None)
        if said and not items:
            raise self._client.refusal(f"answered at {path} with items of an unknown shape")
        return Items(items, len(found) - len(items))


def item_of(said: object) -> Item | None:
    """Read one item of any known shape; None for another, or one that is no valid Unicode."""
    if not isinstance(said, dict):
        return None
    try:
        turns = [Turn.model_validate(turn) for turn in _turns(said)]
    except ValidationError:
        return None
    answer = turns.pop().content if turns and turns[-1].role == "assistant" else _answer(said)
    primitive = said.get("primitive")
    if not turns or turns[-1].role != "user" or not answer or not answer.strip():
        return None
    if not turns[-1].content.strip() or len(answer) > _MOST_CHARS:
        return None
    name = primitive if isinstance(primitive, str) else ""
    try:
        "".join([answer, name, *(turn.content for turn in turns)]).encode()
    except UnicodeEncodeError:
        return None
    return Item(tuple(turns), answer, name)


def _turns(said: Mapping[str, Any]) -> Iterator[object]:
    if isinstance(said.get("messages"), list):
        yield from said["messages"][:100]
        return
    prompt = next((said[name] for name in _PROMPTS if name in said), None)
    yield {"role": "user", "content": prompt}


def _answer(said: Mapping[str, Any]) -> str | None:
    found = next((said[name] for name in _ANSWERS if name in said), None)
    if found is None or isinstance(found, str):
        return found
    return json.dumps(found, ensure_ascii=False)


def _always() -> bool:
    return True
