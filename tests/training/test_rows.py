from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import chat, drills, make_job, run, texts, tokenizer

from realm.core.errors import ConfigError, DataError, MaskingError
from realm.core.records import Example, Message
from realm.models.chat import encode
from realm.models.words import First, Words
from realm.training.job import RowsFile
from realm.training.method import METHODS
from realm.training.methods.dpo import ending_only
from realm.training.rows import Rows, load_rows, refuse_empty, rows_of, set_apart
from realm.training.rules import Mixture
from realm.training.settings import Settings
from realm.training.validation import is_held_out

LIMIT = 40


def _whole(example: Example) -> tuple[Example, ...]:
    return (example,)


def _write(folder: Path, name: str, rows: list[Example]) -> RowsFile:
    path = folder / f"{name}.jsonl"
    path.write_text(
        "".join(row.model_dump_json(exclude_defaults=True) + "\n" for row in rows), encoding="utf-8"
    )
    return RowsFile(path=str(path), name=name)


words = st.text("ab①⓪ ", min_size=1, max_size=14).filter(lambda text: not text.isspace())
turns = st.lists(st.tuples(words, words, st.sampled_from([0.0, 1.0, 2.0])), min_size=1, max_size=6)


@st.composite
def chats(draw: st.DrawFn) -> Example:
    system = [Message(role="system", content="Be short.")] if draw(st.booleans()) else []
    spoken = [
        message
        for asked, answered, weight in draw(turns)
        for message in (
            Message(role="user", content=asked),
            Message(role="assistant", content=answered, weight=weight),
        )
    ]
    return Example(messages=(*system, *spoken))


@settings(deadline=None, max_examples=8)
@given(st.lists(st.one_of(chats(), words.map(lambda text: Example(text=text * 9))), min_size=1, max_size=8))
def test_splitting_trains_nothing_twice_and_loses_nothing_uncounted(rows: list[Example]) -> None:
    whole = [encode(tokenizer(), row, 10_000) for row in rows]
    trained = sum(row.trained_tokens for row in whole)
    anchor = Example(text="anchor")
    found = rows_of([*rows, anchor], tokenizer(), Settings(max_tokens=LIMIT, over_long="split"))
    account = found.account
    assert (
        account.trained_tokens + sum(account.lost.values())
        == trained + encode(tokenizer(), anchor, 99).trained_tokens
    )
    pieces: dict[int, list[str]] = {}
    for index, row in enumerate(found.sequences):
        [sequence] = row
        assert 2 <= len(sequence.ids) <= LIMIT
        assert sequence.trained_tokens
        line = int(found.numbers[index]) - 1
        if line < len(rows) and rows[line].messages and whole[line].full_tokens > LIMIT:
            assert sequence.trained[-1], "a piece of a chat ends with a trained answer"
        said = tokenizer().decode(sequence.ids[1:][sequence.trained[1:]].tolist())
        pieces.setdefault(line, []).append(said)
    for index, row in enumerate(whole):
        if row.full_tokens <= LIMIT:
            continue
        said = tokenizer().decode(row.ids[1:][row.trained[1:]].tolist())
        place = 0
        for piece in pieces.get(index, []):
            place = said.find(piece, place)
            assert place >= 0, "pieces come in the chat's order and overlap nowhere"
            place += len(piece)


def test_a_chat_is_cut_between_exchanges_with_its_system_turn_repeated() -> None:
    found = rows_of([chat("ab", *["⓪①"] * 6)], tokenizer(), Settings(max_tokens=45, over_long="split"))
    shown = [tokenizer().decode(row[0].ids.tolist()) for row in found.sequences]
    assert len(shown) > 1
    assert all(text.startswith("<|system|>Be short.<|end|><|user|>") for text in shown)
    assert sum(text.count("⓪①<|end|>") for text in shown) == 6
    assert found.account.lines() == {"cut into pieces": 1}
    assert set(found.numbers) == {"1"}
    assert (found.account.rows, found.account.split, found.account.pieces) == (1, 1, len(shown))


