"""What only several files together tell: examples of calls, and calls with their definitions.

It holds units until all files were seen, at most as many bytes as it is told; what does not fit is
counted and gives no such pairs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from realm.core.seeds import fraction
from realm.corpus.code import pairs
from realm.corpus.code.grammars import EVERYDAY
from realm.corpus.code.names import Call, last, owner
from realm.corpus.code.pairs import Pair, Place
from realm.corpus.code.units import Prototype, Unit
from realm.corpus.document import Document, Origin
from realm.corpus.tally import Tally

_SHORTEST_CALL = 4
_FAMILIES = {"cpp": "c"}
_OVERHEAD_BYTES = 1_000
_CALL_BYTES = 150
_NAME_BYTES = 250
_TWO_WORDS = re.compile(r"[a-z0-9](?:_[a-z]|[A-Z])")
_STATIC = re.compile(r"\bstatic\b")
_OF_ONE_PROJECT = frozenset({"gdscript", "go"})
"""Languages in which a name means nothing beyond its project or package."""
_HEADERS = (".h", ".hpp", ".hh", ".hxx", ".inl", ".ipp")
_LONGEST_DEFINITION = 60
_Key = tuple[str, str, str]
"""Source, family of languages, name."""


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
    group: str


class Joined(NamedTuple):
    """A pair made of two places."""

    pair: Pair
    answer: Held
    """The place that the answer is from."""
    other: str
    """`path:first-last` of the other place, empty where there is none."""
    other_licence: str | None
    other_group: str = ""
    """What the split keeps the other place with."""


class Joins:
    """Collect units and say afterwards which belong together."""

    def __init__(self, held_bytes: int) -> None:
        self._room = held_bytes
        self._held: list[Held] = []
        self._declared: dict[_Key, Declared | None] = {}
        self._names: Counter[_Key] = Counter()
        self._last_names: Counter[_Key] = Counter()

    def name(self, unit: Unit, document: Document, tally: Tally) -> None:
        """Count a definition, whether or not rows are made of it: what is defined twice stands for none."""
        source, family = document.origin.source, _family(unit.language)
        whole = source, family, unit.name
        if whole in self._names or self._fits(_NAME_BYTES, document.id, tally):
            self._names[whole] += 1
            self._last_names[source, family, last(unit.name)] += 1

    def add(self, unit: Unit, place: Place, document: Document, is_example: bool, tally: Tally) -> None:
        """Remember one unit that rows may be made of."""
        size = len(unit.text) + len(unit.docless) + len(place.context) + len(unit.doc)
        if self._fits(_OVERHEAD_BYTES + size + _CALL_BYTES * len(unit.calls), document.id, tally):
            held = Held(
                unit, place, document.origin, document.id, document.split_group, document.tags, is_example
            )
            self._held.append(held)

    def declare(self, prototype: Prototype, document: Document, tally: Tally) -> None:
        """Remember one documented prototype; a name declared twice stands for none."""
        key = (document.origin.source, _family(prototype.language), prototype.name)
        size = _OVERHEAD_BYTES + len(prototype.text) + len(prototype.doc)
        if key in self._declared:
            self._declared[key] = None
        elif self._fits(size, document.id, tally):
            self._declared[key] = Declared(
                prototype, document.origin.path, document.origin.licence, document.split_group
            )

    def usages(self, per_function: int) -> Iterator[Joined]:
        """Yield questions for the rarest calls of each example, rarest first.

        A call is rare by the examples that make it. Names of the example's own file do not count, nor do
        those that come with the language.
        """
        often = Counter(
            (held.place.source, call.name)
            for held in self._held
            if held.is_example
            for call in held.unit.calls
        )
        own = {(held.place.source, held.place.path, last(held.unit.name)) for held in self._held}
        for held in self._held:
            if held.is_example:
                source, path = held.place.source, held.place.path
                calls = [
                    call
                    for call in held.unit.calls
                    if len(call.name) >= _SHORTEST_CALL
                    and call.name not in EVERYDAY
                    and (source, path, call.name) not in own
                ]
                calls.sort(key=lambda call: (often[source, call.name], call.name))
                for call in calls[:per_function]:
                    yield Joined(pairs.usage(held.unit, held.place, call), held, "", None)

    def crossings(self, per_function: int) -> Iterator[Joined]:
        """Yield calls with definitions of other files, and code with the headers that document it."""
        defined = {
            self._key(held, name): held
            for held in self._held
            if len(name := last(held.unit.name)) >= _SHORTEST_CALL
            and held.unit.lines <= _LONGEST_DEFINITION
            and self._last_names[self._key(held, name)] == 1
        }
        answered: Counter[_Key] = Counter()
        for held in self._held:
            left = per_function
            whole = self._key(held, held.unit.name)
            declared = self._declared.get(whole)
            if left and declared is not None and self._names[whole] == 1 and _is_behind(held, declared):
                yield _from_header(held, declared)
                left -= 1
            for call in held.unit.calls:
                key = self._key(held, call.name)
                callee = defined.get(key)
                if left and callee is not None and _reaches(held, callee, call):
                    # Half of the rows ask for the definition, but for each of them only so often.
                    draw = fraction("code/cross_file", held.place.source, held.place.path, *key)
                    asks_definition = draw < 0.5 and answered[key] < per_function
                    answered[key] += asks_definition
                    yield _definition(held, callee, call) if asks_definition else _use(held, callee, call)
                    left -= 1

    def _key(self, held: Held, name: str) -> _Key:
        return held.place.source, _family(held.unit.language), name

    def _fits(self, size: int, where: str, tally: Tally) -> bool:
        self._room -= size
        if self._room < 0:
            tally.add("no room to join files", where)
        return self._room >= 0


def _is_behind(held: Held, declared: Declared) -> bool:
    """Say whether a unit is what another file declares and alone documents."""
    return not held.unit.doc and declared.path != held.place.path


def _reaches(held: Held, callee: Held, call: Call) -> bool:
    """Say whether a call can only mean a definition of its name in another file.

    One on something else (`a.b()`) means it where `a` is the definition's class, table, file or folder.
    Otherwise the files have to be near each other. Where no linker holds names to be unique, a name has to
    be of two words at least: `play` and `sort` are methods of much else.
    """
    path = callee.place.path
    if path == held.place.path:
        return False
    if callee.unit.language == "c" and _STATIC.search(callee.unit.signature) and not path.endswith(_HEADERS):
        return False
    language, near = callee.unit.language, _near(held.place.path, path)
    if language in _OF_ONE_PROJECT and not near:
        return False
    two_words = _TWO_WORDS.search(call.name) is not None
    if not call.receiver:
        is_own = owner(callee.unit.name) in ("", owner(held.unit.name))
        return is_own and (two_words or language in ("c", "cpp"))
    folder, _, name = path.rpartition("/")
    means = {owner(callee.unit.name), name.partition(".")[0], folder.rpartition("/")[2]}
    if _plain(call.receiver) in {_plain(word) for word in means if word}:
        return True
    return two_words and near


def _plain(word: str) -> str:
    return word.replace("_", "").lower()


def _near(one: str, other: str) -> bool:
    """Say whether two files share at least half of their folders."""
    first, second = one.split("/")[:-1], other.split("/")[:-1]
    shared = len(list(takewhile(lambda both: both[0] == both[1], zip(first, second, strict=False))))
    return 2 * shared >= max(len(first), len(second))


def _definition(held: Held, callee: Held, call: Call) -> Joined:
    pair = pairs.find_definition(held.unit, held.place, callee.unit, callee.place.path, call)
    return Joined(pair, callee, _where(held), held.origin.licence, held.group)


def _use(held: Held, callee: Held, call: Call) -> Joined:
    pair = pairs.use_definition(held.unit, held.place, callee.unit, callee.place.path, call)
    return Joined(pair, held, _where(callee), callee.origin.licence, callee.group)


def _from_header(held: Held, declared: Declared) -> Joined:
    prototype = declared.prototype
    pair = pairs.from_header(held.unit, held.place, prototype.text, prototype.doc, declared.path)
    where = f"{declared.path}:{prototype.first_line}-{prototype.last_line}"
    return Joined(pair, held, where, declared.licence, declared.group)


def _where(held: Held) -> str:
    return f"{held.place.path}:{held.unit.first_line}-{held.unit.last_line}"


def _family(language: str) -> str:
    """C and C++ call each other."""
    return _FAMILIES.get(language, language)
