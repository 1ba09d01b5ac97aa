"""Judge values that look drawn by chance, by the words in their neighbourhood and without any."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from realm.corpus.scrubbing import words
from realm.corpus.scrubbing.chance import is_hex, is_random, is_uuid, oddness, shuffles
from realm.corpus.scrubbing.context import ASK, DOUBT
from realm.corpus.scrubbing.lists import listed
from realm.corpus.scrubbing.rules import Hit, Match, Rule, line_around, text_of

_C = r"[A-Za-z0-9_+=~\-]"
_DLD = r"[0-9][A-Za-z_+=~\-]{1,9}[0-9]"
TOKEN = (
    rf"{_C}{{2,}}{_DLD}{_C}{{4,}}(?:[./]{_C}{{4,}}){{0,4}}|{_C}{{0,1}}{_DLD}{_C}{{6,}}(?:[./"
    rf"]{_C}{{4,}}){{0,4}}|{_C}{{6,}}{_DLD}{_C}{{0,3}}"
)
_TOKEN_SIGN = rf"{_DLD}{_C}{{3}}|{_C}{{3}}{_DLD}"
LITERAL = (
    r"[\"'`]([A-Za-z0-9_+=~\-/.!@#$%^&*]{4,}[0-9][A-Za-z_]{1,9}[0-9][A-Za-z0-9_+=~\-/.!@#$%^&*]{8,})[\"'`]"
)
UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

_NEAR_BYTES = 70
_NAME = re.compile(r"[\"'`]{0,2}[ \t]*(?:=:|>=|[:=>])[ \t]*[\"'`\]]{0,3}([A-Za-z0-9_.\-]{1,60})")
"""The name to which a value is given, read from its end."""
_ID = re.compile(r"(?i)(?:id|ids|uuid|guid|ref|arn)$")
_LEAST = 14
_LEAST_ALONE = 28
_MOST_ALONE = 140
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+[0-9]?|[0-9]+")
_SECRET = listed(
    """
    token tokens secret secrets password passwd key keys apikey api credential credentials auth access
    authorization bearer client login pass pwd
    """
)
_SECRET_FOR_UUID = frozenset({"token", "secret", "apikey", "password", "bearer"})
_CONTENT_PARTS = (
    *("enc[", "sha1", "sha-1", "sha256", "sha-256", "sha384", "sha-384", "sha512", "sha-512", "md5"),
    *("checksum", "integrity", "digest", "commit", "blake", "crc", "etag", "fingerprint", "srcrev"),
    *("signature", "nonce", "public", "csrf", "uuid", "guid", "buildid", "build-id", "build_id", "build id"),
    *("image", "certificate", "ssh-rsa", "ssh-ed25519", "ssh-dss", "ecdsa-sha2", "changeset", "tree "),
    *("parent ", "blob ", "index ", "resolved", "version", "go.sum", "h1:", "nixpkgs", "uses:"),
)
"""Of what stands before a value: it is made from content, or names some."""
_CONTENT_WORDS = re.compile(r"\b(?:rev(?:ision)?\b|hash|sri\b|pub)|data:[a-z]+/")
_CONTENT_ENDINGS = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|js|css|woff2?|map|pack|zip|gz|tgz|whl|bin)\b", re.IGNORECASE
)
_CONTENT_VALUES = ("sha1-", "sha256-", "sha384-", "sha512-", "0x")
_ORDINARY = listed(
    """
    front host column float live box rev orbit square linear monday swell segment phrase hive current
    currents moderation privacy magnetic holistic mite wise wit tru poste harvest ghost drone envoy ramp
    guru statuspage commodities document time message readme replicate mux polygon neutrino signal lob gcp
    npm git code unplugg docker github gitlab google amazon redis mysql postgres mongo mongodb ip ipapi jira
    sentiment checkout
    """
)
"""Providers whose names are words of their own, or stand near harmless numbers all the time."""


def rules() -> Iterator[Rule]:
    """Yield the rules of chance."""
    yield Rule("drawn", TOKEN, _drawn, sign=_TOKEN_SIGN)
    yield Rule("uuid", UUID, _uuid)
    yield Rule("literal", LITERAL, _literal)


def _drawn(data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(), match.end()
    if end - start < _LEAST:
        return
    value = data[start:end].decode("ascii")
    if "=" in value:
        name, _, rest = value.partition("=")
        if rest.strip("=") and words.weigh(name):
            start, value = start + len(name) + 1, rest
    if _inside(data, start, end) or len(value) < _LEAST or value.isdigit():
        return
    if value.startswith(_CONTENT_VALUES) or not is_random(value, _LEAST):
        return
    before, behind = line_around(data, start, end, _NEAR_BYTES)
    if is_uuid(value) or _named_as_id(before) or _is_content(before, behind):
        return
    near = _near(before, behind)
    if near & (words.PROVIDERS - _ORDINARY) or (near & words.PROVIDERS and near & _SECRET):
        yield Hit("drawn_token", start, end, ASK)
    elif near & _SECRET and not (
        is_hex(value) and not near & (_SECRET - {"key", "keys", "client", "access"})
    ):
        yield Hit("drawn_token", start, end, 0.5)
    elif _stands_out(value, before, behind, in_block=_in_block(data, start, end)):
        yield Hit("drawn_token", start, end, DOUBT)


def _literal(data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(1), match.end(1)
    value = text_of(data, start, end)
    before, _ = line_around(data, start, end, _NEAR_BYTES)
    if (
        _named_as_id(before)
        or "://" in value
        or value.startswith(("/", "."))
        or value.startswith(_CONTENT_VALUES)
        or not is_random(value, 20)
        or _is_content(before, "")
    ):
        return
    near = _near(before, "")
    if near & words.PROVIDERS or near & _SECRET - {"key", "keys"}:
        yield Hit("drawn_token", start, end, 0.5)


def _inside(data: bytes, start: int, end: int) -> bool:
    """Tell whether the value goes on at either side, as in a path, an address or a coded block."""
    before, behind = data[start - 1 : start], data[end : end + 1]
    return (
        before in (b"/", b".", b"%", b"#", b"&") and not data[max(0, start - 2) : start - 1].isspace()
    ) or behind in (b"/", b"%")


_CODED_LINE = re.compile(rb"[A-Za-z0-9+/=]{32,}")


def _in_block(data: bytes, start: int, end: int) -> bool:
    """Tell whether the next line or the one before is coded too, as in an armoured key or a picture."""
    above = data[max(0, start - 100) : max(0, start - 1)].rpartition(b"\n")[2].strip()
    below = data[end : end + 100].lstrip(b"\r\n").partition(b"\n")[0].strip()
    return any(_CODED_LINE.fullmatch(line) is not None for line in (above, below) if line)


def _near(before: str, behind: str) -> set[str]:
    found = " ".join(_WORDS.findall(f"{before} {behind}")).lower().split()
    pairs = (left + right for left, right in itertools.pairwise(found))
    triples = (a + b + c for a, b, c in zip(found, found[1:], found[2:], strict=False))
    return {*found, *pairs, *triples}


def _stands_out(value: str, before: str, behind: str, *, in_block: bool) -> bool:
    """Tell whether a value without any word for it is still like no name and no hash."""
    if is_hex(value) or is_uuid(value) or not _LEAST_ALONE <= len(value) <= _MOST_ALONE:
        return False
    if not before.endswith(("'", '"', "`", " ", "=", ":", "|", ">", "{", "(")) and before:
        return False
    if value.count("_") + value.count("-") > 4:
        return False
    if not (before or behind):
        return oddness(value) > 0.6 and not in_block
    quoted = before[-1:] in ("'", '"', "`") and behind[:1] in ("'", '"', "`")
    return (
        (quoted or before.rstrip().endswith(("=", ":")))
        and oddness(value) > 0.6
        and shuffles(value) * 4 > len(value)
    )


def _uuid(data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(), match.end()
    before, behind = line_around(data, start, end, _NEAR_BYTES)
    if words.weigh(_name_of(before)) >= words.TOKEN or _named_as_id(before):
        return
    near = _near(before, behind)
    if near & {"uuid", "guid"}:
        return
    told = near & (words.PROVIDERS - _ORDINARY) and not near & {"id", "ids"}
    if told or (near & _SECRET_FOR_UUID and not near & {"id", "usersecretsid", "secretsid"}):
        yield Hit("drawn_token", start, end, 0.5)


def _is_content(before: str, behind: str) -> bool:
    small = before.lower()
    return (
        any(map(small.__contains__, _CONTENT_PARTS))
        or _CONTENT_WORDS.search(small) is not None
        or _CONTENT_ENDINGS.search(before) is not None
        or _CONTENT_ENDINGS.match(behind) is not None
    )


def _name_of(before: str) -> str:
    """Return the name to which what follows is given, else nothing."""
    name = _NAME.match(before[::-1])
    return name[1][::-1] if name is not None else ""


def _named_as_id(before: str) -> bool:
    name = _name_of(before)
    return bool(name) and (_ID.search(name) is not None or words.ends_harmless(name))
