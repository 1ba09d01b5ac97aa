"""Signs of success and failure in what a session did: each one rule, each with its line and its words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from realm.core.text import printable
from realm.corpus.agents.shell import Command
from realm.corpus.agents.turns import Did, Event, Said


class Mode(StrEnum):
    """How a session failed."""

    TIMEOUT = "timeout"
    WRONG_BRANCH = "wrong_branch"
    BROKE_TESTS = "broke_tests"
    IGNORED_CONVENTIONS = "ignored_conventions"
    OUT_OF_MEMORY = "out_of_memory"
    SKIPPED_HOOKS = "skipped_hooks"
    WRONG_DEPENDENCY_DIRECTION = "wrong_dependency_direction"


class Sign(NamedTuple):
    """One piece of evidence."""

    line: int
    mode: Mode | None
    """None for a sign of success."""
    what: str


_EDITORS = frozenset({"Edit", "MultiEdit", "Write", "NotebookEdit"})
_TRUNKS = frozenset({"main", "master", "refs/heads/main", "refs/heads/master"})
_INSTALLERS = {"apt": "install", "apt-get": "install", "brew": "install", "dnf": "install", "yum": "install"}
_KILLERS = frozenset({"pkill", "killall"})
_DROPS = re.compile(r"\b(?:DROP\s{1,4}(?:TABLE|DATABASE)|TRUNCATE\s{1,4}TABLE)\b", re.IGNORECASE)

_TIMED_OUT = re.compile(
    r"\b(?:command timed out after|request timed out|deadline exceeded|ETIMEDOUT|timed out waiting)\b",
    re.IGNORECASE,
)
_NO_MEMORY = re.compile(
    r"\b(?:CUDA out of memory|OOMKilled|JavaScript heap out of memory|Out of memory: Killed|"
    r"java\.lang\.OutOfMemoryError|Cannot allocate memory|MemoryError|exit code 137)\b",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"\b[1-9]\d{0,6} (?:failed|failures?|errors?)\b|^(?:FAIL\b|--- FAIL|FAILED\b)|\btest result: FAILED\b",
    re.MULTILINE,
)
_PASSED = re.compile(
    r"\b[1-9]\d{0,6} (?:passed|passing)\b|^ok\s|^PASS\b|\btest result: ok\b|^OK\b", re.MULTILINE
)
_RUNNERS = frozenset({"pytest", "tox", "ctest", "jest", "vitest", "rspec", "phpunit", "nosetests"})
_TEST_WORDS = {
    "go": {"test"},
    "cargo": {"test", "nextest"},
    "npm": {"test", "t"},
    "yarn": {"test"},
    "pnpm": {"test"},
    "bun": {"test"},
    "make": {"test", "check"},
    "dotnet": {"test"},
    "mix": {"test"},
    "gradle": {"test"},
    "gradlew": {"test"},
    "mvn": {"test", "verify"},
}
_REBUKES = (
    (Mode.WRONG_BRANCH, re.compile(r"\bwrong branch\b", re.IGNORECASE)),
    (
        Mode.BROKE_TESTS,
        re.compile(
            r"\b(?:you|this|that|it)(?:'ve| have| has)? (?:just )?(?:broke|broken|breaks) "
            r"(?:the |our |all )?(?:the )?(?:tests?|build|ci)\b",
            re.IGNORECASE,
        ),
    ),
    (
        Mode.SKIPPED_HOOKS,
        re.compile(r"\b(?:skipped|bypassed) (?:the |our )?(?:git )?(?:hooks?|pre-commit)\b", re.IGNORECASE),
    ),
    (
        Mode.IGNORED_CONVENTIONS,
        re.compile(
            r"\b(?:ignored?|violat(?:ed|es?)|against|not follow(?:ed|ing)?) (?:the |our )?"
            r"(?:code |coding |naming )?(?:conventions?|style guide|guidelines?)\b",
            re.IGNORECASE,
        ),
    ),
    (
        Mode.WRONG_DEPENDENCY_DIRECTION,
        re.compile(
            r"\bdep(?:endency|endencies|s)? (?:is|are) (?:the wrong way|backwards?|reversed|inverted)\b|"
            r"\bwrong (?:dependency )?direction\b",
            re.IGNORECASE,
        ),
    ),
)
_REBUKE_CHARS = 500
_CONFIRMED = re.compile(
    r"\W{0,3}(?:thanks|thank you|perfect|great|awesome|excellent|lgtm|looks good|works|it works|well done)\b",
    re.IGNORECASE,
)
_DOUBT = re.compile(r"\b(?:but|however|not|n't|still|except|although|now)\b|\?", re.IGNORECASE)
_CONFIRM_CHARS = 160
_REFUSED = re.compile(
    r"\b(?:won'?t ?fix|duplicates?|stale|obsolete|superseded|not needed|garbage|abandon\w{0,4}|invalid|"
    r"cannot reproduce|no longer|no-changes)\b",
    re.IGNORECASE,
)


def edits(event: Event) -> bool:
    """Tell whether a file was edited by a tool for it."""
    return isinstance(event, Did) and event.name in _EDITORS and not event.error


def broken_rules(events: Sequence[Event], role: str | None) -> Iterator[Sign]:
    """Yield broken rules: skipped hooks for everybody, the others for those who work in a town."""
    allowed = False
    for event in events:
        if isinstance(event, Said):
            # Whoever names the flag has thought about it; then it was not the model's own idea.
            allowed = allowed or "no-verify" in event.text or "HUSKY" in event.text
        elif isinstance(event, Did):
            if role == "witness" and edits(event):
                yield Sign(event.line, Mode.IGNORED_CONVENTIONS, "the witness edited a file")
            for command in event.ran:
                if not allowed and not event.error and _skips_hooks(command):
                    yield Sign(event.line, Mode.SKIPPED_HOOKS, _shown(command))
                if role is not None and not event.error:
                    yield from _breaks_town_rules(command, role, event.line)


def lapses(event: Did) -> Iterator[Sign]:
    """Yield signs of a timeout or of exhausted memory in one result."""
    result = event.result or ""
    if not event.error:
        return
    for mode, pattern in ((Mode.TIMEOUT, _TIMED_OUT), (Mode.OUT_OF_MEMORY, _NO_MEMORY)):
        found = pattern.search(result[:2000]) or pattern.search(result[-2000:])
        if found:
            yield Sign(event.line, mode, f"the tool said: {found[0]}")


def trouble_mode(text: str) -> Mode | None:
    """Return the failure an error of the tool itself speaks of."""
    if _TIMED_OUT.search(text):
        return Mode.TIMEOUT
    return Mode.OUT_OF_MEMORY if _NO_MEMORY.search(text) else None


def rebukes(events: Sequence[Event]) -> Iterator[Sign]:
    """Yield what the person held against the work; short words after something was done."""
    worked = False
    for event in events:
        worked = worked or isinstance(event, Did)
        if isinstance(event, Said) and worked and len(event.text) <= _REBUKE_CHARS:
            mode = mode_named(event.text)
            if mode:
                yield Sign(event.line, mode, "the person said so")


def mode_named(text: str) -> Mode | None:
    """Return the first failure mode that a text names."""
    return next((mode for mode, pattern in _REBUKES if pattern.search(text)), None)


def wrong_directions(events: Sequence[Event]) -> Iterator[Sign]:
    """Yield dependencies that would have closed a cycle and were never added the other way round."""
    refused: dict[tuple[str, str], Sign] = {}
    for event in events:
        if not isinstance(event, Did):
            continue
        for command in event.ran:
            pair = _dependency(command)
            if pair is None:
                continue
            if event.error and "cycle" in (event.result or "").lower():
                refused[pair] = Sign(event.line, Mode.WRONG_DEPENDENCY_DIRECTION, _shown(command))
            elif not event.error:
                refused.pop(pair[::-1], None)
    yield from refused.values()


def tests(event: Event) -> bool | None:
    """Tell whether a run of tests passed; None where it was none or did not say."""
    if not isinstance(event, Did) or event.result is None:
        return None
    if not any(_is_test(command) for command in event.ran):
        return None
    told = f"{event.result[:1_000]}\n{event.result[-3_000:]}"
    # The patterns are tried at every place of a text; a word that they all need is found much faster.
    lowered = told.lower()
    if ("fail" in lowered or "error" in lowered) and _FAILED.search(told):
        return False
    if ("pass" in lowered or "ok" in lowered) and _PASSED.search(told):
        return not event.error
    # Behind a pipe the exit status is another program's.
    return False if event.error and "|" not in event.command else None


def handed_in(event: Event) -> Sign | None:
    """Return the sign that work was handed in: `gt done`, or `bd close` for a reason that is no refusal."""
    if not isinstance(event, Did) or event.error or event.result is None:
        return None
    for command in event.ran:
        words = command.words
        if words[:2] == ("gt", "done"):
            status = _option(words, "--status")
            if status.upper() in ("", "COMPLETED"):
                return Sign(event.line, None, "gt done")
        if words[:2] == ("bd", "close") and not refuses(_option(words, "--reason") or _option(words, "-r")):
            return Sign(event.line, None, _shown(command))
    return None


def committed(event: Event) -> bool:
    """Tell whether something was committed or pushed."""
    if not isinstance(event, Did) or event.error or event.result is None:
        return False
    return any(command.git()[:1] in (("commit",), ("push",)) for command in event.ran)


def closes(event: Event) -> Iterator[str]:
    """Yield the ids of work items that a call closed."""
    if isinstance(event, Did) and not event.error:
        for command in event.ran:
            if command.words[:2] == ("bd", "close") and len(command.words) > 2:
                yield from (word for word in command.words[2:3] if not word.startswith("-"))


def confirms(text: str) -> bool:
    """Tell whether a person's last words say that it is good."""
    return len(text) <= _CONFIRM_CHARS and bool(_CONFIRMED.match(text)) and not _DOUBT.search(text)