def test_an_exchange_that_fits_nowhere_is_lost_and_counted() -> None:
    rows = [chat("ab", "⓪", "①" * 80, "①")]
    found = rows_of(rows, tokenizer(), Settings(max_tokens=40, over_long="split"))
    assert found.account.lost == {"in exchanges longer than 40 tokens": 81}
    assert found.trained_tokens == 4
    assert len(found) == 2


@pytest.mark.parametrize("roles", [("user",), ("user", "tool")])
def test_long_chats_of_which_no_answer_is_trained_are_cut_before_the_user(roles: tuple[str, ...]) -> None:
    asked = [Message(role="user", content="⓪①"), Message(role="assistant", content="①")]
    called = [asked[0], asked[1], Message(role="tool", content="⓪"), asked[1]]
    row = Example(messages=(Message(role="system", content="Be short."), *asked, *called * 3, asked[0]))
    limits = Settings(max_tokens=45, over_long="split", roles=roles)
    found = rows_of([row], tokenizer(), limits)
    shown = [tokenizer().decode(r[0].ids.tolist()) for r in found.sequences]
    assert len(shown) > 1
    assert all(text.startswith("<|system|>Be short.<|end|><|user|>") for text in shown)
    assert sum(text.count("<|user|>⓪①<|end|>") for text in shown) == 5
    assert found.account.lost == {}
    assert found.trained_tokens == encode(tokenizer(), row, 999, roles).trained_tokens
    assert [r[0].turns for r in found.sequences] == found.flat().expected_S.tolist()


def test_a_system_turn_that_is_trained_is_trained_once() -> None:
    options = {"max_tokens": 45, "over_long": "split", "roles": ("system", "assistant")}
    found = rows_of([chat("ab", *["⓪①"] * 6)], tokenizer(), Settings(**options))
    turns = [row[0].turns for row in found.sequences]
    assert sum(turns) == 7


def test_over_long_rows_are_dropped_and_counted_with_their_tokens() -> None:
    silent = Example(messages=(Message(role="user", content="only a question"),))
    rows = [*drills(3), silent, chat("①" * 300, "⓪"), silent]
    found = rows_of(rows, tokenizer(), Settings(max_tokens=256))
    assert found.dropped == {
        "without an answer": 2,
        "longer than 256 tokens": 1,
        "trained tokens of rows longer than 256 tokens": 2,
    }
    assert found.account.lost == {"longer than 256 tokens": 2}
    assert list(found.numbers) == ["1", "2", "3"]


ASKED = Message(role="user", content="①" * 20)
SAID = Message(role="assistant", content="⓪" * 20)
PROMPT = Example(messages=(ASKED,), expected="⓪")
PAIR = Example(messages=(ASKED, SAID), rejected=(ASKED, Message(role="assistant", content="①" * 90)))
NOT_HELP = "so raising rules.max_tokens does not help: "


def _encoded(rows: Sequence[Example], settings: Settings) -> Rows:
    parts_of = ending_only if settings.method["kind"] == "dpo" else _whole
    return rows_of(rows, tokenizer(), settings, parts_of)


@pytest.mark.parametrize("kind", ["supervised", "uncertainty", "dpo"])
def test_preferences_of_which_a_method_reads_one_ending_are_counted(kind: str) -> None:
    rows = [PAIR, chat("ab", "⓪"), PAIR, PAIR.model_copy(update={"messages": (ASKED,)})]
    if kind == "dpo":
        rows = [PAIR, PAIR]
    found = rows_of(rows, tokenizer(), Settings(max_tokens=256), METHODS.build(kind).sequences)
    told = {name: count for name, count in found.dropped.items() if "rejected" in name}
    alone = {} if kind == "dpo" else {"with a rejected ending that the method does not read": 2}
    assert told == alone
    assert (found.account + found.account).chosen_alone == 2 * sum(alone.values())


