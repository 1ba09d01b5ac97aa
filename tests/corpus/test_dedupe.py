"""Duplicates among rows: which go, which stay, in memory that does not grow."""

from __future__ import annotations

from pathlib import Path

from made_rows import chats, example, prose, row, rows

from realm.core.records import Example, Message
from realm.corpus.duplicates.dedupe import Deduplicator
from realm.corpus.duplicates.exact import SeenDigests
from realm.corpus.texts.wording import content_digest, digest


def test_digests_are_remembered_beyond_the_bound(tmp_path: Path) -> None:
    names = [digest(str(number)) for number in range(1000)]
    with SeenDigests(tmp_path, held=64) as seen:
        assert all(seen.first(name) for name in names)
        assert not any(seen.first(name) for name in reversed(names))
        assert len(seen) == 1000
        assert len(seen._held) < 64
        assert list(tmp_path.rglob("*.db"))
    assert list(tmp_path.iterdir()) == []


def test_what_a_row_teaches_is_its_words_roles_and_weights() -> None:
    one = example("a", "b")
    weighted = Example(messages=(one.messages[0], Message(role="assistant", content="b", weight=0.5)))
    moved = Example(messages=(Message(role="user", content="ab"), Message(role="assistant", content="")))
    rated = one.model_copy(update={"rejected": example("a", "c").messages})
    others = [weighted, moved, rated, Example(text="a b"), one.model_copy(update={"expected": "b"})]
    assert len({content_digest(each) for each in (one, *others)}) == 6
    assert content_digest(example("a", "b", level=3)) == content_digest(one)


def test_exact_duplicates_go_at_once_and_near_ones_at_the_end(tmp_path: Path) -> None:
    text = prose(1, least=80)[0]
    given = rows(
        [example("q", text), example("q", text), *chats(5), example("q", f"{text} and"), example("q", text)]
    )
    with Deduplicator(near=True, scratch=tmp_path) as found:
        assert [found.add(each) for each in given] == [True, False, *[True] * 6, False]
        assert [(each.row, each.of) for each in found.near()] == [(7, 0)]
    assert list(tmp_path.iterdir()) == []


def test_the_whole_row_stays_and_the_one_cut_off_goes(tmp_path: Path) -> None:
    code = "\n".join(
        f"    int {name} = {name}_of(thing, {at});" for at, name in enumerate(prose(1)[0].split()[:30])
    )
    whole, cut = f"```c\nvoid f() {{\n{code}\n}}\n```", f"```c\nvoid f() {{\n{code}\n    g({{ [ ="
    with Deduplicator(near=True, scratch=tmp_path) as found:
        for number, said in enumerate((cut, whole)):
            found.add(row(example("Write f.", said), number))
        assert [(each.row, each.of) for each in found.near()] == [(0, 1)]


def test_near_ones_stay_where_they_are_not_looked_for(tmp_path: Path) -> None:
    text = prose(1, least=80)[0]
    with Deduplicator(near=False, scratch=tmp_path) as found:
        assert all(found.add(each) for each in rows([example("q", text), example("q", f"{text} and")]))
        assert found.near() == []


def test_a_row_that_is_left_out_takes_no_other_with_it(tmp_path: Path) -> None:
    text = prose(1, least=80)[0]
    with Deduplicator(near=True, scratch=tmp_path) as found:
        found.skip()
        assert found.add(row(example("q", text), 1))
        found.skip()
        assert found.add(row(example("q", f"{text} and"), 3))
        assert [(each.row, each.of) for each in found.near()] == [(3, 1)]
