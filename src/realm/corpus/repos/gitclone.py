"""A repository behind a git URL: fetched by the git program into a cache, never run.

Only `https`, `ssh` (also as `user@host:path`) and `file` URLs are taken, without credentials in them. One
commit is fetched, with no history, tags, submodules, hooks or redirects, and nothing is checked out.
There is no limit on its size but the time it may take.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from realm.core.errors import ConfigError, StorageError
from realm.core.hashing import hash_json, short
from realm.core.text import printable
from realm.corpus.repos.gitfiles import arguments, environment, run

_SCP_LIKE = re.compile(r"(?:[A-Za-z0-9._][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9._~/][^\s:]*")
_PROTOCOLS = ("https", "ssh", "file")
_URL_CHARS = 2_000
_FETCH_SETTINGS = ("http.followRedirects=false", "http.lowSpeedLimit=1000", "http.lowSpeedTime=60")
_WANTED = "refs/realm/wanted"


def protocol_of(location: str) -> str | None:
    """Return the protocol of a git URL, or None for what must be a path.

    Raises ConfigError for a URL of another form, or one with a password in it.
    """
    if "://" not in location and "::" not in location:
        is_remote = _SCP_LIKE.fullmatch(location) and not Path(location).exists()
        return "ssh" if is_remote and "@" in location.partition(":")[0] else None
    shown = printable(location.partition("@")[2] or location, 80)
    hint = "a repository is a folder, https://…, ssh://…, user@host:path or file:///…"
    if len(location) > _URL_CHARS or re.search(r"[\s\x00-\x1f\x7f]", location) or location.startswith("-"):
        raise ConfigError(f"not a git URL: {shown}", hint=hint)
    try:
        parts = urlsplit(location)
        has_password, host = parts.password is not None, parts.hostname
    except ValueError:
        raise ConfigError(f"not a git URL: {shown}", hint=hint) from None
    if parts.scheme not in _PROTOCOLS:
        raise ConfigError(f"git URLs of the form {printable(parts.scheme, 20)!r} are not taken", hint=hint)
    if has_password or (parts.scheme == "https" and parts.username is not None):
        raise ConfigError(f"a git URL with credentials in it: {shown}", hint="use an ssh key instead")
    if (host or "").startswith("-") or bool(host) == (parts.scheme == "file"):
        raise ConfigError(f"not a git URL: {shown}", hint=hint)
    return parts.scheme


def cached(location: str, ref: str, cache: Path) -> Path:
    """Return where in the cache one ref of a URL lies, whether it was fetched or not."""
    return cache / f"{short(hash_json([location, ref]))}.git"


def fetch(location: str, ref: str, cache: Path, timeout_s: float, *, refresh: bool = True) -> Path:
    """Fetch the newest commit of a ref and return the bare repository that holds it as HEAD.

    Without `refresh`, what was fetched before is returned as it is, where there is any.

    Raises ConfigError for a URL that is not taken, DataError where git fails or takes too long.
    """
    protocol = protocol_of(location)
    if protocol is None:
        raise ConfigError(f"not a git URL: {printable(location, 80)}")
    if ref.startswith(("-", "+")) or ":" in ref or "*" in ref:
        raise ConfigError(f"{printable(ref, 60)!r} is no ref")
    folder = cached(location, ref, cache)
    if not refresh and (folder / _WANTED).exists():
        return folder
    allowed = environment(protocol)
    shown = printable(location, 80)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"{cache}: {os.strerror(error.errno or 0)}") from None
    run(["git", "init", "--quiet", "--bare", "--template=", str(folder)], environment(), timeout_s, shown)
    settings = [part for setting in _FETCH_SETTINGS for part in ("-c", setting)]
    command = arguments(folder, protocols=[protocol])
    run(
        [*command, *settings, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules",
         "--no-write-fetch-head", "--force", "--end-of-options", location, f"{ref}:{_WANTED}"],
        allowed, timeout_s, shown,
    )  # fmt: skip
    run(arguments(folder, "symbolic-ref", "HEAD", _WANTED), environment(), timeout_s, shown)
    return folder
