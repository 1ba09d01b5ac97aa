from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from realm.core.errors import ConfigError
from realm.models.adapters import decoder, head, text_config
from realm.models.blank import BLANKS
from realm.models.files import load, save
from tiny_shapes import SHAPES, model, tokenizer, tokens


def _bytes(made: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in made.state_dict().values()])


def test_every_kind_is_tried_here() -> None:
    assert sorted(SHAPES) == BLANKS.names()


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_seeds_give_equal_bytes_and_random_state_is_kept(shape: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (_bytes(model(shape, seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shape", SHAPES)
def test_saved_and_loaded_it_computes_the_same_bits(shape: str, tmp_path: Path) -> None:
    made = model(shape).eval()
    save(made, tokenizer(), tmp_path)
    loaded = load(tmp_path).model
    assert type(loaded) is type(made)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    with torch.no_grad():
        before, after = (m(input_ids=tokens(), use_cache=False).logits for m in (made, loaded))
    assert torch.equal(before, after)
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())


@pytest.mark.parametrize("shape", SHAPES)
def test_its_parts_make_the_same_logits(shape: str) -> None:
    made = model(shape).eval()
    with torch.no_grad():
        whole = made(input_ids=tokens(), use_cache=False).logits
        hidden = decoder(made)(input_ids=tokens(), use_cache=False).last_hidden_state
        assert torch.equal(head(made)(hidden), whole)
    settings = text_config(made)
    assert (settings.vocab_size, settings.hidden_size) == (len(tokenizer()), 32)
    assert settings.max_position_embeddings == 128


@pytest.mark.parametrize("shape", SHAPES)
def test_it_knows_where_a_turn_ends(shape: str) -> None:
    assert model(shape).generation_config.eos_token_id == tokenizer().eos_token_id


def test_qwen3_next_attends_in_full_now_and_then() -> None:
    assert text_config(model("qwen3_next")).layer_types == ["linear_attention", "full_attention"]


@pytest.mark.parametrize(
    ("shape", "change", "said"),
    [
        ("llama", {"kv_heads": 3}, "multiple of kv_heads"),
        ("qwen3_moe", {"experts_per_token": 9}, "must not exceed experts"),
        ("qwen3_next", {"linear_value_heads": 3}, "multiple of linear_key_heads"),
        ("qwen3_vl", {"vision_heads": 3}, "4 times vision_heads"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape: str, change: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BLANKS.config({**SHAPES[shape], **change})


BYTES = {
    "llama": "094aa8f97695965d8bd8e57b39f0b5a36207291d62e2e959687a0aeb3d47de9e",
    "qwen3": "07bbcdf2efa1b011c2cf48c0359a85384ec4b4a3135816f2fb96d5e7aba68fe6",
    "qwen3_moe": "66a028f42f4743094b2bb0d29dfc971676defdfed46a9029e8eba4ebfc843dfb",
    "qwen3_next": "cf2c5e6015525648b67072ce8f9fb9f2c8df1452353a64598e0a809c37be81c9",
    "qwen3_vl": "dd5c39584088b8d8ca8e5ad09d733c709f7dd8f05265a0c666870e7ca429443b",
}
"""Of seed 7, as these heroes have been born so far: names, sizes and values of all weights."""


@pytest.mark.skipif(
    not torch.backends.cpu.get_cpu_capability().startswith("AVX"),
    reason="other processors draw other last bits",
)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_hero_is_born_as_it_was_before(shape: str) -> None:
    digest = hashlib.sha256()
    for name, value in sorted(model(shape, 7).state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    assert digest.hexdigest() == BYTES[shape]
