"""A stand-in for the `gt` command: it does what the bookkeeping of a town needs, and notes every deed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from realm.core.errors import NotFoundError, RefusedError, UsageError
from realm.core.records import Record
from realm.evaluation.agents import options
from realm.evaluation.agents.beads import Store
from realm.evaluation.agents.reply import Reply, answered

_SUBJECT = {"-s": "subject", "--subject": "subject", "-m": "message", "--message": "message"}
_ENDS = ("COMPLETED", "ESCALATED", "DEFERRED")


class Letter(Record):
    """A mail that waits in the inbox."""

    sender: str
    subject: str
    body: str = ""


class Deed(Record):
    """What a command of `gt` did."""

    verb: str
    """`sling`, `done`, `hook`, `convoy`, `nudge`, `mail`, `handoff` or `escalate`."""
    target: str = ""
    subject: str = ""
    text: str = ""
    items: tuple[str, ...] = ()


class Gt:
    """Answer `gt` command lines for one agent of a town."""

    def __init__(
        self,
        store: Store,
        me: str,
        *,
        agents: Sequence[str] = (),
        hook: str = "",
        inbox: Sequence[Letter] = (),
    ) -> None:
        self.deeds: list[Deed] = []
        self._store, self._me, self._hook = store, me, hook
        self._agents, self._inbox = tuple(agents), tuple(inbox)
        self._commands: dict[str, Callable[[Sequence[str]], str]] = {
            "sling": self._sling,
            "done": self._done,
            "hook": self._hooked,
            "prime": self._prime,
            "convoy": self._convoy,
            "nudge": self._nudge,
            "mail": self._mail,
            "handoff": self._handoff,
            "escalate": self._escalate,
        }

    def run(self, words: Sequence[str]) -> Reply:
        """Answer the words behind `gt`. A mistake is an answer with exit code 1 or 2, as on a terminal."""
        return answered("gt", self._commands, words)

    def _sling(self, words: Sequence[str]) -> str:
        given = options.read(
            words, {"--args": "args", "-a": "args", **_SUBJECT}, {"--no-convoy": "no-convoy"}
        )
        *items, target = given.plain or ("",)
        if not items:
            raise UsageError("gt sling ISSUE… TARGET")
        self._known(target)
        for id_ in items:
            if self._store.get(id_).closed:
                raise RefusedError(f"{id_} is closed")
            self._store.update(id_, status="hooked", assignee=target)
        self._note("sling", target=target, items=tuple(items), text=given.one("args") or "")
        return f"Slung {', '.join(items)} to {target}\n"

    def _done(self, words: Sequence[str]) -> str:
        given = options.read(words, {"--status": "status", "--issue": "issue"})
        status = (given.one("status") or "COMPLETED").upper()
        if given.plain or status not in _ENDS:
            raise UsageError(f"gt done [--status {'|'.join(_ENDS)}]")
        self._note("done", subject=status, items=(self._hook,) if self._hook else ())
        return f"Work handed in ({status}); the merge queue takes it from here\n"

    def _hooked(self, words: Sequence[str]) -> str:
        given = options.read(words, {}, {"--json": "json"})
        if not given.plain:
            return self._on_hook()
        (id_,) = given.plain if len(given.plain) == 1 else ("",)
        self._store.update(id_, status="hooked", assignee=self._me)
        self._hook = id_
        self._note("hook", target=self._me, items=(id_,))
        return f"Hooked {id_}\n"

    def _prime(self, words: Sequence[str]) -> str:
        options.read(words, {}, {})
        return f"You are {self._me}.\n{self._on_hook()}"

    def _convoy(self, words: Sequence[str]) -> str:
        given = options.read(words, {"--notify": "notify", "--owner": "owner"})
        if given.plain[:1] == ("list",):
            told = (
                f"{deed.subject}: {', '.join(deed.items)}\n" for deed in self.deeds if deed.verb == "convoy"
            )
            return "".join(told) or "No convoys\n"
        if given.plain[:1] != ("create",) or len(given.plain) < 3:
            raise UsageError("gt convoy create NAME ISSUE… | list")
        _, name, *items = given.plain
        for id_ in items:
            self._store.get(id_)
        self._note("convoy", subject=name, items=tuple(items))
        return f"Created convoy {name!r} tracking {len(items)} issues\n"

    def _nudge(self, words: Sequence[str]) -> str:
        given = options.read(words, {"-m": "message", "--message": "message"})
        if not given.plain:
            raise UsageError("gt nudge TARGET MESSAGE")
        self._known(given.plain[0])
        text = given.one("message") or " ".join(given.plain[1:])
        self._note("nudge", target=given.plain[0], text=text)
        return f"Nudged {given.plain[0]}\n"

    def _mail(self, words: Sequence[str]) -> str:
        given = options.read(words[1:], {**_SUBJECT, "--to": "to"}, {"--urgent": "urgent", "--json": "json"})
        match words[:1], given.plain:
            case ["inbox"], ():
                told = (f"{i}  {one.sender}  {one.subject}\n" for i, one in enumerate(self._inbox, 1))
                return "".join(told) or "No mail\n"
            case ["read"], (number,) if number.isdecimal() and 0 < int(number[:4]) <= len(self._inbox):
                one = self._inbox[int(number[:4]) - 1]
                return f"From: {one.sender}\nSubject: {one.subject}\n\n{one.body}\n"
            case ["send"], (to,) if given.one("subject"):
                self._known(to)
                self._note(
                    "mail", target=to, subject=given.one("subject") or "", text=given.one("message") or ""
                )
                return f"Sent to {to}\n"
        raise UsageError("gt mail inbox | read NUMBER | send TO -s SUBJECT -m TEXT")

    def _handoff(self, words: Sequence[str]) -> str:
        given = options.read(words, _SUBJECT, {"--collect": "collect", "-c": "collect"})
        self._note("handoff", subject=given.one("subject") or "", text=given.one("message") or "")
        return "Handed off; the next session goes on from here\n"

    def _escalate(self, words: Sequence[str]) -> str:
        values = {"-s": "severity", "--severity": "severity", "-m": "message", "--reason": "message"}
        given = options.read(words, values)
        if not given.plain:
            raise UsageError("gt escalate WHAT [-s SEVERITY] [-m TEXT]")
        self._note("escalate", subject=given.plain[0], text=given.one("message") or "")
        return "Escalated\n"

    def _on_hook(self) -> str:
        if not self._hook:
            return "Nothing on the hook\n"
        item = self._store.get(self._hook)
        return f"On the hook: {item.id} - {item.title}\n{item.description}\n"

    def _known(self, target: str) -> None:
        if target not in self._agents:
            raise NotFoundError(
                f"no agent or rig is called {target[:60]!r}; there are: {', '.join(self._agents)}"
            )

    def _note(
        self, verb: str, *, target: str = "", subject: str = "", text: str = "", items: tuple[str, ...] = ()
    ) -> None:
        self.deeds.append(Deed(verb=verb, target=target, subject=subject, text=text, items=items))
