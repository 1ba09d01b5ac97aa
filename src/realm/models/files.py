"""Models as folders of safetensors and JSON: save them, and load only what cannot run code.

Loading reads an allow-list: any other file, link or folder, and any JSON key that could name code
or a file elsewhere, refuses the whole folder before a model library sees it. Nothing is fetched.

A folder holds a whole model, or an adapter and `base.json`, which names what lies under it by
content hash: folders beside this one in the vault, re-hashed before they are loaded. A base may be
an adapter's folder itself, and is merged then.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from realm.core.errors import CorruptError, NotFoundError, RefusedError, StateError, UnsafeFileError
from realm.core.hashing import PREFIX
from realm.core.records import ArtifactKind
from realm.models.adapters import (
    BASE,
    CONFIG,
    WEIGHTS,
    Base,
    attach,
    merge_adapter,
    read_base,
    read_shape,
    shape_of,
    state_to_save,
    write_adapter,
)
from realm.storage import manifest as manifests

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

_SUFFIXES = (".safetensors", ".json", ".jinja")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_SIDECAR = ".ledger.json"
_REDIRECTS = ("processor_config.json",)
"""Files by which the library would load something else than this folder's model."""
_WHOLE = ("config.json", "tokenizer.json")
_ADAPTER = (CONFIG, WEIGHTS, BASE, "tokenizer.json")
"""What must be there, of a whole model and of an adapter."""
_MAX_BASES = 8
"""Adapters on top of each other."""
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
        # Attention and experts may be native code from a hub; a map of attributes gives them other names.
        "_attn_implementation",
        "attn_implementation",
        "_experts_implementation",
        "experts_implementation",
        "kernel_config",
        "use_kernels",
        "attribute_map",
    }
)
_MAX_JSON_BYTES = 64 << 20
_MAX_DEPTH = 64


class Loaded(NamedTuple):
    """A model and its tokenizer, in memory."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast


class LoadedApart(NamedTuple):
    """A model and its tokenizer, in memory; where the folder holds an adapter, a PEFT model."""

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerFast


def save(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    base: Base | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write weights, config and tokenizer into an existing folder; the caller flushes them.

    Of an adapter only its own weights are written, and `base`, which it needs: StateError without.
    `weights` are those of `adapters.state_to_save`, copied earlier; none takes the model's present ones.
    """
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        model.save_pretrained(folder, state_dict=None if weights is None else dict(weights))
    elif base is None:
        raise StateError("an adapter cannot be saved without its base", hint="pass the base's content hash")
    else:
        write_adapter(shape_of(model), weights or state_to_save(model), base, folder)
    tokenizer.save_pretrained(folder)


@overload
def load(
    folder: Path, *, attention: str = "sdpa", merge: Literal[True] = True, vault: Path | None = None
) -> Loaded: ...


@overload
def load(
    folder: Path, *, attention: str = "sdpa", merge: Literal[False], vault: Path | None = None
) -> LoadedApart: ...


def load(
    folder: Path, *, attention: str = "sdpa", merge: bool = True, vault: Path | None = None
) -> Loaded | LoadedApart:
    """Load a model and its tokenizer from a folder, on the CPU, in the dtype of its files.

    An adapter is added to its base's weights, or with `merge=False` left trainable beside them. What
    lies under it is looked for in `vault`; none means beside the folder, where published ones lie.
    Raises UnsafeFileError where a folder holds anything that could run code or lead elsewhere, and
    CorruptError where a base's bytes do not match its hash.
    """
    from transformers import PreTrainedTokenizerFast

    refuse_unsafe(folder)
    model = _load(folder, attention, vault or folder.parent, depth=0)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if merge:
        return Loaded(merge_adapter(model).eval(), tokenizer)
    return LoadedApart(model.eval(), tokenizer)


def adapter_folder(folder: Path) -> str:
    """Return the content hash of a published adapter, after re-hashing every byte of it."""
    content = PREFIX + folder.name
    refuse_unsafe(folder)
    if read_base(folder) is None:
        raise RefusedError(f"{folder}: a whole model, not an adapter")
    manifests.verify(folder, ArtifactKind.CHECKPOINT, content)
    return content


def _load(folder: Path, attention: str, vault: Path, depth: int) -> PreTrainedModel | PeftModel:
    """Load a folder that was checked, and all that lies under it."""
    base = read_base(folder)
    if base is None:
        return _load_whole(folder, attention)
    if depth == _MAX_BASES:
        raise RefusedError(
            f"{folder}: more than {_MAX_BASES} adapters lie on top of it and each other",
            hint="merge some of them into a whole model",
        )
    model = merge_adapter(_load(_below(vault, base.base), attention, vault, depth + 1))
    for content in base.frozen:
        model = merge_adapter(attach(model, _below(vault, content)))
    return attach(model, folder)


