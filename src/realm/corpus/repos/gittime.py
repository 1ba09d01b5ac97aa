"""When files of a working copy were last committed, asked of git once for all of them.

The repository is not trusted: nothing of its configuration may run a program (signature checks, file
system monitors, hooks, external diffs) and nothing is fetched. A file that differs from its commit has no
commit time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

_SAFE = (
    "-c", "log.showSignature=false", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
    "-c", "diff.external=", "-c", "core.quotePath=false", "-c", "diff.renames=false",
)  # fmt: skip
_START = b"\x01"
_COMMITS = 200_000
_LAST = datetime(9998, 1, 1, tzinfo=UTC).timestamp()


class Committed(NamedTuple):
    """The commit that last touched a file."""

    commit: str
    at: datetime


def commit_times(root: Path, keys: Iterable[str]) -> dict[str, Committed]:
    """Return the last commit of each file beneath `root` that is as it was committed.

    Empty where `root` is in no repository or there is no git. Keys are relative to `root`.
    """
    wanted = {key for key in keys if not key.startswith(":")}
    if not wanted or not root.is_dir() or shutil.which("git") is None:
        return {}
    unchanged = {key for key, blob in _blobs(root) if key in wanted and _blob(root / key, blob) == blob}
    found: dict[str, Committed] = {}
    commit: Committed | None = None
    command = ("log", f"-n{_COMMITS}", "--format=%x01%H %ct", "--name-only", "-z", "--relative", "--", ".")
    with _git(root, *command) as output:
        for field in _fields(output):
            if len(found) == len(unchanged):
                break
            if field.startswith(_START):
                commit = _commit(field)
                continue
            key = field.lstrip(b"\n").decode("utf-8", "replace")
            if commit and key in unchanged:
                found.setdefault(key, commit)
    return found


def _commit(field: bytes) -> Committed | None:
    name, _, seconds = field[1:].strip().partition(b" ")
    text = seconds.decode("ascii", "replace")
    if not text.isdecimal() or int(text) > _LAST:
        return None
    return Committed(name.decode("ascii", "replace"), datetime.fromtimestamp(int(text), UTC))


def _blobs(root: Path) -> Iterator[tuple[str, str]]:
    with _git(root, "ls-tree", "-r", "-z", "HEAD", "--", ".") as output:
        for field in _fields(output):
            facts, _, name = field.partition(b"\t")
            words = facts.split()
            if len(words) == 3 and words[1] == b"blob":
                yield name.decode("utf-8", "replace"), words[2].decode("ascii", "replace")


def _blob(path: Path, like: str) -> str:
    """Return the name git would give a file's bytes, by the hash that `like` was made with."""
    digest = hashlib.sha1(usedforsecurity=False) if len(like) == 40 else hashlib.sha256()
    try:
        with path.open("rb") as file:
            digest.update(b"blob %d\0" % os.fstat(file.fileno()).st_size)
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


def _fields(output: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := output.read(1 << 16):
        *fields, rest = (rest + chunk).split(b"\0")
        yield from filter(None, fields)
        if len(rest) > 1 << 20:
            return
    if rest:
        yield rest


@contextmanager
def _git(root: Path, *arguments: str) -> Iterator[IO[bytes]]:
    """Run git in a folder and read its output; it is ended when nobody reads on."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ALLOW_PROTOCOL": "",
    }
    child = subprocess.Popen(  # noqa: S603 - a fixed argument list
        ["git", "--no-pager", "--literal-pathspecs", *_SAFE, *arguments],  # noqa: S607 - git as installed
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert child.stdout is not None
        yield child.stdout
    finally:
        child.kill()
        child.communicate()
