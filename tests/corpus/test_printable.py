from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.text import printable


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(0, 200))
def test_the_result_is_one_safe_line_within_the_limit(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert not [c for c in shown if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029"]
    shown.encode()


@given(st.text(alphabet="abc é日🙂⓪", max_size=120))
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("half \ud83d", "half "),
        ("x" * 130, "x" * 119 + "…"),
        ("\x00" * 10_000 + "end", "end"),
    ],
)
def test_dangerous_text_is_made_harmless(text: str, shown: str) -> None:
    assert printable(text) == shown
