"""More ranks than GPUs are refused before anything runs, by facts alone: no GPU is needed here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from realm.core.errors import RefusedError
from realm.training.hardware import Gpu, gpus, refuse_missing, this_machine, visible
from realm.training.rules import Device

FOUR = tuple(Gpu(name=f"NVIDIA L40S {number}", free_bytes=number * 10**9) for number in (4, 3, 2, 1))


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_more_ranks_than_gpus_are_refused_with_what_to_change(device: Device) -> None:
    with pytest.raises(RefusedError) as caught:
        refuse_missing(device, 8, FOUR)
    assert caught.value.what == f"device {device}: 8 ranks were asked for, and there are 4 GPUs here"
    assert "lower rules.launcher.processes to 4, or set rules.device to cpu" in caught.value.hint
    with pytest.raises(RefusedError, match="2 ranks were asked for, and there is 1 GPU here"):
        refuse_missing(device, 2, FOUR[:1])


@pytest.mark.parametrize(
    ("device", "ranks", "found"), [("cuda", 4, FOUR), ("auto", 1, FOUR), ("auto", 8, ()), ("cpu", 8, FOUR)]
)
def test_ranks_that_have_a_gpu_each_or_ask_for_none_are_not_refused(
    device: Device, ranks: int, found: Sequence[Gpu]
) -> None:
    refuse_missing(device, ranks, found)
    assert this_machine(device, ranks, found) is not None


def test_a_gpu_that_is_asked_for_and_not_there_is_refused() -> None:
    assert this_machine("cuda", 4, ()) is None
    with pytest.raises(RefusedError, match="finds no GPU here for 4 ranks"):
        refuse_missing("cuda", 4, ())
    with pytest.raises(RefusedError, match=r"finds no GPU here\n"):
        refuse_missing("cuda", 1, ())


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        (None, [4, 3, 2, 1]),
        ("", []),
        ("-1", []),
        ("1, 0", [3, 4]),
        ("2,9,0", [2]),
        ("GPU-0af3,GPU-11", [4, 3]),
        ("none,0", []),
    ],
)
def test_gpus_that_are_hidden_are_not_counted(chosen: str | None, kept: list[int]) -> None:
    assert [gpu.free_bytes // 10**9 for gpu in visible(FOUR, chosen)] == kept


def test_the_driver_s_tool_and_the_environment_say_which_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == ()
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\nfor gpu in 0 1 2; do echo "NVIDIA H100 80GB HBM3, 100"; done\n')
    tool.chmod(0o755)
    assert gpus() == (Gpu(name="NVIDIA H100 80GB HBM3", free_bytes=100 << 20),) * 3
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "2")
    assert len(gpus()) == 1
