"""What a child may see of the environment: an allow-list, and never a secret."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_NAMES = frozenset(
    {
        "CUDA_HOME",
        "CUDA_VISIBLE_DEVICES",
        "HF_HOME",
        "HF_HUB_OFFLINE",
        "HIP_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "NVIDIA_VISIBLE_DEVICES",
        "PATH",
        "ROCR_VISIBLE_DEVICES",
        "TMPDIR",
        "TOKENIZERS_PARALLELISM",
        "TRANSFORMERS_OFFLINE",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
        "XDG_CACHE_HOME",
    }
)
_PREFIXES = ("LC_", "PYTHON", "PYTORCH_", "OMP_", "GOMP_", "MKL_", "KMP_", "OPENBLAS_")
_SECRET = re.compile(r"TOKEN|SECRET|PASS|CREDENTIAL|(^|_)KEY|AUTH|COOKIE", re.IGNORECASE)


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the part of an environment that a child gets."""
    return {name: value for name, value in environment.items() if _is_allowed(name)}


def _is_allowed(name: str) -> bool:
    if name in _NAMES:
        return True
    return name.startswith(_PREFIXES) and _SECRET.search(name) is None
