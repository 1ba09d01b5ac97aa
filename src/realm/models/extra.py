"""Whether what a model needs is installed; the light commands work without it."""

from __future__ import annotations

from importlib.util import find_spec

from realm.core.errors import MissingExtraError

NEEDED = ("torch", "transformers", "tokenizers", "safetensors", "jinja2", "peft")


def require_training_extra() -> None:
    """Raise MissingExtraError, naming what is absent, unless models can be built and loaded."""
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        raise MissingExtraError(
            f"this needs {', '.join(absent)}",
            hint="install the training extra: pip install torch==2.13.0, then 'realm-lab[train]'",
        )
