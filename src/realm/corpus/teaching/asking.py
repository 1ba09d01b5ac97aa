"""Ask a served model, once for each request, within a budget."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from realm.core.errors import RealmError, UnavailableError
from realm.core.hashing import hash_json
from realm.core.records import Message
from realm.corpus.teaching.budget import Budget, Spending
from realm.corpus.teaching.store import Answer, AnswerStore
from realm.http import completions
from realm.http.client import OK, Client, NoReply, Reply

T = TypeVar("T")

SPENT = "budget spent: left for the next run"
_NO_ANSWER = "the endpoint gave no answer"
_TOO_LONG = "the endpoint answered too much"
_REFUSED = "the endpoint refused the request"
_OTHER_FORM = "the endpoint answered in another form"
_ITS_OWN_FAULT = frozenset({400, 413, 422})
"""Statuses that speak of one request; others, such as 401, would meet every one."""
_CHARS_A_TOKEN = 3
"""Fewer than in most text, so that what the endpoint does not count is rather overestimated."""
_FAILURES_IN_A_ROW = 5


class Missing(NamedTuple):
    """Why there is no answer: short and fixed."""

    reason: str


class Asker:
    """Give answers from the store, and ask for what is missing; usable from several threads."""

    def __init__(
        self,
        client: Client,
        store: AnswerStore,
        budget: Budget,
        identity: dict[str, str],
        request: Callable[[Sequence[Message]], dict[str, Any]],
        max_answer_tokens: int,
    ) -> None:
        """`request` makes a body; `identity` says what an answer depends on beside it."""
        self._client = client
        self._store = store
        self._budget = budget
        self._identity = identity
        self._request = request
        self._max_answer_tokens = max_answer_tokens
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Answer | Missing]] = {}
        self._failures = 0
        self._given_up: RealmError | None = None

    def ask(self, chat: Sequence[Message]) -> Answer | Missing:
        """Answer a chat that ends with the user's turn.

        Raises RefusedError or UnavailableError where no request would fare better.
        """
        body = self._request(chat)
        key = hash_json({**self._identity, "request": body})
        with self._lock:
            waited_for = self._under_way.get(key)
            mine: Future[Answer | Missing] = Future()
            if waited_for is None:
                self._under_way[key] = mine
        if waited_for is not None:
            return waited_for.result()
        try:
            found = self._store.get(key) or self._fetch(key, body)
        except BaseException as error:
            self._given_up = error if isinstance(error, RealmError) else None
            mine.set_exception(error)
            raise
        else:
            mine.set_result(found)
            return found
        finally:
            with self._lock:
                del self._under_way[key]

    def _fetch(self, key: str, body: dict[str, Any]) -> Answer | Missing:
        if self._given_up is not None:
            raise self._given_up
        sent = json.dumps(body).encode()
        expected = len(sent) // _CHARS_A_TOKEN + self._max_answer_tokens
        spending = Spending(self._budget, expected)
        reply = self._client.post(completions.PATH, sent, may_send=spending.may_send)
        if isinstance(reply, NoReply):
            spending.settle(0)
            return Missing(SPENT) if reply.stopped else self._failed(_NO_ANSWER)
        found = completions.read(reply.body) if reply.whole and reply.status == OK else None
        if found is None or found.text is None:
            spending.settle(None if reply.status == OK else 0)
            return self._unusable(reply)
        spending.settle(found.tokens or (len(sent) + len(found.text)) // _CHARS_A_TOKEN)
        with self._lock:
            self._failures = 0
        answer = Answer(found.text, found.complete)
        self._store.put(key, answer)
        return answer

    def _unusable(self, reply: Reply) -> Missing:
        if reply.status in _ITS_OWN_FAULT:
            return self._failed(_REFUSED)
        if reply.status != OK:
            self._client.checked(reply)
        return self._failed(_OTHER_FORM if reply.whole else _TOO_LONG)

    def _failed(self, reason: str) -> Missing:
        with self._lock:
            self._failures += 1
            if self._failures < _FAILURES_IN_A_ROW:
                return Missing(reason)
        raise UnavailableError(
            f"{self._client.whose} failed {_FAILURES_IN_A_ROW} times in a row, at last: {reason}",
            hint="answers that came are kept; run again to go on",
        )


def in_order(jobs: Iterable[Callable[[], T]], at_once: int) -> Generator[T, None, None]:
    """Run jobs in threads and yield their results in the jobs' order, holding few of them."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="teacher") as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) >= 2 * at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
