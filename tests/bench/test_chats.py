from __future__ import annotations

import statistics

import pytest

from realm.bench import chats
from realm.models.chat import encode_many


def _figures(count: int) -> tuple[float, float, int, float]:
    rows = encode_many(chats.tokenizer(), chats.chats(count), 1024)
    lengths = [row.full_tokens for row in rows]
    assert len(lengths) == count
    percentiles = statistics.quantiles(lengths, n=100, method="inclusive")
    trained = sum(row.trained_tokens for row in rows) / sum(lengths)
    return percentiles[49], percentiles[94], max(lengths), trained


def test_the_chats_have_the_promised_lengths() -> None:
    p50, p95, longest, trained = _figures(chats.CHATS)
    assert p50 == pytest.approx(66, abs=1)
    assert p95 == pytest.approx(161, abs=3)
    assert longest == chats.LONGEST == 372
    assert trained == pytest.approx(0.48, abs=0.005)


@pytest.mark.parametrize("count", [32, 64])
def test_a_few_blocks_are_like_all(count: int) -> None:
    p50, p95, longest, trained = _figures(count)
    assert p50 == pytest.approx(66, abs=3)
    assert p95 == pytest.approx(161, abs=15)
    assert longest == 372
    assert trained == pytest.approx(0.48, abs=0.005)


def test_the_chats_are_always_the_same() -> None:
    assert chats.chats(64) == chats.chats(64)
    lengths = [row.full_tokens for row in encode_many(chats.tokenizer(), chats.chats(64), 1024)]
    assert lengths[:32] == [row.full_tokens for row in encode_many(chats.tokenizer(), chats.chats(32), 1024)]
    assert len(chats.tokenizer()) <= chats.VOCABULARY


def test_chats_of_several_exchanges_are_among_them() -> None:
    exchanges = {sum(m.role == "assistant" for m in chat.messages) for chat in chats.chats(64)}
    assert exchanges == {1, 2, 3}


def test_long_chats_are_of_one_length_and_several_turns() -> None:
    drawn = chats.long_chats(3, 1024)
    rows = encode_many(chats.tokenizer(), drawn, 2048)
    assert [row.full_tokens for row in rows] == [1024] * 3
    assert all(row.trained_tokens / 1024 == pytest.approx(0.48, abs=0.01) for row in rows)
    assert all(sum(m.role == "assistant" for m in chat.messages) >= 8 for chat in drawn)
    assert len({tuple(row.ids) for row in rows}) == 3


def test_a_long_chat_is_always_the_same() -> None:
    assert chats.long_chats(3, 512)[:2] == chats.long_chats(2, 512)


def test_long_chats_may_have_a_whole_context() -> None:
    (row,) = encode_many(chats.tokenizer(), chats.long_chats(1, 65_536), 65_536)
    assert row.full_tokens == 65_536