def _refusal(rows: Sequence[Example], settings: Settings, context: int | None) -> MaskingError:
    with pytest.raises(MaskingError) as caught:
        refuse_empty(_encoded(rows, settings).account, settings, context)
    return caught.value


@pytest.mark.parametrize(
    ("row", "options", "context", "reason", "hint"),
    [
        (
            chat("①" * 40, "⓪"),
            {},
            256,
            "longer than 30 tokens",
            "raise rules.max_tokens to at least {size}, the length of the shortest of them, or set "
            "rules.encoding.over_long: split, which cuts texts, and chats between exchanges",
        ),
        (
            chat("①" * 40, "⓪"),
            {},
            30,
            "longer than 30 tokens",
            "the model reads 30 tokens and the shortest of them has {size}, "
            + NOT_HELP
            + "set rules.encoding.over_long: split, which cuts texts, and chats between exchanges, "
            + "or take a model with a longer context",
        ),
        (
            chat("①" * 40, "⓪"),
            {"generates": True},
            None,
            "longer than 30 tokens",
            "raise rules.max_tokens to at least {size}, the length of the shortest of them",
        ),
        (
            chat("①" * 40, "⓪"),
            {"over_long": "split"},
            256,
            "without an exchange that fits 30 tokens",
            "raise rules.max_tokens so that an exchange fits, to 256 at most, which the model reads",
        ),
        (
            chat("①" * 40, "⓪"),
            {"over_long": "split"},
            30,
            "without an exchange that fits 30 tokens",
            "the model reads 30 tokens, "
            + NOT_HELP
            + "write shorter exchanges, or take a model with a longer context",
        ),
        (
            PAIR,
            {"method": {"kind": "dpo"}, "over_long": "split"},
            256,
            "with a part longer than 30 tokens",
            "raise rules.max_tokens to at least {size}, the length of the shortest of them",
        ),
        (
            PROMPT,
            {},
            256,
            "without an answer",
            "give rows with answers, or let a method answer these prompts itself, such as method.kind: grpo",
        ),
        (
            chat("a", "b"),
            {"roles": ("tool",)},
            256,
            "without a turn of a trained role",
            "rules.encoding.train_roles names tool; these rows have turns of assistant, system, user",
        ),
        (
            Example(text="abc", weight=0),
            {},
            256,
            "of weight 0",
            "give rows and turns that are to be trained a weight above 0",
        ),
        (
            Example(messages=(ASKED, SAID.model_copy(update={"weight": 0.0}))),
            {},
            256,
            "of weight 0",
            "give rows and turns that are to be trained a weight above 0",
        ),
        (
            Example(text=""),
            {},
            256,
            "without a trained token",
            "give longer rows: a row's first token has nothing before it and is never trained",
        ),
    ],
)
def test_where_no_row_is_left_the_hint_fits_the_cause(
    row: Example, options: dict[str, object], context: int | None, reason: str, hint: str
) -> None:
    settings = Settings(max_tokens=30, **options)
    error = _refusal([row, row], settings, context)
    assert error.what == f"no row is left to train on: 2 {reason}"
    whole = _encoded([row], settings.model_copy(update={"max_tokens": 999}))
    assert error.hint == hint.format(size=max(whole.sizes, default=0))


def test_of_several_causes_the_most_frequent_comes_first() -> None:
    long, longer = chat("①" * 30, "⓪"), chat("①" * 50, "⓪")
    error = _refusal([PROMPT, longer, long], Settings(max_tokens=29), 256)
    assert error.what == "no row is left to train on: 2 longer than 29 tokens, 1 without an answer"
    size = encode(tokenizer(), long, 999).full_tokens
    assert error.hint.startswith(f"raise rules.max_tokens to at least {size}, ")
    assert error.hint.endswith("; " + _refusal([PROMPT], Settings(max_tokens=29), 256).hint)


