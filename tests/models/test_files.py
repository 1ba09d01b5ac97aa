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

from realm.core.errors import NotFoundError, UnsafeFileError
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
