"""A small language for answers: arithmetic, comparison and text on a template's operands.

    a + b        "yes" if a % 2 == 0 else "no"        reverse(word)[0:3]        abs(a - b) ** 2

Values are integers (up to 4096 bits), texts (up to 10,000 characters) and truth values. It is read by
Python's parser and walked by this module: names are operands, calls are those of `FUNCTIONS`, and
whatever is not listed here is refused when the file is read. There are no loops, so an expression of
300 characters takes bounded time.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Collection, Mapping

from realm.core.errors import ConfigError

Value = int | str | bool

_MAX_TEXT = 300
_MAX_BITS = 4096
_MAX_CHARS = 10_000
_MAX_DEPTH = 30
_MAX_DIGITS = 1000

_COMPARISONS: dict[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _power(base: int, exponent: int) -> int:
    if exponent < 0 or max(1, base.bit_length()) * exponent > _MAX_BITS:
        raise _refused(f"{base} ** {exponent} is no number that is worked with here")
    return int(base**exponent)


_NUMBERS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}


def _to_int(text: str) -> int:
    if len(text) > _MAX_DIGITS or not text.removeprefix("-").isdecimal() or not text.isascii():
        raise _refused(f"int({text[:20]!r}) is no number")
    return int(text)


def _replaced(text: str, old: str, new: str) -> str:
    if (text.count(old) if old else len(text) + 1) * len(new) > _MAX_CHARS:
        raise _refused("a text becomes too long")
    return text.replace(old, new)


FUNCTIONS: dict[str, tuple[tuple[type, ...], Callable[..., Value]]] = {
    "abs": ((int,), abs),
    "min": ((int, int), min),
    "max": ((int, int), max),
    "gcd": ((int, int), math.gcd),
    "str": ((int,), str),
    "int": ((str,), _to_int),
    "len": ((str,), len),
    "upper": ((str,), str.upper),
    "lower": ((str,), str.lower),
    "reverse": ((str,), lambda text: text[::-1]),
    "sort": ((str,), lambda text: "".join(sorted(text))),
    "count": ((str, str), str.count),
    "replace": ((str, str, str), _replaced),
}
"""What may be called, with the types that it takes."""


class Expression:
    """One expression over named operands. Raises ConfigError for one that is not understood."""

    def __init__(self, text: str, operands: Collection[str]) -> None:
        if len(text) > _MAX_TEXT or "\\" in text or "\0" in text:
            raise _refused(f"an expression has up to {_MAX_TEXT} characters and no backslash")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                self._root = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise _refused(f"{text!r} is no expression") from None
        self._text = text
        _check(self._root, frozenset(operands), 0)

    def value(self, operands: Mapping[str, Value]) -> Value:
        """Work the expression out. Raises ConfigError where it has no value for these operands."""
        try:
            return _value(self._root, operands)
        except ConfigError as error:
            given = ", ".join(f"{name}={value!r:.40}" for name, value in operands.items())
            raise ConfigError(f"{{{self._text}}}: {error.what}, with {given}") from None


def _refused(what: str) -> ConfigError:
    return ConfigError(what, hint="docs/skills-own.md lists what expressions may hold")


def _check(node: ast.AST, operands: frozenset[str], depth: int) -> None:
    """Refuse everything that `_value` does not know."""
    if depth > _MAX_DEPTH:
        raise _refused("an expression is nested too deep")
    match node:
        case ast.Constant(value=bool() | int() | str()):
            return
        case ast.Name(id=name):
            if name not in operands:
                raise _refused(f"there is no operand {name!r}; there are: {', '.join(sorted(operands))}")
            return
        case ast.BinOp(op=op) if type(op) in _NUMBERS:
            pass
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()) | ast.BoolOp() | ast.IfExp():
            pass
        case ast.Compare(ops=ops) if all(type(op) in _COMPARISONS or type(op) is ast.In for op in ops):
            pass
        case ast.Subscript(slice=ast.Slice(step=None)) | ast.Subscript():
            pass
        case ast.Slice(step=None):
            pass
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            if len(args) != len(FUNCTIONS[name][0]):
                raise _refused(f"{name}() takes {len(FUNCTIONS[name][0])} values")
            for argument in args:
                _check(argument, operands, depth + 1)
            return
        case _:
            raise _refused(f"{ast.unparse(node)[:60]!r} is not allowed in an expression")
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            _check(child, operands, depth + 1)


def _value(node: ast.expr, operands: Mapping[str, Value]) -> Value:
    match node:
        case ast.Constant(value=bool() | int() | str() as value):
            return _bounded(value)
        case ast.Name(id=name):
            return operands[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _bounded(_joined(op, _value(left, operands), _value(right, operands)))
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not _truth(_value(inner, operands))
        case ast.UnaryOp(op=op, operand=inner):
            number = _number(_value(inner, operands))
            return -number if isinstance(op, ast.USub) else number
        case ast.BoolOp(op=op, values=parts):
            found = (_truth(_value(part, operands)) for part in parts)
            return all(found) if isinstance(op, ast.And) else any(found)
        case ast.IfExp(test=test, body=body, orelse=other):
            return _value(body if _truth(_value(test, operands)) else other, operands)
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(each, operands) for each in (left, *others)]
            return all(_compared(op, a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        case ast.Subscript(value=inner, slice=part):
            return _part(_value(inner, operands), part, operands)
        case ast.Call(func=ast.Name(id=name), args=args):
            return _called(name, [_value(argument, operands) for argument in args])
    raise _refused("not allowed in an expression")


def _joined(op: ast.operator, left: Value, right: Value) -> Value:
    if isinstance(op, ast.Add) and isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(op, ast.Mult) and isinstance(left, str):
        if len(left) * (times := _number(right)) > _MAX_CHARS:
            raise _refused("a text becomes too long")
        return left * times
    try:
        return _NUMBERS[type(op)](_number(left), _number(right))
    except ZeroDivisionError:
        raise _refused("division by zero") from None


def _compared(op: ast.cmpop, left: Value, right: Value) -> bool:
    if type(left) is not type(right):
        raise _refused("only values of one type are compared")
    if isinstance(op, ast.In):
        if not isinstance(left, str) or not isinstance(right, str):
            raise _refused("`in` looks for a text in a text")
        return left in right
    return _COMPARISONS[type(op)](left, right)


def _part(value: Value, part: ast.expr, operands: Mapping[str, Value]) -> str:
    if not isinstance(value, str):
        raise _refused("only a text has parts")
    if isinstance(part, ast.Slice):
        ends = [None if end is None else _number(_value(end, operands)) for end in (part.lower, part.upper)]
        return value[ends[0] : ends[1]]
    index = _number(_value(part, operands))
    if not -len(value) <= index < len(value):
        raise _refused(f"a text of {len(value)} characters has no character {index}")
    return value[index]


def _called(name: str, values: list[Value]) -> Value:
    types, function = FUNCTIONS[name]
    if any(type(value) is not wanted for value, wanted in zip(values, types, strict=True)):
        raise _refused(f"{name}() takes {', '.join('a text' if t is str else 'a number' for t in types)}")
    return _bounded(function(*values))


def _number(value: Value) -> int:
    if type(value) is not int:
        raise _refused(f"{value!r:.40} is no number")
    return value


def _truth(value: Value) -> bool:
    if type(value) is not bool:
        raise _refused(f"{value!r:.40} is neither true nor false")
    return value


def _bounded(value: Value) -> Value:
    if isinstance(value, str) and len(value) > _MAX_CHARS:
        raise _refused("a text becomes too long")
    if type(value) is int and value.bit_length() > _MAX_BITS:
        raise _refused("a number becomes too large")
    return value
