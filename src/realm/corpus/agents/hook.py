"""The hook that hands a session to the lab when it ends, and its entry in an agent's settings.

Claude Code runs hooks of its `settings.json` as shell commands and writes JSON to their input, with
`transcript_path` (https://code.claude.com/docs/en/hooks). `SessionEnd` comes once, when a session is left;
`Stop` comes after every answer, also where a town ends sessions without telling them. Both may be set: the
same session handed in again is taken as the longer version of itself. A hook must never hold the agent up:
exit status 2 of a `Stop` hook would make it go on working, and what it prints could be read as an order, so
the command prints nothing and fails with 1 at most.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from realm.core.errors import ConfigError, DataError
from realm.corpus.files import lines

EVENTS = ("SessionEnd", "Stop")
_MARK = "data add --from-hook"
_TIMEOUT_S = 60
_PAYLOAD_BYTES = 1_000_000


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


def transcript_of(payload: bytes) -> Path:
    """Return the session's file that a hook was told of. Raises DataError for any other input."""
    if len(payload) > _PAYLOAD_BYTES:
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
    file = Path(path).expanduser()
    if not file.is_absolute():
        raise DataError("transcript_path is not absolute", file="hook input")
    return file


def _without_ours(group: Any) -> Any:
    """Return a group of hooks without ours, None where nothing else was in it."""
    hooks = group.get("hooks") if isinstance(group, dict) else None
    if not isinstance(hooks, list):
        return group
    kept = [hook for hook in hooks if not (isinstance(hook, dict) and _MARK in str(hook.get("command", "")))]
    return group if len(kept) == len(hooks) else ({**group, "hooks": kept} if kept else None)
