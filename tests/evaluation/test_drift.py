from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from realm.core.errors import ConfigError
from realm.evaluation.drift import DriftConfig, DriftReport, HashedWords, drift

RULES = "Never push to main. Rebase before you hand over. Say what you did and why, in one line."
HASH_ONLY = DriftConfig(hash_share=1.0)
WORDS_ONLY = DriftConfig(hash_share=0.0)
TEXTS = st.dictionaries(st.sampled_from("abcd"), st.text(max_size=30), max_size=4)


def by_kind(then: dict[str, str], now: dict[str, str], config: DriftConfig) -> DriftReport:
    return drift({"conventions": then}, {"conventions": now}, config)


def test_nothing_changed() -> None:
    snapshot = {"conventions": {"a.md": RULES}, "config": {"c.json": "{}"}}
    found = drift(snapshot, snapshot)
    assert found.score == 0
    assert not found.retrain
    assert found.embedder == "hashed words 1"
    assert drift({}, {}).score == 0


def test_everything_changed() -> None:
    then = {"conventions": {"a": "one two"}, "formulas": {"f": "three"}, "config": {"c": "four"}}
    now = {"conventions": {"a": "five six"}, "formulas": {"f": "seven"}, "config": {"d": "eight"}}
    found = drift(then, now, HASH_ONLY)
    assert found.score == pytest.approx(1.0)
    assert found.retrain
    assert drift(then, now).score == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("kind", "weight"), [("conventions", 0.5), ("formulas", 0.3), ("config", 0.2)])
def test_each_kind_has_its_weight(kind: str, weight: float) -> None:
    found = drift({kind: {"a": "old"}}, {}, HASH_ONLY)
    assert found.score == pytest.approx(weight)
    assert found.retrain == (weight > 0.2)
    assert found.kinds[0].weight == 0.5


def test_files_that_came_went_or_changed_are_named() -> None:
    then = {"same": RULES, "edited": "a b", "gone": "c", "old/place": "moved text"}
    now = {"same": RULES, "edited": "a x", "new": "d", "new/place": "moved text"}
    [kind, *_] = by_kind(then, now, HASH_ONLY).kinds
    assert (kind.added, kind.removed, kind.changed) == (("new",), ("gone",), ("edited",))
    assert kind.files == 5
    assert kind.hash_distance == pytest.approx(3 / 5)


def test_copies_that_were_merged_count_once_each() -> None:
    [kind, *_] = by_kind({"a": "x", "b": "x"}, {"c": "x"}, HASH_ONLY).kinds
    assert (kind.removed, kind.added, kind.files) == (("b",), (), 2)


def test_an_edit_is_nearer_than_a_rewrite() -> None:
    edit = by_kind({"a": RULES}, {"a": RULES.replace("one line", "two lines")}, WORDS_ONLY).kinds[0]
    rewrite = by_kind({"a": RULES}, {"a": "Work in small steps; ask when in doubt."}, WORDS_ONLY).kinds[0]
    assert edit.hash_distance == rewrite.hash_distance == 1
    assert 0 < edit.embedding_distance < 0.35 < 0.8 < rewrite.embedding_distance <= 1
    assert edit.distance == edit.embedding_distance


def test_a_word_that_turns_a_rule_around_is_noticed_by_its_hash() -> None:
    found = by_kind({"a": RULES}, {"a": RULES.replace("Never", "Always")}, DriftConfig()).kinds[0]
    assert found.distance > 0.25 > found.embedding_distance


@given(TEXTS, TEXTS)
def test_distances_are_shares_and_the_same_both_ways(then: dict[str, str], now: dict[str, str]) -> None:
    there, back = by_kind(then, now, DriftConfig()), by_kind(now, then, DriftConfig())
    assert 0 <= there.score <= 0.5 + 1e-9
    assert there.score == pytest.approx(back.score, abs=1e-9)
    assert (there.score == 0) == (sorted(then.values()) == sorted(now.values()) and _in_place(then, now))


def _in_place(then: dict[str, str], now: dict[str, str]) -> bool:
    return all(then[path] == now[path] for path in then.keys() & now.keys())


class Counting:
    """Embeds a text by how long it is."""

    name = "length"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float(len(text)), 1.0] for text in texts]


def test_a_real_embedder_may_be_handed_in() -> None:
    then, now = {"conventions": {"a": "abc"}}, {"conventions": {"a": "xyz"}}
    found = drift(then, now, WORDS_ONLY, Counting())
    assert found.embedder == "length"
    assert found.score == pytest.approx(0)


def test_vectors_do_not_depend_on_case_or_spacing() -> None:
    one, other, empty = HashedWords().embed(["Push  to\nmain", "push to main", ""])
    assert one == other
    assert not any(empty)
    assert len(one) == len(empty)


def test_an_emptied_file_is_far() -> None:
    assert by_kind({"a": RULES}, {"a": ""}, WORDS_ONLY).kinds[0].embedding_distance == 1
    assert by_kind({"a": " "}, {"a": "\n"}, WORDS_ONLY).kinds[0].embedding_distance == 0


def test_a_kind_without_a_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="no weight for hooks"):
        drift({"hooks": {}}, {})
    with pytest.raises(ValidationError, match="sum to 1"):
        DriftConfig(weights={"conventions": 0.5})
