from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import model, tokenizer

from realm.core.errors import CorruptError, NotFoundError, RefusedError, UnsafeFileError
from realm.models import files
from realm.models.files import load, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    save(model(), tokenizer(), path)
    return path


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_saved_model_comes_back_bit_by_bit(folder: Path) -> None:
    loaded, chat_tokenizer = load(folder)
    for (name, before), (again, after) in zip(
        model().named_parameters(), loaded.named_parameters(), strict=True
    ):
        assert name == again
        assert torch.equal(before, after)
    assert chat_tokenizer.chat_template == tokenizer().chat_template
    assert chat_tokenizer.encode("add(①)") == tokenizer().encode("add(①)")
    assert chat_tokenizer.eos_token_id == tokenizer().eos_token_id


def test_only_safetensors_json_and_jinja_are_written(folder: Path) -> None:
    assert {p.suffix for p in folder.iterdir()} == {".safetensors", ".json", ".jinja"}


def test_ledger_sidecar_and_manifest_are_allowed(folder: Path) -> None:
    (folder / ".ledger.json").write_text("{}")
    (folder / "manifest.json").write_text("{}")
    load(folder)


CANARY = "raise SystemExit('canary ran')"


def _symlink(folder: Path) -> None:
    os.replace(folder / "config.json", folder.parent / "elsewhere.json")
    (folder / "config.json").symlink_to(folder.parent / "elsewhere.json")


def _hidden_key(folder: Path) -> None:
    _edit(folder / "tokenizer_config.json", a=[{"b": {"AUTO_MAP": {"AutoTokenizer": ["x.y", None]}}}])


PAYLOADS: dict[str, Callable[[Path], object]] = {
    "bin": lambda f: (f / "pytorch_model.bin").write_bytes(b"\x80\x04canary"),
    "pt": lambda f: (f / "model.pt").write_bytes(b""),
    "pkl": lambda f: (f / "optimizer.pkl").write_bytes(b""),
    "python": lambda f: (f / "modeling_x.py").write_text(CANARY),
    "suffixless": lambda f: (f / "weights").write_bytes(b""),
    "hidden": lambda f: (f / ".evil.json").write_text("{}"),
    "folder": lambda f: (f / "sub").mkdir(),
    "fifo": lambda f: os.mkfifo(f / "pipe.json"),
    "symlink": _symlink,
    "symlinked weights": lambda f: (f / "a.safetensors").symlink_to("/etc/passwd"),
    "adapter": lambda f: (f / "adapter_config.json").write_text('{"base_model_name_or_path": "/x"}'),
    "auto_map": lambda f: _edit(f / "config.json", auto_map={"AutoModelForCausalLM": "x.Y"}),
    "auto_map deep": _hidden_key,
    "custom_code": lambda f: _edit(f / "generation_config.json", custom_code=True),
    "trust_remote_code": lambda f: _edit(f / "config.json", trust_remote_code=True),
    "attention of a hub": lambda f: _edit(f / "config.json", _attn_implementation="some/kernel"),
    "attention of a part": lambda f: _edit(f / "config.json", text_config={"attn_implementation": "a/b"}),
    "experts of a hub": lambda f: _edit(f / "config.json", _experts_implementation="deepgemm"),
    "experts as an argument": lambda f: _edit(f / "config.json", experts_implementation="sonicmoe"),
    "kernel_config": lambda f: _edit(f / "config.json", kernel_config={"RMSNorm": "some/kernel:RMSNorm"}),
    "use_kernels": lambda f: _edit(f / "config.json", use_kernels=True),
    "renamed attention": lambda f: _edit(
        f / "config.json", attribute_map={"x": "_attn_implementation"}, x="some/kernel"
    ),
    "other weights": lambda f: _edit(f / "config.json", transformers_weights="../x.bin"),
    "weight_map": lambda f: (f / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "../../secret.safetensors"}})
    ),
    "weight_map absolute": lambda f: (f / "i.json").write_text('{"weight_map": {"a": "/x.safetensors"}}'),
    "weight_map pickle": lambda f: (f / "i.json").write_text('{"weight_map": {"a": "x.bin"}}'),
    "weight_map list": lambda f: (f / "i.json").write_text('{"weight_map": ["../x"]}'),
    "not json": lambda f: (f / "config.json").write_text("{"),
    "deep json": lambda f: (f / "deep.json").write_text("[" * 200 + "]" * 200),
    "very deep json": lambda f: (f / "deep.json").write_text("[" * 200_000 + "]" * 200_000),
}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_unsafe_folder_is_refused(folder: Path, payload: str) -> None:
    PAYLOADS[payload](folder)
    with pytest.raises(UnsafeFileError):
        load(folder)


def test_a_vocabulary_may_name_a_token_like_a_forbidden_key(folder: Path) -> None:
    _edit(folder / "generation_config.json", vocab={"auto_map": 17})
    load(folder)


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "x"])
def test_attention_is_never_chosen_by_the_file(
    folder: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_CODE_KEYS", frozenset())
    _edit(folder / "config.json", attribute_map={"x": "_attn_implementation"}, **{key: "some/kernel"})
    assert load(folder).model.config._attn_implementation == "sdpa"
    assert load(folder, attention="eager").model.config._attn_implementation == "eager"


BROKEN: dict[str, Callable[[Path], object]] = {
    "empty": lambda f: f.write_bytes(b""),
    "pickle": lambda f: f.write_bytes(b"\x80\x04canary" * 100),
    "cut": lambda f: f.write_bytes(f.read_bytes()[:-100]),
}


@pytest.mark.parametrize("breaking", BROKEN)
def test_broken_weights_are_refused_by_their_name(folder: Path, breaking: str) -> None:
    BROKEN[breaking](folder / "model.safetensors")
    with pytest.raises(CorruptError, match=r"model\.safetensors: not readable as safetensors"):
        load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "__import__"},
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"model_type": "of-tomorrow"},
        {"hidden_size": "wide"},
    ],
)
def test_settings_that_nothing_can_follow_name_the_file(folder: Path, changes: dict[str, object]) -> None:
    _edit(folder / "config.json", **changes)
    with pytest.raises(RefusedError, match=r"config\.json: no model can be loaded by it"):
        load(folder)


def test_missing_folder_or_config_says_so(folder: Path) -> None:
    with pytest.raises(NotFoundError):
        load(folder / "nowhere")
    (folder / "config.json").unlink()
    with pytest.raises(NotFoundError, match=r"config\.json"):
        load(folder)


def test_symlinked_folder_is_refused(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    with pytest.raises(NotFoundError):
        load(link)
    shutil.rmtree(folder)


def test_processes_that_touch_models_are_offline() -> None:
    code = "import realm.models, huggingface_hub.constants as c; print(c.HF_HUB_OFFLINE)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
