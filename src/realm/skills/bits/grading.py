"""Grade answers whose first line decides."""

from __future__ import annotations

FIRST_LINE = 0.5
"""Score of a right first line."""
FURTHER_LINES = 0.4
"""Score of the lines below it, in proportion to how many are right, each in its place."""
_SLACK = 200
"""Characters beyond the right answer's length after which an answer is not read."""


def grade(expected: str, answer: str) -> float:
    """Compare with the right answer, character by character; only whitespace at the ends is forgiven.

    Where the right answer has several lines, a wrong first line scores 0, and a right one with wrong
    lines below scores 0.5 and up to 0.4 for those that are right; a line too many is a wrong line.
    """
    answer = answer.strip()
    if answer == expected:
        return 1.0
    if "\n" not in expected or len(answer) > len(expected) + _SLACK:
        return 0.0
    first, *lines = expected.split("\n")
    said, *others = answer.split("\n")
    if said.rstrip() != first:
        return 0.0
    right = sum(a == b.rstrip() for a, b in zip(lines, others, strict=False))
    return FIRST_LINE + FURTHER_LINES * right / max(len(lines), len(others))
