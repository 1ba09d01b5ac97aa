"""How much a value looks drawn by chance, and whether it is only a stand-in for one."""

from __future__ import annotations

import itertools
import re
import string
from functools import cache

from realm.corpus.scrubbing.lists import listed

_PAIRS = listed(
    """
    th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi
    ri ro ic ne ea ra ce li ch ll be ma si om ur ca el ta la ns di fo ho pe ec pr no ct us ac ot il tr ly nc
    et ut ss so rs un lo wa ge ie wh ee wi em ad ol rt po we na ul ni ts mo ow pa im mi ai sh ir su id os iv
    ia am fi ci vi pl ig tu ev ld ry mp fe bl ab gh ty op wo sa ay ex ke fr oo av ag if ap gr od bo sp rd do
    uc bu ei ov by rm ep tt oc fa ef cu rn sc gi da yo cr cl du ga qu ue ff ba ey ls va um pp ua up lu go ht
    ru ug ds lt pi rc rr eg au ck ew mu br bi pt ak pu ui rg ib tl ny ki rk ys ob mm fu ph og ms ye ud mb ip
    ub oi rl gu dr hr cc tw ft wn nu af hu nn eo vo rv nf xp gn sm fl iz ok nl my gl aw ju oa eq sy sl ps je
    ks db sk xt tm cs ws vm js kb hs pk
    """
)
"""Neighbours that are common in words and in names of things."""

_RUNS = re.compile(r"[A-Za-z0-9]+")
_SHUFFLE = re.compile(r"(?<=[0-9])[A-Za-z]|(?<=[A-Za-z])[0-9]|(?<=[a-z])[A-Z]")
_STAND_IN = re.compile(
    r"(?i)x{4,}|\*{3,}|\.{3,}|…|<[^<>]{1,60}>|\$"
    r"\{|\$\(|\{\{|%\(|%[sdv]\b|\$[A-Za-z_]|^#\{|^@[A-Za-z]|^%[A-Z_]+%$"
    r"|example|sample|placeholder|change[_-]?me|changeit|your[_-]?|redacted|dummy|fixme|todo\b|foobar|lorem"
    r"|here$|(?:1234567890){2}|insert[_-]|replace[_-]|my[_-](?:token|key|secret|pass)|secret[_-]?here|"
    r"(?:key|token)[_-]?here"
    r"|^0123456789|^123456789|abcdefghijklmnopqrstuvwxyz(?:$|0)|<SECRET:|<PERSON:"
)
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_FEW = 4
_HASH = 32
_STEPS_SHARE = 0.6


def oddness(value: str) -> float:
    """Return the share of neighbours that words and numbers seldom have, from 0 to 1.

    Drawn letters and digits give 0.75 or more, names in code 0.1 to 0.4.
    """
    ordinary = _ordinary()
    pairs = [left + right for left, right in itertools.pairwise(value)]
    counted = [pair for pair in pairs if pair.isascii() and pair.isalnum()]
    return sum(pair not in ordinary for pair in counted) / len(counted) if counted else 0.0


@cache
def _ordinary() -> frozenset[str]:
    letters = string.ascii_letters + string.digits
    return frozenset(a + b for a in letters for b in letters if not _odd(a, b))


def _odd(left: str, right: str) -> bool:
    if left.isdigit() and right.isdigit():
        return False
    if left.isdigit() or right.isdigit():
        return True
    if left.islower() and right.isupper():
        return False
    return (left + right).lower() not in _PAIRS


def shuffles(value: str) -> int:
    """Count changes between letters and digits and from a small to a capital letter."""
    solid = "".join(_RUNS.findall(value))
    return len(_SHUFFLE.findall(solid))


def is_random(value: str, least: int = 16) -> bool:
    """Tell whether `value` has at least `least` characters and looks drawn by chance."""
    solid = "".join(_RUNS.findall(value))
    if len(solid) < least or len({*solid}) < min(8, least // 2):
        return False
    return _is_odd(value, solid) and not is_stand_in(value)


def _is_odd(value: str, solid: str) -> bool:
    if any(len(part) >= _HASH and is_hex(part) and not part.isdigit() for part in value.split("-")):
        return True
    if is_hex(value) or is_uuid(value):
        return any(char.isdigit() for char in solid) and any(char.isalpha() for char in solid)
    digits = sum(char.isdigit() for char in solid)
    if not digits:
        mixed = any(char.islower() for char in solid) and any(char.isupper() for char in solid)
        return oddness(value) >= (0.5 if mixed else 0.6)
    if digits == len(solid):
        return False
    odd = oddness(value)
    return odd >= 0.6 or (odd >= 0.45 and shuffles(value) * 6 >= len(solid))


def is_hex(value: str) -> bool:
    """Tell whether there is nothing but hexadecimal digits."""
    return _HEX.fullmatch(value) is not None


def is_uuid(value: str) -> bool:
    """Tell whether it is a UUID in its usual form."""
    return _UUID.fullmatch(value) is not None


def is_stand_in(value: str) -> bool:
    """Tell whether a value only marks where one belongs: `<KEY>`, `xxxx`, `${VAR}`, `EXAMPLE`, `123456…`."""
    return is_marker(value) or is_pattern(value)


def is_marker(value: str) -> bool:
    """Tell whether a value says that it is none: `<KEY>`, `xxxx`, `${VAR}`, `EXAMPLE`."""
    return _STAND_IN.search(value) is not None


def is_pattern(value: str) -> bool:
    """Tell whether a value repeats few characters or counts up."""
    solid = "".join(_RUNS.findall(value))
    return not solid or (len(solid) >= 8 and len(set(solid.lower())) <= _FEW) or is_sequence(value)


def is_sequence(value: str) -> bool:
    """Tell whether most characters follow on the one before, as in `abcdef1234567890`."""
    solid = "".join(_RUNS.findall(value))
    steps = sum(ord(b) - ord(a) == 1 for a, b in itertools.pairwise(solid))
    return len(solid) >= 8 and steps >= _STEPS_SHARE * (len(solid) - 1) and len(set(solid.lower())) > _FEW