def test_a_run_says_that_the_models_context_limits_its_rows(tmp_path: Path) -> None:
    rows = [chat("①" * 300, "⓪")] * 2
    with pytest.raises(MaskingError, match="2 longer than 256 tokens") as caught:
        run(make_job(tmp_path, rows, max_tokens=4096))
    assert caught.value.hint.startswith("the model reads 256 tokens and the shortest of them has ")
    limited = {"model": {"context_tokens": 128}, "max_tokens": 4096}
    with pytest.raises(MaskingError, match="2 longer than 128 tokens"):
        run(make_job(tmp_path, [chat("①" * 200, "⓪")] * 2, **limited))


def test_a_run_whose_rows_are_all_held_out_says_so(tmp_path: Path) -> None:
    row = next(row for row in drills(20) if is_held_out(row, 0.5))
    job = make_job(tmp_path, [row, row], where={"validation": {"share": 0.5}})
    with pytest.raises(MaskingError, match="train on: 2 held out for validation") as caught:
        run(job)
    assert caught.value.hint == "lower where.validation.share, or give more rows"


def test_the_account_of_trained_rows_counts_those_held_out() -> None:
    given = rows_of([*drills(40), chat("①" * 300, "⓪")], tokenizer(), Settings(max_tokens=100), _whole)
    rows, held = set_apart(given, 0.3)
    assert len(rows) + len(held) == 40
    assert len(held) > 0
    assert rows.account.kept == len(rows)
    assert rows.dropped == {
        "longer than 100 tokens": 1,
        "held out for validation": len(held),
        "trained tokens of rows longer than 100 tokens": 2,
    }


def test_a_validation_set_of_which_no_row_is_left_is_named(tmp_path: Path) -> None:
    long = _write(tmp_path, "judged", [chat("①" * 300, "⓪")])
    job = make_job(tmp_path, drills(4)).model_copy(update={"validation": (long,)})
    left = "validation set judged: no row is left to measure: 1 longer than 256 tokens"
    with pytest.raises(MaskingError, match=left):
        run(job)


def test_files_are_read_in_order_and_rows_know_their_lines(tmp_path: Path) -> None:
    files = [_write(tmp_path, "one", [*drills(2), chat("①" * 300, "⓪")]), _write(tmp_path, "two", texts(2))]
    found = load_rows(files, tokenizer(), Settings(max_tokens=100), _whole)
    assert list(found.numbers) == ["one:1", "one:2", "two:1", "two:2"]
    assert list(found.examples) == [*drills(2), *texts(2)]
    assert found.sources == {"one": 2, "two": 2}
    row = found.row(3)
    assert row.sequences[0].ids.tolist() == encode(tokenizer(), texts(2)[1], 100).ids.tolist()
    half = found.chosen([1, 2])
    assert list(half.numbers) == ["one:2", "two:1"]
    assert half.tokens == sum(len(s.ids) for row in half.sequences for s in row)


def test_a_bad_line_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text":"a"}\n\n{"text":1}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl:3: "):
        load_rows([RowsFile(path=str(path))], tokenizer(), Settings(max_tokens=9), _whole)


def test_a_row_that_the_method_refuses_is_named(tmp_path: Path) -> None:
    file = _write(tmp_path, "one", drills(2))
    with pytest.raises(DataError, match=r"one\.jsonl:1: the row has no rejected ending"):
        load_rows([file], tokenizer(), Settings(max_tokens=99), ending_only)


def test_weights_of_files_and_a_mixture_decide_what_an_epoch_draws(tmp_path: Path) -> None:
    tagged = [
        row.model_copy(update={"tags": {"domain": "code" if i < 2 else "talk"}})
        for i, row in enumerate(drills(8))
    ]
    light, heavy = _write(tmp_path, "one", tagged), _write(tmp_path, "two", texts(4))
    files = [light, heavy.model_copy(update={"weight": 4.0})]
    found = load_rows(files, tokenizer(), Settings(max_tokens=99), _whole)
    assert found.sources == {"one": 4, "two": 8}
    drawn = [i for step in range(3) for i in found.of_batch(step, 4, order="shuffled", seed=1)]
    assert sum(i >= 8 for i in drawn) == 8
    mixture = Mixture(by="domain", weights={"code": 3.0})
    mixed = load_rows([light], tokenizer(), Settings(max_tokens=99), _whole, mixture=mixture)
    assert mixed.sources == {"one/domain=code": 4, "one/domain=talk": 4}
    assert mixed.chosen([2, 3]).sources == {"one/domain=talk": 2}, "held-out rows may be all of a value's"
    wrong = Mixture(by="domian", weights={})
    unmet = load_rows([light], tokenizer(), Settings(max_tokens=99), _whole, mixture=wrong)
    with pytest.raises(ConfigError, match=r"the tag 'domian', which no row has\n.*did you mean 'domain'"):
        unmet.refuse_unmet()


