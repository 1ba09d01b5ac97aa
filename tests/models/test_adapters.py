from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import PreTrainedModel

from realm.core.errors import CorruptError, NotFoundError, RefusedError, StateError, UnsafeFileError
from realm.core.records import ArtifactKind
from realm.models.adapters import (
    AdapterShape,
    Base,
    decoder,
    head,
    merge_adapter,
    read_shape,
    shape_of,
    state_to_save,
    text_config,
    without_adapter,
    wrap,
)
from realm.models.files import load, save
from realm.storage.store import Store
from tiny_shapes import SHAPES, model, tokenizer, tokens

PLAIN = {"r": 4, "lora_alpha": 8, "target_modules": ("q_proj", "v_proj")}
SHARED = tuple(f"shared_expert.{name}" for name in ("gate_proj", "up_proj", "down_proj"))
EXPERTS = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"lora on {shape}": (shape, PLAIN) for shape in SHAPES},
    "rslora": ("qwen3", {**PLAIN, "use_rslora": True}),
    "dora": ("qwen3", {**PLAIN, "use_dora": True}),
    "experts": ("qwen3_moe", {**PLAIN, "target_parameters": EXPERTS}),
    "shared expert": ("qwen3_next", {**PLAIN, "target_modules": SHARED}),
    "dora on the shared expert": ("qwen3_next", {**PLAIN, "target_modules": SHARED, "use_dora": True}),
}


def adapted(base: PreTrainedModel, settings: dict[str, Any], seed: int = 0) -> PeftModel:
    """Wrap a model and move every adapter weight, as training would."""
    wrapped = wrap(base, AdapterShape(**settings), seed)
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=source)
    return wrapped.eval()


