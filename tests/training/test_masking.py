from __future__ import annotations

import pytest
from tiny_runs import chat, drills, texts, tokenizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from realm.core.errors import MaskingError
from realm.core.records import Example, Message
from realm.models.chat import encode_many
from realm.models.tokenizer import CHAT_TEMPLATE, train_tokenizer
from realm.training.masking import marked_text, prove_rows
from realm.training.methods.dpo import ending_only
from realm.training.rows import Rows, rows_of
from realm.training.rules import Masking
from realm.training.settings import Settings


def _tokenizer(template: str) -> PreTrainedTokenizerFast:
    made = train_tokenizer(["abc"], 300, ["⓪", "①"])
    made.chat_template = template
    return made


def _select(examples: list[Example], made: PreTrainedTokenizerFast | None = None) -> Rows:
    return rows_of(examples, made or tokenizer(), Settings(max_tokens=256))


def _prove(examples: list[Example], made: PreTrainedTokenizerFast | None = None) -> tuple[str, ...]:
    made = made or tokenizer()
    return prove_rows(_select(examples, made).flat(), made, len(made), Masking())


def test_good_chats_pass_all_five_checks_with_figures() -> None:
    checks = _prove([*drills(20), chat("a", "b", "c")])
    assert [check.split(":")[0] for check in checks] == [
        "share",
        "regions",
        "markers",
        "alternation",
        "labels",
    ]
    assert "22 trained regions for 22 assistant turns in 21 chats" in checks[1]


def test_text_rows_need_only_sane_labels() -> None:
    assert [check.split(":")[0] for check in _prove(texts(5))] == ["labels"]


HEADER_TRAINED = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ '<|assistant|>' + m['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endif %}{% endfor %}"
)
NO_END = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] }}{% endgeneration %}{{ '<|end|>' }}"
    "{% else %}{{ m['content'] + '<|end|>' }}{% endif %}{% endfor %}"
)
LAST_ONLY = CHAT_TEMPLATE.replace("message['role'] == 'assistant'", "loop.last")
INSTRUCTION = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ '### Instruction: ' + m['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (HEADER_TRAINED, "markers"),
        (NO_END, "learn to stop"),
        (LAST_ONLY, "do not match"),
        (INSTRUCTION, "markers"),
    ],
)
def test_bad_templates_are_refused_with_the_marked_text(template: str, message: str) -> None:
    rows = [*drills(3), chat("a", "b", "c")]
    with pytest.raises(MaskingError, match=message) as caught:
        _prove(rows, _tokenizer(template))
    assert "row " in str(caught.value)
    assert "⟦" in str(caught.value)


def _begun(first: str) -> PreTrainedTokenizerFast:
    """Let the assistant speak first, behind nothing of the template."""
    answers = "{% for m in messages if m.role == 'assistant' %}"
    block = "{% generation %}{{ m.content + '<|end|>' }}{% endgeneration %}"
    return _tokenizer(first + answers + block + "{{ '<|user|>' }}{% endfor %}")


def test_chats_that_begin_trained_are_refused() -> None:
    rows = [chat("a", "⓪", "①"), *drills(2)]
    assert "each of 3 chats begins masked" in _prove(rows, _begun("Begin."))[3]
    with pytest.raises(MaskingError, match=r"rows begin with trained tokens \(3 of 3 rows") as caught:
        _prove(rows, _begun(""))
    assert "row 1: ⟦⓪<|end|>⟧<|user|>⟦①<|end|>⟧<|user|>; row 2: ⟦" in str(caught.value)


@pytest.mark.parametrize("token", ["<|pad|>", "<mask>"])
def test_a_special_token_inside_an_answer_is_refused(token: str) -> None:
    made = train_tokenizer(["abc"], 300, ["⓪", "①"])
    made.add_special_tokens({"mask_token": "<mask>"})
    with pytest.raises(MaskingError, match=r"special tokens[^(]*inside trained text \(1 of 5 rows") as caught:
        _prove([*drills(4), chat("a", f"b{token}c")], made)
    assert "row 5:" in str(caught.value)


def _with_unknown(known: str) -> PreTrainedTokenizerFast:
    vocabulary = {name: i for i, name in enumerate(["[UNK]", "<|end|>", *known])}
    engine = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    engine.pre_tokenizer = Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=engine, unk_token="[UNK]", eos_token="<|end|>")


