"""Word of new items in live sources: told by the system where it can, else by looking."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

from realm.core.errors import NotFoundError
from realm.corpus.source import Source
from realm.corpus.tally import Tally

POLL_S = 1.0
LOOK_S = 30.0
REST_S = 5.0

S = TypeVar("S", bound=Source)


@runtime_checkable
class Live(Protocol):
    """A source that knows where to listen."""

    def folders(self) -> tuple[Path, ...]:
        """Return the folders and files in which something may change."""
        ...


def watch(
    sources: Sequence[S], stop: Callable[[], bool], *, rest_s: float = REST_S, look_s: float = LOOK_S
) -> Iterator[S]:
    """Yield a source whenever it has new or changed items, until `stop` says so; asked every second.

    Each source is looked at first thing and yielded where it has any item. After that it is looked at when
    the system tells of a change in its folders, at the latest every `look_s` (a source without folders,
    a network drive), and yielded at most once in `rest_s`, because a live session changes all the time.
    A folder that is not there yet is waited for. Items that went away are no news.
    """
    watched = [_Watched(source) for source in sources]
    due = time.monotonic()
    places = _places(sources)
    while not stop():
        with closing(_changes(places)) as changes:
            while not stop() and places == _places(sources):
                now = time.monotonic()
                if now >= due:
                    due = now + look_s
                    for one in watched:
                        one.pending = True
                for one in watched:
                    if one.is_due(now, rest_s) and one.has_news():
                        yield one.source
                        if stop():
                            return
                changed = next(changes, None)
                if changed is None:
                    time.sleep(POLL_S)
                    due = min(due, time.monotonic() + POLL_S)
                for one in watched:
                    one.hear(changed or frozenset())
        places, due = _places(sources), time.monotonic()


class _Watched(Generic[S]):
    """One source and what was last seen of it."""

    def __init__(self, source: S) -> None:
        self.source = source
        self.pending = True
        self._seen: dict[str, str] = {}
        self._told_at = float("-inf")

    def is_due(self, now: float, rest_s: float) -> bool:
        """Tell whether it is time to look."""
        return self.pending and now - self._told_at >= rest_s

    def has_news(self) -> bool:
        """Look, and tell whether an item is new or changed."""
        self.pending = False
        try:
            items = {item.key: item.fingerprint for item in self.source.items(Tally())}
        except NotFoundError:
            items = {}
        news = any(self._seen.get(key) != fingerprint for key, fingerprint in items.items())
        self._seen = items
        if news:
            self._told_at = time.monotonic()
        return news

    def hear(self, changed: frozenset[str]) -> None:
        """Take word of changed paths."""
        own = [str(folder) for folder in _folders(self.source)]
        if any(path == folder or path.startswith(folder + "/") for path in changed for folder in own):
            self.pending = True


def _folders(source: Source) -> tuple[Path, ...]:
    return tuple(path.absolute() for path in source.folders()) if isinstance(source, Live) else ()


def _places(sources: Sequence[Source]) -> tuple[Path, ...]:
    """Return what can be listened to now."""
    return tuple(sorted({path for source in sources for path in _folders(source) if path.exists()}))


def _changes(places: tuple[Path, ...]) -> Generator[frozenset[str], None, None]:
    """Return changed paths at least once a second; end at once where the system cannot tell."""
    try:
        from watchfiles import watch as listen
    except ImportError:
        return
    if not places:
        return
    told = listen(
        *places,
        watch_filter=None,
        debounce=500,
        yield_on_timeout=True,
        rust_timeout=int(POLL_S * 1000),
        raise_interrupt=True,
    )
    try:
        for changes in told:
            yield frozenset(path for _, path in changes)
    except (OSError, RuntimeError):
        return
