"""Checksums that tell a real value from a look-alike."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE64 = frozenset(_BASE62 + "+/=")
_CRC_CHARACTERS = 6


def crc32_base62(value: str) -> bool:
    """Tell whether the last six characters are the base-62 CRC-32 of those behind the prefix."""
    body = value.rpartition("_")[2]
    number, digits = zlib.crc32(body[:-_CRC_CHARACTERS].encode()), ""
    for _ in range(_CRC_CHARACTERS):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits == body[-_CRC_CHARACTERS:]


def luhn(value: str) -> bool:
    """Tell whether the digits of `value` satisfy the check of ISO/IEC 7812-1."""
    digits = [int(char) for char in value if char.isdigit() and char.isascii()]
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return len(digits) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def mod97(value: str) -> bool:
    """Tell whether an IBAN's check digits are right (ISO 13616)."""
    packed = "".join(char for char in value if char.isascii() and char.isalnum()).upper()
    turned = packed[4:] + packed[:4]
    return len(packed) > 4 and int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def base58check(value: str) -> bool:
    """Tell whether the last four bytes are the double SHA-256 of the others."""
    number = 0
    for char in value:
        digit = _BASE58.find(char)
        if digit < 0:
            return False
        number = number * 58 + digit
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def stellar(value: str) -> bool:
    """Tell whether a Stellar seed ends in the CRC-16/XMODEM of its bytes (SEP-23)."""
    try:
        raw = base64.b32decode(value)
    except binascii.Error:
        return False
    return binascii.crc_hqx(raw[:-2], 0) == int.from_bytes(raw[-2:], "little")


_KINDS_OF_CHARACTERS = 16


def many_kinds(value: str) -> bool:
    """Tell whether there are as many different characters as chance gives, unlike in tables of numbers."""
    return len(set(value)) >= _KINDS_OF_CHARACTERS and value.count("A") * 2 < len(value) + 22


_PEM_BODY = 20
_PEM_SHARE = 0.85
_PEM_FILLER = re.compile(r"\\[nrt]|[\s\\\"',+]|^[A-Z][A-Za-z-]+: .*$", re.MULTILINE)


def pem(value: str) -> bool:
    """Tell whether there is a body, and not only the markers or code that looks for them."""
    body = _PEM_FILLER.sub(
        "", value.partition("KEY")[2].rpartition("-----END")[0] or value.partition("KEY")[2]
    )
    body = body.strip("-")
    coded = sum(char in _BASE64 for char in body)
    return coded >= _PEM_BODY and coded >= _PEM_SHARE * len(body)