def logits(made: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return made(input_ids=tokens(), use_cache=False).logits


class Vault:
    """A store that publishes models and tells their hashes."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "vault")

    def put(self, made: PreTrainedModel | PeftModel, base: Base | None = None) -> str:
        stage = self.store.stage(ArtifactKind.CHECKPOINT)
        save(made, tokenizer(), stage, base)
        return self.store.publish(stage, ArtifactKind.CHECKPOINT, lambda ref: ref.hash)

    def path(self, content: str) -> Path:
        return self.store.path(ArtifactKind.CHECKPOINT, content)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


@pytest.fixture
def folder(vault: Vault) -> Path:
    base = vault.put(model("qwen3"))
    return vault.path(vault.put(adapted(model("qwen3"), PLAIN), Base(base=base)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_adapter_comes_back_bit_by_bit(vault: Vault, variant: str) -> None:
    shape, settings = VARIANTS[variant]
    made = adapted(model(shape).eval(), settings)
    found = vault.path(vault.put(made, Base(base=vault.put(model(shape)))))
    again = load(found, merge=False).model
    assert isinstance(again, PeftModel)
    before, after = state_to_save(made), state_to_save(again)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(logits(made), logits(again))
    assert not torch.equal(logits(made), logits(model(shape).eval()))
    named = {name for name, parameter in made.named_parameters() if parameter.requires_grad}
    assert named == {name for name, parameter in again.named_parameters() if parameter.requires_grad}
    assert {p.name for p in found.iterdir()} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "base.json",
        "tokenizer.json",
    }
    assert not (found / "config.json").exists()


def test_an_adapter_beside_half_precision_weights_keeps_its_own(vault: Vault) -> None:
    base = vault.put(model("qwen3").bfloat16())
    made = adapted(load(vault.path(base)).model, PLAIN)
    assert {value.dtype for value in state_to_save(made).values()} == {torch.float32}
    found = vault.path(vault.put(made, Base(base=base)))
    again = load(found, merge=False).model
    assert torch.equal(logits(again), logits(made))
    assert load(found).model.dtype is torch.bfloat16


def test_layers_that_peft_takes_for_experts_are_adapted_themselves() -> None:
    made = adapted(model("qwen3_next"), {**PLAIN, "target_modules": SHARED})
    trained = {name for name, parameter in made.named_parameters() if parameter.requires_grad}
    assert len(trained) == 12
    assert all(".mlp.shared_expert." in name for name in trained)
    assert model("qwen3_next").config.model_type == made.config.model_type == "qwen3_next"


@pytest.mark.parametrize("variant", VARIANTS)
def test_merged_it_answers_as_the_adapter_does(vault: Vault, variant: str) -> None:
    shape, settings = VARIANTS[variant]
    made = adapted(model(shape).eval(), settings)
    merged = load(vault.path(vault.put(made, Base(base=vault.put(model(shape)))))).model
    assert type(merged) is type(model(shape))
    scale = float(logits(made).abs().max())
    assert torch.allclose(logits(merged), logits(made), rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_peft_itself_loads_it_exactly(vault: Vault, variant: str) -> None:
    shape, settings = VARIANTS[variant]
    made = adapted(model(shape).eval(), settings)
    found = vault.path(vault.put(made, Base(base=vault.put(model(shape)))))
    if variant == "dora on the shared expert":
        with pytest.raises(ValueError, match="does not work with use_dora"):
            PeftModel.from_pretrained(model(shape).eval(), str(found))
        return
    theirs = PeftModel.from_pretrained(model(shape).eval(), str(found)).eval()
    if variant == "shared expert":  # they add the product to the weight, in another order
        assert torch.allclose(logits(theirs), logits(made), rtol=0, atol=1e-5)
    else:
        assert torch.equal(logits(theirs), logits(made))


def test_peft_s_own_settings_file_is_understood(tmp_path: Path) -> None:
    made = adapted(model("qwen3"), {**PLAIN, "use_rslora": True})
    made.peft_config["default"].save_pretrained(str(tmp_path))
    assert read_shape(tmp_path) == shape_of(made)


def test_a_saved_adapter_is_itself_a_base(vault: Vault) -> None:
    below = Base(base=vault.put(adapted(model("qwen3"), PLAIN, 1), Base(base=vault.put(model("qwen3")))))
    above = adapted(load(vault.path(below.base)).model, {**PLAIN, "r": 2}, 2)
    loaded = load(vault.path(vault.put(above, below)), merge=False).model
    assert torch.equal(logits(loaded), logits(above))


def test_frozen_adapters_lie_under_the_trained_one_in_order(vault: Vault) -> None:
    base = vault.put(model("qwen3"))
    first, second = (adapted(model("qwen3"), PLAIN, seed) for seed in (1, 2))
    frozen = tuple(vault.put(made, Base(base=base)) for made in (first, second))
    plain = merge_adapter(adapted(merge_adapter(first), PLAIN, 2))
    top = adapted(plain, {**PLAIN, "r": 2}, 3)
    found = vault.path(vault.put(top, Base(base=base, frozen=frozen)))
    assert torch.equal(logits(load(found, merge=False).model), logits(top))


def test_equal_adapters_give_equal_bytes(vault: Vault) -> None:
    base = Base(base=vault.put(model("qwen3")))
    assert vault.put(adapted(model("qwen3"), PLAIN), base) == vault.put(adapted(model("qwen3"), PLAIN), base)


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_copied_earlier_are_what_is_written(shape: str, tmp_path: Path) -> None:
    made = model(shape)
    folders = tmp_path / "at once", tmp_path / "later"
    for folder in folders:
        folder.mkdir()
    save(made, tokenizer(), folders[0])
    copied = {name: value.clone() for name, value in state_to_save(made).items()}
    with torch.no_grad():
        made.get_input_embeddings().weight.zero_()
    save(made, tokenizer(), folders[1], weights=copied)
    at_once, later = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert at_once == later


def test_an_adapter_outside_the_vault_finds_its_base_there(vault: Vault, tmp_path: Path) -> None:
    base, outside = Base(base=vault.put(model("qwen3"))), tmp_path / "stage"
    outside.mkdir()
    made = adapted(model("qwen3").eval(), PLAIN)
    save(made, tokenizer(), outside, base)
    with pytest.raises(NotFoundError, match=base.base):
        load(outside)
    found = load(outside, merge=False, vault=vault.path(base.base).parent).model
    assert torch.equal(logits(found), logits(made))


def test_an_adapter_is_not_saved_without_its_base(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="without its base"):
        save(adapted(model("qwen3"), PLAIN), tokenizer(), tmp_path)


def test_a_missing_base_is_named(vault: Vault, folder: Path) -> None:
    content = json.loads((folder / "base.json").read_text())["base"]
    vault.path(content).rename(folder.parent / "elsewhere")
    with pytest.raises(NotFoundError, match=content):
        load(folder)


def test_a_base_whose_bytes_changed_is_refused(vault: Vault, folder: Path) -> None:
    weights = vault.path(json.loads((folder / "base.json").read_text())["base"]) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CorruptError):
        load(folder)


def test_an_adapter_of_another_shape_of_base_is_refused(vault: Vault) -> None:
    made = adapted(model("qwen3_moe"), {**PLAIN, "target_modules": ("q_proj", "o_proj")})
    narrow = vault.put(model("qwen3_vl"))
    wrong = vault.path(vault.put(made, Base(base=narrow)))
    with pytest.raises(CorruptError, match="does not fit"):
        load(wrong)


def test_broken_weights_are_refused_by_their_name(vault: Vault, folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"\x80\x04canary" * 100)
    with pytest.raises(CorruptError, match=r"adapter_model\.safetensors: not readable as safetensors"):
        load(folder)


def test_adapters_are_not_piled_up_without_end(vault: Vault) -> None:
    content = vault.put(model("qwen3"))
    for seed in range(9):
        content = vault.put(adapted(model("qwen3"), PLAIN, seed), Base(base=content))
    with pytest.raises(RefusedError, match="more than 8"):
        load(vault.path(content))


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


PAYLOADS: dict[str, Callable[[Path], object]] = {
    "no base": lambda f: (f / "base.json").unlink(),
    "base is a path": lambda f: (f / "base.json").write_text('{"base": "../../elsewhere"}'),
    "base is a name": lambda f: (f / "base.json").write_text('{"base": "Qwen/Qwen3-8B"}'),
    "frozen is a path": lambda f: _edit(f / "base.json", frozen=["/tmp/x"]),
    "other method": lambda f: _edit(f / "adapter_config.json", peft_type="IA3"),
    "auto_mapping": lambda f: _edit(
        f / "adapter_config.json", auto_mapping={"base_model_class": "X", "parent_library": "os"}
    ),
    "imported module": lambda f: _edit(
        f / "adapter_config.json", megatron_config={"a": 1}, megatron_core="antigravity"
    ),
    "start from a file": lambda f: _edit(f / "adapter_config.json", init_lora_weights="corda"),
    "corda files": lambda f: _edit(f / "adapter_config.json", corda_config={"cache_file": "/tmp/x"}),
    "other adapters": lambda f: _edit(f / "adapter_config.json", arrow_config={"top_k": 1}),
    "saved modules": lambda f: _edit(f / "adapter_config.json", modules_to_save=["lm_head"]),
    "pattern of modules": lambda f: _edit(f / "adapter_config.json", target_modules="(a+)+$"),
    "unknown setting": lambda f: _edit(f / "adapter_config.json", loader="x"),
    "auto_map": lambda f: _edit(f / "adapter_config.json", auto_map={"A": "x.Y"}),
    "no number": lambda f: _edit(f / "adapter_config.json", r="four"),
    "whole model beside it": lambda f: save(model("qwen3"), tokenizer(), f),
    "pickled weights": lambda f: (f / "adapter_model.bin").write_bytes(b"\x80\x04"),
    "symlinked weights": lambda f: (
        (f / "adapter_model.safetensors").unlink(),
        (f / "adapter_model.safetensors").symlink_to("/etc/passwd"),
    ),
}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_unsafe_adapter_is_refused(folder: Path, payload: str) -> None:
    PAYLOADS[payload](folder)
    with pytest.raises(UnsafeFileError):
        load(folder)


def test_the_name_of_a_base_is_never_followed(folder: Path) -> None:
    _edit(folder / "adapter_config.json", base_model_name_or_path="/nowhere/at/all")
    load(folder)


def test_switched_off_the_base_answers() -> None:
    made = adapted(model("qwen3"), PLAIN)
    trained = [name for name, parameter in made.named_parameters() if parameter.requires_grad]
    with without_adapter(made):
        off = logits(made)
    assert torch.equal(off, logits(model("qwen3").eval()))
    assert not torch.equal(off, logits(made))
    assert trained == [name for name, parameter in made.named_parameters() if parameter.requires_grad]
    with pytest.raises(StateError, match="no adapter"), without_adapter(model("qwen3")):
        pass


def test_a_plain_model_merges_to_itself() -> None:
    made = model("qwen3")
    assert merge_adapter(made) is made


@pytest.mark.parametrize("shape", SHAPES)
def test_the_parts_are_found_under_an_adapter(shape: str) -> None:
    plain = model(shape)
    parts = decoder(plain), head(plain), text_config(plain)
    wrapped = adapted(plain, PLAIN)
    assert (decoder(wrapped), head(wrapped), text_config(wrapped)) == parts


def test_equal_seeds_draw_equal_adapters_and_keep_the_random_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (wrap(model("qwen3"), AdapterShape(**PLAIN), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    a, b, c = (torch.cat([v.flatten() for v in state_to_save(m).values()]) for m in (first, again, other))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
