"""Near duplicates: every planted pair is found, no other is, and both back ends say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import prose

from realm.core.seeds import rng
from realm.corpus.duplicates import near
from realm.corpus.duplicates.minhash import Signer
from realm.corpus.duplicates.near import NearConfig, NearIndex, Text
from realm.corpus.texts.shingles import WordNumbers, jaccard, np, run_sets, runs
from realm.corpus.texts.wording import words

BACKENDS = ["rensa", "numpy"]


def plain_similarity(one: str, two: str, length: int = 3) -> float:
    """Return the Jaccard similarity by sets of tuples."""

    def runs_of(text: str) -> set[tuple[str, ...]]:
        said = words(text)
        return {tuple(said[i : i + length]) for i in range(max(1, len(said) - length + 1))} if said else set()

    first, second = runs_of(one), runs_of(two)
    return len(first & second) / len(first | second) if first | second else 0.0


def pairs_of(texts: list[str], tmp_path: Path, **config: Any) -> set[tuple[int, int]]:
    with NearIndex(NearConfig(**config), tmp_path) as index:
        for text in texts:
            index.add(Text("", text))
        return {(pair.first, pair.second) for pair in index.pairs()}


def planted() -> tuple[list[str], list[tuple[int, int]]]:
    texts = prose(600, least=60, most=200, purpose="near")
    draw = rng("tests/near")
    pairs = []
    for origin in range(300):
        copy = texts[origin].split(" ")
        for place in draw.sample(
            range(len(copy)), max(1, round(draw.choice([0.01, 0.02, 0.03, 0.05]) * len(copy)))
        ):
            copy[place] = f"new{draw.randrange(999)}"
        pairs.append((origin, len(texts)))
        texts.append(" ".join(copy))
    return texts, pairs


@pytest.mark.parametrize("backend", BACKENDS)
def test_planted_pairs_are_found_and_no_others(tmp_path: Path, backend: str) -> None:
    texts, pairs = planted()
    due = {pair for pair in pairs if plain_similarity(texts[pair[0]], texts[pair[1]]) >= 0.8}
    assert 150 < len(due) < 300
    found = pairs_of(texts, tmp_path, backend=backend)
    assert found == due
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from("abcdefgh"), max_size=12).map(" ".join) | st.text(max_size=12),
        min_size=2,
        max_size=30,
    ),
    st.sampled_from(BACKENDS),
)
def test_a_pair_is_near_exactly_when_its_sets_say_so(texts: list[str], backend: str) -> None:
    with NearIndex(NearConfig(backend=backend, threshold=0.7, bands=60, rows=2)) as index:
        for text in texts:
            index.add(Text("", text))
        found = {(pair.first, pair.second): pair.jaccard for pair in index.pairs()}
    for first in range(len(texts)):
        for second in range(first + 1, len(texts)):
            similar = plain_similarity(texts[first], texts[second])
            if similar >= 0.7:
                assert found[first, second] == pytest.approx(similar)
            else:
                assert (first, second) not in found


def test_rows_that_share_a_passage_and_answer_otherwise_are_not_near(tmp_path: Path) -> None:
    passage, one, two = prose(3, least=150, most=200, purpose="passage")
    short_one, short_two = one[:60], two[:60]
    with NearIndex(NearConfig(), tmp_path) as index:
        index.add(Text(passage, short_one))
        index.add(Text(passage, short_two))
        index.add(Text(f"{passage} more", short_one))
        assert [pair[:2] for pair in index.pairs()] == [(0, 2)]


def test_scopes_and_kin_are_never_near(tmp_path: Path) -> None:
    with NearIndex(NearConfig(), tmp_path) as index:
        for scope, kin in [("a", "1"), ("b", "2"), ("a", "1"), ("a", "3"), ("", ""), ("", "")]:
            index.add(Text("a question", "the very same answer to it", scope, kin))
        assert [pair[:2] for pair in index.pairs()] == [(0, 3), (2, 3), (4, 5)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_goes_has_its_reason_among_what_stays(tmp_path: Path, backend: str) -> None:
    base = prose(1, least=100, most=100)[0].split(" ")
    # A chain: each text is near its neighbours, the ends are not near each other.
    chain = [" ".join([*base[shift * 4 :], *(f"w{n}" for n in range(shift * 4))]) for shift in range(6)]
    assert plain_similarity(chain[0], chain[1]) > 0.8 > plain_similarity(chain[0], chain[5])
    qualities = [0.5, 0.5, 0.9, 0.5, 0.5, 0.1]
    with NearIndex(NearConfig(backend=backend), tmp_path) as index:
        for text, quality in zip(chain, qualities, strict=True):
            index.add(Text("", text, quality=quality))
        gone = {each.row: each for each in index.duplicates()}
    assert 2 not in gone
    for each in gone.values():
        assert each.of not in gone
        assert plain_similarity(chain[each.row], chain[each.of]) >= 0.8
    for one in range(6):
        for two in range(one):
            if plain_similarity(chain[one], chain[two]) >= 0.8:
                assert one in gone or two in gone


def test_better_quality_stays_then_the_earlier(tmp_path: Path) -> None:
    text = prose(1)[0]
    with NearIndex(NearConfig(), tmp_path) as index:
        for quality in (0.5, 0.9, 0.9, 0.1):
            index.add(Text("", text, quality=quality))
        assert [(each.row, each.of) for each in index.duplicates()] == [(0, 1), (2, 1), (3, 1)]


def test_a_crowd_of_alike_rows_stays_cheap_and_is_told(tmp_path: Path) -> None:
    text = prose(1, least=100)[0]
    with NearIndex(NearConfig(), tmp_path) as index:
        for _ in range(3000):
            index.add(Text("", text))
        assert [each.of for each in index.duplicates()] == [0] * 2999
        assert index.uncompared == 0
    common = " ".join(text.split(" ")[:60])
    with NearIndex(NearConfig(rows=1), tmp_path) as index:
        for other in prose(300, least=30, most=30, purpose="crowd"):
            index.add(Text("", f"{common} {other}"))
        assert index.pairs() == []
        assert 0 < index.uncompared <= 300 - 64


def test_empty_rows_and_no_rows_are_near_nothing(tmp_path: Path) -> None:
    assert pairs_of([], tmp_path) == set()
    assert pairs_of(["", " ", "\n", "."], tmp_path) == set()
    assert pairs_of(["", "", "a b", "a b"], tmp_path) == {(2, 3)}


def test_batches_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, _ = planted()
    whole = pairs_of(texts[:400], tmp_path)
    monkeypatch.setattr(near, "_BATCH", 7)
    assert pairs_of(texts[:400], tmp_path) == whole


def test_runs_are_those_of_plain_tuples() -> None:
    texts = [words(each) for each in ["a b c d", "a b", "", "d c b a b c d", "字字 abc"]]
    numbers = WordNumbers()
    flat, begins = run_sets([numbers.of(each) for each in texts], 3, np.zeros(len(texts), dtype=np.uint64))
    for index, text in enumerate(texts):
        own = flat[begins[index] : begins[index + 1]]
        assert own.tolist() == sorted(set(runs(numbers.of(text), 3).tolist()))
    assert jaccard(flat[begins[0] : begins[1]], flat[begins[3] : begins[4]]) == pytest.approx(2 / 5)


def test_equal_sets_share_all_keys_and_others_none() -> None:
    draw = rng("tests/keys")
    sets = [sorted(draw.getrandbits(64) for _ in range(50)) for _ in range(20)]
    flat = np.array([number for each in (*sets, *sets) for number in each], dtype=np.uint64)
    begins = np.arange(0, 41 * 50, 50, dtype=np.uint64)
    for backend in BACKENDS:
        signer = Signer(8, 4, backend)  # type: ignore[arg-type]
        assert signer.backend == backend
        keys = signer.keys(flat, begins)
        assert keys.shape == (40, 8)
        assert (keys[:20] == keys[20:]).all()
        assert len(np.unique(keys[:20])) == 160
