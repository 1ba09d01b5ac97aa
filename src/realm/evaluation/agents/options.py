"""Options of a command line, read strictly from its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from realm.core.errors import UsageError
from realm.core.text import printable


class Options(NamedTuple):
    """What the words of a command say."""

    plain: tuple[str, ...]
    """Words that are no option and no option's value."""
    values: dict[str, tuple[str, ...]]
    """Values by the option's long name, in the order they were given."""
    flags: frozenset[str]

    def one(self, name: str) -> str | None:
        """Return the last value of an option, None where it was not given."""
        return self.values[name][-1] if name in self.values else None


def read(words: Sequence[str], values: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Options:
    """Read words; both tables map every spelling to its long name. Raises UsageError for any other option."""
    plain: list[str] = []
    found: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, sign, value = word.partition("=")
        if word == "--":
            plain, rest = [*plain, *rest], []
        elif not word.startswith("-") or word == "-":
            plain.append(word)
        elif flags and word in flags:
            seen.add(flags[word])
        elif name in values and sign and name.startswith("--"):
            found[values[name]] = (*found.get(values[name], ()), value)
        elif word in values:
            if not rest:
                raise UsageError(f"{word} needs a value")
            found[values[word]] = (*found.get(values[word], ()), rest.pop(0))
        else:
            raise UsageError(f"unknown flag: {printable(word, 60)}")
    return Options(tuple(plain), found, frozenset(seen))
