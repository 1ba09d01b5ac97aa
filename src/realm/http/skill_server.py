"""Serve one skill through the Skill API (`http/skill_api.py` has its table of requests)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

from pydantic import Field, ValidationError

from realm.core.config import first_problem
from realm.core.errors import NotFoundError, RealmError, UnavailableError, UsageError
from realm.core.records import Message, Name, Record
from realm.http.skill_api import Info, Level

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MOST_GENERATED = 10_000
T = TypeVar("T")
_STATUS: tuple[tuple[type[RealmError], int], ...] = (
    (NotFoundError, 404),
    (UsageError, 400),
    (UnavailableError, 503),
)


class Generate(Record):
    """Body of `POST /generate`."""

    level: Annotated[int, Field(ge=0, le=10_000)]
    count: Annotated[int, Field(ge=1, le=MOST_GENERATED)] = 10
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


class Sample(Record):
    """One item of `/generate` or `/eval`, in the words of several clients."""

    id: str
    prompt: str
    messages: tuple[Message, ...]
    """With the answer for training, without it for evaluation."""
    answer: str
    primitive: Name
    level: int


class Offered(Protocol):
    """What is served. Called from one thread at a time."""

    def info(self) -> Info:
        """Say what the skill is."""

    def levels(self) -> tuple[Level, ...]:
        """Return the levels."""

    def generate(self, level: int, count: int, seed: int) -> tuple[Sample, ...]:
        """Return training items."""

    def evaluation(self, level: int) -> tuple[Sample, ...]:
        """Return held-out items."""


def skill_app(offered: Offered) -> Starlette:
    """Return the application of one skill; it belongs behind a `Guard`."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    routes = _Routes(offered)
    return Starlette(
        routes=[
            Route("/health", routes.health),
            Route("/info", routes.info),
            Route("/levels", routes.levels),
            Route("/generate", routes.generate, methods=["POST"]),
            Route("/eval", routes.evaluation),
            Route("/eval/{level}", routes.evaluation),
        ],
        exception_handlers={RealmError: _told},
    )


class _Routes:
    def __init__(self, offered: Offered) -> None:
        self._offered, self._one = offered, threading.Lock()

    async def health(self, request: Request) -> Response:
        return _json({"status": "ok"})

    async def info(self, request: Request) -> Response:
        return _json(self._offered.info().model_dump(mode="json"))

    async def levels(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        levels = await run_in_threadpool(self._alone, self._offered.levels)
        return _json({"levels": [level.model_dump(mode="json") for level in levels]})

    async def generate(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        try:
            asked = Generate.model_validate_json(await request.body())
        except ValidationError as error:
            raise UsageError(
                first_problem(error, "the body"), hint="level, count and seed are numbers"
            ) from None

        def work() -> tuple[Sample, ...]:
            return self._offered.generate(asked.level, asked.count, asked.seed)

        samples = await run_in_threadpool(self._alone, work)
        return _json({"samples": [_training(sample) for sample in samples]})

    async def evaluation(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        text = request.path_params.get("level", request.query_params.get("level", ""))
        if not text.isascii() or not text.isdecimal() or len(text) > 5:
            raise UsageError("level is a number", hint="/eval/3 or /eval?level=3")

        def work() -> tuple[Sample, ...]:
            return self._offered.evaluation(int(text))

        samples = await run_in_threadpool(self._alone, work)
        return _json({"level": int(text), "problems": [_problem(sample) for sample in samples]})

    def _alone(self, work: Callable[[], T]) -> T:
        with self._one:
            return work()


def _training(sample: Sample) -> dict[str, object]:
    return {
        "id": sample.id,
        "messages": _turns(sample),
        "prompt": sample.prompt,
        "response": sample.answer,
        "primitive": sample.primitive,
        "level": sample.level,
    }


def _problem(sample: Sample) -> dict[str, object]:
    return {
        "id": sample.id,
        "prompt": sample.prompt,
        "messages": _turns(sample),
        "expected": sample.answer,
        "primitive": sample.primitive,
        "level": sample.level,
    }


def _turns(sample: Sample) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in sample.messages]


def _json(document: object, status: int = 200) -> Response:
    from starlette.responses import Response

    body = json.dumps(document, ensure_ascii=False).encode()
    return Response(body, status, media_type="application/json")


async def _told(request: Request, error: Exception) -> Response:
    if not isinstance(error, RealmError):
        raise error
    status = next((number for kind, number in _STATUS if isinstance(error, kind)), 500)
    return _json({"error": error.what, "hint": error.hint}, status)
