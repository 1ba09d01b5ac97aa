"""How much a served model may still be asked."""

from __future__ import annotations

import threading

from realm.core.records import Record


class Left(Record):
    """What of a budget is not spent."""

    requests: int
    tokens: int


class Budget:
    """Count requests and tokens down; usable from several threads."""

    def __init__(self, requests: int, tokens: int) -> None:
        self._requests = requests
        self._tokens = tokens
        self._lock = threading.Lock()

    @property
    def left(self) -> Left:
        """Return what is not spent; tokens below 0 where answers were longer than expected."""
        with self._lock:
            return Left(requests=self._requests, tokens=self._tokens)

    def take(self, tokens: int) -> bool:
        """Take one request of so many expected tokens; False where that is too much."""
        with self._lock:
            if self._requests < 1 or self._tokens < tokens:
                return False
            self._requests -= 1
            self._tokens -= tokens
            return True

    def give_back(self, tokens: int) -> None:
        """Put tokens back that were expected and not used; below 0 takes those that were used beyond."""
        with self._lock:
            self._tokens += tokens


class Spending:
    """The attempts of one request: each counts as a request, their tokens only once."""

    def __init__(self, budget: Budget, expected_tokens: int) -> None:
        self._budget = budget
        self._expected = expected_tokens
        self._held = 0

    def may_send(self) -> bool:
        """Take the next attempt from the budget."""
        self._budget.give_back(self._held)
        self._held = self._expected if self._budget.take(self._expected) else 0
        return self._held > 0

    def settle(self, used_tokens: int | None) -> None:
        """Say how many tokens it came to; None keeps what was expected."""
        if used_tokens is not None:
            self._budget.give_back(self._held - used_tokens)
        self._held = 0
