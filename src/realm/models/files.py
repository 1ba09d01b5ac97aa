"""Models as folders of safetensors and JSON: save them, and load only what cannot run code.

Loading reads an allow-list: any other file, link or folder, and any JSON key that could name code
or a file elsewhere, refuses the whole folder before a model library sees it. Nothing is fetched.
"""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from realm.core.errors import NotFoundError, UnsafeFileError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_SUFFIXES = (".safetensors", ".json", ".jinja")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_SIDECAR = ".ledger.json"
_REDIRECTS = ("adapter_config.json", "processor_config.json")
"""Files by which the library would load something else than this folder's model."""
_CODE_KEYS = frozenset(
    {
        "auto_map",
        "custom_code",
        "custom_generate",
        "custom_pipelines",
        "trust_remote_code",
        "code_revision",
        "_target_",
        "transformers_weights",
    }
)
_MAX_JSON_BYTES = 64 << 20
_MAX_DEPTH = 64


class Loaded(NamedTuple):
    """A model and its tokenizer, in memory."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights, config and tokenizer into an existing folder; the caller flushes them."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def load(folder: Path, *, attention: str = "sdpa") -> Loaded:
    """Load a model and its tokenizer from a folder, on the CPU, in the dtype of its files.

    Raises UnsafeFileError where the folder holds anything that could run code or lead elsewhere.
    """
    refuse_unsafe(folder)
    from transformers import PreTrainedTokenizerFast
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        dtype="auto",
        attn_implementation=attention,
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return Loaded(model.eval(), tokenizer)


def refuse_unsafe(folder: Path) -> None:
    """Raise UnsafeFileError unless every file in the folder is one that may be loaded."""
    if not folder.is_dir() or folder.is_symlink():
        raise NotFoundError(f"{folder}: no such model folder")
    for path in sorted(folder.iterdir()):
        _refuse_entry(path)
        if path.suffix == ".json":
            _refuse_json(path)
    for needed in ("config.json", "tokenizer.json"):
        if not (folder / needed).is_file():
            raise NotFoundError(f"{folder}: {needed} is missing", hint="is this a model's folder?")


def _refuse_entry(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise UnsafeFileError(f"{path}: only regular files may lie in a model's folder")
    if path.name == _SIDECAR:
        return
    if not _NAME.fullmatch(path.name) or path.suffix not in _SUFFIXES or path.name in _REDIRECTS:
        raise UnsafeFileError(
            f"{path}: files of this name are never loaded",
            hint=f"a model's folder holds {', '.join(_SUFFIXES)} files only; convert weights to safetensors",
        )


def _refuse_json(path: Path) -> None:
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise UnsafeFileError(f"{path}: larger than {_MAX_JSON_BYTES >> 20} MiB")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise UnsafeFileError(f"{path}: not readable as JSON") from None
    _refuse_keys(path, data)


def _refuse_keys(path: Path, value: Any, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:
        raise UnsafeFileError(f"{path}: nested deeper than {_MAX_DEPTH}")
    if isinstance(value, list):
        for item in value:
            if isinstance(item, list | dict):
                _refuse_keys(path, item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            # A token of a vocabulary may be called anything: its value is a plain number.
            if type(item) is not int and key.lower() in _CODE_KEYS:
                raise UnsafeFileError(f"{path}: the key {key!r} could load code or files from elsewhere")
            if key == "weight_map":
                _refuse_weight_map(path, item)
            if isinstance(item, list | dict):
                _refuse_keys(path, item, depth + 1)


def _refuse_weight_map(path: Path, mapping: Any) -> None:
    names = mapping.values() if isinstance(mapping, dict) else [mapping]
    for name in names:
        good = isinstance(name, str) and _NAME.fullmatch(name) and name.endswith(".safetensors")
        if not good:
            raise UnsafeFileError(
                f"{path}: weight_map names {name!r}, which is no safetensors file beside it"
            )
