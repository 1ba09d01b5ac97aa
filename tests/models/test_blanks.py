from __future__ import annotations

import pytest
import torch
from tiny_models import SHAPE, model

from realm.core.errors import ConfigError
from realm.models.blank import BLANKS


def test_equal_seeds_give_equal_bytes_and_others_differ() -> None:
    first, again, other = (torch.cat([p.flatten() for p in model(seed).parameters()]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == torch.float32


def test_global_random_state_is_kept() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model(9)
    assert torch.equal(torch.rand(3), expected)


def test_heads_that_do_not_share_evenly_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of kv_heads"):
        BLANKS.config({**SHAPE, "heads": 4, "kv_heads": 3})


def test_qwen3_is_found_and_has_a_schema() -> None:
    assert "qwen3" in BLANKS.names()
    assert BLANKS.schema()["oneOf"]
