"""Compiled layers against plain ones: values, gradients, and what makes torch compile again."""

from __future__ import annotations

import copy
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_runs
import torch
from safetensors.torch import load_file
from tiny_runs import drills, losses, make_job, qwen3, run, stages, tokenizer
from torch._dynamo.utils import counters

from realm.core.errors import RefusedError
from realm.core.events import Event, MaskingProven
from realm.models.adapters import decoder, text_config
from realm.models.blank import BLANKS, SpecialIds
from realm.models.encodings import Encoded
from realm.training.attention import PACKED, use_packed
from realm.training.batching import Batch, pack
from realm.training.compiled import Compiled, compile_layers, prove_compiled
from realm.training.memory import recompute_layers
from realm.training.parameter import PARAMETERS
from realm.training.precision import choose
from realm.training.trainee import Trainee
from realm.training.trimming import trim_last_layer
from realm.training.unpacked import as_loaded, set_apart
from realm.training.world import Alone

_COMPILER = os.environ.get("CXX", "g++")
pytestmark = [
    # Of PEFT (0.21), which still asks transformers by the old name.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    # Of torch (2.13), when it loads its compiler, and when it looks at what enters a graph.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning"),
]

LORA = {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.3}
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what is compiled out of the folder that all processes of a user share."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("cache")
        patched.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder / "compiled"))
        yield folder


@pytest.fixture(scope="module", autouse=True)
def traced() -> Iterator[None]:
    """Cut the graphs and run them op by op, but for what is marked slow: machine code takes a minute."""
    torch._dynamo.reset()
    torch.compiler.set_default_backend("eager")
    yield
    torch.compiler.set_default_backend(None)


@pytest.fixture
def machine_code() -> Iterator[None]:
    if shutil.which(_COMPILER) is None:
        pytest.skip(f"there is no C++ compiler here ({_COMPILER}), which machine code takes")
    torch.compiler.set_default_backend("inductor")
    yield
    torch.compiler.set_default_backend("eager")


def made(kind: str | dict[str, Any] = "full") -> Any:
    """Return a tiny model as the plain way trains it, with an adapter that does something."""
    model = PARAMETERS.build(kind).apply(qwen3(), 0).train()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    use_packed(model)
    assert trim_last_layer(model)
    return model


def drawn(seed: int) -> Batch:
    """Draw a pack of one to eight rows of 3 to 60 tokens."""
    draw, rows = random.Random(seed), []
    for _ in range(draw.randint(1, 8)):
        length = draw.randint(3, 60)
        weights = np.array([0, *(draw.random() for _ in range(length - 1))], np.float32)
        weights[weights < 0.4] = 0
        weights[-2:] = 1
        ids = np.array([draw.randrange(250) for _ in range(length)], np.int32)
        rows.append(Encoded(ids, weights, 1, length))
    return pack(rows)


def measured(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """Return the loss and every gradient."""
    model.zero_grad(set_to_none=True)
    loss = tiny_runs.trainee(model).cross_entropy(batch, batch.weights_M)
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **found}


