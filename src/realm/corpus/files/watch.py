"""Word of new items in live sources: told by the system where it can, else by looking."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

from realm.core.errors import RealmError
from realm.corpus.source import Source
from realm.corpus.tally import Tally

POLL_S = 0.5
SETTLE_S = 1.0
BLIND_S = 5.0
LOOK_S = 60.0
RARE_S = 900.0
REFRESH_S = 5.0

S = TypeVar("S", bound=Source)


@runtime_checkable
class Live(Protocol):
    """A source that knows where to listen."""

    def folders(self) -> tuple[Path, ...]:
        """Return the folders and files in which something may change; cheap, asked all the time."""
        ...


class Watch(Generic[S]):
    """Watch sources that may come and go, one thread.

    Each source is looked at first thing and told of where it has any item. After that it is looked at when
    the system tells of a change in its folders, `settle_s` later, at the latest every `look_s` (a network
    drive tells nothing), and every `rare_s` where it names no folders. One that cannot be listed is told of
    too: whoever reads it finds out why. A folder that is not there yet is waited for. Items that went away
    are no news.
    """

    def __init__(
        self,
        sources: Callable[[], Sequence[S]],
        *,
        settle_s: float = SETTLE_S,
        look_s: float = LOOK_S,
        rare_s: float = RARE_S,
    ) -> None:
        """Watch what `sources` returns, asked every few seconds; the same object stays the same source."""
        self._sources = sources
        self._settle_s, self._look_s, self._rare_s = settle_s, look_s, rare_s
        self._watched: list[_Watched[S]] = []
        self._refresh_at = float("-inf")

    def news(self, stop: Callable[[], bool]) -> Iterator[S]:
        """Yield a source whenever it has new or changed items, until `stop` says so; asked every second."""
        while not stop():
            self._refresh()
            places = self._places()
            with closing(_changes(places)) as changes:
                while not stop() and places == self._places():
                    # Listen before looking: what changes in between would be missed.
                    self._hear(next(changes, None))
                    self._refresh()
                    for one in list(self._watched):
                        if one.is_due(time.monotonic(), self._settle_s) and one.has_news():
                            yield one.source
                            if stop():
                                return

    def rest(self, source: S, pause_s: float) -> None:
        """Leave a source alone for a while; what changes meanwhile is told of afterwards."""
        self._of(source).rest(pause_s)

    def again(self, source: S, pause_s: float) -> None:
        """Tell of a source again after a while even where nothing has changed."""
        one = self._of(source)
        one.forget()
        one.rest(pause_s)

    def _of(self, source: S) -> _Watched[S]:
        return next((one for one in self._watched if one.source is source), _Watched(source))

    def _refresh(self) -> None:
        now = time.monotonic()
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH_S
            self._watched = [self._of(source) for source in self._sources()]

    def _places(self) -> tuple[Path, ...]:
        """Return what can be listened to now; a source whose places are new is looked at at once."""
        return tuple(sorted({path for one in self._watched for path in one.look_for_places()}))

    def _hear(self, changed: frozenset[str] | None) -> None:
        look_s = self._look_s
        if changed is None:  # the system cannot tell
            time.sleep(POLL_S)
            look_s = min(look_s, BLIND_S)
        now = time.monotonic()
        for one in self._watched:
            one.hear(changed or frozenset(), now, look_s if one.listens else self._rare_s)


class _Watched(Generic[S]):
    """One source and what was last seen of it."""

    def __init__(self, source: S) -> None:
        self.source = source
        self.listens = isinstance(source, Live)
        self._pending = True
        self._seen: dict[str, str] = {}
        self._places: tuple[Path, ...] = ()
        self._looked_at = self._changed_at = self._rests_until = float("-inf")

    def look_for_places(self) -> tuple[Path, ...]:
        """Return the folders and files of the source that are there."""
        try:
            named: tuple[Path, ...] = self.source.folders() if isinstance(self.source, Live) else ()
            places = tuple(path.absolute() for path in named if path.exists())
        except (RealmError, OSError):  # looking at the source says so
            places = ()
        if places != self._places:
            self._places, self._pending, self._rests_until = places, True, float("-inf")
        return places

    def is_due(self, now: float, settle_s: float) -> bool:
        """Tell whether it is time to look."""
        return self._pending and now >= self._rests_until and now - self._changed_at >= settle_s

    def has_news(self) -> bool:
        """Look, and tell whether an item is new or changed, or the source cannot be listed."""
        self._pending = False
        self._looked_at = time.monotonic()
        try:
            items = {item.key: item.fingerprint for item in self.source.items(Tally())}
        except (RealmError, OSError, ValueError):
            return True
        news = any(self._seen.get(key) != fingerprint for key, fingerprint in items.items())
        self._seen = items
        return news

    def hear(self, changed: frozenset[str], now: float, look_s: float) -> None:
        """Take word of changed paths; look without word where the last look is long ago."""
        own = [str(place) for place in self._places]
        if any(path == place or path.startswith(place + "/") for path in changed for place in own):
            if not self._pending:  # else something that changes all the time would never settle
                self._changed_at, self._pending = now, True
        elif now - self._looked_at >= look_s:
            self._pending = True

    def rest(self, pause_s: float) -> None:
        self._rests_until = time.monotonic() + pause_s

    def forget(self) -> None:
        self._seen, self._pending = {}, True


def _changes(places: tuple[Path, ...]) -> Generator[frozenset[str], None, None]:
    """Return changed paths at least twice a second; end at once where the system cannot tell."""
    try:
        from watchfiles import watch as listen
    except ImportError:
        return
    if not places:
        return
    told = listen(
        *places,
        watch_filter=None,
        debounce=200,
        yield_on_timeout=True,
        rust_timeout=int(POLL_S * 1000),
        raise_interrupt=True,
    )
    try:
        for changes in told:
            yield frozenset(path for _, path in changes)
    except (OSError, RuntimeError):
        return
