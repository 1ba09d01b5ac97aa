"""How much a value looks drawn by chance, and whether it is only a stand-in for one."""

from __future__ import annotations

import itertools
import re
import string
from functools import cache
from operator import eq

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

_NO_DIGITS = str.maketrans("", "", string.digits)
_RUNS = re.compile(r"[A-Za-z0-9]+")
_SHUFFLE = re.compile(r"(?<=[0-9])[A-Za-z]|(?<=[A-Za-z])[0-9]|(?<=[a-z])[A-Z]")
_MARKS = (
    *("xxxx", "***", "...", "…", "${", "$(", "{{", "%(", "example", "sample", "placeholder", "changeme"),
    *("change_me", "change-me", "changeit", "your", "redacted", "dummy", "fixme", "foobar", "lorem"),
    *("12345678901234567890", "insert_", "insert-", "replace_", "replace-", "secrethere", "secret_here"),
    *("secret-here", "keyhere", "key_here", "key-here", "tokenhere", "token_here", "token-here"),
    *("my_token", "my-token", "my_key", "my-key", "my_secret", "my-secret", "my_pass", "my-pass"),
    *("<secret:", "<person:", string.ascii_lowercase + "0"),
)
"""Parts of values, in small letters, that say that a value is none."""
_MARKED = re.compile(r"<[^<>]{1,60}>|%[sdv]\b|^\$[A-Za-z_]|\$[A-Z_]{4,}|^#\{|^@[A-Za-z]|^%[A-Z_]+%$")
_SIGNS = frozenset("<%$#@")
"""One of these is in whatever `_MARKED` matches."""
_COUNTED_UP = ("012345678", "123456789")
_ENDS = ("here", "todo", string.ascii_lowercase)
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_FEW = 4
_HASH = 32
_STEPS_SHARE = 0.6


def oddness(value: str) -> float:
    """Return the share of neighbours that words and numbers seldom have, from 0 to 1.

    Drawn letters and digits give 0.75 or more, names in code 0.1 to 0.4.
    """
    rare, counted = _pairs()
    pairs = list(itertools.pairwise(value))
    whole = len(pairs) if value.isascii() and value.isalnum() else sum(map(counted.__contains__, pairs))
    return sum(map(rare.__contains__, pairs)) / whole if whole else 0.0


_Pairs = frozenset[tuple[str, str]]


@cache
def _pairs() -> tuple[_Pairs, _Pairs]:
    """Return the neighbours that are rare, and all that count."""
    letters = string.ascii_letters + string.digits
    counted = frozenset((a, b) for a in letters for b in letters)
    return frozenset(pair for pair in counted if _odd(*pair)), counted


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
    if is_hex(value) or ("-" in value and any(_is_hash(part) for part in value.split("-"))):
        return not solid.isdigit() and (_is_hash(value) or not solid.isalpha())
    if is_uuid(value):
        return not solid.isdigit()
    letters = solid.translate(_NO_DIGITS)
    if len(letters) == len(solid):
        mixed = not (letters.islower() or letters.isupper())
        return oddness(value) >= (0.5 if mixed else 0.6)
    if not letters:
        return False
    odd = oddness(value)
    return odd >= 0.6 or (odd >= 0.45 and shuffles(value) * 6 >= len(solid))


def _is_hash(part: str) -> bool:
    return len(part) >= _HASH and is_hex(part) and not part.isdigit()


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
    small = value.lower()
    if any(map(small.__contains__, _MARKS)) or small.startswith(_COUNTED_UP) or small.endswith(_ENDS):
        return True
    return not _SIGNS.isdisjoint(value) and _MARKED.search(value) is not None


def is_pattern(value: str) -> bool:
    """Tell whether a value repeats few characters or counts up."""
    solid = "".join(_RUNS.findall(value))
    return not solid or (len(solid) >= 8 and len(set(solid.lower())) <= _FEW) or is_sequence(value)


def is_sequence(value: str) -> bool:
    """Tell whether most characters follow on the one before, as in `abcdef1234567890`."""
    solid = "".join(_RUNS.findall(value))
    steps = sum(map(eq, solid[1:], solid.translate(_NEXT)))
    return len(solid) >= 8 and steps >= _STEPS_SHARE * (len(solid) - 1) and len(set(solid.lower())) > _FEW


_NEXT = {ord(char): ord(char) + 1 for char in string.ascii_letters + string.digits}
