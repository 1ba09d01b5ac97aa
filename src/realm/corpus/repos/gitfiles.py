"""Git, read through the git program: what a commit holds, blob by blob.

The program runs without the user's and the machine's configuration, hooks, prompts, optional locks and
with no transport at all, so that a hostile repository cannot make it fetch or run anything. A blob that
is not there is one missing file, not the end of the reading.
"""

from __future__ import annotations

import os
import re
import subprocess
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from realm.core.errors import DataError, MissingExtraError, NotFoundError
from realm.core.text import printable

_SETTINGS = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.askPass=", "credential.helper=",
    "protocol.allow=never", "gc.auto=0", "maintenance.auto=false", "advice.detachedHead=false",
)  # fmt: skip
_INHERITED = ("PATH", "HOME", "TMPDIR", "SSH_AUTH_SOCK", "LANG", "SYSTEMROOT")
_LIST_S = 600
_OID = re.compile(r"[0-9a-f]{40,64}")
_REF_CHARS = 255


class Blob(NamedTuple):
    """One entry of a commit's tree."""

    path: str
    mode: str
    """`100644`, `100755`, `120000` a symbolic link, `160000` a submodule."""
    oid: str
    size_bytes: int | None
    """None where the blob is missing or no blob."""


def environment(*protocols: str) -> dict[str, str]:
    """Return the environment of the git program, which may use only these protocols."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return kept | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "SSH_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oPermitLocalCommand=no",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ALLOW_PROTOCOL": ":".join(protocols) or "none",
        "LC_ALL": "C",
    }


def arguments(git_dir: Path, *command: str, protocols: Sequence[str] = ()) -> list[str]:
    """Return the argument list of one git command on one repository."""
    settings = [*_SETTINGS, *(f"protocol.{protocol}.allow=always" for protocol in protocols)]
    return ["git", f"--git-dir={git_dir}", *(part for s in settings for part in ("-c", s)), *command]


def git_dir_of(folder: Path) -> Path | None:
    """Return the git directory of a working copy or a bare one, or None for a plain folder."""
    beside = folder / ".git"
    if beside.is_symlink():
        return None
    if beside.exists():
        return beside
    bare = (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()
    return folder if bare else None


class GitFiles:
    """Read the files of one commit."""

    def __init__(self, git_dir: Path, ref: str, shown: str) -> None:
        """Read `ref` of a repository that messages call `shown`.

        Raises NotFoundError for an unknown ref, DataError where it is no repository.
        """
        self._git_dir = git_dir.absolute()
        self._shown = shown
        self._blobs: _Batch | None = None
        self.commit = self._commit(ref)

    def list(self) -> Iterator[Blob]:
        """Yield the commit's entries in the order of their paths, with sizes."""
        names = self._run("ls-tree", "-r", "-z", "--full-tree", self.commit)
        for entry in names.split(b"\0"):
            if entry:
                head, _, raw = entry.partition(b"\t")
                mode, kind, oid = head.decode("ascii").split(" ")
                size = self._batch().size(oid) if kind == "blob" else None
                yield Blob(raw.decode("utf-8", "surrogateescape"), mode, oid, size)

    def read(self, oid: str) -> bytes | None:
        """Return a blob's bytes, or None where the repository lacks it."""
        return self._batch().read(oid)

    def _batch(self) -> _Batch:
        if self._blobs is None:
            self._blobs = _Batch(self._git_dir)
        return self._blobs

    def _commit(self, ref: str) -> str:
        if not ref or len(ref) > _REF_CHARS or ref.startswith("-"):
            raise NotFoundError(f"{self._shown}: {printable(ref, 60)!r} is no ref")
        try:
            found = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        except DataError:
            raise NotFoundError(
                f"{self._shown}: no commit is called {printable(ref, 60)!r}",
                hint="name a branch, a tag or a commit that this repository holds",
            ) from None
        commit = found.decode("ascii", "replace").strip()
        if not _OID.fullmatch(commit):
            raise DataError("git did not name a commit", file=self._shown)
        return commit

    def _run(self, *command: str) -> bytes:
        return run(arguments(self._git_dir, *command), environment(), _LIST_S, self._shown)


def run(argv: list[str], environ: dict[str, str], timeout_s: float, shown: str) -> bytes:
    """Run git to its end and return what it wrote.

    Raises DataError where it fails or takes too long, MissingExtraError where there is no git.
    """
    try:
        done = subprocess.run(  # noqa: S603 - an argument list, built here
            argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError:
        raise MissingExtraError("this needs the git program", hint="install git") from None
    except subprocess.TimeoutExpired:
        raise DataError(f"git took longer than {timeout_s:g} s", file=shown) from None
    if done.returncode != 0:
        said = printable(done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2], 200)
        raise DataError(f"git failed: {said or done.returncode}", file=shown)
    return done.stdout


class _Batch:
    """Two long-lived `git cat-file` processes; one that dies over an object is started anew."""

    def __init__(self, git_dir: Path) -> None:
        self._git_dir = git_dir
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        weakref.finalize(self, _stop_all, self._running)

    def size(self, oid: str) -> int | None:
        """Return a blob's size in bytes, or None where it is missing."""
        head = self._ask("--batch-check", oid)
        return _size(head, oid)

    def read(self, oid: str) -> bytes | None:
        """Return a blob's bytes, or None where it is missing or cut short."""
        size = _size(self._ask("--batch", oid), oid)
        if size is None:
            return None
        process = self._running["--batch"]
        content = _pipe(process.stdout).read(size + 1)
        if len(content) != size + 1:
            self._drop("--batch")
            return None
        return content[:-1]

    def _ask(self, mode: str, oid: str) -> bytes:
        process = self._running.get(mode) or self._start(mode)
        try:
            _pipe(process.stdin).write(oid.encode("ascii") + b"\n")
            _pipe(process.stdin).flush()
            head = _pipe(process.stdout).readline()
        except BrokenPipeError:
            head = b""
        if not head:
            self._drop(mode)
        return head

    def _start(self, mode: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - an argument list, built here
            arguments(self._git_dir, "cat-file", mode),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._running[mode] = process
        return process

    def _drop(self, mode: str) -> None:
        _stop(self._running.pop(mode))


def _size(head: bytes, oid: str) -> int | None:
    parts = head.split()
    if len(parts) != 3 or parts[0] != oid.encode("ascii") or parts[1] != b"blob":
        return None
    return int(parts[2])


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "the process was started with pipes"
    return pipe


def _stop_all(running: dict[str, subprocess.Popen[bytes]]) -> None:
    while running:
        _stop(running.popitem()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        try:
            _pipe(pipe).close()
        except BrokenPipeError:
            continue
    process.kill()
    process.wait()
