"""Lists of words, written as text."""

from __future__ import annotations


def listed(words: str) -> frozenset[str]:
    """Return the words of a text, which blanks keep apart."""
    return frozenset(words.split())
