"""Judge values by where they stand: command lines, credential files, statements, and talk of passwords."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from functools import partial

from realm.corpus.scrubbing.chance import is_hex, is_marker, is_random, is_stand_in, oddness
from realm.corpus.scrubbing.context import ASK, REPLACE, first_group
from realm.corpus.scrubbing.lists import listed
from realm.corpus.scrubbing.rules import Hit, Match, Rule, text_of

_ARGUMENT = r"(?:\\?\"([^\"\n\x00]{2,300}?)\\?\"|\\?'([^'\n\x00]{2,300}?)\\?'|([^\s\"'\x00]{3,300}))"
_REST = r"[^\n\x00|;&]{0,200}?[ \t]"

COMMANDS = {
    "sshpass": rf"\bsshpass[ \t]+(?:-[evP][^\s]*[ \t]+)?-p[ \t]*{_ARGUMENT}",
    "mysql": rf"\b(?:mysql|mysqldump|mysqladmin|mariadb|mysqlimport|mysqlsh|mycli)\b{_REST}-p{_ARGUMENT}",
    "login": rf"\b(?:docker|podman|helm|buildah|skopeo|nerdctl|oras|crane|az|mongo|mongosh|mongodump|mongor"
             rf"estore|cqlsh|plink|pscp|sqlcmd|bcp|cf|ibmcloud|oc|hydra|snowsql|influx)\b{_REST}(?:-p|-pw|-"
             rf"P)[ \t=]+{_ARGUMENT}",
    "redis": rf"\bredis-(?:cli|benchmark)\b{_REST}(?:-a|--pass)[ \t]+{_ARGUMENT}",
    "zip": rf"\b(?:zip|unzip|7z[ar]?|rar|unrar)\b{_REST}-[pP][ \t]?{_ARGUMENT}",
    "openssl": rf"\b-?pass(?:in|out)?[ \t]+[\"']?pass:{_ARGUMENT}",
    "flag": rf"(?:^|[\s\"'`(\[,])--?[a-z]{{0,20}}[-_]?(?:password|passwd|passphrase|passcode|token|secret|a"
            rf"pi-?key|apikey|access-key|secret-key|auth-?token|storepass|keypass|client-secret|private-key"
            rf"|pass|credential|authkey|auth-key|license-key)[ \t=]+{_ARGUMENT}",
    "ldap": rf"\bldap(?:search|modify|add|delete|passwd|whoami)\b{_REST}-w[ \t]+{_ARGUMENT}",
    "rabbitmq": rf"\brabbitmqctl[ \t]+(?:add_user|change_password)[ \t]+[^\s]{{1,60}}[ \t]+{_ARGUMENT}",
    "htpasswd": rf"\bhtpasswd[ \t]+-[a-zA-Z]*b[a-zA-Z]*[ \t]+[^\s]{{1,120}}[ \t]+[^\s]{{1,60}}[ \t]"
                rf"+{_ARGUMENT}",
    "sudo": rf"\becho[ \t]+(?:-[ne]+[ \t]+)?{_ARGUMENT}[ \t]*\|[ \t]*(?:sudo[ \t]+-S|docker[ \t]+login|pass"
            rf"wd)",
    "net_use": rf"\bnet[ \t]+use\b{_REST}/user:[^\s]{{1,80}}[ \t]+{_ARGUMENT}",
    "netrc": rf"\bmachine[ \t]+[^\s\x00]{{1,200}}(?:\s|\\n){{1,20}}login[ \t]+[^\s\x00]{{1,200}}?(?:\s|\\n"
             rf"){{1,20}}password[ \t]+{_ARGUMENT}",
    "netrc_default": rf"\b(?:login|account|user(?:name)?)[ \t]+[^\s\x00]{{1,120}}[ \t]+password[ \t]"
                     rf"+{_ARGUMENT}",
    "sql": rf"(?i)\bidentified[ \t]+(?:with[ \t]+[a-z_0-9']{{1,40}}[ \t]+)?by[ \t]+(?:password[ \t]+)"
           rf"?{_ARGUMENT}",
    "sql_role": r"(?i)\b(?:create|alter)[ \t]+(?:user|role|login)\b[^\n\x00;]{0,120}?\bpassword[ \t]*=?["
                r" \t]*N?'([^'\n\x00]{3,200})'",
    "redis_file": rf"(?m)^[ \t]{{0,8}}(?:requirepass|masterauth|bind_?pw|bindpw|rootpw|olcRootPW:|smtp_sasl"
                  rf"_password|psk=)[ \t]*{_ARGUMENT}",
    "secrets_of": r"(?i)\bBUNDLE_[A-Z0-9_]{3,60}(?:token)?\\?[\"']?[ \t]*(?:=>|:=|=|:)[ \t]*\\?[\"']?([0"
                  r"-9a-f]{8}:[0-9a-f]{8})",
}  # fmt: skip
"""Where a command line or file has a password, as its first group that took part."""

USER = (
    r"(?:^|[\s\"'`(])(?:-u|--user|--proxy-user|-U|--digest|--basic)[ \t=]{0,4}(?:\\?\"([^\"\n\x00"
    r"]{3,300})\\?\"|\\?'([^'\n\x00]{3,300})\\?'|([^\s\"'\x00:]{0,100}:[^\s\"'\x00/][^\s\"'\x00"
    r"]{1,200}))"
)
CHPASSWD = (
    r"\becho[ \t]+(?:-[ne]+[ \t]+)?[\"']?([a-z_][a-z0-9_-]{0,31}):([^\s\"'|\x00]{3,100})[\"']?[ \t]*\|[ "
    r"\t]*(?:sudo[ \t]+)?chpasswd"
)
PGPASS = (
    r"(?m)^((?:[A-Za-z0-9_.*\-]{1,120}|\[[0-9a-f:]{2,40}\]):(?:[0-9]{2,5}|\*):[^\s:\x00]{1,80}:[^\s:\x00"
    r"]{1,80}:)([^\s\x00]{3,200})[ \t]*\r?$"
)
KUBERNETES = r"(?i)\bkind:[ \t]*[\"']?secret\b"
KUBERNETES_KIND = re.compile(rb"(?i)\bkind:[ \t]*[\"']?secret\b")
"""As the rule; of several in one manifest the first tells."""
KUBERNETES_DATA = re.compile(rb"(?m)^[ \t]*(?:data|stringData):")
KUBERNETES_VALUE = re.compile(
    rb"(?m)^[ \t]+([A-Za-z0-9_.\-]{1,120}):[ \t]*[\"']?([A-Za-z0-9+/]{8,4000}={0,2})[\"']?[ \t]*\r?$"
)
TALK = (
    r"(?i)(?:^|[^A-Za-z0-9_.$\-])(?:pass ?words?|pass ?wd|pass ?phrase|pass ?code|\bpwd|\bpw|\bpin|pas"
    r"swort|kennwort|kenn?wort|contrase\xc3\xb1a|contrasena|clave|mot de passe|mdp|senha|password|wach"
    r"twoord|has\xc5\x82o"
    r"|l\xc3\xb6senord|adgangskode|salasana|parola|\xc5\x9fifre|heslo|jelsz\xc3\xb3|\xd0\xbf\xd0\xb0\x"
    r"d1\x80\xd0\xbe\xd0\xbb\xd1\x8c|\xe5\xaf\x86\xe7\xa0\x81|\xe3\x83\x91\xe3\x82\xb9\xe3\x83\xaf\xe3"
    r"\x83\xbc\xe3\x83\x89|\xeb\xb9\x84\xeb\xb0\x80\xeb\xb2\x88\xed\x98\xb8"
    r"|credentials?|login|logins|(?:api|access|auth|secret)[ -]?(?:key|token)|secret|token|creds)"
    r"(?: (?:for|of|to|f\xc3\xbcr|para|pour|de|von|zu|do|da|del)(?: (?:the|my|our|den|die|das|el|la|le"
    r"))?(?: [^\s,.:\x00]{1,40}){1,4})?"
    r"(?:[ \t]{1,3}(?:is|was|ist|war|lautet|es|era|est|c'est|\xc3\xa9|to|jest|is nu|\xc3\xa4r|er|on|\x"
    r"c3\xa8|ne|je)(?:[ \t]now|[ \t]currently|[ \t]still|[ \t]set to|[ \t]set as|[ \t]just)?[ \t"
    r"]{0,3}:?|[ \t]{0,3}(?:\xe6\x98\xaf|\xe3\x81\xaf|\xef\xbc\x9a|[:=]|->|=>)|[ \t]{1,3}(?:changed to"
    r"|set to|reset to|\xe2\x80\x94|-))"
    r"[ \t]{0,4}(?:[\"'`*]{1,3}([^\s\"'`*\x00]{4,120})[\"'`*]|([^\s\"'`<>\x00]{4,120}))"
)
LOGIN_PAIR = (
    r"(?i)\b(?:log ?in|sign ?in|connect|creds?|credentials?|account)\b[^\n\x00]{0,30}?(?: with| as| are|"
    r":)[ \t]{1,3}[\"'`]?([A-Za-z0-9_.@\-]{2,60})[\"'`]?[ \t]{0,2}(?:/|:| / | and )[ \t]{0,2}[\"'`]?([^"
    r"\s\"'`\x00]{5,100})"
)

BEFORE_ADDRESS = (
    r"[:=][ \t]{0,4}([^\s\"'\x00]{10,120}?)[ \t]{0,3}/[ \t]{0,3}(?:[A-Za-z_]{1,40}[ \t]{0,3}=[ \t]{0,3})"
    r"?[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9]"
)
"""A password and the account that it opens, as people note them."""
_ADDRESS = r"[A-Za-z0-9._%+\-]@[A-Za-z0-9]"


def rules() -> Iterator[Rule]:
    """Yield the rules of command lines, files and talk."""
    for name, pattern in COMMANDS.items():
        yield Rule(name, pattern, partial(_argument, name))
    yield Rule("user", USER, _user)
    yield Rule("chpasswd", CHPASSWD, _second)
    yield Rule("pgpass", PGPASS, _second)
    yield Rule("kubernetes", KUBERNETES, _kubernetes)
    yield Rule("talk", TALK, _talk)
    yield Rule("before_address", BEFORE_ADDRESS, _before_address, sign=_ADDRESS)
    yield Rule("login_pair", LOGIN_PAIR, _login_pair)


_REACH = 64 << 10
"""How far a manifest is followed."""
_NOT_VALUES = listed(
    """
    password token secret pass the true false none null yes
    """
)


def _argument(name: str, data: bytes, match: Match) -> Iterator[Hit]:
    group = first_group(match, 1, 2, 3)
    start, end = match.start(group), match.end(group)
    value = text_of(data, start, end)
    if value.startswith(("-", "$", "{", "<", "(", "%", "@", "/", "./", "[", "=", "&")) or is_stand_in(value):
        return
    if value.lower() in _NOT_VALUES or " " in value:
        return
    mixed = any(map(str.isalpha, value)) and not value.isalpha()
    if name == "flag":
        if not mixed or not any(map(str.isdigit, value)) or oddness(value) < 0.2:
            return
        yield Hit("command_password", start, end, REPLACE if is_random(value, 12) else ASK)
        return
    if name in ("login", "zip") and (
        not mixed or re.fullmatch(r"[0-9]{1,5}(?::[0-9]{1,5})?(?:/\w+)?|[\w.:*/-]+:[0-9]+", value)
    ):
        return
    unquoted = group == 3
    digits = any(map(str.isdigit, value))
    if (
        name in ("sql", "redis_file", "netrc_default", "openssl")
        and unquoted
        and not (mixed and digits and oddness(value) > 0.25)
    ):
        return
    yield Hit("command_password", start, end, REPLACE if mixed else ASK)


def _user(data: bytes, match: Match) -> Iterator[Hit]:
    group = first_group(match, 1, 2, 3)
    value = text_of(data, match.start(group), match.end(group))
    name, sign, password = value.partition(":")
    if not sign or "/" in name or " " in value or not password or is_stand_in(password):
        return
    if password.startswith(("$", "{", "<", "/", "%")) or password.lower() in (
        "password",
        "pass",
        "token",
        "secret",
        "passwd",
    ):
        return
    if password.isdigit() and len(password) < 6:
        return
    start = match.start(group) + len(f"{name}:".encode())
    certain = is_random(password, 12) or (not password.isalnum()) or any(map(str.isdigit, password))
    yield Hit("command_password", start, match.end(group), REPLACE if certain and len(password) > 5 else ASK)


def _second(data: bytes, match: Match) -> Iterator[Hit]:
    value = text_of(data, match.start(2), match.end(2))
    if (
        not is_stand_in(value)
        and not value.startswith(("$", "{"))
        and not (value.isdigit() and len(value) < 4)
    ):
        yield Hit("password", match.start(2), match.end(2), 0.9)


def _kubernetes(data: bytes, match: Match) -> Iterator[Hit]:
    begin, end = _manifest(data, match.start(), match.end())
    if KUBERNETES_KIND.search(data, begin, match.start()) is not None:
        return
    at = KUBERNETES_DATA.search(data, begin, end)
    if at is None:
        return
    for found in KUBERNETES_VALUE.finditer(data, at.end(), end):
        if _is_base64_text(found[2]):
            yield Hit("kubernetes_secret", found.start(2), found.end(2), 0.85)


def _manifest(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Return the bounds of the manifest in which a span lies."""
    left, right = max(0, start - _REACH), end + _REACH
    begin = max(data.rfind(b"\n---", left, start), data.rfind(b"\x00", left, start), left - 1) + 1
    stops = (data.find(b"\n---", end, right), data.find(b"\x00", end, right), min(right, len(data)))
    return begin, min(stop for stop in stops if stop >= 0)


