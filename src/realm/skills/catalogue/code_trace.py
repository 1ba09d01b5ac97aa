"""Code trace: what short Python programs compute. Nothing is executed; a few line forms are worked out."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Literal

from realm.skills.passive.formulas import LETTERS, Formulas, read, true
from realm.skills.passive.skill import PassiveConfig, PassiveSkill
from realm.skills.passive.spaces import Joined, Numbers, Product, Rows, Space, Words
from realm.skills.passive.table import Question, primitive

_REPLY = " Answer with the value only."
_STATEMENTS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6}
_LARGEST = {1: 9, 2: 20, 3: 50, 4: 99, 5: 200}
_TURNS = {1: 3, 2: 4, 3: 5, 4: 6, 5: 8}

_OPERATIONS: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_LINES = (
    *(
        f"{target} = {source} {sign} {n}"
        for target in "xy"
        for source in "xy"
        for sign in "+-"
        for n in (1, 2, 3, 5, 8)
    ),
    *(f"{target} = {source} * {n}" for target in "xy" for source in "xy" for n in (2, 3)),
    *(f"{target} = x {sign} y" for target in "xy" for sign in "+-"),
    *(f"{target} = y - x" for target in "xy"),
)
_BODIES = (
    *(f"x = x {sign} {n}" for sign in "+-" for n in range(1, 10)),
    *(f"x = x {sign} i" for sign in "+-"),
    *(f"x = {n} - x" for n in range(10)),
    *(f"x = x + i * {n}" for n in range(2, 6)),
    "x = x * 2",
    "x = x * 2 - i",
)


def _run(line: str, values: dict[str, int]) -> None:
    """Do one assignment."""
    target, _, expression = line.partition(" = ")
    values[target] = _worked_out(expression, values)


def _worked_out(expression: str, values: dict[str, int]) -> int:
    """Work out operands with signs between them, products before sums."""
    words = expression.split(" ")
    terms, signs = [_number(words[0], values)], []
    for sign, word in zip(words[1::2], words[2::2], strict=True):
        if sign == "*":
            terms[-1] *= _number(word, values)
        else:
            signs.append(sign)
            terms.append(_number(word, values))
    total = terms[0]
    for sign, term in zip(signs, terms[1:], strict=True):
        total = _OPERATIONS[sign](total, term)
    return total


def _number(word: str, values: dict[str, int]) -> int:
    return values[word] if word in values else int(word)


def _ask(
    name: str, code: str, wording: str, spaces: dict[int, Space], solve: Callable[..., object]
) -> Question:
    return Question(
        name,
        (f"{wording}{_REPLY}\n\n{code}", f"{code}\n\n{wording}{_REPLY}"),
        spaces,
        lambda *operands: str(solve(*operands)),
    )


# --- assignments ------------------------------------------------------------------------


def _assigned(x: int, y: int, *lines: str) -> int:
    values = {"x": x, "y": y}
    for line in lines:
        _run(line, values)
    return values["x"]


def _assignments(level: int, lines: int) -> Question:
    number = Numbers(0, _LARGEST[level])
    return _ask(
        "trace_assignment",
        "x = {0}\ny = {1}" + "".join(f"\n{{{n + 2}}}" for n in range(lines)),
        "What is x at the end of this Python code?",
        {level: Product(number, number, Rows(_LINES, lines))},
        _assigned,
    )


# --- branches ---------------------------------------------------------------------------


def _branch_space(level: int, *, nested: bool) -> Space:
    number = Numbers(0, _LARGEST[level])
    condition = Product(Words(tuple(_COMPARISONS)), number)
    change = Product(Words(tuple(_OPERATIONS)), Numbers(1, 9))
    return Product(number, condition, change, *((condition, change) if nested else ()), change)


def _branched(x: int, *operands: str | int) -> int:
    *branches, sign, amount = operands
    while branches:
        comparison, limit, then, by, *branches = branches
        if _COMPARISONS[str(comparison)](x, int(limit)):
            return _OPERATIONS[str(then)](x, int(by))
    return _OPERATIONS[str(sign)](x, int(amount))


# --- loops ------------------------------------------------------------------------------


def _looped(x: int, turns: int, *bodies: str) -> int:
    values = {"x": x}
    for turn in range(turns):
        values["i"] = turn
        for body in bodies:
            _run(body, values)
    return values["x"]


def _loop(name: str, bodies: int, levels: tuple[int, ...]) -> Question:
    code = "x = {0}\nfor i in range({1}):" + "".join(f"\n    {{{n + 2}}}" for n in range(bodies))
    return _ask(
        name,
        code,
        "What is x at the end of this Python code?",
        {n: Product(Numbers(0, _LARGEST[n]), Numbers(2, _TURNS[n]), Rows(_BODIES, bodies)) for n in levels},
        _looped,
    )


# --- conditions -------------------------------------------------------------------------


def _condition(level: int) -> Space:
    number = Numbers(0, _LARGEST[level])
    return Joined(Product(number, Words(tuple(_COMPARISONS)), number), " ")


def _compared(text: str) -> bool:
    left, sign, right = text.split(" ")
    return _COMPARISONS[sign](int(left), int(right))


def _printed(*operands: str) -> bool:
    *conditions, expression = operands
    formula = read(expression)
    return formula is not None and true(formula, dict(zip(LETTERS, map(_compared, conditions), strict=False)))


def _expression(conditions: int, levels: tuple[int, ...]) -> Question:
    code = "".join(f"{letter} = {{{n}}}\n" for n, letter in enumerate(LETTERS[:conditions]))
    words = ("and", "or")
    return _ask(
        "eval_bool_expr",
        f"{code}print({{{conditions}}})",
        "What does Python print?",
        {n: Product(*(_condition(n),) * conditions, Formulas(conditions, words, words)) for n in levels},
        _printed,
    )


# --- functions --------------------------------------------------------------------------

_ONE_FUNCTION = "def f(x):\n    return x {0} {1}\n\n"
_TWO_FUNCTIONS = _ONE_FUNCTION + "def g(x):\n    return x {2} {3}\n\n"


def _call(name: str, code: str, functions: int, levels: tuple[int, ...], order: str) -> Question:
    """Functions applied to a number; `order` names them from the innermost outward."""

    def solve(*operands: str | int) -> int:
        result = int(operands[-1])
        for letter in order:
            place = 2 * "fg".index(letter)
            result = _OPERATIONS[str(operands[place])](result, int(operands[place + 1]))
        return result

    part = Product(Words(tuple(_OPERATIONS)), Numbers(1, 9))
    spaces: dict[int, Space] = {n: Product(*(part,) * functions, Numbers(0, _LARGEST[n])) for n in levels}
    return _ask(name, code, "What does Python print?", spaces, solve)


class CodeTrace(PassiveSkill):
    """Drill and grade following short programs."""

    class Config(PassiveConfig):
        """Options of the suite."""

        kind: Literal["code_trace"] = "code_trace"

    name = "code_trace"
    title = "Code trace"
    steps = (
        "one assignment, numbers up to 9",
        "two assignments, numbers up to 20",
        "elif, function in function, numbers up to 50",
        "two lines in a loop, numbers up to 99",
        "six assignments, numbers up to 200",
    )
    table = (
        primitive(
            ("trace_assignment", "Assignments", "a variable after some assignments"),
            3,
            tuple(_assignments(n, lines) for n, lines in _STATEMENTS.items()),
            "code",
        ),
        primitive(
            ("trace_if_else", "Branches", "a variable after if, elif and else"),
            4,
            (
                _ask(
                    "trace_if_else",
                    "x = {0}\nif x {1} {2}:\n    x = x {3} {4}\nelse:\n    x = x {5} {6}",
                    "What is x at the end of this Python code?",
                    {n: _branch_space(n, nested=False) for n in (1, 2)},
                    _branched,
                ),
                _ask(
                    "trace_elif",
                    "x = {0}\nif x {1} {2}:\n    x = x {3} {4}\nelif x {5} {6}:\n    x = x {7} {8}\n"
                    "else:\n    x = x {9} {10}",
                    "What is x at the end of this Python code?",
                    {n: _branch_space(n, nested=True) for n in (3, 4, 5)},
                    _branched,
                ),
            ),
            "code",
        ),
        primitive(
            ("trace_loop_fixed", "Loops", "a variable after a loop of a fixed number of turns"),
            5,
            (_loop("trace_loop_fixed", 1, (1, 2, 3)), _loop("trace_loop_two", 2, (4, 5))),
            "code",
        ),
        primitive(
            ("eval_bool_expr", "Conditions", "the value of comparisons joined by and, or and not"),
            4,
            (
                *(
                    _expression(n, levels)
                    for n, levels in ((2, (1, 2)), (3, (2, 3, 4)), (4, (4, 5)), (5, (5,)))
                ),
            ),
            "code",
        ),
        primitive(
            ("function_call_trace", "Calls", "the result of functions that are called inside one another"),
            5,
            (
                _call("call_once", _ONE_FUNCTION + "print(f({2}))", 1, (1, 2), "f"),
                _call("call_twice", _ONE_FUNCTION + "print(f(f({2})))", 1, (2, 3), "ff"),
                _call("call_two", _TWO_FUNCTIONS + "print(g(f({4})))", 2, (3, 4), "fg"),
                _call("call_three", _TWO_FUNCTIONS + "print(f(g(f({4}))))", 2, (4, 5), "fgf"),
            ),
            "code",
        ),
    )
