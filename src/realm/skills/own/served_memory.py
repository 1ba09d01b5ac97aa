"""What skill servers said, kept for the process, because a lab builds its skills again and again.

Bounded by what it takes up, with what was not used for longest going first. Two threads that want the
same thing at the same time may both fetch it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memory(Generic[T]):
    """Things by their key, up to a total cost; a thing that costs more than that alone is not kept."""

    def __init__(self, most: int, cost: Callable[[T], int]) -> None:
        self._most, self._cost = most, cost
        self._kept: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._total = 0
        self._lock = threading.Lock()

    def of(self, key: Hashable, fetch: Callable[[], T]) -> T:
        """Return what is kept under a key; where nothing is, fetch it. Raises what `fetch` raises."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        found = fetch()
        with self._lock:
            self._keep(key, found)
        return found

    def _keep(self, key: Hashable, found: T) -> None:
        cost = self._cost(found)
        if key in self._kept or cost > self._most:
            return
        self._kept[key] = found, cost
        self._total += cost
        while self._total > self._most:
            self._total -= self._kept.popitem(last=False)[1][1]