def _is_base64_text(value: bytes) -> bool:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) >= 5 and (raw.isascii() or len(value) > 24)


_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_VERBS = listed(
    """
    required invalid incorrect wrong not the set stored hashed encrypted too missing empty correct valid
    expired same changed reset your this that used what saved none null true false optional sent never being
    going
    """
)


def _talk(data: bytes, match: Match) -> Iterator[Hit]:
    group = first_group(match, 1, 2)
    start, end = match.start(group), match.end(group)
    value = text_of(data, start, end)
    solid = value.rstrip(".,;:!?)}\u3002") if group == 2 else value
    end = start + len(solid.encode())
    if (
        len(solid) < 4
        or is_stand_in(solid)
        or solid.lower() in _VERBS
        or "(" in solid
        or "://" in solid
        or "[" in solid
    ):
        return
    digits = any(map(str.isdigit, solid))
    letters = any(map(str.isalpha, solid))
    odd = any(not char.isalnum() and char not in "-_./'’" for char in solid)
    if solid.startswith(("$", "@", "/", "-", "#", "{", "<", "&", "*", "\\")) and not is_random(solid, 12):
        return
    if _VARIABLE.fullmatch(solid) or (not digits and solid.endswith(("**", "__", "\\n", "()"))):
        return
    if not ((digits and letters) or (odd and letters and len(solid) >= 6)) or re.fullmatch(
        r"[\w]+\.[a-z_]\w*[\w.]*", solid
    ):
        return
    if (
        re.fullmatch(
            r"v?[0-9][0-9.]*[a-z]{0,3}|[A-Za-z]+[0-9]{1,2}[A-Za-z]?|[0-9]+[a-z]{1,5}|[a-z]+(?:_[a-z0-9]+)+",
            solid,
        )
        and len(solid) < 7
    ):
        return
    yield Hit("password", start, end, REPLACE if is_random(solid, 16) and not is_hex(solid) else 0.55)


def _login_pair(data: bytes, match: Match) -> Iterator[Hit]:
    value = text_of(data, match.start(2), match.end(2)).rstrip(".,;)")
    mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    if mixed and not is_stand_in(value) and "/" not in value and "(" not in value:
        yield Hit("password", match.start(2), match.start(2) + len(value.encode()), 0.55)


def _before_address(data: bytes, match: Match) -> Iterator[Hit]:
    value = text_of(data, match.start(1), match.end(1))
    mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    if mixed and not is_marker(value) and "://" not in value and "@example" not in value:
        yield Hit("password", match.start(1), match.end(1), 0.55)
