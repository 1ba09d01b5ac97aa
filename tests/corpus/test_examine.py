"""Running checks: who is shown what, what is counted, and that totals add up."""

from __future__ import annotations

import pytest
from made_rows import chats, example, row, rows

from realm.core.errors import ConfigError
from realm.corpus.check import CHECKS, Context, Depth
from realm.corpus.examining.examine import Examiner, checks_of
from realm.corpus.examining.leakage import eval_hashes


def test_each_depth_includes_those_before() -> None:
    names = {depth: {each.name for each in checks_of(depth)} for depth in Depth}
    assert names[Depth.QUICK] < names[Depth.STANDARD] < names[Depth.DEEP]
    assert names[Depth.DEEP] == set(CHECKS.names())


def test_a_config_replaces_the_default_of_its_kind() -> None:
    examiner = Examiner(checks_of(Depth.QUICK, [{"kind": "sizes", "row_chars": 3}]), Context())
    assert not examiner.see(row(example("ab", "cd")))
    assert "outliers" not in {each.name for each in checks_of(Depth.QUICK, ["outliers"])}
    for wrong in (["sizes", "sizes"], [{"kind": "sizes", "row_char": 3}]):
        with pytest.raises(ConfigError):
            checks_of(Depth.STANDARD, wrong)


def test_rows_are_dropped_once_for_the_first_reason_and_totals_add_up() -> None:
    bad = [example("q", ""), example("what is three plus four", "7"), example("q", "TODO")]
    base = chats(60)
    given = rows([base[0], bad[0], bad[1], *base[1:], bad[2], base[5], example("q", "\u200bodd but fine")])
    examiner = Examiner(
        checks_of(Depth.DEEP),
        Context(eval_hashes=eval_hashes(["What is three plus four?"]), count_tokens=len),
    )
    at_once = [examiner.see(each) for each in given]
    found = examiner.end()
    assert [at for at, stays in enumerate(at_once) if not stays] == [1, 2, 62, 63]
    assert [at for at in range(len(given)) if not examiner.stays(at)] == [1, 2, 62, 63]
    assert {each.reason: (each.count, each.examples) for each in found.dropped} == {
        "structure: breaks the rules of its spec": (1, ("made/chat.jsonl:2",)),
        "leakage: an evaluation problem": (1, ("made/chat.jsonl:3",)),
        "exact_duplicates: exact duplicate": (1, ("made/chat.jsonl:64",)),
        "quality: low quality": (1, ("made/chat.jsonl:63",)),
    }
    assert (found.rows, found.kept) == (len(given), len(given) - 4)
    assert "encoding: hidden characters" in {each.reason for each in found.told}
    assert any(each.startswith("syntax: ") for each in found.dataset)
    assert {each.name for each in found.checks} == set(CHECKS.names())
    yields = {each.name: (each.accepted, each.seen) for each in found.yields}
    assert yields["structure"] == (len(given) - 1, len(given))
    assert yields["leakage"] == (len(given) - 2, len(given) - 1)
    assert yields["outliers"] == (len(given) - 3, len(given) - 3)


def test_deeper_checks_name_the_right_rows_after_gaps() -> None:
    base = chats(30)
    said = base[7].messages[1].content
    given = rows(
        [example("q", ""), *base, example("q", ""), example(base[7].messages[0].content, f"{said} end")]
    )
    examiner = Examiner(checks_of(Depth.DEEP), Context())
    for each in given:
        examiner.see(each)
    found = examiner.end()
    assert [at for at in range(len(given)) if not examiner.stays(at)] == [0, 31, 32]
    assert [(each.reason, each.examples) for each in found.dropped][1] == (
        "near_duplicates: near duplicate",
        ("row 32",),
    )
