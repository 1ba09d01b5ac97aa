"""Judge what may say who somebody is: addresses, numbers, accounts and home folders."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from realm.corpus.scrubbing import proofs
from realm.corpus.scrubbing.lists import listed
from realm.corpus.scrubbing.rules import Hit, Match, Rule, line_around, text_of

EMAIL = (
    r"([A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za"
    r"-z]{2,24})"
)
IPV4 = r"(?:^|[^0-9A-Za-z.])((?:[0-9]{1,3}\.){3}[0-9]{1,3})"
IPV6 = r"(?:^|[^0-9A-Za-z:.])([0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){3,7})"
PHONE = (
    r"(?:^|[^0-9A-Za-z+./=_\-])(\+[1-9][0-9]{0,2}[ \-.]{0,2}\(?[0-9]{1,5}\)?(?:[ \-.]{0,2}[0-9"
    r"]{2,5}){1,5}|\(?[2-9][0-9]{2}\)?[ \-.][2-9][0-9]{2}[\-. ][0-9]{4})"
)
CARD = (
    r"(?:^|[^0-9A-Za-z.\-_])([3-6][0-9]{3}(?:[ \-]?[0-9]{4}){2}[ \-]?[0-9]{1,7}|3[47][0-9]{2}[ \-]?[0-9"
    r"]{6}[ \-]?[0-9]{5})"
)
IBAN = r"(?:^|[^0-9A-Za-z])([A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?)"
HOME = (
    r"(?:(?:^|[^A-Za-z0-9_.\-})]|\\[nrt])(?:/mnt)?(?:/[a-z])?(?:/var|/export|/System/Volumes/Data)?/(?:home|Use"
    r"rs)/|[A-Za-z]:[\\/]{1,4}Users[\\/]{1,4})([A-Za-z0-9][A-Za-z0-9._\-]{0,63})"
)

_SIGNS = {
    "email": r"[A-Za-z0-9._%+\-]@[A-Za-z0-9]",
    "ip": r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
    "ip6": r"[0-9A-Fa-f]:{1,2}[0-9A-Fa-f]{1,4}:{1,2}[0-9A-Fa-f]{1,4}:{1,2}[0-9A-Fa-f]",
    "phone": r"\+[1-9][0-9 ().\-]{5}|[0-9]{3}\)?[ \-.][2-9][0-9]{2}[\-. ][0-9]{4}",
    "card": r"[3-6][0-9]{3}[ \-]?[0-9]{4}[ \-]?[0-9]{4}",
    "iban": r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4}",
    "home": r"/(?:home|Users)/[A-Za-z0-9]|:[\\/]{1,4}Users[\\/]{1,4}[A-Za-z0-9]",
}
KINDS = ("email", "ip", "phone", "card", "iban", "home")

_RESERVED = re.compile(
    r"(?i)(?:^|\.)(?:example(?:\.(?:com|org|net|edu|co\.uk|de))?|test|invalid|local|localhost|localdom"
    r"ain|lan|internal|home|corp|domain\.(?:com|tld)"
    r"|email\.com|company\.com|yourdomain\.com|mydomain\.com|acme\.com|foo\.com|bar\.com|site\.com|hos"
    r"t\.com|test\.com|corp\.com|(?:your|my)(?:company|site|host|app)\.com|[a-wyz]\.(?:com|org|net)|users\.noreply\.github\.com|example\.[a-z]{2,6})$"
)
_ROBOTS = re.compile(
    r"(?i)^(?:no-?reply|do-?not-?reply|noreply.*|git|mailer-daemon|postmaster|user(?:name)?|you|your[."
    r"_-]?.*|name|email|foo|bar|me|someone|somebody|test|example|info|contact|security|support|admin|abuse|webmaste"
    r"r|hostmaster|root|help|bugs?|patches|sales|press|privacy|legal|conduct)$"
)
_FILE_ENDINGS = listed(
    """
    png jpg jpeg gif svg webp ico js ts jsx tsx css scss html htm json xml yaml yml py rb go rs lua java c h
    cpp hpp md txt lock zip gz
    """
)
_NOBODY = listed(
    """
    user users username you your yourname me name runner ubuntu root app node vscode git shared public
    default admin administrator vagrant ec2-user dev test tests linuxbrew jenkins circleci travis build
    builder ci docker someone somebody foo bar user1 user2 myuser guest www www-data nobody pi debian centos
    fedora alice bob jane john johndoe example xxx opam conda jovyan coder gitpod codespace runneradmin all
    yourusername your_username your-username your_name your-name yourname my_user my-user your_user agent
    appuser hello ubuntu deploy service steam oracle postgres username1 testuser test-user test_user
    """
)
_KNOWN_CARDS = listed(
    """
    4111111111111111 4242424242424242 4012888888881881 4000056655665556 5555555555554444 5105105105105100
    5200828282828210 2223003122003222 378282246310005 371449635398431 378734493671000 6011111111111117
    6011000990139424 30569309025904 38520000023237 3530111333300000 3566002020360505 4222222222222
    4000000000000002 4000000000009995 4007000000027
    """
)
_KNOWN_IBANS = listed(
    """
    DE89370400440532013000 GB82WEST12345698765432 GB29NWBK60161331926819 FR1420041010050500013M02606
    NL91ABNA0417164300 CH9300762011623852957 ES9121000418450200051332 IT60X0542811101000000123456
    BE68539007547034 AT611904300234573201 GB33BUKB20201555555555 DE75512108001245126199
    FR7630006000011234567890189 PL61109010140000071219812874 SE4550000000058398257466 DK5000400440116243
    """
)
_CARD_WORDS = re.compile(r"(?i)card|visa|master|amex|credit|debit|\bpan\b|payment|\bcc\b|karte|tarjeta|carte")
_PHONE_WORDS = re.compile(
    r"(?i)phone|\btel\b|tel[:.]|mobile|cell|call|fax|whatsapp|sms|contact|telefon|handy|\bt:|number|re"
    r"ach|dial"
)
_HOST_WORDS = re.compile(
    r"(?i)\bips?\b|addr|host|server|client|ping|ssh|peer|remote|http|connect|listen|proxy|dns|\bv"
    r"ps\b|login|ban"
)
_VERSION_WORDS = re.compile(
    r"(?i)version|ver\.|\bv$|release|==|>=|<=|~=|\^|package|upgrade|section|§|oid|chapter|chrome/|fire"
    r"fox/|safari/|,v $|\$id|\$rev|bump|\bc(?:89|99|11|17)\b|rfc"
)


def rules() -> Iterator[Rule]:
    """Yield the rules of personal data; a rule is named as its kind."""
    for name, pattern, judge in (
        ("email", EMAIL, _email),
        ("ip", IPV4, _ipv4),
        ("ip6", IPV6, _ipv6),
        ("phone", PHONE, _phone),
        ("card", CARD, _card),
        ("iban", IBAN, _iban),
        ("home", HOME, _home),
    ):
        yield Rule(name, pattern, judge, personal=True, sign=_SIGNS.get(name, ""))


def _email(data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(1), match.end(1)
    value = text_of(data, start, end)
    user, _, host = value.rpartition("@")
    if _RESERVED.search(host) or _ROBOTS.match(user) or host.rpartition(".")[2].lower() in _FILE_ENDINGS:
        return
    if data[end : end + 1] == b"(" or (data[end : end + 1] == b":" and user == "git"):
        return
    before = data[max(0, start - 3) : start]
    if before.endswith((b"//", b":", b"%40")) and (b"/" in before or _in_address(data, start)):
        return
    yield Hit("email", start, end, 0.95, True)


def _in_address(data: bytes, start: int) -> bool:
    """Tell whether this is the end of `scheme://user:password@host`, which has a rule of its own."""
    word = data[max(0, start - 120) : start].rpartition(b"://")
    return bool(word[1]) and not any(map(bytes.isspace, (word[2], word[2][:1]))) and b" " not in word[2]


def _ipv4(data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(1), match.end(1)
    if data[end : end + 1].isalnum() or (
        data[end : end + 2].strip()[:2].startswith(b".") and data[end + 1 : end + 2].isdigit()
    ):
        return
    value = text_of(data, start, end)
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError:
        return
    if (
        not address.is_global
        or address.is_multicast
        or value in ("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9")
    ):
        return
    before, behind = line_around(data, start, end, 40)
    if _VERSION_WORDS.search(before[-24:]):
        return
    parts = value.split(".")
    if len({*parts}) == 1 or value in ("1.2.3.4", "4.3.2.1", "1.2.3.5", "5.6.7.8"):
        return
    small = all(int(part) < 32 for part in parts)
    if small and not (_HOST_WORDS.search(before) or re.match(r":[0-9]{2,5}\b|/[0-9]{1,2}\b", behind)):
        return
    yield Hit("ip", start, end, 0.85, True)


def _ipv6(data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(1), match.end(1)
    if data[end : end + 1].isalnum() or data[end : end + 1] == b":":
        return
    try:
        address = ipaddress.IPv6Address(text_of(data, start, end))
    except ValueError:
        return
    if address.is_global and not address.is_multicast:
        yield Hit("ip", start, end, 0.85, True)


def _phone(data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(1), match.end(1)
    value = text_of(data, start, end)
    digits = [char for char in value if char.isdigit()]
    if data[end : end + 1].isalnum() or not 8 <= len(digits) <= 15 or len(set(digits)) < 4:
        return
    if re.search(r"555[ .\-]?01[0-9]{2}|123[ .\-]?456|0000|1111", value):
        return
    before, _ = line_around(data, start, end, 40)
    told = _PHONE_WORDS.search(before) is not None
    apart = any(char in " -.()" for char in value)
    if value.startswith("+"):
        if not told and (not apart or len(digits) < 10 or (before[-1:] or "\n") in "0123456789)"):
            return
        yield Hit("phone", start, end, 0.88 if told or len(digits) >= 10 else 0.6, True)
    elif told:
        yield Hit("phone", start, end, 0.85, True)


def _card(data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(1), match.end(1)
    value = text_of(data, start, end)
    digits = "".join(char for char in value if char.isdigit())
    if data[end : end + 1].isalnum() or digits in _KNOWN_CARDS or len(set(digits)) < 4 or not _issuer(digits):
        return
    if not proofs.luhn(digits):
        return
    before, behind = line_around(data, start, end, 60)
    if re.search(r"[A-Z]{2}[0-9]{2} ?$|[0-9] $", before) or re.match(r"[ -]?[0-9]", behind):
        return
    told = _CARD_WORDS.search(before) is not None
    if told or digits != value:
        yield Hit("card", start, end, 0.92 if told else 0.85, True)
    elif data[end : end + 1] not in (b".", b",", b"L", b"U"):
        yield Hit("card", start, end, 0.3, True)


def _issuer(digits: str) -> bool:
    lengths = {"4": (13, 16, 19), "5": (16,), "2": (16,), "6": (16, 17, 18, 19), "3": (14, 15, 16)}
    if len(digits) not in lengths.get(digits[0], ()):
        return False
    two, four = int(digits[:2]), int(digits[:4])
    return digits[0] in "46" or 51 <= two <= 55 or two in (34, 37, 36, 38, 39, 30, 35) or 2221 <= four <= 2720


def _iban(data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(1), match.end(1)
    value = text_of(data, start, end)
    packed = value.replace(" ", "")
    if data[end : end + 1].isalnum() or packed in _KNOWN_IBANS or not 15 <= len(packed) <= 34:
        return
    if proofs.mod97(packed) and sum(map(str.isdigit, packed)) >= 8:
        yield Hit("iban", start, end, 0.95, True)


def _home(data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(1), match.end(1)
    value = text_of(data, start, end).rstrip(".-")
    if (
        value.lower() in _NOBODY
        or len(value) == 1
        or not any(map(str.isalpha, value))
        or data[end : end + 1] in (b"$", b"{", b"}")
    ):
        return
    if (
        data[end : end + 1] in (b"/", b"\\", b"'", b'"', b" ", b"\n", b":", b"")
        or data[end : end + 1].isspace()
    ):
        yield Hit("home", start, start + len(value.encode()), 0.85, True)
