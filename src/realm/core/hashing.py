"""Hashes of bytes and of records. Always SHA-256, always written `sha256:<hex>`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

PREFIX = "sha256:"
_CHUNK_BYTES = 1 << 20
# One for all calls: `json.dumps` with settings builds another each time, which costs more than a short text.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def hash_bytes(data: bytes) -> str:
    """Return the hash of some bytes."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    """Return the hash of a file's bytes, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return PREFIX + digest.hexdigest()


def canonical_json(value: Any) -> str:
    """Write JSON in the one form that is hashed: sorted keys, no spaces, real characters."""
    return _ENCODER.encode(value)


def hash_json(value: Any) -> str:
    """Return the hash of a JSON value, independent of key order."""
    return hash_bytes(canonical_json(value).encode())


def short(content_hash: str) -> str:
    """Return the first 12 hex digits, for names that people read."""
    return content_hash.removeprefix(PREFIX)[:12]
