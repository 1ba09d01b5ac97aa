"""Read BIN's questions and answers as its page describes them, with other arithmetic than the skill's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from realm.skills.catalogue.bin import Bin
from realm.skills.skill import SKILLS, Problem

PYTHON: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: (a - a % b) // b,
    "increment": lambda a: a + 1,
    "decrement": lambda a: a - 1,
    "multiply_by_2": lambda a: a + a,
    "divide_by_2": lambda a: a >> 1,
    "bitwise_and": lambda a, b: a & b,
    "bitwise_or": lambda a, b: a | b,
    "bitwise_xor": lambda a, b: a ^ b,
    "equals": lambda a, b: int(a == b),
    "lessthan": lambda a, b: int(a < b),
    "greaterthan": lambda a, b: int(a > b),
    "minimum": lambda a, b: a if a < b else b,
    "maximum": lambda a, b: b if a < b else a,
    "todecimal": lambda a: a,
    "tobinary": lambda a: a,
    "signed_add": lambda a, b: a + b,
    "signed_subtract": lambda a, b: a - b,
    "negate": lambda a: -a,
    "absolute_value": lambda a: a if a > 0 else -a,
}
COMPARISONS = {"equals", "lessthan", "greaterthan"}
SIGNED = {"signed_add", "signed_subtract", "negate", "absolute_value"}
CANONICAL = {"signed_add": "add", "signed_subtract": "subtract"}
COMMUTATIVE = {"add", "multiply", "bitwise_and", "bitwise_or", "bitwise_xor", "equals", "minimum", "maximum"}
FORMS = {
    "Compute": "plain",
    "Compute [verify]": "verify",
    "Compute [show-work]": "show-work",
    "Compute [trace]": "trace",
    "True or false": "truth",
    "Find the error": "error",
    "Fill in": "blank",
    "Compare": "comparison",
    "Overflow": "overflow",
    "Compute reversed": "reverse",
}
ANSWERED = {"plain", "verify", "show-work", "trace"}
SHORT: dict[str, Any] = {"digit_order": "lsb", "pad_digits": 6, "answer": "result"}


def make(**options: Any) -> Bin:
    skill = SKILLS.build({"kind": "bin", **options})
    assert isinstance(skill, Bin)
    return skill


def core(**options: Any) -> Bin:
    plain = {"operations": "core", "variants": {"plain": 1}, "auxiliary": 0, "symbol_keys": 0}
    return make(**{**plain, **options})


class Read(NamedTuple):
    """A question read back by what the page on BIN says."""

    form: str
    operation: str
    parts: list[str]
    rest: str
    signs: str
    width: int
    keyed: bool

    def number(self, text: str, order: str, *, signed: bool = False) -> int:
        """Read digits as a person would who knows only their order and signs."""
        assert text
        text = text if order == "msb" else text[::-1]
        if set(text) <= set(self.signs):
            value = sum(1 << k for k, sign in enumerate(reversed(text)) if sign == self.signs[1])
            return value - (1 << len(text)) if signed and text[0] == self.signs[1] else value
        assert text.isascii(), text
        return int(text)

    def operands(self, order: str) -> list[int]:
        signed = self.operation in SIGNED
        return [self.number(part, order, signed=signed) for part in self.parts]


def read(user: str) -> Read:
    signs, names, keyed = "⓪①", {}, user.startswith("Key: ")
    if keyed:
        first, second, user = user.split("\n")
        told = re.fullmatch("Key: (.) = ⓪, (.) = ①", first)
        assert told
        signs = told[1] + told[2]
        names = dict(pair.split(" = ") for pair in second.removeprefix("Names: ").split(", "))
    overflow = re.fullmatch(r"Overflow in (\d+) bits: (.*)", user)
    title, body = ("Overflow", overflow[2]) if overflow else tuple(user.split(": ", 1))
    match = re.fullmatch(r"(\w+)\((.*?)(?:, width=(\d+))?\)(?: (?:=|and) (\S+))?", body)
    assert match, user
    operation = names.get(match[1], match[1])
    assert keyed == (match[1] in names)
    rest = overflow[1] if overflow else match[4] or ""
    return Read(FORMS[title], operation, match[2].split(", "), rest, signs, int(match[3] or 0), keyed)


def parse(text: str, order: str) -> tuple[str, list[int]]:
    question = read(text)
    return question.operation, question.operands(order)


def canonical_key(operation: str, operands: list[int]) -> str:
    if operation == "greaterthan":
        operation, operands = "lessthan", operands[::-1]
    operation = CANONICAL.get(operation, operation)
    if operation in COMMUTATIVE:
        operands = sorted(operands)
    return " ".join([operation, *map(str, operands)])


def check(problem: Problem, order: str, answer: str) -> Read:
    """Hold a problem against what its question says, by other arithmetic than the skill's."""
    question = read(problem.messages[-1].content)
    expected, operation = problem.expected, question.operation
    assert problem.form == ("" if question.form == "plain" else question.form)
    if question.form == "blank":
        place = question.parts.index("_")
        question.parts[place] = expected
        result = question.number(question.rest, order, signed=operation in SIGNED)
        assert PYTHON[operation](*question.operands(order)) == result
    operands = question.operands(order)
    assert canonical_key(operation, operands) == problem.key
    value = PYTHON[operation](*operands)
    if operation in SIGNED:
        half = 1 << question.width - 1
        assert all(-half <= n < half for n in (*operands, value))
        assert all(len(part) == question.width for part in question.parts)
    else:
        assert all(0 <= n < 2 ** (problem.level + 1) for n in operands)
    true, false = question.signs[1], question.signs[0]
    if question.form in ANSWERED:
        result = check_lines(question, order, operands, value, expected, echo=answer == "echo")
        if operation == "todecimal":
            assert result.isdecimal()
            assert result.isascii()
        else:
            assert set(result) <= set(question.signs)
        assert question.number(result, order, signed=operation in SIGNED) == value
    elif question.form == "truth":
        shown = question.number(question.rest, order, signed=operation in SIGNED)
        assert expected == (true if shown == value else false)
    elif question.form == "error":
        told = re.fullmatch("position ([0-9]+) is (.)", expected)
        assert told
        place = int(told[1]) if order == "lsb" else len(question.rest) - 1 - int(told[1])
        right = question.rest[:place] + told[2] + question.rest[place + 1 :]
        assert right != question.rest
        assert question.number(right, order, signed=operation in SIGNED) == value
    elif question.form == "comparison":
        shown = question.number(question.rest, order)
        assert {"<": value < shown, "=": value == shown, ">": value > shown}[expected]
    elif question.form == "overflow":
        assert expected == (true if value >= 2 ** int(question.rest) else false)
    elif question.form == "reverse":
        assert question.number(expected[::-1], order, signed=operation in SIGNED) == value
    return question


