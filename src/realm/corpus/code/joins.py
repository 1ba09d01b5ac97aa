"""What only several files together tell: examples of calls, and calls with their definitions.

It holds units until all files were seen, at most as many bytes as it is told; what does not fit is
counted and gives no such pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from realm.core.seeds import fraction
from realm.corpus.code import pairs
from realm.corpus.code.pairs import Pair, Place
from realm.corpus.code.units import Prototype, Unit
from realm.corpus.document import Document, Origin
from realm.corpus.tally import Tally

_SHORTEST_CALL = 4
_FAMILIES = {"cpp": "c"}
_OVERHEAD_BYTES = 1_000
_LONGEST_DEFINITION = 60


@dataclass(frozen=True, slots=True)
class Held:
    """One unit and what its rows need to know of its document."""

    unit: Unit
    place: Place
    origin: Origin
    document: str
    group: str
    tags: dict[str, str | int]
    is_example: bool


class Declared(NamedTuple):
    """One documented prototype and where it stands."""

    prototype: Prototype
    path: str
    licence: str


class Joined(NamedTuple):
    """A pair made of two places."""

    pair: Pair
    answer: Held
    """The place that the answer is from."""
    other: str
    """`path:first-last` of the other place, empty where there is none."""
    other_licence: str | None


class Joins:
    """Collect units and say afterwards which belong together."""

    def __init__(self, held_bytes: int) -> None:
        self._room = held_bytes
        self._held: list[Held] = []
        self._declared: dict[tuple[str, str, str], Declared | None] = {}

    def add(self, unit: Unit, place: Place, document: Document, is_example: bool, tally: Tally) -> None:
        """Remember one unit."""
        if self._fits(len(unit.text) + len(place.context) + len(unit.doc), document.id, tally):
            held = Held(
                unit, place, document.origin, document.id, document.split_group, document.tags, is_example
            )
            self._held.append(held)

    def declare(self, prototype: Prototype, document: Document, tally: Tally) -> None:
        """Remember one documented prototype; a name declared twice stands for none."""
        key = (document.origin.source, _family(prototype.language), prototype.name)
        if key in self._declared:
            self._declared[key] = None
        elif self._fits(len(prototype.text) + len(prototype.doc), document.id, tally):
            self._declared[key] = Declared(prototype, document.origin.path, document.origin.licence)

    def usages(self, per_function: int) -> Iterator[Joined]:
        """Yield questions for the rarest calls of each example, rarest first.

        A call is rare by the examples that make it; names of the example's own file do not count.
        """
        often = Counter(
            (held.place.source, call) for held in self._held if held.is_example for call in held.unit.calls
        )
        own = {(held.place.source, held.place.path, _last(held.unit.name)) for held in self._held}
        for held in self._held:
            if held.is_example:
                source, path = held.place.source, held.place.path
                calls = [call for call in held.unit.calls
                         if len(call) >= _SHORTEST_CALL and (source, path, call) not in own]  # fmt: skip
                calls.sort(key=lambda call: (often[source, call], call))
                for call in calls[:per_function]:
                    yield Joined(pairs.usage(held.unit, held.place, call), held, "", None)

    def crossings(self, per_function: int) -> Iterator[Joined]:
        """Yield calls with definitions of other files, and code with the headers that document it."""
        defined = self._definitions()
        for held in self._held:
            left = per_function
            declared = self._declared.get(self._key(held, held.unit.name))
            if left and declared is not None and not held.unit.doc and declared.path != held.place.path:
                yield _from_header(held, declared)
                left -= 1
            for call in held.unit.calls:
                callee = defined.get(self._key(held, call))
                if left and callee is not None and callee.place.path != held.place.path:
                    yield _call(held, callee, call)
                    left -= 1

    def _definitions(self) -> dict[tuple[str, str, str], Held | None]:
        """Return units by name; a name with several definitions stands for none."""
        defined: dict[tuple[str, str, str], Held | None] = {}
        for held in self._held:
            name = _last(held.unit.name)
            if len(name) >= _SHORTEST_CALL and held.unit.lines <= _LONGEST_DEFINITION:
                key = self._key(held, name)
                defined[key] = None if key in defined else held
        return defined

    def _key(self, held: Held, name: str) -> tuple[str, str, str]:
        return held.place.source, _family(held.unit.language), name

    def _fits(self, size: int, where: str, tally: Tally) -> bool:
        self._room -= size + _OVERHEAD_BYTES
        if self._room < 0:
            tally.add("no room to join files", where)
        return self._room >= 0


def _call(held: Held, callee: Held, call: str) -> Joined:
    if fraction("code/cross_file", held.place.source, held.place.path, held.unit.first_line, call) < 0.5:
        pair = pairs.find_definition(held.unit, held.place, callee.unit, call)
        return Joined(pair, callee, _where(held), held.origin.licence)
    pair = pairs.use_definition(held.unit, held.place, callee.unit, callee.place.path, call)
    return Joined(pair, held, _where(callee), callee.origin.licence)


def _from_header(held: Held, declared: Declared) -> Joined:
    prototype = declared.prototype
    pair = pairs.from_header(held.unit, held.place, prototype.text, prototype.doc, declared.path)
    where = f"{declared.path}:{prototype.first_line}-{prototype.last_line}"
    return Joined(pair, held, where, declared.licence)


def _where(held: Held) -> str:
    return f"{held.place.path}:{held.unit.first_line}-{held.unit.last_line}"


def _family(language: str) -> str:
    """C and C++ call each other."""
    return _FAMILIES.get(language, language)


def _last(name: str) -> str:
    """Return a name without its class or table."""
    return name.replace("::", ".").replace(":", ".").rpartition(".")[2]
