"""Attention by lengths against attention by groups, and when each of them is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.training.attention import (
    Case,
    Groups,
    Sealed,
    by_groups,
    by_lengths,
    case_of,
    goes_by_lengths,
    packed_attention,
)

torch.set_num_threads(1)

USUAL = Case((9, 0), torch.bfloat16, (128, 128, 128), 0.0, gradients=True)
PACKS: dict[str, Groups] = {
    "one row": ((1, 12),),
    "one token": ((3, 1), (1, 2)),
    "equal rows": ((4, 7),),
    "mixed": ((1, 2), (3, 5), (1, 17), (2, 40)),
}


def drawn(
    groups: Groups, heads: int, pairs: int, *, size: int = 16, device: str = "cpu", kind: Any = torch.float64
) -> list[torch.Tensor]:
    """Draw queries, keys and values (1, heads, N, D), laid out as a model's views of its projections."""
    tokens = sum(rows * each for rows, each in groups)
    draw = torch.Generator().manual_seed(tokens + heads)
    found = [torch.randn(1, tokens, count, size, generator=draw) for count in (heads, pairs, pairs)]
    return [x.to(device, kind).transpose(1, 2).requires_grad_() for x in found]


def reference(
    query_NHD: torch.Tensor,
    key_NGD: torch.Tensor,
    value_NGD: torch.Tensor,
    ends_q: torch.Tensor,
    ends_k: torch.Tensor,
    longest_q: int,
    longest_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Compute what torch documents of `varlen_attn`, sequence by sequence, with all scores at once."""
    assert ends_q.dtype == ends_k.dtype == torch.int32
    assert ends_q.device == query_NHD.device
    assert enable_gqa == (query_NHD.shape[1] != key_NGD.shape[1])
    assert int(ends_q[0]) == 0
    assert int(ends_q[-1]) == len(query_NHD)
    assert longest_q == longest_k == int(ends_q.diff().max())
    left, right = window_size
    shared = query_NHD.shape[1] // key_NGD.shape[1]
    parts = []
    for begin, end in zip(ends_q[:-1].tolist(), ends_k[1:].tolist(), strict=True):
        query, key, value = (x[begin:end] for x in (query_NHD, key_NGD, value_NGD))
        key, value = (x.repeat_interleave(shared, dim=1) for x in (key, value))
        factor = query.shape[-1] ** -0.5 if scale is None else scale
        scores_HQK = torch.einsum("qhd,khd->hqk", query, key) * factor
        places = torch.arange(end - begin)
        ahead_QK = places[None, :] - places[:, None]
        hidden_QK = ((ahead_QK > right) & (right >= 0)) | ((-ahead_QK > left) & (left >= 0))
        weights_HQK = scores_HQK.masked_fill(hidden_QK, -torch.inf).softmax(-1)
        parts.append(torch.einsum("hqk,khd->qhd", weights_HQK, value))
    return torch.cat(parts)


def outcome(attend: Callable[..., torch.Tensor], given: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return what comes out, and the gradients of a sum of it in which no two numbers count alike."""
    out = attend(*given)
    shares = torch.linspace(-1, 1, out.numel(), dtype=torch.float64, device=out.device).view(out.shape)
    return [out.detach(), *torch.autograd.grad((out.double() * shares).sum(), given)]


def assert_alike(found: list[torch.Tensor], wanted: list[torch.Tensor], tolerance: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= tolerance * other.abs().max().clamp(min=0.1)


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, True),
        ({"dtype": torch.float16}, True),
        ({"dtype": torch.float32}, False),
        ({"capability": None}, False),  # no GPU, or none that torch has the kernels for
        ({"capability": (7, 5)}, False),
        ({"capability": (8, 0)}, True),
        ({"capability": (12, 0)}, True),
        ({"capability": (13, 0)}, False),
        ({"dropout": 0.1}, False),
        ({"head_sizes": (64, 64, 64)}, True),
        ({"head_sizes": (256, 256, 256)}, True),
        ({"head_sizes": (264, 264, 264)}, False),
        ({"head_sizes": (100, 100, 100)}, False),
        ({"head_sizes": (192, 192, 128)}, False),
        ({"head_sizes": (224, 224, 224)}, True),
        ({"head_sizes": (224, 224, 224), "capability": (8, 6)}, False),
        ({"head_sizes": (224, 224, 224), "capability": (8, 6), "gradients": False}, True),
        ({"head_sizes": (256, 256, 256), "capability": (8, 9)}, True),
        ({"head_sizes": (208, 208, 208), "capability": (12, 1)}, False),
    ],
)
def test_the_choice_follows_from_the_facts(change: dict[str, Any], taken: bool) -> None:
    assert goes_by_lengths(USUAL._replace(**change)) is taken


