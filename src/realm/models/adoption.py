"""Take over a model from a folder of its owner, as the base of a hero.

Covered: weights as safetensors with their JSON and Jinja files, also behind the links of a hub's
cache. Files that could run code refuse the folder; papers such as a README are left behind.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from realm.core.errors import NotFoundError, UnsafeFileError
from realm.models.files import load, save

_TAKEN = (".safetensors", ".json", ".jinja")
_CODE = (
    ".bin",
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".ckpt",
    ".h5",
    ".msgpack",
    ".npz",
    ".py",
    ".so",
    ".joblib",
)


def adopt(source: Path, stage: Path) -> None:
    """Copy a model's files into a stage and write them there in our form.

    Raises UnsafeFileError for a file that could run code, and whatever loading refuses.
    """
    if not source.is_dir():
        raise NotFoundError(f"{source}: no such folder", hint="hero.base names a folder with safetensors")
    for path in sorted(source.iterdir()):
        if path.suffix.lower() in _CODE:
            raise UnsafeFileError(
                f"{path}: files of this kind can run code and are never loaded",
                hint="convert the weights to safetensors and remove this file",
            )
    own = stage / "adopted"
    own.mkdir()
    try:
        for path in sorted(source.iterdir()):
            if path.suffix in _TAKEN and path.is_file():
                shutil.copyfile(path, own / path.name)
        loaded = load(own)
        save(loaded.model, loaded.tokenizer, stage)
    finally:
        shutil.rmtree(own)
