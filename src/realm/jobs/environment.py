"""What a child may see of the environment: an allow-list of whole names.

By a prefix, such as `LC_` or `PYTHON`, anybody's secret could come along.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_SYSTEM = frozenset(
    {
        *("HOME", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV", "XDG_CACHE_HOME"),
        *("LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY"),
        *("LC_NUMERIC", "LC_TIME", "LD_LIBRARY_PATH"),
    }
)
_PYTHON = frozenset(
    {
        *("PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONHOME"),
        *("PYTHONIOENCODING", "PYTHONMALLOC", "PYTHONNOUSERSITE", "PYTHONOPTIMIZE", "PYTHONPATH"),
        *("PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "PYTHONUSERBASE", "PYTHONUTF8", "PYTHONWARNINGS"),
    }
)
_DEVICES = frozenset(
    {
        *("CUDA_HOME", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
        *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"),
        *("PYTORCH_NO_CUDA_MEMORY_CACHING", "PYTORCH_NVML_BASED_CUDA_CHECK", "ROCR_VISIBLE_DEVICES"),
    }
)
_THREADS = frozenset(
    {
        *("GOMP_CPU_AFFINITY", "GOMP_SPINCOUNT", "GOMP_STACKSIZE"),
        *("KMP_AFFINITY", "KMP_BLOCKTIME", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "KMP_STACKSIZE"),
        *("MKL_CBWR", "MKL_DYNAMIC", "MKL_ENABLE_INSTRUCTIONS", "MKL_NUM_THREADS", "MKL_THREADING_LAYER"),
        *("OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS", "OMP_NUM_THREADS", "OMP_PLACES", "OMP_PROC_BIND"),
        *("OMP_SCHEDULE", "OMP_STACKSIZE", "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY"),
        *("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS"),
    }
)
_MODELS = frozenset({"HF_HOME", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM", "TRANSFORMERS_OFFLINE"})
_NAMES = _SYSTEM | _PYTHON | _DEVICES | _THREADS | _MODELS


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the part of an environment that a child gets: variables that are named here, no others."""
    return {name: value for name, value in environment.items() if name in _NAMES}
