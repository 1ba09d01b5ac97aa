"""Options as programs read them: long ones may be shortened, short ones may share a word."""

from __future__ import annotations

from collections.abc import Sequence


def is_long(word: str, name: str, others: Sequence[str] = ()) -> bool:
    """Tell whether a word is a long option, in full or shortened, with `=value` or without.

    Git and the system's programs take any beginning of a name that begins no other: `others` are the
    names beside which it must be told apart.
    """
    given = word.partition("=")[0]
    if given == name:
        return True
    return len(given) > 2 and name.startswith(given) and not any(other.startswith(given) for other in others)


def has_short(word: str, letters: str, valued: str = "") -> bool:
    """Tell whether a word holds one of some short options, alone or among others.

    Behind one of `valued` the rest of the word is its value.
    """
    return short_value(word, letters, valued) is not None


def short_value(word: str, letters: str, valued: str = "") -> str | None:
    """Return what follows the first of some short options in a word, None where it holds none."""
    if not word.startswith("-") or word.startswith("--"):
        return None
    for place, letter in enumerate(word[1:], 2):
        if letter in letters:
            return word[place:]
        if letter in valued:
            return None
    return None