def refuses(reason: str) -> bool:
    """Tell whether a close reason says that the work was not done at all."""
    return bool(_REFUSED.search(reason[:2000]))


def _skips_hooks(command: Command) -> bool:
    git = command.git()
    if git[:1] == ("commit",):
        plain = _options_only(git[1:], {"-m", "-F", "--message", "--file", "--author", "-C"})
        return "--no-verify" in plain or any(
            re.fullmatch(r"-[a-zA-Z]*n[a-zA-Z]*", word) for word in plain if not word.startswith("-m")
        )
    skipping = any(variable in ("HUSKY=0", "HUSKY_SKIP_HOOKS=1") for variable in command.variables)
    return (git[:1] == ("push",) and "--no-verify" in git) or (bool(git) and skipping)


def _options_only(words: Sequence[str], takes_value: set[str]) -> list[str]:
    """Return the words without the values of options that take one."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
            continue
        kept.append(word)
        skip = word in takes_value or bool(re.fullmatch(r"-[a-zA-Z]*m", word))
    return kept


def _breaks_town_rules(command: Command, role: str, line: int) -> Iterator[Sign]:
    git = command.git()
    plain = [word for word in git[1:] if not word.startswith("-")]
    if git[:1] == ("push",) and role == "polecat":
        targets = [word.rpartition(":")[2].lstrip("+") for word in plain[1:]]
        if _TRUNKS.intersection(targets):
            yield Sign(line, Mode.WRONG_BRANCH, _shown(command))
    if _is_forbidden(command, git) or (role == "polecat" and command.words[:3] == ("gh", "pr", "merge")):
        yield Sign(line, Mode.IGNORED_CONVENTIONS, _shown(command))


def _is_forbidden(command: Command, git: tuple[str, ...]) -> bool:
    words, program = command.words, command.program
    if program == "sudo" or program in _KILLERS:
        return True
    if program in _INSTALLERS and _INSTALLERS[program] in words:
        return True
    if program == "rm":
        flags = "".join(word for word in words[1:] if word.startswith("-"))
        return "r" in flags.lower() and "f" in flags and "/" in words
    if program == "dolt" and any(_DROPS.search(word[:2000]) for word in words):
        return True
    if words[:2] == ("bd", "edit"):
        return True
    options = {word for word in git[1:] if word.startswith("-")}
    return (
        (git[:1] == ("push",) and bool(options & {"-f", "--force"}))
        or (git[:1] == ("reset",) and "--hard" in options)
        or (git[:1] == ("clean",) and any("f" in word for word in options))
    )


def _is_test(command: Command) -> bool:
    words, program = command.words, command.program
    if program in _RUNNERS:
        return True
    if program.startswith("python"):
        return words[1:3] in (("-m", "pytest"), ("-m", "unittest"))
    if program in ("uv", "poetry", "npx") and len(words) > 1:
        return bool({*words[1:4]} & _RUNNERS)
    if words[1:2] == ("run",):
        return program in ("npm", "yarn", "pnpm", "bun") and words[2:3] == ("test",)
    return bool(_TEST_WORDS.get(program, set()) & set(words[1:4]))


def _dependency(command: Command) -> tuple[str, str] | None:
    """Return (needing, needed) of `bd dep add X Y`: X needs Y."""
    words = [word for word in command.words if not word.startswith("-")]
    return (words[3], words[4]) if words[:3] == ["bd", "dep", "add"] and len(words) > 4 else None


def _option(words: Sequence[str], name: str) -> str:
    for index, word in enumerate(words):
        if word.startswith(name + "="):
            return word[len(name) + 1 :]
        if word == name and index + 1 < len(words):
            return words[index + 1]
    return ""


def _shown(command: Command) -> str:
    return printable(" ".join(command.words), 160)
