from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from realm.training.precision import Chosen, autocast, choose, cpu_flags

CPU = torch.device("cpu")


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    return tmp_path / "cpuinfo"


def test_a_cpu_without_instructions_for_it_computes_in_fp32(facts: Path) -> None:
    facts.write_text("flags : fpu avx512f avx512_vnni\n")
    chosen = choose("auto", CPU, facts)
    assert (chosen.dtype, chosen.name) == (torch.float32, "fp32")
    assert chosen.reason == "this CPU has no instructions for bf16"


@pytest.mark.parametrize(
    ("flags", "name"),
    [("amx_bf16 amx_tile avx512_bf16", "AMX tiles"), ("avx512f avx512_bf16", "AVX-512 instructions")],
)
def test_a_cpu_with_instructions_for_it_computes_in_bf16(flags: str, name: str, facts: Path) -> None:
    facts.write_text(f"flags : fpu {flags}\n")
    chosen = choose("auto", CPU, facts)
    assert (chosen.dtype, chosen.name) == (torch.bfloat16, "bf16")
    assert chosen.reason == f"this CPU has {name} for bf16"


@pytest.mark.parametrize(("wanted", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_what_is_asked_for_is_taken_and_said(wanted: str, dtype: torch.dtype) -> None:
    chosen = choose(wanted, CPU)
    assert chosen.dtype is dtype
    assert chosen.reason.startswith("asked for")


def test_flags_are_read_from_what_linux_says(facts: Path) -> None:
    assert cpu_flags(facts) == frozenset()
    facts.write_text("processor : 0\nflags\t\t: fpu amx_bf16 avx2\nflags : other\n")
    assert cpu_flags(facts) == {"fpu", "amx_bf16", "avx2"}


def test_products_are_computed_in_the_chosen_format_and_weights_stay() -> None:
    layer = torch.nn.Linear(4, 4)
    for dtype in (torch.bfloat16, torch.float32):
        with autocast(Chosen(dtype, ""), CPU):
            assert layer(torch.ones(1, 4)).dtype is dtype
        assert layer.weight.dtype is torch.float32


def test_reading_a_recipe_s_precision_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from realm.training.parameter import PARAMETERS\n"
        "from realm.training.optimizer import OPTIMIZERS\n"
        "import realm.training.precision, realm.training.servability\n"
        "PARAMETERS.schema(), OPTIMIZERS.schema()\n"
        "print(sorted({'torch', 'transformers', 'peft', 'bitsandbytes'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
