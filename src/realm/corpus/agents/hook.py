"""The hook that hands a session to the lab when it ends, and its entry in an agent's settings.

Claude Code runs hooks of its `settings.json` as shell commands and writes JSON to their input, with
`transcript_path` (https://code.claude.com/docs/en/hooks). `SessionEnd` comes once, when a session is left;
`Stop` comes after every answer, also where a town ends sessions without telling them. Both may be set: the
same session handed in again is taken as the longer version of itself. A hook must never hold the agent up:
exit status 2 of a `Stop` hook would make it go on working, and what it prints could be read as an order, so
the command prints nothing and fails with 1 at most.
"""

from __future__ import annotations

import itertools
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from realm.core.errors import ConfigError, DataError, StorageError
from realm.core.records import Record
from realm.corpus.files import lines

EVENTS = ("SessionEnd", "Stop")
_MARK = "data add --from-hook"
_TIMEOUT_S = 60
PAYLOAD_BYTES = 1_000_000
_SETTINGS_BYTES = 10_000_000


class Written(Record):
    """What became of an agent's settings."""

    settings: Path
    changed: bool
    backup: Path | None
    """Where the former content is; None where there was none, or nothing changed."""


def hook_entry(
    home: Path, *, program: Sequence[str] = ("realm",), events: Sequence[str] = EVENTS
) -> dict[str, Any]:
    """Return the `hooks` part of an agent's settings that hands its sessions to the lab at `home`.

    `program` is how the command line is called, as an argument list. Raises ConfigError for an event that
    does not end anything.
    """
    unknown = [event for event in events if event not in EVENTS]
    if unknown or not events:
        raise ConfigError(f"no session ends with {unknown or 'nothing'}", hint=f"one of: {', '.join(EVENTS)}")
    call = shlex.join([*program, "--home", str(home.absolute())])
    command = f"{call} {_MARK} >/dev/null || exit 1"
    hook = {"type": "command", "command": command, "timeout": _TIMEOUT_S}
    return {"hooks": {event: [{"hooks": [hook]}] for event in events}}


def merge_into(settings: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the entry's hooks added; an older entry of ours is replaced.

    Everything else stays as it is. Raises ConfigError where `hooks` has another shape than documented.
    """
    hooks = settings.get("hooks", {})
    if not isinstance(hooks, dict):
        raise ConfigError("hooks in the agent's settings is no object", hint="mend the settings first")
    merged = dict(hooks)
    for event, groups in entry["hooks"].items():
        before = hooks.get(event, [])
        if not isinstance(before, list):
            raise ConfigError(f"hooks.{event} in the agent's settings is no list", hint="mend it first")
        merged[event] = [*filter(None, (_without_ours(group) for group in before)), *groups]
    return {**settings, "hooks": merged}


def write_into(file: Path, entry: Mapping[str, Any]) -> Written:
    """Merge the entry into a settings file, whole or not at all; its former content is kept beside it.

    A symlink is followed: settings often lie in a repository of their own. Raises ConfigError where the file
    is no JSON object, StorageError where it cannot be written.
    """
    target = file.resolve()
    before = _content(target)
    settings = _object(before, target) if before is not None and before.strip() else {}
    merged = merge_into(settings, entry)
    if merged == settings:
        return Written(settings=target, changed=False, backup=None)
    mode = target.stat().st_mode & 0o777 if before is not None else 0o600
    backup = _free_backup(target) if before is not None else None
    if backup is not None and before is not None:
        _write(backup, before, mode)
    _write(target, json.dumps(merged, ensure_ascii=False, indent=2).encode() + b"\n", mode)
    return Written(settings=target, changed=True, backup=backup)


def transcript_of(payload: bytes) -> Path:
    """Return the session's file that a hook was told of. Raises DataError for any other input."""
    if len(payload) > PAYLOAD_BYTES:
        raise DataError("more input than a hook gets", file="hook input")
    if not payload.strip():
        raise DataError("no input", file="hook input", hint="this is run by an agent's hook")
    try:
        told = lines.parse(payload.strip(), 64)
    except DataError as error:
        raise DataError(error.reason, file="hook input", hint="this is run by an agent's hook") from None
    path = told.get("transcript_path")
    if not isinstance(path, str) or not path.endswith(lines.SUFFIX) or "\0" in path:
        raise DataError("no transcript_path of a session", file="hook input")
    try:
        file = Path(path).expanduser()
    except RuntimeError:
        raise DataError("transcript_path names no known user", file="hook input") from None
    if not file.is_absolute():
        raise DataError("transcript_path is not absolute", file="hook input")
    return file


def _content(file: Path) -> bytes | None:
    try:
        with file.open("rb") as opened:
            content = opened.read(_SETTINGS_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{file}: not readable: {error.strerror}", hint="mend its permissions") from None
    if len(content) > _SETTINGS_BYTES:
        raise ConfigError(f"{file}: too large to be an agent's settings", hint="name another file")
    return content


def _object(content: bytes, file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise ConfigError(f"{file}: not JSON", hint="mend it first; nothing was written") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{file}: no JSON object", hint="mend it first; nothing was written")
    return settings


def _free_backup(file: Path) -> Path:
    numbers = itertools.count(1)
    names = itertools.chain([f"{file.name}.bak"], (f"{file.name}.bak{number}" for number in numbers))
    return next(path for path in (file.with_name(name) for name in names) if not os.path.lexists(path))


def _write(file: Path, content: bytes, mode: int) -> None:
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        os.chmod(part, mode)  # the umask may have taken from it
        os.rename(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{file}: not written: {error.strerror}", hint="mend its permissions") from None


def _without_ours(group: Any) -> Any:
    """Return a group of hooks without ours, None where nothing else was in it."""
    hooks = group.get("hooks") if isinstance(group, dict) else None
    if not isinstance(hooks, list):
        return group
    kept = [hook for hook in hooks if not (isinstance(hook, dict) and _MARK in str(hook.get("command", "")))]
    return group if len(kept) == len(hooks) else ({**group, "hooks": kept} if kept else None)
