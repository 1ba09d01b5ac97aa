from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import model, tokenizer

from realm.core.errors import ConfigError, NotFoundError
from realm.core.records import Example, Message
from realm.models.engines.transformers import Transformers
from realm.models.files import Loaded
from realm.models.holding import EndAfter, HoldBack
from realm.models.profile import PROFILES
from realm.models.profiles.regime3 import canonical
from realm.models.tokenizer import train_tokenizer
from realm.training.masking import prove_rows
from realm.training.rows import rows_of
from realm.training.rules import Masking
from realm.training.settings import Settings

PROMPTS = [(Message(role="user", content="Compute: " + "①⓪" * n),) for n in (1, 4, 2)]


def _chat(answer: str) -> Example:
    return Example(messages=(Message(role="user", content="q"), Message(role="assistant", content=answer)))


def test_kinds_are_found_and_an_unknown_one_names_the_nearest() -> None:
    assert {"none", "emoji_think", "regime3"} <= set(PROFILES.names())
    with pytest.raises(NotFoundError, match="did you mean regime3"):
        PROFILES.build("regime")


@pytest.mark.parametrize("kind", ["none", "emoji_think", "regime3"])
def test_rows_of_every_profile_pass_the_masking_proof(kind: str) -> None:
    rows = [_chat(f"<think>{n}</think>add(①, ⓪)") for n in range(40)]
    found = rows_of(rows, tokenizer(), Settings(max_tokens=2000, profile={"kind": kind}))
    checks = prove_rows(found.flat(), tokenizer(), len(tokenizer()), Masking(min_masked_share=0.01))
    assert len(checks) == 5
    assert len(found) == 40
    assert PROFILES.build(kind).describe()


def test_half_of_the_rows_ask_for_emoji_and_answer_as_asked() -> None:
    made = PROFILES.build("emoji_think")
    rows = [made.transform(_chat("<think>hm</think>\nyes"), index, 3) for index in range(400)]
    asked = [row for row in rows if row.messages[0].content != "q"]
    assert 160 < len(asked) < 240
    for row in asked:
        found = re.search(r"Begin with (\S+) (\d) times, end with (\S+) (\d) times", row.messages[0].content)
        assert found
        think, n, stop, m = found.groups()
        assert row.messages[1].content == f"{think * int(n)} yes {stop * int(m)}"
    assert {row.messages[1].content for row in rows if row.messages[0].content == "q"} == {"yes"}
    assert rows == [made.transform(_chat("<think>hm</think>\nyes"), index, 3) for index in range(400)]


def test_both_endings_of_a_preference_are_asked_for_alike() -> None:
    made = PROFILES.build({"kind": "emoji_think", "share": 1})
    row = _chat("yes").model_copy(update={"rejected": _chat("no").messages})
    changed = made.transform(row, 0, 0)
    assert changed.messages[0] == changed.rejected[0]
    assert changed.messages[1].content.replace("yes", "no") == changed.rejected[1].content


def test_answers_of_regime3_stand_between_markers_in_canonical_form() -> None:
    changed = PROFILES.build("regime3").transform(_chat("add(①, mul(⓪, ①)) = x"), 0, 0)
    assert changed.messages[1].content == "⟨(add ① (mul ⓪ ①)) = x⟩"
    assert "(op a b)" in changed.messages[0].content


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(a,b)", "(f a b)"),
        ("f()", "(f)"),
        ("a (b)", "a (b)"),
        ("f(g(x), y) g(1)", "(f (g x) y) (g 1)"),
        ("f(\0", "f(\0"),
        ("f( g( a , b ) ,, c) 9h(x) é(x)", "(f (g a b) c) 9h(x) é(x)"),
        ("f((x), g(y)) )g(z)(", "f((x), (g y)) )(g z)("),
    ],
)
def test_canonical_form(text: str, expected: str) -> None:
    assert canonical(text) == expected


def _by_folding(text: str) -> str:
    """Fold innermost calls one after another, as the form is defined; slow where brackets lie deep."""
    kept: list[str] = []

    def fold(found: re.Match[str]) -> str:
        kept.append(" ".join([f"({found[1]}", *[a.strip() for a in found[2].split(",") if a.strip()]]) + ")")
        return f"\0{len(kept) - 1}\0"

    while (folded := re.sub(r"\b([A-Za-z_]\w*)\(([^()]*)\)", fold, text)) != text:
        text = folded
    while "\0" in text:
        text = re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], text)
    return text


@given(st.text("fgé9_(),, \n", max_size=40))
def test_canonical_form_folds_innermost_calls_first(text: str) -> None:
    assert canonical(text) == _by_folding(text)


