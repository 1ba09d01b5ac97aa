"""The world of one scenario: its repository and remote in a sandbox, its work items, its town."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from realm.core.errors import RefusedError, UnavailableError
from realm.corpus.agents.workitem import WorkItem
from realm.evaluation.agents.bd import Bd
from realm.evaluation.agents.commands import started, words_of
from realm.evaluation.agents.evidence import Call, Evidence, Outcome
from realm.evaluation.agents.gitwords import inside_git
from realm.evaluation.agents.gt import Gt
from realm.evaluation.agents.protocol import Finish, ReadFile, Run, ToolCall, WriteFile
from realm.evaluation.agents.sandbox import Ran, Sandbox
from realm.evaluation.agents.scenario import BranchState, Scenario

_ENDED = {
    "time": "stopped: it took too long",
    "output": "stopped: it wrote too much",
    "disk": "stopped: the folder holds too much",
    "memory": "stopped: it took too much memory",
    "lost": "stopped: everything around it ended",
}
_REFS = "%(refname:short) %(objectname)"


class World:
    """Carries out calls, and tells at the end what there is to judge. Closed by whoever made it."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._store = scenario.store()
        self._before: tuple[WorkItem, ...] = tuple(self._store)
        bd = Bd(self._store, scenario.me)
        self._gt = Gt(
            self._store, scenario.me, agents=scenario.agents, hook=scenario.hook, inbox=scenario.inbox
        )
        self._ours = {"bd": bd.run, "gt": self._gt.run}
        self._calls: list[Call] = []
        self._answer = ""
        self.sandbox = Sandbox()
        try:
            self._heads = self._prepare()
        except BaseException:
            self.sandbox.close()
            raise

    def close(self) -> None:
        """Remove the sandbox. Harmless when repeated."""
        self.sandbox.close()

    def do(self, call: ToolCall) -> Call:
        """Carry out one call and note it."""
        self.sandbox.tick()
        text, outcome, output = self._done(call)
        made = Call(number=len(self._calls) + 1, tool=call.tool, text=text, outcome=outcome, output=output)
        self._calls.append(made)
        return made

    def evidence(self) -> Evidence:
        """Return what came of the calls."""
        probes: dict[tuple[str, ...], None] = {}
        for check in self._scenario.all_checks():
            probes |= dict.fromkeys(check.probes(self._heads))
        programs = [probe for probe in probes if probe[0] == "python"]
        looks = [probe for probe in probes if probe[0] != "python"]
        found = dict(zip(looks, self.sandbox.run_all(looks), strict=True)) if looks else {}
        if programs:
            self._put_back_tests()
            python = [(self.sandbox.python, "-S", "-E", "-s", "-B", *probe[1:]) for probe in programs]
            found |= dict(zip(programs, self.sandbox.run_all(python), strict=True))
        return Evidence(
            role=self._scenario.role,
            me=self._scenario.me,
            calls=tuple(self._calls),
            deeds=tuple(self._gt.deeds),
            issues=tuple(self._store),
            before=self._before,
            answer=self._answer,
            heads=self._heads,
            probes=tuple(found.items()),
        )

    def _done(self, call: ToolCall) -> tuple[str, Outcome, str]:
        try:
            match call:
                case Run():
                    outcome, output = self._run(call.args.command)
                    return call.args.command, outcome, output
                case ReadFile():
                    return call.args.path, "done", self.sandbox.read(call.args.path)
                case WriteFile():
                    if inside_git(call.args.path):
                        raise RefusedError("files of git itself are written by git alone")
                    self.sandbox.write(call.args.path, call.args.content)
                    return call.args.path, "done", ""
                case Finish():
                    self._answer = call.args.answer
                    return call.args.answer, "done", ""
        except RefusedError as error:
            return _text(call), "refused", f"refused: {error.what}"

    def _run(self, line: str) -> tuple[Outcome, str]:
        words = words_of(line)
        if words[0] in self._ours:
            reply = self._ours[words[0]](words[1:])
            return "done" if reply.exit == 0 else "failed", reply.output
        ran = self.sandbox.run(started(words, self.sandbox.python if self._scenario.programs else None))
        if ran.ended != "exit":
            return "stopped", f"{ran.output}\n{_ENDED[ran.ended]}"
        return "done" if ran.exit == 0 else "failed", ran.output

    def _put_back_tests(self) -> None:
        paths = list(self._scenario.tests)
        if paths:
            self.sandbox.run(["rm", "-rf", "--", *paths])
        for path, text in self._scenario.tests.items():
            # What stands in the way makes the tests fail, which says it all.
            with contextlib.suppress(RefusedError):
                self.sandbox.write(path, text)

    # --- how it begins --------------------------------------------------------------------

    def _prepare(self) -> dict[str, str]:
        """Make the repository and its remote; return the remote's branches with their commits."""
        scenario = self._scenario
        commands = [
            ["git", "init", "-q", "--bare", "--template=", "../origin.git"],
            ["git", "init", "-q", "--template="],
            ["git", "remote", "add", "origin", "../origin.git"],
            *self._changes("first", scenario.files or {"README.md": "A small project.\n"}),
            ["git", "add", "-A"],
            ["git", "commit", "-q", "-m", "First commit"],
            ["git", "push", "-q", "-u", "origin", "main"],
        ]
        for number, branch in enumerate(scenario.branches):
            commands += self._grown(f"branch{number}", branch)
        commands += [["git", "checkout", "-q", scenario.on], *self._changes("edits", scenario.edits)]
        commands.append(["rm", "-rf", "../stage"])
        *_, told = self._git(
            [*commands, ["git", "--git-dir=../origin.git", "for-each-ref", f"--format={_REFS}"]]
        )
        return dict(line.split(" ", 1) for line in told.output.splitlines())

    def _grown(self, stage: str, branch: BranchState) -> list[list[str]]:
        """Return the commands that make a branch, here, on the remote, or on both."""
        ref, seen = f"refs/heads/{branch.name}", f"refs/remotes/origin/{branch.name}"
        commands = [
            ["git", "checkout", "-q", "--detach", branch.start],
            *self._changes(stage, branch.files),
            ["git", "add", "-A"],
            ["git", "commit", "-q", "--allow-empty", "-m", branch.message],
        ]
        if branch.pushed:
            commands.append(["git", "push", "-q", "origin", f"HEAD:{ref}"])
        if branch.here:
            commands.append(["git", "checkout", "-q", "-B", branch.name])
            if branch.pushed:
                commands.append(["git", "branch", "-q", f"--set-upstream-to=origin/{branch.name}"])
        elif branch.name == "main":
            commands.append(["git", "update-ref", seen, ref])
        else:
            commands.append(["git", "update-ref", "-d", seen])
        return commands

    def _changes(self, stage: str, files: Mapping[str, str | None]) -> list[list[str]]:
        """Lay the texts of files aside; return the commands that put them in place and remove others."""
        for path, text in files.items():
            if text is not None:
                self.sandbox.write(f"{stage}/{path}", text, at="stage")
        gone = [path for path, text in files.items() if text is None]
        commands = [["cp", "-R", f"../stage/{stage}/.", "."]] if len(gone) < len(files) else []
        return [*commands, ["rm", "--", *gone]] if gone else commands

    def _git(self, commands: Sequence[Sequence[str]]) -> tuple[Ran, ...]:
        done = self.sandbox.run_all(commands)
        for argv, ran in zip(commands, done, strict=True):
            if ran.exit != 0:
                raise UnavailableError(f"{self._scenario.id}: {' '.join(argv)}: {ran.output[-300:]}")
        return done


def _text(call: ToolCall) -> str:
    match call:
        case Run():
            return call.args.command
        case ReadFile() | WriteFile():
            return call.args.path
        case Finish():
            return call.args.answer