def test_only_the_endings_of_a_preference_are_trained() -> None:
    asked = (
        Message(role="user", content="q"),
        Message(role="assistant", content="w"),
        Message(role="user", content="r"),
    )
    better, worse = Message(role="assistant", content="①①"), Message(role="assistant", content="⓪")
    row = Example(messages=(*asked, better), rejected=(*asked, worse), weight=0.5)
    found = rows_of([row], tokenizer(), Settings(max_tokens=99), ending_only)
    texts = [tokenizer().decode(s.ids[s.trained].tolist()) for s in found.sequences[0]]
    assert texts == ["①①<|end|>", "⓪<|end|>"]
    assert {float(w) for s in found.sequences[0] for w in s.weights} == {0.0, 0.5}
    same = row.model_copy(update={"rejected": row.messages})
    with pytest.raises(DataError, match="rows:1: the chosen ending says nothing"):
        rows_of([same], tokenizer(), Settings(max_tokens=99), ending_only)
    long = row.model_copy(update={"rejected": (*asked, Message(role="assistant", content="⓪" * 90))})
    both = rows_of([row, long], tokenizer(), Settings(max_tokens=50, over_long="split"), ending_only)
    assert both.dropped == {
        "with a part longer than 50 tokens": 1,
        "trained tokens of rows with a part longer than 50 tokens": 94,
    }


def _loses_a_word(words: Words, texts: Sequence[str]) -> list[list[int]]:
    return LATER(words, texts[:-1])


def _masks_a_token(words: Words, right: str, cut: int, word: str) -> First:
    ids, masked = FIRST(words, right, cut, word)
    return First(ids, masked + 1)


LATER, FIRST = Words.later, Words.first


@pytest.mark.parametrize(("name", "wrong"), [("later", _loses_a_word), ("first", _masks_a_token)])
def test_the_quick_way_is_held_against_the_plain_one(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: Callable[..., object]
) -> None:
    rows = [chat("a question", f"an answer {number} to it") for number in range(200)]
    assert len(rows_of(rows, tokenizer(), Settings(max_tokens=99))) == 200
    monkeypatch.setattr(Words, name, wrong)
    with pytest.raises(MaskingError, match="other tokens when it is rendered and tokenised as a whole"):
        rows_of(rows, tokenizer(), Settings(max_tokens=99))


def test_prompts_to_answer_are_encoded_up_to_the_answer() -> None:
    row = Example(messages=(Message(role="user", content="q"),), expected="①")
    found = rows_of([row, chat("①" * 99, "⓪")], tokenizer(), Settings(max_tokens=30, generates=True))
    assert tokenizer().decode(found.sequences[0][0].ids.tolist()) == "<|user|>q<|end|><|assistant|>"
    assert (found.trained_tokens, found.dropped) == (0, {"longer than 30 tokens": 1})


def test_a_profile_changes_what_is_encoded_and_what_methods_see(tmp_path: Path) -> None:
    file = _write(tmp_path, "one", drills(2))
    found = load_rows([file], tokenizer(), Settings(max_tokens=200, profile={"kind": "regime3"}), _whole)
    assert "⟨" in found.examples[0].messages[-1].content
    assert "⟨" in tokenizer().decode(found.sequences[0][0].ids.tolist())
    assert found.raw(0) == drills(2)[0]