def test_autocast_decides_what_products_are_computed_in() -> None:
    query, key, value = drawn(PACKS["mixed"], 4, 2, kind=torch.float32)  # queries after an fp32 norm
    assert case_of(query, key, value, 0.1) == Case(None, torch.float32, (16, 16, 16), 0.1, gradients=True)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = case_of(query, key, value.bfloat16(), 0.0)
        out = by_groups(query, key, value.bfloat16(), PACKS["mixed"])
    assert found == Case(None, torch.bfloat16, (16, 16, 16), 0.0, gradients=False)
    assert out.dtype is found.dtype


@pytest.mark.parametrize("window", [None, 1, 3, 17, 64])
@pytest.mark.parametrize("pairs", [1, 2, 4])
@pytest.mark.parametrize("pack", PACKS)
def test_both_ways_agree(pack: str, pairs: int, window: int | None) -> None:
    groups, given = PACKS[pack], drawn(PACKS[pack], 4, pairs)
    found = outcome(lambda *x: by_lengths(reference, *x, groups, 0.3, window), given)
    wanted = outcome(lambda *x: by_groups(*x, groups, 0.3, window), given)
    assert_alike(found, wanted, 1e-12)


@given(
    lengths=st.lists(st.integers(1, 24), min_size=1, max_size=8),
    window=st.none() | st.integers(1, 24),
    seed=st.integers(1, 3),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_both_ways_agree_on_any_pack(lengths: list[int], window: int | None, seed: int) -> None:
    groups = tuple((lengths.count(length), length) for length in sorted(set(lengths)))
    given = drawn(groups, 2 * seed, seed, size=8)
    found = outcome(lambda *x: by_lengths(reference, *x, groups, None, window), given)
    assert_alike(found, outcome(lambda *x: by_groups(*x, groups, None, window), given), 1e-12)


def test_where_rows_begin_is_made_once_a_pack() -> None:
    seen: list[torch.Tensor] = []

    def kernel(query: torch.Tensor, *others: Any, **_: Any) -> torch.Tensor:
        seen.append(others[2])
        return query

    for groups in (PACKS["mixed"], PACKS["mixed"], PACKS["equal rows"]):
        by_lengths(kernel, *drawn(groups, 2, 2), groups)
    assert seen[0] is seen[1]
    assert seen[0].tolist() == [0, 2, 7, 12, 17, 34, 74, 114]
    assert seen[2].tolist() == [0, 7, 14, 21, 28]


def test_what_inference_made_can_be_kept_for_a_backward_pass() -> None:
    groups = ((2, 11), (1, 13))
    with torch.inference_mode():
        by_lengths(reference, *drawn(groups, 2, 2), groups)

    class Keeping(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, query: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(ends)
            return query.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
            return grad, None

    def kernel(query: torch.Tensor, key: Any, value: Any, ends: torch.Tensor, *_: Any, **__: Any) -> Any:
        return Keeping.apply(query, ends)

    given = drawn(groups, 2, 2)
    by_lengths(kernel, *given, groups).sum().backward()
    assert given[0].grad is not None


def test_sealed_groups_are_the_same_groups() -> None:
    given = drawn(PACKS["mixed"], 4, 2)
    plain, _ = packed_attention(torch.nn.Identity(), *given, None, groups=PACKS["mixed"])
    sealed, _ = packed_attention(torch.nn.Identity(), *given, None, groups=Sealed(PACKS["mixed"]))
    assert torch.equal(plain, sealed)
    assert torch.equal(plain, by_groups(*given, PACKS["mixed"]))


@pytest.fixture
def gpu() -> str:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here: attention by lengths has no other kernel")
    if not goes_by_lengths(USUAL._replace(capability=torch.cuda.get_device_capability())):
        pytest.skip("torch has no flash attention for this GPU")
    return "cuda"


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("pairs", [2, 4])
@pytest.mark.parametrize("pack", PACKS)
def test_a_gpu_computes_the_same_in_half_precision(
    gpu: str, pack: str, pairs: int, window: int | None
) -> None:
    groups, kind = PACKS[pack], torch.bfloat16
    given = drawn(groups, 4, pairs, size=64, device=gpu, kind=kind)

    def attend(*x: torch.Tensor) -> torch.Tensor:
        out, _ = packed_attention(torch.nn.Identity(), *x, None, groups=groups, sliding_window=window)
        return out

    found = outcome(attend, given)
    exact = [x.detach().double().requires_grad_() for x in given]
    wanted = outcome(lambda *x: by_groups(*x, groups, None, window), exact)
    assert found[0].dtype is kind
    assert_alike([x.double() for x in found], wanted, 0.03)


@pytest.mark.gpu
def test_a_gpu_casts_what_autocast_would(gpu: str) -> None:
    groups = PACKS["mixed"]
    query, key, value = drawn(groups, 4, 2, size=64, device=gpu, kind=torch.float32)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        out, _ = packed_attention(torch.nn.Identity(), query, key, value.bfloat16(), None, groups=groups)
        wanted = by_groups(query, key, value.bfloat16(), groups)
    assert out.dtype is wanted.dtype is torch.bfloat16
    assert_alike([out.float()], [wanted.float()], 0.03)
