"""The settings under which git runs: nothing of the machine, and no programs of others."""

from __future__ import annotations

_PERSON = ("Agent", "agent@town.invalid")
_GIT_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.pager": "cat",
    "core.sshCommand": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "credential.helper": "",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "gpg.program": "false",
    "gpg.ssh.program": "false",
    "gpg.x509.program": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "init.defaultBranch": "main",
    "pull.rebase": "true",
    "submodule.recurse": "false",
    "advice.detachedHead": "false",
}


def git_environment() -> dict[str, str]:
    """Return the variables that keep git to local files, without programs of others."""
    pairs = list(_GIT_CONFIG.items())
    numbered = {f"GIT_CONFIG_KEY_{i}": name for i, (name, _) in enumerate(pairs)}
    numbered |= {f"GIT_CONFIG_VALUE_{i}": value for i, (_, value) in enumerate(pairs)}
    return {
        **numbered,
        "GIT_CONFIG_COUNT": str(len(pairs)),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "file",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "false",
        "GIT_SSH_COMMAND": "false",
        "GIT_EDITOR": "true",
        "GIT_SEQUENCE_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_AUTHOR_NAME": _PERSON[0],
        "GIT_AUTHOR_EMAIL": _PERSON[1],
        "GIT_COMMITTER_NAME": _PERSON[0],
        "GIT_COMMITTER_EMAIL": _PERSON[1],
    }
