"""Conventions: the newest holds, the older are listed, and a return to an older one is flagged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from made_rows import example, prose, row, text_document

from realm.corpus.assembly.conventions import Resolution, ResolveConfig, Resolver, is_excluded
from realm.corpus.document import Document
from realm.corpus.tally import Tally

OLD, NEW, NEWEST = prose(3, least=60, most=60, purpose="conventions")


def version(id_: str, text: str, at: Any, subject: str = "testing", **more: Any) -> Document:
    fields = {"subject": subject, "version": at, **more.pop("fields", {})}
    return text_document(id_, text, fields, **more)


def resolved(*documents: Document, tally: Tally | None = None, **config: Any) -> Resolution:
    resolver = Resolver(ResolveConfig(**config))
    for document in documents:
        resolver.see(document)
    return resolver.resolve(tally if tally is not None else Tally())


def left_out(found: Resolution) -> list[str]:
    return [each.document for each in found.superseded]


def test_newest_wins_in_any_order_and_the_older_are_listed_and_counted() -> None:
    one = version("a", OLD, "2025-01-01T00:00:00+00:00")
    two = version("b", NEW, "2025-03-01T00:00:00+02:00", subject="  TESTING ")
    three = version("c", NEWEST, "2025-06-01T00:00:00Z")
    tally = Tally()
    found = resolved(three, one, two, tally=tally)
    assert [(each.document, each.by) for each in found.superseded] == [("a", "c"), ("b", "c")]
    assert (found.reversions, found.undated) == ((), ())
    assert [(each.count, each.examples) for each in tally.reasons()] == [(2, ("town/a", "town/b"))]
    assert found == resolved(one, two, three)


def test_other_subjects_sources_and_documents_without_one_stay() -> None:
    found = resolved(
        version("a", OLD, 1),
        version("b", NEW, 2, subject="naming"),
        version("c", NEW, 2, source="other"),
        text_document("d", NEW),
        text_document("e", NEW, {"subject": 7, "version": 9}),
        text_document("f", NEW, {"subject": " ", "version": 9}),
    )
    assert left_out(found) == []


def test_sources_of_one_rig_may_share_subjects() -> None:
    pair = (version("a", OLD, 1, rig="r"), version("b", NEW, 2, rig="r", source="other"))
    assert left_out(resolved(*pair)) == []
    assert left_out(resolved(*pair, across_sources=True)) == ["a"]


def test_specs_have_subjects_of_their_own_file() -> None:
    def spec(id_: str, at: int, path: str, kind: str) -> Document:
        return version(id_, OLD, at, path=path, fields={"convention": kind})

    assert left_out(resolved(spec("a", 1, "x.md", "spec"), spec("b", 2, "y.md", "spec"))) == []
    assert left_out(resolved(spec("a", 1, "x.md", "spec"), spec("b", 2, "x.md", "spec"))) == ["a"]
    assert left_out(
        resolved(spec("a", 1, "CLAUDE.md", "instructions"), spec("b", 2, "AGENTS.md", "instructions"))
    ) == ["a"]


def test_what_was_written_at_one_time_stands_side_by_side() -> None:
    found = resolved(version("a", OLD, 1), version("b", NEW, 2), version("c", NEWEST, 2.0))
    assert left_out(found) == ["a"]


def test_a_reversion_is_flagged_for_a_person() -> None:
    again = OLD.rsplit(" ", 2)[0]
    found = resolved(version("a", OLD, 1), version("b", NEW, 2), version("c", again, 3))
    assert left_out(found) == ["a", "b"]
    assert [(each.document, each.like, each.undone) for each in found.reversions] == [("c", "a", "b")]
    assert 0.8 < found.reversions[0].jaccard < 1


def test_an_edit_or_an_unchanged_text_is_no_reversion() -> None:
    edited = OLD.rsplit(" ", 2)[0]
    assert resolved(version("a", OLD, 1), version("b", edited, 2), version("c", OLD, 3)).reversions == ()
    assert resolved(version("a", OLD, 1), version("b", NEW, 2), version("c", NEW, 3)).reversions == ()


def test_without_a_time_a_person_decides() -> None:
    found = resolved(version("a", OLD, 1), version("b", NEW, "yesterday"))
    assert left_out(found) == []
    assert [each.documents for each in found.undated] == [("a", "b")]
    dated = text_document("b", NEW, {"subject": "testing"}, at=datetime(2025, 1, 1, tzinfo=UTC))
    assert left_out(resolved(version("a", OLD, 1), dated)) == ["a"]
    assert resolved(version("a", OLD, "yesterday")).undated == ()


def test_rows_of_what_is_left_out_are_known() -> None:
    found = resolved(version("chat.jsonl#1", OLD, 1, source="made"), version("x", NEW, 2, source="made"))
    assert is_excluded(row(example("q", "a"), 0), found.excluded())
    assert not is_excluded(row(example("q", "a"), 1), found.excluded())
    assert not is_excluded(row(example("q", "a"), 0, source="other"), found.excluded())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["s", "t"]),
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(),
                st.text(max_size=30),
                st.lists(st.integers()),
            ),
            st.text(max_size=20),
        ),
        max_size=8,
    )
)
def test_any_fields_resolve(given_: list[tuple[str, Any, str]]) -> None:
    documents = [version(str(n), text, at, subject) for n, (subject, at, text) in enumerate(given_)]
    found = resolved(*documents)
    for subject in ("s", "t"):
        ids = {document.id for document in documents if document.fields["subject"] == subject}
        assert not ids or ids - set(left_out(found))
