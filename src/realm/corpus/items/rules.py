"""Which work items are good enough to learn from.

Filed by somebody who meant it: a type of work (not a message, an agent or a session's event), neither a
tombstone nor short-lived nor a template, a title of two words and ten characters or more that no program
repeats, a description of 60 to 8,000 characters, a design and acceptance criteria of no more than that, no
open placeholder, and not disowned when it was closed (garbage, test artefact, wrong repository, duplicate).

A close reason is good where it has 20 to 2,000 characters, was given to no other item, does not only tidy up
(stale, superseded, cleanup) or report a merge, and names no commit or number that nobody mentioned before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from realm.corpus.agents.workitem import TOMBSTONE, WorkItem

WORK = frozenset({"bug", "feature", "task", "epic", "chore", "decision", "spike", "story", "milestone"})
_PASSING = ("ephemeral", "is_template")
_SHORTEST_TITLE, _LONGEST_TITLE = 10, 500
_SHORTEST_DESCRIPTION, _LONGEST_DESCRIPTION = 60, 8000
_SHORTEST_REASON, _LONGEST_REASON = 20, 2000
_REPEATED = 3
_PLACEHOLDER = "{{"
_VARIABLE = re.compile(r"\b[a-z]{1,8}-[a-z0-9.]{1,20}\b|\d{1,20}")
_DISOWNED = re.compile(
    r"\b(?:garbage|pollution|spurious|artifacts?|noise|junk|wrong repo|not (?:a )?real|duplicate)\b",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\b(?=[a-f]{0,40}[0-9])[0-9a-f]{7,40}\b|#[0-9]{1,9}\b")
"""Commits, issues and pull requests by number."""
_REPORTED = re.compile(
    r"\W{0,3}(?:(?:already |work )?merged|no-changes|completed with no code changes)\b", re.IGNORECASE
)
_TIDIED = re.compile(
    r"\b(?:stale|backlog|clean(?:up|ing up)|auto-closed|superseded|no longer (?:relevant|exists)|squashed)\b",
    re.IGNORECASE,
)


def title_key(title: str) -> str:
    """Return a title without what a program would vary: ids and numbers."""
    return _VARIABLE.sub("#", title[:_LONGEST_TITLE].lower())


def faulty_title(title: str, seen: Mapping[str, int] | None = None) -> str | None:
    """Return why a title is not good enough. `seen` counts the titles' keys."""
    if not _SHORTEST_TITLE <= len(title.strip()) <= _LONGEST_TITLE or len(title.split()) < 2:
        return "a title too short or too long"
    if title.startswith("-") or _PLACEHOLDER in title:
        return "a title that is no title"
    if seen is not None and seen.get(title_key(title), 0) >= _REPEATED:
        return "a title that a program repeats"
    return None


def faulty_item(item: WorkItem, seen: Counter[str]) -> str | None:
    """Return why an item is not good enough to learn filing from."""
    if item.status == TOMBSTONE:
        return "a tombstone"
    if item.issue_type not in WORK:
        return "not a type of work"
    if any(item.other.get(key) for key in _PASSING):
        return "short-lived or a template"
    if _DISOWNED.search(item.close_reason[:_LONGEST_REASON]):
        return "disowned when it was closed"
    fault = faulty_title(item.title, seen)
    if fault is not None:
        return fault
    description = item.description.strip()
    if not _SHORTEST_DESCRIPTION <= len(description) <= _LONGEST_DESCRIPTION:
        return "a description too short or too long"
    if len(item.design) + len(item.acceptance_criteria) > _LONGEST_DESCRIPTION:
        return "a design too long"
    if _PLACEHOLDER in description:
        return "a description with open placeholders"
    return None


def faulty_reason(reason: str, given: Counter[str]) -> str | None:
    """Return why a close reason is not good enough. `given` counts the reasons as they were given."""
    if not reason.strip():
        return "no close reason"
    if given[reason.strip()] > 1:
        return "a close reason given to several items"
    if not _SHORTEST_REASON <= len(reason.strip()) <= _LONGEST_REASON:
        return "a close reason too short or too long"
    if _TIDIED.search(reason) or _DISOWNED.search(reason):
        return "a close reason that only tidies up"
    if _REPORTED.match(reason):
        return "a close reason that only reports a merge"
    return None


def invented(reason: str, said: str) -> bool:
    """Tell whether a close reason names a commit or a number that is not in what was said before."""
    return any(named not in said for named in _NAMED.findall(reason))
