"""The `bd` command over a store: the part of it that agents use. `bd edit` opens an editor and is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realm.core.errors import RefusedError, UsageError
from realm.corpus.agents.workitem import WorkItem
from realm.evaluation.agents import options
from realm.evaluation.agents.beads import Store
from realm.evaluation.agents.options import Options
from realm.evaluation.agents.reply import Reply, answered

_PRIORITY = re.compile(r"[pP]?([0-4])")
_ID = re.compile(r"[a-z][a-z0-9]{0,15}-[a-z0-9.]{1,20}")
_DEEPEST, _LONGEST = 20, 200
"""Levels and lines of a tree."""
_TEXTS = {
    "--description": "description",
    "-d": "description",
    "--design": "design",
    "--acceptance": "acceptance_criteria",
    "--notes": "notes",
    "--assignee": "assignee",
    "-a": "assignee",
    "--type": "issue_type",
    "-t": "issue_type",
    "--title": "title",
}
_PRIORITIES = {"--priority": "priority", "-p": "priority"}
_JSON = {"--json": "json", "--silent": "silent", "-q": "silent", "--quiet": "silent"}
_CREATE = {
    **_TEXTS,
    **_PRIORITIES,
    "--labels": "labels",
    "-l": "labels",
    "--parent": "parent",
    "--deps": "deps",
    "--id": "id",
}
_UPDATE = {
    **_TEXTS,
    **_PRIORITIES,
    "--status": "status",
    "-s": "status",
    "--add-label": "add_label",
    "--remove-label": "remove_label",
    "--parent": "parent",
}
_FILTERS = {
    "--status": "status",
    "-s": "status",
    "--type": "issue_type",
    "-t": "issue_type",
    "--assignee": "assignee",
    "-a": "assignee",
    "--label": "label",
    "-l": "label",
    **_PRIORITIES,
    "--limit": "limit",
    "-n": "limit",
}


class Bd:
    """Answer `bd` command lines."""

    def __init__(self, store: Store, me: str) -> None:
        self.store = store
        self._me = me
        self._commands: dict[str, Callable[[Sequence[str]], str]] = {
            "create": self._create,
            "update": self._update,
            "close": self._close,
            "dep": self._dep,
            "ready": self._ready,
            "blocked": self._blocked,
            "list": self._list,
            "show": self._show,
            "export": lambda words: self.store.export(),
            "edit": _edit,
        }

    def run(self, words: Sequence[str]) -> Reply:
        """Answer the words behind `bd`. A mistake is an answer with exit code 1 or 2, as on a terminal."""
        return answered("bd", self._commands, words)

    def _create(self, words: Sequence[str]) -> str:
        given = options.read(words, _CREATE, _JSON)
        title = given.one("title") or (given.plain[0] if given.plain else "")
        if len(given.plain) > 1 or (given.plain and given.one("title")):
            raise UsageError("one title, in quotes")
        id_, needs = given.one("id"), _needs(given)
        if id_ is not None and not _ID.fullmatch(id_):
            raise UsageError("an id looks like rl-12")
        labels = given.one("labels")
        more = {"labels": tuple(filter(None, labels.split(",")))} if labels else {}
        item = self.store.create(title, id_=id_, needs=needs, created_by=self._me, **_fields(given), **more)
        if "json" in given.flags:
            return _json(self.store.get(item.id).fields())
        return f"{item.id}\n" if "silent" in given.flags else f"Created issue: {item.id}\n  {item.title}\n"

    def _update(self, words: Sequence[str]) -> str:
        given = options.read(words, _UPDATE, {**_JSON, "--claim": "claim"})
        told = []
        for id_ in _ids(given):
            item = self.store.get(id_)
            fields = _fields(given)
            if "claim" in given.flags:
                if item.assignee and item.assignee != self._me:
                    raise RefusedError(f"{id_} is already claimed by {item.assignee}")
                fields |= {"assignee": self._me, "status": "in_progress"}
            labels = [*item.labels, *given.values.get("add_label", ())]
            gone = given.values.get("remove_label", ())
            if given.one("title") is not None:
                fields["title"] = given.one("title")
            fields["labels"] = tuple(dict.fromkeys(label for label in labels if label not in gone))
            self.store.update(id_, **fields)
            parent = given.one("parent")
            if parent:
                self.store.add_need(id_, parent, "parent-child")
            told.append(f"Updated issue: {id_}\n")
        return "".join(told)

    def _close(self, words: Sequence[str]) -> str:
        given = options.read(
            words,
            {"--reason": "reason", "-r": "reason", "--session": "session"},
            {**_JSON, "--force": "force"},
        )
        reason = given.one("reason") or "Closed"
        return "".join(f"Closed {self.store.close(id_, reason).id}: {reason}\n" for id_ in _ids(given))

    def _dep(self, words: Sequence[str]) -> str:
        action, rest = (words[0], words[1:]) if words else ("", ())
        given = options.read(rest, {"--type": "type", "-t": "type"}, _JSON)
        if action == "cycles" and not given.plain:
            found = self.store.cycles()
            return "".join(" → ".join(one) + "\n" for one in found) or "No dependency cycles detected\n"
        if action == "tree" and len(given.plain) == 1:
            return "\n".join(self._tree(given.plain[0], 0, [])) + "\n"
        if action in ("add", "remove") and len(given.plain) == 2:
            needing, needed = given.plain
            kind = given.one("type") or "blocks"
            if action == "remove":
                self.store.remove_need(needing, needed)
                return f"Removed dependency: {needing} no longer depends on {needed}\n"
            self.store.add_need(needing, needed, kind)
            return f"Added dependency: {needing} depends on {needed} ({kind})\n"
        raise UsageError("bd dep add ISSUE NEEDED | remove ISSUE NEEDED | tree ISSUE | cycles")

    def _tree(self, id_: str, depth: int, told: list[str]) -> list[str]:
        told.append("  " * depth + _line(self.store.get(id_)))
        for needed in self.store.needs(id_):
            if needed in self.store and depth < _DEEPEST and len(told) < _LONGEST:
                self._tree(needed, depth + 1, told)
        return told

    def _ready(self, words: Sequence[str]) -> str:
        given = options.read(words, _FILTERS, _JSON)
        return self._told(given, self.store.ready(), "No ready work found\n")

    def _blocked(self, words: Sequence[str]) -> str:
        given = options.read(words, {}, _JSON)
        held = [item for item in self.store if not item.closed and self.store.blockers(item.id)]
        if "json" in given.flags:
            return _json([{**i.fields(), "blocked_by": list(self.store.blockers(i.id))} for i in held])
        told = (f"{_line(item)}  blocked by {', '.join(self.store.blockers(item.id))}\n" for item in held)
        return "".join(told) or "No blocked issues\n"

    def _list(self, words: Sequence[str]) -> str:
        given = options.read(words, _FILTERS, {**_JSON, "--all": "all"})
        items = [i for i in self.store if not i.closed or "all" in given.flags or given.one("status")]
        return self._told(given, items, "No issues found\n")

    def _told(self, given: Options, items: Sequence[WorkItem], none: str) -> str:
        wanted = {name: given.one(name) for name in ("status", "issue_type", "assignee")}
        kept = [i for i in items if all(v in (None, getattr(i, name)) for name, v in wanted.items())]
        label, priority, limit = given.one("label"), _priority(given), given.one("limit")
        kept = [i for i in kept if label is None or label in i.labels]
        kept = [i for i in kept if priority is None or i.priority == priority]
        if limit is not None and limit.isdecimal():
            kept = kept[: int(limit[:4])]
        if "json" in given.flags:
            return _json([item.fields() for item in kept])
        return "".join(_line(item) + "\n" for item in kept) or none

    def _show(self, words: Sequence[str]) -> str:
        given = options.read(words, {}, _JSON)
        items = [self.store.get(id_) for id_ in _ids(given)]
        if "json" in given.flags:
            return _json([item.fields() for item in items])
        return "\n".join(_shown(item) for item in items)


def _edit(words: Sequence[str]) -> str:
    raise UsageError("bd edit opens an editor, which agents may not use; use bd update")


def _ids(given: Options) -> tuple[str, ...]:
    if not 0 < len(given.plain) <= 50:
        raise UsageError("1 to 50 ids are expected")
    return given.plain


def _needs(given: Options) -> list[tuple[str, str]]:
    """Return what a new item needs: of `--deps type:id,id`, and the parent."""
    found = []
    for word in ",".join(given.values.get("deps", ())).split(","):
        kind, _, needed = word.strip().rpartition(":")
        if needed:
            found.append((needed, kind or "blocks"))
    parent = given.one("parent")
    return [*found, *([(parent, "parent-child")] if parent else [])]


def _fields(given: Options) -> dict[str, Any]:
    names = {*_TEXTS.values(), "status"} - {"title"}
    found: dict[str, Any] = {name: given.values[name][-1] for name in names if name in given.values}
    priority = _priority(given)
    return found if priority is None else {**found, "priority": priority}


def _priority(given: Options) -> int | None:
    word = given.one("priority")
    if word is None:
        return None
    found = _PRIORITY.fullmatch(word)
    if found is None:
        raise UsageError("a priority is 0 (most urgent) to 4")
    return int(found[1])


def _line(item: WorkItem) -> str:
    who = f" @{item.assignee}" if item.assignee else ""
    return f"{item.id} [P{item.priority}] [{item.issue_type}] {item.status}{who} - {item.title}"


def _shown(item: WorkItem) -> str:
    told = [_line(item)]
    for name in ("description", "design", "acceptance_criteria", "notes", "close_reason"):
        text = getattr(item, name)
        if text:
            told.append(f"{name}: {text}")
    if item.labels:
        told.append(f"labels: {', '.join(item.labels)}")
    told += [f"depends on {d.depends_on_id} ({d.type})" for d in item.dependencies]
    return "\n".join(told) + "\n"


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