def check_lines(
    question: Read, order: str, operands: list[int], value: int, expected: str, *, echo: bool
) -> str:
    """Check the lines below the first one; return the result that the first one gives."""
    first, *lines = expected.split("\n")
    assert bool(lines) == (question.form != "plain")
    if echo:
        call, first = first.split(") = ")
        assert call.partition("(")[2].split(", width=")[0] == ", ".join(question.parts)
    if question.form == "verify":
        check_verification(question.operation, order, operands, value, lines)
    if question.form == "show-work":
        check_key_steps(question, operands, value, lines)
    if question.form == "trace":
        assert traced(question, order, operands, lines) == value
    return first


def decimals(text: str, order: str) -> list[int]:
    signed = re.findall(r"(?<![0-9])-?[0-9]+", text)
    return [
        int(n.rstrip("-") if order == "msb" else "-" * n.startswith("-") + n.strip("-")[::-1]) for n in signed
    ]


def check_verification(operation: str, order: str, operands: list[int], value: int, lines: list[str]) -> None:
    assert len(lines) == 1
    left, _, right = (
        lines[0].removeprefix("Verification: ").rpartition(" is " if operation in COMPARISONS else " = ")
    )
    if operation in COMPARISONS:
        assert right == ("true" if value else "false")
        assert decimals(left, order) == operands
    elif operation in ("todecimal", "tobinary"):
        assert sum(decimals(left, order)) == decimals(right, order)[0] == value
        assert all(n & (n - 1) == 0 for n in decimals(left, order))
    else:
        assert decimals(right, order)[0] == value
        assert set(operands) <= set(decimals(left, order))
        if "remainder" in right:
            assert decimals(right, order)[1] == operands[0] - value * ([*operands, 2][1])


def check_key_steps(question: Read, operands: list[int], value: int, lines: list[str]) -> None:
    """Check carries, borrows and ones position by position; the other steps by their shape."""
    assert len(lines) == 1
    title, _, told = lines[0].partition(": ")
    operation = question.operation
    length = question.width or max(1, *(n.bit_length() for n in operands), *(len(p) for p in question.parts))
    a, b = (n % (1 << length) for n in ([*operands, 1] if len(operands) == 1 else operands))
    if operation in ("negate", "absolute_value"):
        a, b = 0, a
    ends = [(k, a % (2 << k), b % (2 << k)) for k in range(length)]
    if title == "Carries out of positions":
        assert told == (", ".join(str(k) for k, x, y in ends if x + y >= 2 << k) or "none")
    elif title == "Borrows at positions":
        assert told == (", ".join(str(k) for k, x, y in ends if x < y) or "none")
    elif title == "Ones at positions":
        assert told == (", ".join(str(k) for k in range(64) if value >> k & 1) or "none")
    elif title == "Deciding position":
        assert told.startswith(str((a ^ b).bit_length() - 1) if a != b else "none")
    else:
        assert operation not in (
            "add",
            "subtract",
            "increment",
            "decrement",
            "bitwise_and",
            "equals",
            "negate",
        )


def traced(question: Read, order: str, operands: list[int], lines: list[str]) -> int:
    """Return the result that a trace's lines lead to."""
    operation, signs = question.operation, question.signs
    if operation in COMPARISONS | {"minimum", "maximum"}:
        a, b = operands
        marks = [line.split(" ")[3] for line in lines]
        assert set(marks[:-1]) <= {"="}
        assert marks[-1] == ("<" if a < b else ">" if a > b else "=")
        return PYTHON[operation](a, b)
    if operation == "multiply":
        return question.number(lines[-1].rpartition(" ")[2], order)
    if operation == "todecimal":
        return decimals(lines[-1].rpartition(" = ")[2], order)[0]
    if operation == "tobinary":
        return sum(int(line[-1]) << k for k, line in enumerate(lines))
    if lines == ["Positive: unchanged"]:
        return operands[0]
    digits: dict[int, str] = {}
    carry = ""
    for line in lines:
        match = re.fullmatch(r"position (\d+): (?:.* = )?(\S)(?: (?:carry|borrow) (.)|, remainder .*)?", line)
        if match:
            digits[int(match[1])] = match[2]
            carry = match[3] or ""
    value = sum(signs.index(sign) << k for k, sign in digits.items())
    if operation in ("add", "increment"):
        value += signs.index(carry) << len(digits)
    return value - (1 << question.width) if operation in SIGNED and value >> question.width - 1 else value