def assert_alike(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (found[name] - value).norm() <= 1e-5 * value.norm().clamp(min=1e-6), name


def proven(model: Any, folder: Path | None = None) -> str:
    subject = Trainee(model, tokenizer(), CPU, 1, Path("nowhere"), max_tokens=256)
    return prove_compiled(subject, Alone(), choose("fp32", CPU), folder)


def assert_as_plain(kind: Any, every: int | None) -> None:
    plain = made(kind)
    model = copy.deepcopy(plain)
    compile_layers(model)
    if every:
        recompute_layers(model, every)
    for seed in range(3):
        found = []
        for each in (model, plain):
            torch.manual_seed(seed)  # dropout draws the same
            found.append(measured(each, drawn(seed)))
        assert_alike(*found)


@pytest.mark.parametrize("kind", ["full", LORA], ids=["full", "lora"])
@pytest.mark.parametrize("every", [None, 1])
def test_losses_and_gradients_are_those_of_plain_layers(kind: Any, every: int | None) -> None:
    assert_as_plain(kind, every)


@pytest.mark.slow
@pytest.mark.usefixtures("machine_code")
@pytest.mark.parametrize("kind", ["full", LORA], ids=["full", "lora"])
@pytest.mark.parametrize("every", [None, 1])
def test_machine_code_computes_the_same(kind: Any, every: int | None) -> None:
    assert_as_plain(kind, every)


@pytest.mark.parametrize("kind", ["full", LORA], ids=["full", "lora"])
def test_no_pack_is_compiled_for_after_the_first(kind: Any) -> None:
    model = made(kind)
    compile_layers(model)
    proven(model)
    known, batches = counters["stats"]["unique_graphs"], [drawn(seed) for seed in range(20, 34)]
    assert known > 0
    assert len({batch.groups for batch in batches}) == len(batches)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for batch in batches:
            measured(model, batch)
    assert counters["stats"]["unique_graphs"] == known


def test_layers_of_one_build_share_what_is_compiled() -> None:
    model = made()
    compile_layers(model)
    proven(model)
    known = counters["stats"]["unique_graphs"]
    special = SpecialIds(end=tokenizer().eos_token_id, pad=tokenizer().pad_token_id)
    deeper = BLANKS.build({**tiny_runs.SHAPE, "layers": 4}).build(len(tokenizer()), special, 1).train()
    use_packed(deeper)
    trim_last_layer(deeper)
    compile_layers(deeper)
    measured(deeper, drawn(3))
    assert counters["stats"]["unique_graphs"] == known


def test_the_proof_tells_what_it_found_and_leaves_nothing() -> None:
    model = made()
    compile_layers(model)
    state = torch.random.get_rng_state()
    said = proven(model)
    assert said.startswith("compiled layers: loss and gradient equal plain ones to ")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


class Unsteady(torch.nn.Module):
    """An activation that is another one once it is compiled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) if torch.compiler.is_compiling() else torch.nn.functional.silu(x)


def test_layers_that_compute_something_else_are_refused() -> None:
    model = made()
    model.model.layers[0].mlp.act_fn = Unsteady()
    compile_layers(model)
    with pytest.raises(RefusedError, match="differs by"):
        proven(model)


def test_rows_trained_apart_are_refused() -> None:
    model = made()
    set_apart(model)
    with pytest.raises(RefusedError, match=r"qwen3 .* apart"):
        compile_layers(model)


def test_a_copy_computes_with_its_own_weights() -> None:
    model = made()
    compile_layers(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in decoder(other).layers.parameters():
            parameter.zero_()
    assert not torch.equal(measured(other, drawn(0))["loss"], measured(model, drawn(0))["loss"])


def test_generation_runs_the_model_as_it_was_loaded() -> None:
    model = made()
    compile_layers(model)
    with as_loaded(model), torch.no_grad():
        assert not any(isinstance(layer.forward, Compiled) for layer in decoder(model).layers)
        model(input_ids=torch.ones(1, 4, dtype=torch.long))
    assert all(isinstance(layer.forward, Compiled) for layer in decoder(model).layers)
    assert text_config(model)._attn_implementation == PACKED


def weights(event: Any) -> dict[str, torch.Tensor]:
    return load_file(Path(event.stage) / "model.safetensors")


def checks(events: list[Event]) -> tuple[str, ...]:
    return next(event.checks for event in events if isinstance(event, MaskingProven))


MEMORY = {"recompute_layers": 1, "tokens_at_once": 40}


def assert_steps_as_plain(tmp_path: Path, memory: Any) -> None:
    rules = {
        "steps": 6,
        "memory": memory,
        "watch": {"previews": {"prompts": ["Compute: ①"], "every_steps": 3}},
    }
    where = {"where": {"validation": {"share": 0.2, "every_steps": 3}}}
    found = run(make_job(tmp_path, drills(24), compile=True, **rules, **where))
    wanted = run(make_job(tmp_path, drills(24), **rules, **where))
    assert losses(found) == pytest.approx(losses(wanted), rel=1e-5)
    assert "compiled layers" in checks(found)[-1]
    assert "compiled layers" not in "".join(checks(wanted))


@pytest.mark.parametrize("memory", [{}, MEMORY], ids=["plain", "recomputed"])
def test_a_run_takes_the_steps_of_a_plain_one(tmp_path: Path, memory: Any) -> None:
    assert_steps_as_plain(tmp_path, memory)


@pytest.mark.usefixtures("machine_code")
def test_where_nothing_can_be_compiled_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "taken back afterwards")
    model = made()
    compile_layers(model)
    torch._dynamo.reset()
    absent = {"cpp.cxx": (None, "/nowhere/g++"), "compile_threads": 1}
    with torch._inductor.config.patch(absent), pytest.raises(RefusedError) as refused:
        proven(model, tmp_path)
    assert "could not be compiled: InvalidCxxCompiler" in refused.value.what
    assert "apt install g++" in str(refused.value.hint)


@pytest.mark.slow
@pytest.mark.usefixtures("machine_code")
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "taken back afterwards")
    job = make_job(tmp_path, drills(24), compile=True, steps=6)
    job = job.model_copy(update={"cache": str(tmp_path / "cache")})
    (undisturbed,) = stages(run(job))
    torch._dynamo.reset()
    first = stages(run(job, stop_after=2))[-1]
    torch._dynamo.reset()
    elsewhere = {"start": first.stage, "cache": str(tmp_path / "empty")}
    last = stages(run(job.model_copy(update=elsewhere)))[-1]
    assert (tmp_path / "empty" / "compiled").is_dir()
    other = weights(last)
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, other[name]), name
