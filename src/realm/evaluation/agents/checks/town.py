"""Checks of a town's conventions: what each role does and leaves, and how agents speak to each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

from realm.evaluation.agents.check import Check, Prohibition
from realm.evaluation.agents.evidence import Call, Evidence, Role
from realm.evaluation.agents.gt import Deed

BOOT_WORDS = ("NOTHING", "NUDGE", "WAKE", "INTERRUPT", "START")
_NAMED = "POLECAT_DONE|MERGE_READY|MERGED|MERGE_FAILED|REWORK_REQUEST|RECOVERED_BEAD|RECOVERY_NEEDED"
_SUBJECT = re.compile(rf"(?:(?:{_NAMED}) \S.{{0,200}}|HELP: \S.{{0,200}}|HANDOFF(?:: .{{0,200}})?)")
_FILES = frozenset({"cd", "ls", "cat", "cp", "mv", "rm", "mkdir", "touch"})
_CODES = frozenset({"add", "commit", "push", "cherry-pick", "revert", "rebase", "merge", "stash"})


class RoleRules(Prohibition):
    """The agent kept to what its role does. Always checked."""

    check: Literal["role_rules"] = "role_rules"

    def fault(self, evidence: Evidence) -> str | None:
        """Return the first rule of the role that was broken."""
        return next(filter(None, (rule(evidence) for rule in _RULES[evidence.role])), None)


class MailSubjects(Prohibition):
    """Every mail's subject is one of the town's, with what it speaks of behind it."""

    check: Literal["mail_subjects"] = "mail_subjects"

    def fault(self, evidence: Evidence) -> str | None:
        """Return the first other subject."""
        for deed in _did(evidence, "mail"):
            if not _SUBJECT.fullmatch(deed.subject):
                return f"the subject {deed.subject[:80]!r} is none of the town's"
        return None


class Mailed(Check):
    """A mail with a subject that begins so was sent to somebody."""

    check: Literal["mailed"] = "mailed"
    to: str
    subject: str

    def fault(self, evidence: Evidence) -> str | None:
        """Return that there is none."""
        for deed in _did(evidence, "mail"):
            if deed.target == self.to and deed.subject.startswith(self.subject):
                return None
        return f"no mail {self.subject} to {self.to}"


class Nudged(Check):
    """Somebody was nudged, and nobody else."""

    check: Literal["nudged"] = "nudged"
    targets: tuple[str, ...]

    def fault(self, evidence: Evidence) -> str | None:
        """Return who was, and should not have been, or the other way round."""
        found = {deed.target for deed in _did(evidence, "nudge")}
        if found == set(self.targets):
            return None
        return f"nudged {', '.join(sorted(found)) or 'nobody'}, not {', '.join(self.targets) or 'nobody'}"


class Slung(Check):
    """An issue was slung to somebody."""

    check: Literal["slung"] = "slung"
    item: str
    to: str

    def fault(self, evidence: Evidence) -> str | None:
        """Return that it was not."""
        item = evidence.find(self.item)
        for deed in _did(evidence, "sling"):
            if item is not None and item.id in deed.items and deed.target == self.to:
                return None
        return f"{self.item} was not slung to {self.to}"


class Convoy(Check):
    """One convoy tracks exactly these issues."""

    check: Literal["convoy"] = "convoy"
    items: tuple[str, ...]

    def fault(self, evidence: Evidence) -> str | None:
        """Return that there is none."""
        wanted = {item.id for which in self.items if (item := evidence.find(which))}
        if len(wanted) == len(self.items) and any(
            set(deed.items) == wanted for deed in _did(evidence, "convoy")
        ):
            return None
        return f"no convoy of exactly {', '.join(self.items)}"


class Escalated(Check):
    """The trouble was escalated, or, where it is none, was not."""

    check: Literal["escalated"] = "escalated"
    escalated: bool = True

    def fault(self, evidence: Evidence) -> str | None:
        """Return that it is otherwise."""
        found = bool(_did(evidence, "escalate"))
        return None if found == self.escalated else f"it was {'' if found else 'not '}escalated"


class Answer(Check):
    """The last answer is exactly this, but for blanks at its ends."""

    check: Literal["answer"] = "answer"
    exactly: str

    def fault(self, evidence: Evidence) -> str | None:
        """Return what was said instead."""
        said = evidence.answer.strip()
        return None if said == self.exactly else f"the answer is {said[:80]!r}, not {self.exactly!r}"


def _did(evidence: Evidence, verb: str) -> tuple[Deed, ...]:
    return tuple(deed for deed in evidence.deeds if deed.verb == verb)


def _writes(evidence: Evidence) -> str | None:
    call = next((call for call in evidence.calls if call.tool == "write_file"), None)
    return f"call {call.number}: a {evidence.role} writes no files" if call else None


def _codes(evidence: Evidence) -> str | None:
    call = _git(evidence, _CODES)
    return f"call {call.number}: a {evidence.role} does not code" if call else None


def _commits(evidence: Evidence) -> str | None:
    call = _git(evidence, frozenset({"commit", "cherry-pick", "revert"}))
    return f"call {call.number}: a {evidence.role} only merges" if call else None


def _git(evidence: Evidence, actions: frozenset[str]) -> Call | None:
    found = (
        call for call, command in evidence.commands() if command.git()[:1] and command.git()[0] in actions
    )
    return next(found, None)


def _slings(evidence: Evidence) -> str | None:
    for call, command in evidence.commands():
        if command.program == "gt" and command.words[1:2] in (("sling",), ("polecat",), ("crew",)):
            return f"call {call.number}: a {evidence.role} starts no workers"
    return None


def _mails_workers(evidence: Evidence) -> str | None:
    mail = next((deed for deed in _did(evidence, "mail") if "polecats/" in deed.target), None)
    return f"a witness nudges {mail.target} rather than mail it" if mail else None


def _leaves(evidence: Evidence) -> str | None:
    """A polecat's commands stay in its worktree."""
    for call, command in evidence.commands():
        words = command.words[1:]
        if command.program == "git" and ("-C" in words or words[:1] == ("worktree",)):
            return f"call {call.number} leaves the worktree"
        if command.program in _FILES and any(_is_outside(word) for word in words):
            return f"call {call.number} leaves the worktree"
    return None


def _is_outside(word: str) -> bool:
    return word.startswith(("/", "~")) or ".." in word.split("/")


def _one_word(evidence: Evidence) -> str | None:
    if evidence.answer.strip() in BOOT_WORDS:
        return None
    return f"boot answers with exactly one of {', '.join(BOOT_WORDS)}"


def _reviews(evidence: Evidence) -> str | None:
    for call, command in evidence.commands():
        if command.program == "gh" and command.words[1:3] in (("pr", "review"), ("pr", "comment")):
            return f"call {call.number} posts a review"
    return None


def _unnamed_rig(evidence: Evidence) -> str | None:
    for call, command in evidence.commands():
        plain = [word for word in command.words[2:] if not word.startswith("-")]
        if command.words[:2] == ("gt", "sling") and len(plain) < 2:
            return f"call {call.number} slings without naming the rig"
    return None


_RULES: Mapping[Role, tuple[Callable[[Evidence], str | None], ...]] = {
    "polecat": (_leaves, _slings),
    "witness": (_writes, _codes, _slings, _mails_workers),
    "deacon": (_writes, _codes, _slings),
    "boot": (_writes, _codes, _slings, _one_word),
    "refinery": (_writes, _commits, _slings),
    "crew": (_reviews, _unnamed_rig),
    "mayor": (_writes, _codes),
}
