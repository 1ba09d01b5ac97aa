"""What git is let do: the subcommands of everyday work, with no program, remote or file that others choose.

Refused here: options that run a program or write a file that is named, every repository but `origin`, and
paths inside git's own folder.
"""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.errors import RefusedError
from realm.core.text import printable
from realm.evaluation.agents.shortened import has_short, is_long, short_value

_GIT = frozenset(
    {
        "add",
        "blame",
        "branch",
        "checkout",
        "cherry-pick",
        "clean",
        "commit",
        "config",
        "describe",
        "diff",
        "fetch",
        "log",
        "ls-files",
        "ls-remote",
        "ls-tree",
        "merge",
        "merge-base",
        "mv",
        "pull",
        "push",
        "rebase",
        "reflog",
        "remote",
        "reset",
        "restore",
        "rev-list",
        "rev-parse",
        "revert",
        "rm",
        "shortlog",
        "show",
        "stash",
        "status",
        "switch",
        "tag",
    }
)
_RUNS = ("--upload-pack", "--receive-pack", "--exec", "--ext-diff", "--open-files-in-pager")
"""Options that run a program, in whichever subcommand."""
_REMOTE = frozenset({"push", "fetch", "pull", "ls-remote"})
_VALUED = (
    "--cleanup",
    "--deepen",
    "--depth",
    "--exec",
    "--filter",
    "--jobs",
    "--negotiation-tip",
    "--push-option",
    "--receive-pack",
    "--recurse-submodules-default",
    "--refmap",
    "--repo",
    "--server-option",
    "--shallow-exclude",
    "--shallow-since",
    "--sort",
    "--strategy",
    "--strategy-option",
    "--submodule-prefix",
    "--upload-pack",
)
"""Options of these whose value may be the next word, which then is not the remote."""
_VALUED_LETTERS = "osXj"
_REMOTE_LOOKS = ("show", "prune", "get-url")
_CONFIG_LOOKS = frozenset({"--get", "--list", "-l", "get", "list"})


def check_git(words: tuple[str, ...]) -> None:
    """Look at the words behind `git`. Raises RefusedError for what it may not do."""
    action = words[0] if words else ""
    if action not in _GIT:
        raise RefusedError(
            f"git {printable(action, 60)} may not be run; there are: {', '.join(sorted(_GIT))}"
        )
    rest = words[1:]
    if any(_runs(action, word) for word in rest):
        raise RefusedError(f"git {action}: an option that runs a program")
    if any(is_long(word, "--output") for word in rest):
        raise RefusedError(f"git {action}: an option that writes a file")
    if any("::" in word or "://" in word for word in rest) and action != "commit":
        raise RefusedError(f"git {action}: only the remote called origin")
    if action in _REMOTE:
        _check_remote(action, rest)
    looked_at = rest[1:] if rest[:1] == ("-v",) else rest
    if action == "remote" and looked_at and looked_at[0] not in _REMOTE_LOOKS:
        raise RefusedError("git remote: remotes may only be looked at")
    if action == "config" and (not rest or rest[0] not in _CONFIG_LOOKS):
        raise RefusedError("git config: settings may only be read")
    if action == "mv" and any(map(inside_git, rest)):
        raise RefusedError("git mv: files of git itself are written by git alone")


def inside_git(path: str) -> bool:
    """Tell whether a path leads into git's own folder, also where case makes no difference."""
    return ".git" in path.casefold().split("/")


def _runs(action: str, word: str) -> bool:
    return (
        word == "--help"  # opens the manual
        or any(is_long(word, name) for name in _RUNS)
        or is_long(word, "--textconv", ("--text",))
        or (action == "rebase" and has_short(word, "x", valued="sX"))
    )


def _check_remote(action: str, words: Sequence[str]) -> None:
    """Refuse another remote, and what git could take for one where a reader does not."""
    if action == "push" and any(is_long(word, "--repo") for word in words):
        raise RefusedError("git push: only the remote called origin")
    place = next((i for i, word in enumerate(words) if not word.startswith("-")), None)
    before = words[:place]
    if "--" in before or (place is not None and words[place] != "origin"):
        raise RefusedError(f"git {action}: only the remote called origin")
    if place and _takes_next(action, before[-1]):
        raise RefusedError(f"git {action}: write {printable(before[-1], 40)} and its value as one word")


def _takes_next(action: str, word: str) -> bool:
    """Tell whether an option takes the next word for its value."""
    if not word.startswith("--"):
        return short_value(word, _VALUED_LETTERS) == ""
    if is_long(word, "--recurse-submodules"):
        return action == "push" and "=" not in word
    return "=" not in word and any(is_long(word, name) for name in _VALUED)
