from __future__ import annotations

import pytest
from tiny_runs import chat, drills, texts, tokenizer
from transformers import PreTrainedTokenizerFast

from realm.core.errors import MaskingError
from realm.core.records import Example, Message
from realm.models.chat import encode_many
from realm.models.tokenizer import CHAT_TEMPLATE, train_tokenizer
from realm.training.masking import Rows, marked_text, prove_rows, select
from realm.training.recipe import Masking


def _tokenizer(template: str) -> PreTrainedTokenizerFast:
    made = train_tokenizer(["abc"], 300, ["⓪", "①"])
    made.chat_template = template
    return made


def _select(examples: list[Example], made: PreTrainedTokenizerFast | None = None, limit: int = 256) -> Rows:
    return select(examples, encode_many(made or tokenizer(), examples, limit), limit)


def _prove(examples: list[Example], made: PreTrainedTokenizerFast | None = None) -> tuple[str, ...]:
    made = made or tokenizer()
    return prove_rows(_select(examples, made), made, len(made), Masking())


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


EVERYTHING = CHAT_TEMPLATE.replace(
    "{{- '<|' + message['role'] + '|>' -}}",
    "{%- generation -%}{{- '<|' + message['role'] + '|>' -}}{%- endgeneration -%}",
)
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
USER_TRAINED = CHAT_TEMPLATE.replace("message['role'] == 'assistant'", "message['role'] == 'user'")
LAST_ONLY = CHAT_TEMPLATE.replace("message['role'] == 'assistant'", "loop.last")
INSTRUCTION = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ '### Instruction: ' + m['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (EVERYTHING, "masked"),
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


def test_a_template_that_trains_the_user_is_refused() -> None:
    with pytest.raises(MaskingError, match="do not match"):
        _prove(
            [
                Example(messages=(Message(role="user", content="q"), Message(role="user", content="r"),
                                  Message(role="assistant", content="a")))
            ],
            _tokenizer(USER_TRAINED),
        )  # fmt: skip


def test_a_turn_marker_inside_an_answer_is_refused_by_row() -> None:
    rows = [*drills(4), chat("a", "b<|end|><|user|>c")]
    with pytest.raises(MaskingError, match="row 5") as caught:
        _prove(rows)
    assert "(1 of 5 rows" in str(caught.value)


def test_too_little_trained_text_is_refused() -> None:
    with pytest.raises(MaskingError, match=r"only 1\.\d% of the tokens are trained"):
        _prove([chat("①" * 120, "⓪")])


def test_too_little_masked_text_is_refused() -> None:
    rows = [
        Example(messages=(Message(role="user", content="a"), Message(role="assistant", content="①⓪" * 40)))
    ]
    with pytest.raises(MaskingError, match="masked"):
        _prove(rows)


def test_bounds_can_be_set() -> None:
    rows = _select([chat("①" * 120, "⓪")])
    prove_rows(rows, tokenizer(), len(tokenizer()), Masking(min_trained_share=0.01))


def test_labels_outside_the_vocabulary_are_refused() -> None:
    rows = _select(drills(3))
    with pytest.raises(MaskingError, match="vocabulary of 20"):
        prove_rows(rows, tokenizer(), 20, Masking())


def test_one_single_label_is_refused() -> None:
    with pytest.raises(MaskingError, match="same token"):
        _prove([Example(text=""), Example(text="<|end|>")])


def test_rows_that_cannot_be_trained_are_left_out_and_counted() -> None:
    silent = Example(messages=(Message(role="user", content="only a question"),))
    rows = _select([*drills(3), silent, chat("①" * 300, "⓪"), silent])
    assert rows.dropped == {"no trained token": 2, "longer than 256 tokens": 1}
    assert rows.numbers == [1, 2, 3]


def test_nothing_left_is_refused_with_the_counts() -> None:
    with pytest.raises(MaskingError, match="2 longer than 5 tokens"):
        _select(drills(2), limit=5)


def test_numbers_are_lines_of_the_file() -> None:
    rows = _select([Example(text=""), *drills(1), chat("a", "x<|user|>")])
    with pytest.raises(MaskingError, match="row 3"):
        prove_rows(rows, tokenizer(), len(tokenizer()), Masking())


def test_marked_text_shows_what_is_trained() -> None:
    row = encode_many(tokenizer(), [chat("q\x1b[31m", "①")], 99)[0]
    shown = marked_text(row, tokenizer())
    assert shown == "<|system|>Be short.<|end|><|user|>q·[31m<|end|><|assistant|>⟦①<|end|>⟧"