def test_calls_may_lie_as_deep_as_a_line_is_long() -> None:
    deep = 20_000
    assert canonical("f(x, " * deep + ")" * deep) == "(f x " * (deep - 1) + "(f x)" + ")" * (deep - 1)


@pytest.mark.parametrize(
    "config",
    [
        {"kind": "emoji_think", "think": []},
        {"kind": "emoji_think", "stop": []},
        {"kind": "emoji_think", "stop": [""]},
        {"kind": "emoji_think", "penalty": float("inf")},
        {"kind": "regime3", "penalty": float("inf")},
        {"kind": "regime3", "penalty": float("nan")},
        {"kind": "regime3", "end": ""},
    ],
)
def test_settings_that_nothing_can_be_made_of_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"profile (emoji_think|regime3)"):
        PROFILES.build(config)


def test_a_held_back_token_is_never_written() -> None:
    plain = Transformers(Loaded(model(), tokenizer()))
    answers = plain.generate(PROMPTS, max_tokens=12)
    banned = " quick"  # one token
    held = Transformers(Loaded(model(), tokenizer()), [HoldBack(tokenizer(), [banned], 1e4)])
    assert banned in "".join(answers)
    assert banned not in "".join(held.generate(PROMPTS, max_tokens=12))
    assert banned not in "".join(held.stream(PROMPTS[0], max_tokens=12))


def test_a_text_of_several_tokens_is_held_back_at_its_last_one() -> None:
    ids = tokenizer().encode("<think>", add_special_tokens=False)
    assert len(ids) > 1
    logits_BV = torch.zeros(2, len(tokenizer()))
    so_far_BT = torch.tensor([ids[:-1], ids[1:-1] + ids[:1]])
    changed_BV = HoldBack(tokenizer(), ["<think>"], 5.0)(so_far_BT, logits_BV)
    assert (float(changed_BV[0, ids[-1]]), float(changed_BV[1, ids[-1]])) == (-5, 0)
    assert not logits_BV.any()


TAGS = (
    "<think>",
    " <think>",
    "\n<think>",
    "x<think>",
    " </think>",
    "\n</think>\n",
    "é<think>",
    "<thi<think>",
)


@pytest.mark.parametrize("text", TAGS)
@pytest.mark.parametrize("own_tokens", [False, True])
def test_a_text_is_held_back_however_it_is_cut_into_tokens(text: str, own_tokens: bool) -> None:
    made = train_tokenizer(["\n<think>\n a <think> b </think> "] * 50, 320)
    if own_tokens:
        made.add_tokens(["<think>", "</think>"])
    [holder, *_] = PROFILES.build("emoji_think").logits_processors(made)
    ids = made.encode(f"<|user|>q<|end|><|assistant|>{text}", add_special_tokens=False)
    held = []
    for count in range(1, len(ids)):
        changed_1V = holder(torch.tensor([ids[:count]]), torch.zeros(1, len(made)))
        if changed_1V[0, ids[count]] < 0:
            held.append(made.decode(ids[: count + 1]))
    assert len(held) == 1
    assert held[0].rstrip().endswith("think>")


def test_nothing_but_the_end_follows_a_closing_text() -> None:
    [closing] = tokenizer().encode("①", add_special_tokens=False)
    end = tokenizer().eos_token_id
    holder = EndAfter(tokenizer(), "①", [end], least=1, most=2, penalty=1e4)
    for so_far, allowed in (([5, 6], None), ([5, closing], {end, closing}), ([closing] * 2, {end})):
        changed_V = holder(torch.tensor([so_far]), torch.zeros(1, len(tokenizer())))[0]
        kept = set(torch.nonzero(changed_V == 0).flatten().tolist())
        assert kept == (set(range(len(tokenizer()))) if allowed is None else allowed)


def test_an_engine_with_a_profile_stops_behind_its_end_marker() -> None:
    profile = PROFILES.build({"kind": "regime3", "end": "①", "penalty": 1e4})
    engine = Transformers(Loaded(model(), tokenizer()), profile.logits_processors(tokenizer()))
    plain = Transformers(Loaded(model(), tokenizer()))
    seen = 0
    for seed in range(6):
        options = {"max_tokens": 30, "temperature": 1.5, "seed": seed}
        loose, held = plain.generate(PROMPTS, **options), engine.generate(PROMPTS, **options)
        seen += any("①" in text[:-1] for text in loose)
        assert all("①" not in text[:-1] for text in held)
    assert seen
