from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import MissingExtraError
from realm.corpus.scrub import Scrubber
from realm.corpus.scrubbing import finder, known, prefilter, proofs

FAST = Scrubber(Scrubber.Config(engine="hyperscan"))
SLOW = Scrubber(Scrubber.Config(engine="re2"))

PIECES = st.sampled_from(
    [
        *(
            "password",
            "token = ",
            "'",
            '"',
            ": ",
            "\n",
            "\r\n",
            "\x0b",
            "\x00",
            "\\n",
            '\\"',
            "https://",
            "@",
        ),
        *(
            "ghp" + "_",
            "AKI" + "A",
            "sk_live" + "_",
            "xoxb" + "-1234567890-",
            "-----BEGIN PRIVATE" + " KEY-----",
        ),
        *(
            "Authorization: Bearer ",
            "машина",
            "пароль ",
            "ÄÖ",
            "\xc3",
            "é",
            "-u ",
            "--password=",
            " + ",
            "%40",
        ),
        *(
            "\\u0026",
            "é@x.org",
            "192.168.",
            "93.184.216.34",
            "/home/ann/",
            "+49 171 23",
            "kind: Secret\ndata:\n  a: ",
        ),
        *(
            "machine a login b password ",
            "{",
            "}",
            "<",
            ">",
            "=",
            "eyJ",
            "<SECRET:password:1>",
            "://u:",
            "%3A",
        ),
    ]
)
RANDOM = st.text(alphabet=string.ascii_letters + string.digits + "+/=_-.~#!", min_size=0, max_size=60)
TEXTS = st.lists(st.one_of(PIECES, RANDOM, st.text(max_size=20)), max_size=25).map("".join)


@settings(max_examples=250, deadline=None)
@given(TEXTS)
def test_both_engines_find_the_same(text: str) -> None:
    assert FAST.scrub_text(text) == SLOW.scrub_text(text)


@settings(max_examples=120, deadline=None)
@given(TEXTS)
def test_findings_lie_in_the_text_in_order_and_apart(text: str) -> None:
    end = 0
    for finding in FAST.scrub_text(text).findings:
        assert end <= finding.start < finding.end <= len(text)
        end = finding.end


VALUES = st.recursive(
    st.one_of(TEXTS, st.none(), st.integers(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(VALUES)
def test_any_json_value_keeps_its_shape(value: object) -> None:
    result = FAST.scrub_value(value)
    assert result == SLOW.scrub_value(value)
    assert type(result.value) is type(value)
    if isinstance(value, dict | list):
        assert len(result.value) == len(value)


@pytest.mark.parametrize("form", known.FORMATS, ids=lambda form: form.kind)
def test_every_format_is_seen_by_both_engines(form: known.Format) -> None:
    """Each rule's sign must match what the rule matches: planted values built from its own pattern."""
    value = _made_from(form.pattern)
    text = f"x = {value} ;".encode()
    exact = prefilter.compile_exact(prefilter.exact(form.pattern))
    if exact.search(text) is None:
        pytest.skip("the pattern is beyond the little generator of this test")
    names = [rule.name for rule in FAST._finder.rules]
    for scrubber in (FAST, SLOW):
        assert form.kind in {names[number] for number in scrubber._finder._may_match(text)}


def _made_from(pattern: str) -> str:
    """Write something that a simple pattern of ours matches."""
    drawn = "aB3dE5gH7jK9mN1pQ2sT4vW6yZ8" * 40
    value = ""
    pattern = re.sub(r"\(\?i:([^)|]*)\|?[^)]*\)", r"\1", pattern)
    pattern = re.sub(r"\(\?:([^)(|]*)(?:\|[^)(]*)?\)", r"\1", pattern)
    for match in re.finditer(
        r"\[(\^?)([^\]]+)\](?:\{(\d+)(?:,\d*)?\}|([*+?]))?|\\(.)|([^\\\[\](){}|^$?*+.])", pattern
    ):
        if match[2]:
            count = int(match[3] or (1 if match[4] in (None, "+") else 0))
            letters = [c for c in drawn + " .~=+/-_%" if re.match(f"[{match[1]}{match[2]}]", c)]
            value += "".join((letters * (count // len(letters) + 1))[:count]) if letters else ""
        else:
            value += {"b": "", "n": "\n", "x": ""}.get(match[5] or "", match[5] or match[6] or "")
    return value


def test_there_are_at_least_two_hundred_formats() -> None:
    assert len({form.kind for form in known.FORMATS}) >= 200
    assert len(finder.all_rules(())) < len(finder.all_rules(("email",)))


def test_without_re2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "re2", None)
    with pytest.raises(MissingExtraError, match="google-re2") as caught:
        Scrubber()
    assert "corpus" in caught.value.hint


def test_without_hyperscan_the_other_engine_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hyperscan", None)
    assert Scrubber().scrub_text("password: 'qV7m#Tz9Lw'").findings
    with pytest.raises(MissingExtraError, match="hyperscan"):
        Scrubber(Scrubber.Config(engine="hyperscan"))


def test_checksums() -> None:
    assert proofs.luhn("4539578763621486")
    assert not proofs.luhn("4539578763621487")
    assert proofs.mod97("DE82500105170648489891")
    assert not proofs.mod97("DE83500105170648489891")
    assert proofs.base58check("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ")
    assert not proofs.base58check("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTK")
    assert proofs.crc32_base62("npm_" + _with_checksum("a" * 30))
    assert not proofs.crc32_base62("npm_" + "a" * 36)


def _with_checksum(body: str) -> str:
    import zlib

    number, digits = zlib.crc32(body.encode()), ""
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = alphabet[digit] + digits
    return body + digits


def test_long_hostile_text_is_read_in_time_that_grows_with_its_length() -> None:
    """Each of these was made to send a backtracking matcher into a loop; the suite's limit would end it."""
    for unit in (
        "password=",
        "sk-sk-",
        "eyJ.",
        "a@",
        "1.1.",
        "-----BEGIN PRIVATE" + " KEY-----",
        '\\"',
        "AAAA" * 8,
        "x=1a2b" * 9,
        "'+'",
    ):
        FAST.scrub_text(unit * (200_000 // len(unit)))