def outline(folder: Path) -> PreTrainedModel:
    """Build the whole model under a folder's adapters without its weights: names and shapes alone.

    Bases are looked for beside the folder, and not re-hashed: whoever needs their weights loads them.
    """
    import torch

    refuse_unsafe(folder)
    base = read_base(folder)
    if base is not None:
        return outline(_beside(folder.parent, base.base))
    with _told_of(folder), torch.device("meta"):
        kind, config = _kind_of(folder)
        model: PreTrainedModel = kind.from_config(config)
    return model


def _below(vault: Path, content: str) -> Path:
    """Return the folder of that hash, after re-hashing every byte of it."""
    found = _beside(vault, content)
    manifests.verify(found, ArtifactKind.CHECKPOINT, content)
    refuse_unsafe(found)
    return found


def _beside(vault: Path, content: str) -> Path:
    """Return the folder of that hash. Raises NotFoundError where there is none."""
    found = vault / content.removeprefix(PREFIX)
    if not found.is_dir() or found.is_symlink():
        raise NotFoundError(
            f"{found}: {content}, which lies under an adapter, is missing",
            hint="transfer the base's checkpoint too",
        )
    return found


def _kind_of(folder: Path) -> tuple[Any, PreTrainedConfig]:
    """Return the library's class for a whole model, and the model's settings."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
    )

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    reads_text_alone = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return AutoModelForCausalLM if reads_text_alone else AutoModelForImageTextToText, config


def _load_whole(folder: Path, attention: str) -> PreTrainedModel:
    from transformers.utils import logging

    logging.disable_progress_bar()
    with _told_of(folder):
        kind, config = _kind_of(folder)
        model: PreTrainedModel = kind.from_pretrained(
            folder,
            # Read by itself, the file's own choice of attention would win over the one given here.
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype="auto",
            attn_implementation=attention,
            experts_implementation=None,
        )
    return model


@contextmanager
def _told_of(folder: Path) -> Iterator[None]:
    """Say of which folder it is that the library could not load it, and of broken weights of which file.

    Raises CorruptError for those, and RefusedError for settings that cannot be followed here.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise CorruptError(
            f"{_broken_weights(folder) or folder}: not readable as safetensors: {error}",
            hint="copy the file again, or convert weights of another format to safetensors",
        ) from None
    except (StrictDataclassError, AttributeError, ImportError, KeyError, TypeError, ValueError) as error:
        raise RefusedError(
            f"{folder / 'config.json'}: no model can be loaded by it: {type(error).__name__}: {error}",
            hint="of settings that need another package or version, such as quantization_config, take a "
            "checkpoint without them",
        ) from error


def _broken_weights(folder: Path) -> Path | None:
    """Return the first file of weights that cannot be opened; none where all can."""
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt"):
                pass
        except SafetensorError:
            return path
    return None


def refuse_unsafe(folder: Path) -> None:
    """Raise UnsafeFileError unless every file in the folder is one that may be loaded."""
    if not folder.is_dir() or folder.is_symlink():
        raise NotFoundError(f"{folder}: no such model folder")
    for path in sorted(folder.iterdir()):
        _refuse_entry(path)
        if path.suffix == ".json":
            _refuse_json(path)
    adapter = (folder / BASE).exists()
    if adapter:
        _refuse_adapter(folder)
    elif (folder / CONFIG).exists():
        raise UnsafeFileError(
            f"{folder / CONFIG}: an adapter without {BASE}, which says by hash what it belongs to",
            hint="merge a foreign adapter into its base with PEFT, or import both as checkpoints",
        )
    for needed in _ADAPTER if adapter else _WHOLE:
        if not (folder / needed).is_file():
            raise NotFoundError(f"{folder}: {needed} is missing", hint="is this a model's folder?")


def _refuse_adapter(folder: Path) -> None:
    """Raise UnsafeFileError where an adapter's folder could be taken for a whole model too."""
    read_base(folder)
    if (folder / CONFIG).is_file():
        read_shape(folder)
    for path in sorted(folder.iterdir()):
        if path.name == "config.json" or (path.name.startswith("model") and path.suffix == ".safetensors"):
            raise UnsafeFileError(f"{path}: a folder holds an adapter or a whole model, not both")


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