def test_text_that_the_tokenizer_does_not_know_is_refused() -> None:
    rows = [Example(text="xyz" * 5)] * 20
    with pytest.raises(MaskingError, match=r"93\.\d% of the labels are the unknown token, .*20 of 20 rows"):
        _prove(rows, _with_unknown("abc"))
    checks = _prove([*rows, *[Example(text="abc" * 7)] * 20], _with_unknown("abc"))
    assert "labels: 5 different tokens" in checks[-1]
    assert checks[-1].endswith("the commonest is 39.5% of them")


def test_a_turn_marker_inside_an_answer_is_refused_by_row() -> None:
    rows = [*drills(4), chat("a", "b<|end|><|user|>c")]
    with pytest.raises(MaskingError, match="row 5") as caught:
        _prove(rows)
    assert "(1 of 5 rows" in str(caught.value)


def test_too_little_trained_text_is_refused() -> None:
    with pytest.raises(MaskingError, match=r"only 1\.\d% of the tokens are trained") as caught:
        _prove([chat("①" * 120, "⓪")])
    assert "lower rules.masking.min_trained_share" in caught.value.hint


def test_too_little_masked_text_is_refused() -> None:
    rows = [
        Example(messages=(Message(role="user", content="a"), Message(role="assistant", content="①⓪" * 40)))
    ]
    with pytest.raises(MaskingError, match="masked") as caught:
        _prove(rows)
    assert "lower rules.masking.min_masked_share" in caught.value.hint


def test_bounds_can_be_set() -> None:
    rows = _select([chat("①" * 120, "⓪")])
    prove_rows(rows.flat(), tokenizer(), len(tokenizer()), Masking(min_trained_share=0.01))


def test_labels_outside_the_vocabulary_are_refused() -> None:
    rows = _select(drills(3))
    with pytest.raises(MaskingError, match="vocabulary of 20"):
        prove_rows(rows.flat(), tokenizer(), 20, Masking())


def test_one_single_label_is_refused() -> None:
    with pytest.raises(MaskingError, match="same token"):
        _prove([Example(text=""), Example(text="<|end|>")])


@pytest.mark.parametrize(
    "marker", ["<start_of_turn>", "[INST]", "<｜User｜>", "### Instruction:", "<|im_start|>"]
)
def test_markers_of_other_formats_are_refused_inside_answers(marker: str) -> None:
    with pytest.raises(MaskingError, match="row 3:"):
        _prove([*drills(2), chat("a", f"b {marker} c")])


def test_signs_that_markers_are_made_of_are_no_markers() -> None:
    assert len(_prove([chat("a", "if (a < b) x[1] |= 2; # INST _ > : <| |>")])) == 5


def test_turns_of_weight_0_are_not_expected_to_be_trained() -> None:
    turns = [("user", 1.0), ("assistant", 0.0), ("user", 1.0), ("assistant", 1.0)]
    row = Example(messages=tuple(Message(role=role, content="⓪①", weight=weight) for role, weight in turns))
    assert "1 trained regions for 1 assistant turns in 1 chats" in _prove([row])[1]


def test_both_chats_of_preferences_are_proven() -> None:
    asked = (Message(role="user", content="q"),)
    row = Example(
        messages=(*asked, Message(role="assistant", content="①")),
        rejected=(*asked, Message(role="assistant", content="⓪ <|user|>")),
    )
    rows = rows_of([*[row] * 2], tokenizer(), Settings(max_tokens=99), ending_only)
    with pytest.raises(MaskingError, match=r"2 of 2 rows"):
        prove_rows(rows.flat(), tokenizer(), len(tokenizer()), Masking())


def test_numbers_are_lines_of_the_file() -> None:
    rows = _select([Example(text=""), *drills(1), chat("a", "x<|user|>")])
    with pytest.raises(MaskingError, match="row 3"):
        prove_rows(rows.flat(), tokenizer(), len(tokenizer()), Masking())


def test_marked_text_shows_what_is_trained() -> None:
    row = encode_many(tokenizer(), [chat("q\x1b[31m", "①")], 99)[0]
    shown = marked_text(row, tokenizer())
    assert shown == "<|system|>Be short.<|end|><|user|>q·[31m<|end|><|assistant|>⟦①<|end|>⟧"
