"""How numbers and calls of BIN are written, in any digit order, width and pair of signs, and read back."""

from __future__ import annotations

import re
from typing import NamedTuple

from realm.skills.bits.operations import OPERATIONS, Operands, Operation, solve

CIRCLED = "⓪①"
BLANK = "_"


class Script(NamedTuple):
    """One way to write numbers."""

    lsb: bool = False
    """Least significant digit first, decimal numbers included."""
    pad: int = 0
    """Digits an operand has at least."""
    signs: str = CIRCLED
    """The signs of 0 and 1."""

    def binary(self, value: int, width: int = 0) -> str:
        """Write a number with at least so many digits; a negative one in two's complement of that width."""
        text = format(value if value >= 0 else value + (1 << width), f"0{width}b")
        return self._ordered(text.replace("0", self.signs[0]).replace("1", self.signs[1]))

    def decimal(self, value: int, bits: int = 0) -> str:
        """Write a decimal number, as wide as the largest number of that many bits; 0 fills nothing."""
        text = self._ordered(str(abs(value)).zfill(len(str(2**bits - 1)) if bits else 0))
        return f"-{text}" if value < 0 else text

    def read_binary(self, text: str, *, signed: bool = False) -> int | None:
        """Read a number that was written with these signs, None where it was not."""
        if not text or not set(text) <= set(self.signs):
            return None
        value = int(self._ordered(text).replace(self.signs[0], "0").replace(self.signs[1], "1"), 2)
        return value - (1 << len(text)) if signed and value >> len(text) - 1 else value

    def read_decimal(self, text: str) -> int | None:
        """Read a decimal number without a sign, None where it is none."""
        return int(self._ordered(text)) if _DECIMAL.fullmatch(text) else None

    def truth(self, value: object) -> str:
        """Write true or false as a single digit."""
        return self.signs[bool(value)]

    def _ordered(self, digits: str) -> str:
        return digits[::-1] if self.lsb else digits


class Call(NamedTuple):
    """A problem and how it is written."""

    script: Script
    operation: str
    operands: Operands
    value: int
    """The right answer as a number."""
    name: str
    """What the operation is called, which may be an alias."""
    arguments: tuple[str, ...]
    result: str
    width: int
    """Digits of the operands where they are padded or signed, otherwise 0."""

    @property
    def known(self) -> Operation:
        """Return what is known of the operation."""
        return OPERATIONS[self.operation]

    def text(self, blank: int | None = None) -> str:
        """Return `name(a, b)`, one operand left blank where asked."""
        shown = [BLANK if i == blank else text for i, text in enumerate(self.arguments)]
        if self.known.signed:
            shown.append(f"width={self.width}")
        return f"{self.name}({', '.join(shown)})"


def call(script: Script, operation: str, operands: Operands, *, width: int = 0, name: str = "") -> Call:
    """Write a problem; signed operations need the width that they are written in."""
    known, value, pad = OPERATIONS[operation], solve(operation, operands), script.pad
    if operation == "tobinary":
        told = (script.decimal(value, pad),)
        return Call(
            script, operation, operands, value, name or operation, told, script.binary(value, pad), pad
        )
    if not known.signed:
        width = max(pad, *(n.bit_length() for n in operands)) if pad else 0
    arguments = tuple([script.binary(n, width) for n in operands])
    if known.answer == "truth":
        result = script.truth(value)
    elif known.answer == "decimal":
        result = script.decimal(value, width)
    elif known.signed:
        result = script.binary(value, width)
    else:
        result = script.binary(value, known.width(width) if width else 0)
    return Call(script, operation, operands, value, name or operation, arguments, result, width)


def read_call(script: Script, text: str, names: dict[str, str]) -> tuple[Call, int | None] | None:
    """Read `name(a, b)` back, by what the names stand for; None for anything else.

    Also returns the place of an operand that is blank; its value is 0 then.
    """
    match = _CALL.fullmatch(text)
    if match is None or match["name"] not in names:
        return None
    operation = names[match["name"]]
    known, parts = OPERATIONS[operation], match["arguments"].split(", ")
    width = int(match["width"] or 0)
    if len(parts) != known.arity or known.signed != bool(width):
        return None
    blank = parts.index(BLANK) if BLANK in parts else None
    numbers = [_operand(script, operation, part) for part in parts]
    operands = tuple(n for n in numbers if n is not None)
    if len(operands) != known.arity:
        return None
    return Call(script, operation, operands, 0, match["name"], tuple(parts), "", width), blank


def _operand(script: Script, operation: str, text: str) -> int | None:
    if text == BLANK:
        return 0
    if operation == "tobinary":
        return script.read_decimal(text)
    return script.read_binary(text, signed=OPERATIONS[operation].signed)


_DECIMAL = re.compile(r"[0-9]{1,40}")
_CALL = re.compile(
    r"(?P<name>[a-z_0-9]{1,20})\((?P<arguments>[^()=]{1,200}?)(?:, width=(?P<width>[1-9][0-9]?))?\)"
)
