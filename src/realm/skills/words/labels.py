"""How the words of a puzzle are numbered."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 10
"""Words of a puzzle at most."""

NUMBERS = tuple(str(n) for n in range(1, MOST + 1))
LETTERS = tuple("ABCDEFGHIJ")
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")


def are_labels(labels: Sequence[str], count: int) -> bool:
    """Say whether these are different labels, of one kind, of a puzzle with so many words."""
    upper = [label.upper() for label in labels]
    if len(set(upper)) != len(upper):
        return False
    return any(set(upper) <= set(kind[:count]) for kind in (NUMBERS, LETTERS, ROMAN))
