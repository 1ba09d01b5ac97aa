"""Judge values by what stands around them: assignments, headers, URLs, command lines, talk."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from functools import partial

from realm.corpus.scrubbing import words
from realm.corpus.scrubbing.chance import (
    is_hex,
    is_marker,
    is_pattern,
    is_random,
    is_sequence,
    is_stand_in,
    is_uuid,
    oddness,
)
from realm.corpus.scrubbing.lists import listed
from realm.corpus.scrubbing.rules import Hit, Match, Rule, line_around, text_of

REPLACE, ASK, DOUBT = 0.88, 0.6, 0.45

_NAMING = (
    r"passw(?:or)?d|passwort|passphrase|passcode|pwd|psswd|pass|secret|token|key|credential|creds?|aut"
    r"h|bearer|dsn|jwt"
    r"|contrase\xc3\xb1a|contrasena|senha|wachtwoord|haslo|has\xc5\x82o|kennwort|parola|mnemonic|cooki"
    r"e|sess(?:ion)?_?id"
)
_NAME = rf"([A-Za-z0-9_.\-]*(?:{_NAMING})[A-Za-z0-9_.\-]*)"
_CLOSE = r"(?:\\{0,3}[\"'`]|\]|\)|[ \t]){0,6}(?::[ \t]{0,2}[A-Za-z_\[\]?&*<>]{1,24}[ \t]{0,2})?"
_SIGN = r"(?:=>|:{1,3}=|\?=|\+=|==|=|:)"
_QUOTED = (
    r"(?:[bBrRuUfF@]{0,2}\\{0,3}(?:\"([^\"\n\x00]{3,600}?)\\{0,3}\"|'([^'\n\x00]{3,600}?)\\{0,3}'|`([^`"
    r"\n\x00]{3,600})`))"
)
_PLAIN = r"([^\s\"'`<>,;(){}\[\]\x00]{4,600})"
_ODD_PLAIN = r"([A-Za-z_.\-/]{0,60}[0-9!@#%^&*~+=$?][^\s\"'`<>;(){}\[\]\x00,]{2,600})"

ASSIGNED = rf"(?i){_NAME}{_CLOSE}[ \t]{{0,8}}{_SIGN}[ \t]{{0,8}}{_QUOTED}"
SET = rf"(?i){_NAME}(?:\\{{0,3}}[\"'])?[ \t]{{0,8}}(?:=>|:{{1,3}}=|\?=|=|:)[ \t]{{0,8}}{_ODD_PLAIN}"
ENVIRONMENT = (
    r"([A-Z][A-Z0-9_]{0,48}(?:PASSWORD|PASSWD|PASSPHRASE|PWD|PASS|SECRET)(?:_[A-Z0-9]{1,12})?)=([A-Za-z]"
    r"[A-Za-z_.\-]{5,60})(?:$|[\s\"\\])"
)
ELEMENT = rf"(?i)<{_NAME}(?:[ \t][^<>\n]{{0,120}})?>\s{{0,40}}([^<>\x00]{{4,400}}?)\s{{0,40}}</"
ATTRIBUTE = rf"(?i)(?:key|name|id)=[\"']{_NAME}[\"'][ \t]{{1,8}}value=[\"']([^\"'\n\x00]{{3,400}})[\"']"
SIBLING = (
    rf"(?i)(?:name|key|variable)\\{{0,3}}[\"']?[ \t]{{0,12}}[:=][ \t]{{0,8}}\\{{0,3}}[\"']"
    rf"?{_NAME}\\{{0,3}}[\"']?[,;]?(?:\s|\\n){{0,40}}"
    rf"\\{{0,3}}[\"']?[A-Za-z_]{{0,16}}value\\{{0,3}}[\"']?[ \t]{{0,8}}[:=][ \t]{{0,8}}(?:\\{{0,3}}[\"'"
    rf"]([^\"'\n\x00\\]{{3,400}})|{_PLAIN})"
)
CALL = rf"(?i)[(,][ \t]{{0,4}}[\"']{_NAME}[\"'][ \t]{{0,4}},[ \t]{{0,4}}{_QUOTED}"
URL = (
    r"[A-Za-z][A-Za-z0-9+.\-]{1,30}://([^\s:/?#@\"'<>\x00]{0,120}):([^\s/?#@\"'<>\x00]{1,256})@[A-Za-z0-"
    r"9\[$%{.*]"
)
URL_USER = r"https?://([A-Za-z0-9_\-]{16,200})@[A-Za-z0-9]"
URL_QUERY = (
    r"(?i)[?&;](?:access_?token|auth_?token|api_?key|apikey|token|key|secret|client_secret|password|pw"
    r"d|sig|signature|auth|api-key|subscription-key|app_?key)"
    r"=([A-Za-z0-9_\-.~+/%=']{6,600})"
)
HEADER = (
    r"(?i)\b(authorization|proxy-authorization)\\{0,3}[\"']?[ \t]{0,4}[:=,][ \t]{0,4}\\{0,3}[\"'`]?(?:(b"
    r"asic|bearer|token|apikey|api-key|digest|key|negotiate|bot|splunk|genie[-]?key|sso-key|aws4-hmac-sh"
    r"a256)[ \t:]{1,4})?([A-Za-z0-9_\-.~+/=:]{6,})"
)
SCHEME = r"(?i)\b(basic|bearer)[ \t]{1,4}([A-Za-z0-9_\-.~+/=]{8,}(?::[A-Za-z0-9_\-.~+/=]{2,200})?)"


def rules() -> Iterator[Rule]:
    """Yield the rules of context."""
    for name, pattern in (
        ("assigned", ASSIGNED),
        ("attribute", ATTRIBUTE),
        ("element", ELEMENT),
        ("sibling", SIBLING),
    ):
        yield Rule(name, pattern, _quoted)
    yield Rule("call", CALL, _listed)
    yield Rule("set", SET, _plain)
    yield Rule("environment", ENVIRONMENT, _environment)
    yield Rule("url", URL, _url)
    yield Rule("url_user", URL_USER, partial(_random, "url_credentials", REPLACE))
    yield Rule("url_query", URL_QUERY, _query)
    yield Rule("header", HEADER, partial(_header, 2, 3))
    yield Rule("scheme", SCHEME, partial(_header, 1, 2))


def first_group(match: Match, *groups: int) -> int:
    """Return the first of some groups that took part in the match, else 0."""
    return next((group for group in groups if match.start(group) >= 0), 0)


_MD5 = 32
"""Hexadecimal digits of MD5, by which builds and caches name things."""


def assess(name: str, value: str, *, quoted: bool) -> float:
    """Say how sure it is that a value under this name is a secret.

    0 where it is none: a stand-in, a word, a path, an expression, a name that promises nothing.
    """
    weight = words.weigh(name)
    if weight == words.NONE or is_marker(value) or _is_reference(value):
        return 0.0
    if value.isdigit() and weight >= words.TOKEN and len(value) >= 12:
        return 0.0 if is_pattern(value) else 0.5
    if is_pattern(value):
        return 0.5 if weight >= words.TOKEN and is_sequence(value) and len(value) >= 16 else 0.0
    if weight == words.PASSWORD and not name.lower().endswith("secret"):
        return _password(value, quoted=quoted)
    if is_uuid(value):
        return 0.85 if weight >= words.TOKEN else 0.5
    if is_random(value, 14):
        if weight < words.TOKEN or (is_hex(value) and _is_doubtful_hex(value, weight)):
            return ASK
        return REPLACE if len(value) >= 20 or (weight == words.PASSWORD and quoted) else ASK
    if weight < words.TOKEN or not quoted:
        return (
            0.5
            if weight >= words.TOKEN and _mixed(value) and len(value) >= 12 and oddness(value) > 0.4
            else 0.0
        )
    return 0.5 if _mixed(value) and len(value) >= 8 and oddness(value) > 0.3 else 0.0


def _is_doubtful_hex(value: str, weight: int) -> bool:
    """Tell whether it has the length of MD5, or large and small digits, which no program writes."""
    mixed = not value.islower() and not value.isupper()
    return mixed or (len(value) == _MD5 and weight < words.PASSWORD)


def _password(value: str, *, quoted: bool) -> float:
    if " " in value or len(value) < 4 or value.lower() in _TRIVIAL:
        return 0.0
    if _of_words(value):
        return ASK if _mixed(value) else 0.5 if quoted else 0.0
    if _mixed(value) and len(value) >= 7:
        return REPLACE if len(value) >= 8 and (quoted or "." not in value) else ASK
    if any(not char.isalnum() and char not in "_-. " for char in value) and len(value) >= 6:
        return 0.55
    if value.isdigit():
        return 0.5 if quoted and len(value) >= 4 else 0.0
    return 0.5 if quoted and len(value) >= 5 and "_" not in value.strip("_") else 0.0


_SPOKEN = ("password", "passwd", "secret", "token", "passphrase", "testpass", "pass123", "test123")


def _of_words(value: str) -> bool:
    """Tell whether a value is made of the words that say what it is, as in `my-password-1`."""
    small = value.lower()
    return any(map(small.__contains__, _SPOKEN)) and oddness(value) < 0.45


_TRIVIAL = listed(
    """
    password passwd passwort pass pwd secret token none null nil true false string text hidden required
    optional undefined empty default unknown str bytes char varchar input field value user username changeit
    basic bearer invalid wrong missing incorrect current confirm private public prompt disabled enabled
    masked never always
    """
)


def _mixed(value: str) -> bool:
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _is_reference(value: str) -> bool:
    """Tell whether a value only says where to find one: a path, a URL, an expression, a dotted name."""
    if value.startswith(("/", "./", "../", "~/", "$", "@", "%", "{{", "&", "http:", "https:", "file:", "--")):
        return not (value.startswith(("$", "@", "%", "&", "/")) and _mixed(value) and oddness(value) > 0.6)
    if ("(" in value and ")" in value) or value.startswith("."):
        return True
    if any(mark in value for mark in ("://", "->", "::", "${", "==", "&&", "||")) or value.endswith(
        (".", ":")
    ):
        return True
    parts = value.lstrip("~!*").split(".")
    return len(parts) > 1 and all(part.replace("_", "a").isalpha() or part.isdigit() for part in parts)


def _spans(data: bytes, match: Match, group: int) -> tuple[int, int, str]:
    start, end = match.start(group), match.end(group)
    return start, end, text_of(data, start, end)


def _quoted(data: bytes, match: Match) -> Iterator[Hit]:
    name = text_of(data, match.start(1), match.end(1))
    if words.weigh(name) == words.NONE:
        return
    group = first_group(match, 2, 3, 4)
    start, end, value = _spans(data, match, group)
    if " " in value.strip() or value[:1] in "{[":
        yield from _last_word(data, name, start, value)
        return
    confidence = assess(name, value, quoted=True)
    if confidence and not value.endswith(("...", "…")):
        yield Hit(kind_of(name), start, end, confidence)


def _listed(data: bytes, match: Match) -> Iterator[Hit]:
    """Judge `("name", "value")`; a list of plain words looks the same."""
    for hit in _quoted(data, match):
        if any(char.isdigit() for char in text_of(data, hit.start, hit.end)):
            yield hit


def _last_word(data: bytes, name: str, start: int, value: str) -> Iterator[Hit]:
    """A scheme, an id or a brace may stand before the value itself; a sentence is none."""
    pieces = value.strip("{}[] \t\r\n").split()
    if not pieces or len(pieces) > 3 or len(pieces[-1]) < 14:
        return
    at = data.find(pieces[-1].encode(), start)
    confidence = assess("token", pieces[-1], quoted=True) if words.weigh(name) else 0.0
    if at >= 0 and confidence:
        yield Hit(kind_of(name), at, at + len(pieces[-1].encode()), confidence)


def kind_of(name: str) -> str:
    """Name the kind of secret that a name promises."""
    return "password" if words.weigh(name) == words.PASSWORD else "token"


def _plain(data: bytes, match: Match) -> Iterator[Hit]:
    name = text_of(data, match.start(1), match.end(1))
    start, end, value = _spans(data, match, 2)
    if value.endswith(("...", "…")):
        return
    cut = value.rstrip(".,:\\")
    cut = cut.split("\\n")[0].split("&")[0] if "\\n" in cut or "&" in cut else cut
    end = start + len(cut.encode())
    before, behind = line_around(data, match.start(1), end, 160)
    if behind[:1] in ("(", "[", "{") or not cut:
        return
    confidence = assess(name, cut, quoted=False)
    if confidence and _looks_like_code(before, behind) and not is_random(cut, 16):
        return
    if confidence:
        yield Hit(kind_of(name), start, end, confidence)


def _looks_like_code(before: str, behind: str) -> bool:
    return behind.rstrip().endswith((";", ")", "{", "),", "+")) or before.rstrip().endswith(
        ("(", "if", "return", "let")
    )


def _environment(data: bytes, match: Match) -> Iterator[Hit]:
    start, end, value = _spans(data, match, 2)
    name = text_of(data, match.start(1), match.end(1))
    if (
        words.weigh(name)
        and not is_stand_in(value)
        and value.lower() not in _TRIVIAL
        and not _is_reference(value)
    ):
        yield Hit(kind_of(name), start, end, 0.5)


_NO_HOST = re.compile(r"(?i)(?:localhost|127\.|0\.|host|server|domain|your|my|[0-9]+\.)")
_WEAK = listed(
    """
    password pass passwd pwd secret xxx p pw user username foo bar token key mypass
    """
)
_GUESSED = listed(
    """
    postgres root admin guest test rabbitmq mysql redis minio minioadmin example changeme demo
    """
)


def _url(data: bytes, match: Match) -> Iterator[Hit]:
    start, end, value = _spans(data, match, 2)
    if value.lower() in _WEAK:
        host = text_of(data, match.end(2) + 1, match.end(2) + 60).partition("/")[0]
        if "." in host and "example" not in host and not _NO_HOST.match(host):
            yield Hit("url_credentials", start, end, DOUBT)
        return
    if is_stand_in(value) or value.startswith(("$", "{", "<", "%s", "*", "%(")) or value.isspace():
        return
    if value.isdigit() and len(value) < 6 and not match.group(1):
        return
    weak = value.lower() in _GUESSED or value == text_of(data, match.start(1), match.end(1))
    if weak:
        yield Hit("url_credentials", start, end, DOUBT)
    else:
        yield Hit("url_credentials", start, end, 0.95 if _is_strong(value) else ASK)


_JOINS = str.maketrans("", "", "_-")


def _is_strong(value: str) -> bool:
    """Tell whether a value is no plain word, nor made of words."""
    signs = (str.isdigit, str.isupper, str.islower)
    kinds = sum(any(map(sign, value)) for sign in signs) + (not value.translate(_JOINS).isalnum())
    return len(value) >= 6 and kinds >= 2 and not _of_words(value)


def _random(kind: str, confidence: float, data: bytes, match: Match) -> Iterator[Hit]:
    start, end, value = _spans(data, match, 1)
    if is_random(value):
        yield Hit(kind, start, end, confidence)


def _query(data: bytes, match: Match) -> Iterator[Hit]:
    start, _, value = _spans(data, match, 1)
    solid = value.rstrip("'")
    if is_random(solid, 14):
        yield Hit("url_token", start, start + len(solid.encode()), REPLACE)
    elif _mixed(solid) and len(solid) >= 8 and "%" not in solid and not is_marker(solid):
        yield Hit("url_token", start, start + len(solid.encode()), DOUBT)


def _header(scheme: int, group: int, data: bytes, match: Match) -> Iterator[Hit]:
    start, end, value = _spans(data, match, group)
    kind = (match.group(scheme) or b"").lower()
    if is_stand_in(value) or _is_reference(value):
        return
    if kind == b"basic":
        pair = _decoded_pair(value)
        if pair is not None and not is_stand_in(pair):
            password = pair.partition(":")[2].lower()
            weak = not password or password in _WEAK | _GUESSED or password == pair.partition(":")[0].lower()
            yield Hit("basic_credentials", start, end, DOUBT if weak else 0.95)
            return
    if is_random(value, 12) or is_uuid(value) or (_mixed(value) and len(value) >= 24):
        yield Hit("authorization", start, end, REPLACE if len(value) >= 16 else ASK)
    elif kind and _mixed(value) and len(value) >= 8:
        yield Hit("authorization", start, end, ASK)


def _decoded_pair(value: str) -> str | None:
    """Return `user:password` where Base64 holds one."""
    try:
        raw = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return raw if ":" in raw and raw.isprintable() and len(raw) > 3 else None
