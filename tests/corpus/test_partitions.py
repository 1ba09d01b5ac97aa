"""Partitions, balance and the split: pure functions over counts and groups."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import example, row

from realm.core.config import validate
from realm.core.errors import ConfigError
from realm.corpus.assembly.balance import CROSS, BalanceConfig, balance, value_of
from realm.corpus.assembly.partition import REST, PartitionConfig, partition, partition_name
from realm.corpus.assembly.split import SplitConfig, SplitCounter, SplitReport, is_split, side

NAMES = st.text("ab/", min_size=1, max_size=4)


def report(groups: Mapping[str, int], config: SplitConfig) -> SplitReport:
    """Split rows of these groups, those of one group apart from each other."""
    counter = SplitCounter(config)
    for turn in range(max(groups.values(), default=0)):
        for group, size in groups.items():
            if turn < size:
                assert counter.add(group) == side(group, config)
    return counter.report()


def test_rows_are_parted_by_role_task_and_domain() -> None:
    tagged = [
        example("q", "a", role="mayor", task="chat", domain="flecs"),
        example("q", "b", role="mayor", task="chat", domain="flecs"),
        example("q", "c", task="a/b"),
    ]
    counts = Counter(partition_name(row(each), PartitionConfig().by) for each in tagged)
    assert counts == {"mayor/chat/flecs": 2, "none/a_b/none": 1}


def test_small_partitions_join_the_rest_and_weights_give_shares() -> None:
    config = PartitionConfig(
        min_rows=10, weights={"mayor": 2, "chat": 3, "boot/chat/x": 5, REST: 0.5, "mayr": 9}
    )
    counts = {"mayor/chat/x": 10, "mayor/code/x": 10, "boot/chat/x": 10, "dog/a/b": 9, "dog/a/c": 1}
    found = partition(counts, config)
    assert {each.name: (each.rows, each.weight) for each in found.parts} == {
        "mayor/chat/x": (10, 6),
        "mayor/code/x": (10, 2),
        "boot/chat/x": (10, 5),
        REST: (10, 0.5),
    }
    assert found.joined == {"dog/a/b": 9, "dog/a/c": 1}
    assert found.unused_weights == ("mayr",)
    assert found.name_of("dog/a/c") == REST
    assert found.name_of("mayor/chat/x") == "mayor/chat/x"
    assert next(each.share for each in found.parts if each.weight == 6) == pytest.approx(60 / 135)


@given(st.dictionaries(NAMES, st.integers(0, 50), max_size=12), st.integers(1, 30))
def test_no_row_is_lost_and_shares_sum_to_one(counts: dict[str, int], least: int) -> None:
    found = partition(counts, PartitionConfig(min_rows=least))
    assert sum(each.rows for each in found.parts) == sum(counts.values())
    assert all(each.rows >= least for each in found.parts if each.name != REST)
    if sum(counts.values()):
        assert math.fsum(each.share for each in found.parts) == pytest.approx(1)


@pytest.mark.parametrize("wrong", [{"by": []}, {"by": ["a", "a"]}, {"min_rows": 0}, {"weights": {"a": -1}}])
def test_bad_configs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        validate(PartitionConfig, wrong, where="here")


def test_balance_says_what_is_missing_and_what_is_too_much() -> None:
    counts = {
        "flecs": 2201,
        "godot": 2200,
        "lua": 1799,
        "c": 1800,
        "flecs+godot": 120,
        "lua+c": 30,
        "none": 7,
    }
    found = balance(counts, BalanceConfig(targets={"avorion": 100}))
    standing = {each.value: each for each in found.standings}
    assert (standing["flecs"].surplus, standing["godot"].surplus) == (1, 0)
    assert (standing["lua"].missing, standing["c"].missing) == (1, 0)
    assert (standing["avorion"].rows, standing["avorion"].missing) == (0, 90)
    assert (standing[CROSS].rows, standing[CROSS].missing, standing[CROSS].highest) == (150, 50, None)
    assert [each.value for each in found.standings[:3]] == ["avorion", CROSS, "lua"]
    assert found.untagged == 7
    assert not found.balanced
    assert balance({"a": 1900, "b+a": 900}, BalanceConfig()).balanced


def test_balance_takes_rows_by_any_tag() -> None:
    given_ = [row(example("q", "a", domain="x")), row(example("q", "a")), row(example("q", "a", domain=3))]
    assert [value_of(each, "domain") for each in given_] == ["x", "none", "3"]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 99)), max_size=60), st.integers(0, 5))
def test_no_group_is_on_both_sides(given_: list[tuple[str, int]], seed: int) -> None:
    config = SplitConfig(eval_share=0.3, seed=seed)
    rows = [row(example("q", str(text)), text).model_copy(update={"group": group}) for group, text in given_]
    sides: dict[str, set[str]] = {}
    for each in rows:
        sides.setdefault(each.group, set()).add(side(each.group, config))
    assert all(len(seen) == 1 for seen in sides.values())
    found = report(Counter(each.group for each in rows), config)
    assert found.train_rows + found.eval_rows == len(rows)
    assert found.train_groups + found.eval_groups == len(sides)


def test_a_row_of_both_sides_is_on_neither() -> None:
    config = SplitConfig(eval_share=0.3)
    names = [f"g{number}" for number in range(40)]
    for one in names:
        for other in names:
            joined = row(example("q", "a")).model_copy(update={"group": one, "also": (one, other)})
            assert is_split(joined, config) is (side(one, config) != side(other, config))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_the_share_is_within_its_bounds(share: float, seed: int) -> None:
    groups = {f"session-{number}": 1 + number % 23 for number in range(4000)}
    found = report(groups, SplitConfig(eval_share=share, seed=seed))
    assert found.within
    assert abs(found.eval_share - share) < 0.035
    assert found.expected[1] - found.expected[0] < 0.1


def test_groups_stay_where_they_are_when_the_dataset_grows() -> None:
    config = SplitConfig(eval_share=0.1)
    before = {f"g{number}": side(f"g{number}", config) for number in range(200)}
    assert Counter(before.values())["eval"] > 5
    assert {group: side(group, SplitConfig(eval_share=0.1)) for group in before} == before
    more = {group for group in before if side(group, SplitConfig(eval_share=0.2)) == "eval"}
    assert {group for group, where in before.items() if where == "eval"} < more
    assert before != {group: side(group, SplitConfig(eval_share=0.1, seed=1)) for group in before}


def test_one_group_is_most_of_it_is_visible() -> None:
    found = report({"huge": 900, "small": 100}, SplitConfig())
    assert found.largest_group == 900
    assert report({}, SplitConfig()).within
