from __future__ import annotations

import pytest

from realm.corpus.agents.evidence import Mode
from realm.corpus.agents.outcome import Outcome, infer
from realm.corpus.agents.shell import commands
from realm.corpus.agents.town import Place, place_of
from realm.corpus.agents.turns import Did, Event, Said, Trouble
from realm.corpus.agents.workitem import WorkItem

SKIP = "--no-" + "verify"


def did(command: str, result: str | None = "", *, error: bool = False, name: str = "Bash") -> Did:
    return Did(0, name, command, result, error, tuple(commands(command)))


def edit() -> Did:
    return did("", "ok", name="Edit")


def judged(*events: Event, role: str | None = None, item: WorkItem | None = None) -> Outcome:
    numbered = [event._replace(line=number) for number, event in enumerate(events, 1)]
    return infer(numbered, session="session-1", role=role, item=item)


def of(outcome: Outcome) -> tuple[str, Mode | None]:
    return outcome.result, outcome.mode


PASSING = did("pytest -q", "12 passed in 0.3s")
FAILING = did("pytest -q", "Exit code 1\n2 failed, 10 passed", error=True)
COMMIT = did("git commit -m 'x'", "[main abc] x")


def test_nothing_said_is_unknown() -> None:
    assert of(judged()) == ("unknown", None)
    assert of(judged(Said(0, "hello"))) == ("unknown", None)
    assert of(judged(Said(0, "fix it"), edit(), COMMIT)) == ("unknown", None)
    assert of(judged(Said(0, "great, please fix the tests"))) == ("unknown", None)


@pytest.mark.parametrize(
    "ending",
    [
        (PASSING, COMMIT),
        (FAILING, edit(), PASSING, COMMIT),
        (did("gt done", "Work submitted"),),
        (did("bd close gt-12 --reason 'Implemented'", "Closed gt-12"),),
        (Said(0, "Perfect, works like a charm!"),),
    ],
)
def test_success_is_told_by_what_was_done(ending: tuple[Event, ...]) -> None:
    outcome = judged(Said(0, "fix it"), edit(), *ending)
    assert of(outcome) == ("success", None)
    assert outcome.evidence


@pytest.mark.parametrize(
    "ending",
    [
        (did("gt done --status=ESCALATED", "escalated"),),
        (did("gt done", "no work on the hook", error=True),),
        (did("gt done", None),),
        (did("bd close gt-12 --reason 'duplicate of gt-11'", "Closed gt-12"),),
        (Said(0, "Great, but the button is still red."),),
        (PASSING, edit(), COMMIT),
        (COMMIT, PASSING),
        (did("echo 'gt done'", "gt done"),),
        (Trouble(0, "interrupted"),),
    ],
)
def test_what_only_looks_like_success_is_unknown(ending: tuple[Event, ...]) -> None:
    assert of(judged(Said(0, "fix it"), edit(), *ending)) == ("unknown", None)


@pytest.mark.parametrize(
    ("command", "role", "mode"),
    [
        (f"git commit {SKIP} -m x", None, Mode.SKIPPED_HOOKS),
        ("git commit -nm x", None, Mode.SKIPPED_HOOKS),
        ("HUSKY=0 git push", None, Mode.SKIPPED_HOOKS),
        (f"git add . && git -C . push {SKIP}", None, Mode.SKIPPED_HOOKS),
        ("git push origin HEAD:main", "polecat", Mode.WRONG_BRANCH),
        ("git push origin main", "polecat", Mode.WRONG_BRANCH),
        ("git push -f origin feature", "polecat", Mode.IGNORED_CONVENTIONS),
        ("git reset --hard HEAD~1", "crew", Mode.IGNORED_CONVENTIONS),
        ("git clean -fd", "mayor", Mode.IGNORED_CONVENTIONS),
        ("sudo apt-get install jq", "crew", Mode.IGNORED_CONVENTIONS),
        ("pkill -f dolt", "deacon", Mode.IGNORED_CONVENTIONS),
        ("dolt sql -q 'DROP TABLE issues'", "mayor", Mode.IGNORED_CONVENTIONS),
        ("gh pr merge 3", "polecat", Mode.IGNORED_CONVENTIONS),
    ],
)
def test_broken_rules_are_failures_whatever_was_reached(command: str, role: str | None, mode: Mode) -> None:
    outcome = judged(Said(0, "fix it"), did(command), did("gt done", "ok"), role=role)
    assert of(outcome) == ("failure", mode)
    assert outcome.evidence[0].startswith("line 2: ")


@pytest.mark.parametrize(
    ("command", "role"),
    [
        (f"git commit -m 'never use {SKIP}'", None),
        (f'git commit -m "$(cat <<EOF\nuse {SKIP}\nEOF\n)"', None),
        (f"echo git commit {SKIP}", None),
        ("git commit -m -n", None),
        ("git push origin main", "crew"),
        ("git push origin main", None),
        ("git push origin maintenance", "polecat"),
        ("git push --force-with-lease origin feature", "polecat"),
        ("git push --force origin feature", None),
        ("git reset --soft HEAD~1", "crew"),
        ("rm -rf ./build", "crew"),
        ("git commit -m 'it's", "polecat"),
    ],
)
def test_allowed_commands_are_no_failures(command: str, role: str | None) -> None:
    assert of(judged(Said(0, "fix it"), did(command), role=role)) == ("unknown", None)


def test_skipping_hooks_is_fine_where_the_person_asked_for_it() -> None:
    command = did(f"git commit {SKIP} -m x", "ok")
    assert of(judged(Said(0, f"commit with {SKIP}"), command)) == ("unknown", None)
    assert of(judged(Said(0, "commit"), command))[1] == Mode.SKIPPED_HOOKS


def test_tests_that_failed_last_after_an_edit_are_broken() -> None:
    assert of(judged(PASSING, edit(), FAILING, did("gt done", "ok"))) == ("failure", Mode.BROKE_TESTS)
    assert of(judged(FAILING, edit(), FAILING)) == ("unknown", None)
    assert of(judged(edit(), FAILING, edit(), PASSING))[0] == "unknown"
    piped = did("go test ./... | tail", "--- FAIL: TestX")
    assert of(judged(edit(), piped)) == ("failure", Mode.BROKE_TESTS)
    silent = did("cargo test | tail -1", "", error=True)
    assert of(judged(edit(), silent)) == ("unknown", None)
    merged = WorkItem(id="x", title="t", status="closed", close_reason="Merged in gt-1")
    assert of(judged(edit(), FAILING, item=merged)) == ("success", None)


def test_timeouts_and_memory_count_at_the_end_only() -> None:
    slow = did("make all", "Command timed out after 2m 0s", error=True)
    full = did("python train.py", "Exit code 1\nRuntimeError: CUDA out of memory.", error=True)
    assert of(judged(edit(), slow)) == ("failure", Mode.TIMEOUT)
    assert of(judged(edit(), full)) == ("failure", Mode.OUT_OF_MEMORY)
    assert of(judged(edit(), slow, *[did("ls", "a")] * 5)) == ("unknown", None)
    assert of(judged(edit(), slow, did("gt done", "ok"))) == ("success", None)
    assert of(judged(edit(), did("cat log", "CUDA out of memory"))) == ("unknown", None)
    assert of(judged(edit(), Trouble(0, "API Error: Request timed out."))) == ("failure", Mode.TIMEOUT)


def test_a_dependency_the_wrong_way_round_is_a_failure_unless_it_was_turned() -> None:
    cycle = did("bd dep add gt-1 gt-2", "Error: would create a cycle", error=True)
    assert of(judged(cycle)) == ("failure", Mode.WRONG_DEPENDENCY_DIRECTION)
    assert of(judged(cycle, did("bd dep add gt-2 gt-1", "added"))) == ("unknown", None)


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        ("No, that is the wrong branch.", Mode.WRONG_BRANCH),
        ("you broke the tests", Mode.BROKE_TESTS),
        ("You ignored our conventions again", Mode.IGNORED_CONVENTIONS),
        ("why was pre-commit skipped? you bypassed the hooks", Mode.SKIPPED_HOOKS),
        ("the dependency is backwards", Mode.WRONG_DEPENDENCY_DIRECTION),
    ],
)
def test_a_rebuke_counts_unless_a_success_follows(words: str, mode: Mode) -> None:
    assert of(judged(Said(0, "go"), edit(), Said(0, words))) == ("failure", mode)
    assert of(judged(Said(0, words), edit())) == ("unknown", None)
    assert of(judged(Said(0, "go"), edit(), Said(0, words), edit(), Said(0, "thanks"))) == ("success", None)


def test_work_items_say_how_it_ended() -> None:
    item = WorkItem(id="gt-1", title="t", status="closed", closed_by_session="session-1", close_reason="Done")
    assert of(judged(edit(), item=item)) == ("success", None)
    other = item.model_copy(update={"closed_by_session": "session-2"})
    assert of(judged(edit(), item=other)) == ("unknown", None)
    reopened = item.model_copy(update={"status": "open"})
    assert judged(edit(), item=reopened).evidence == ("work item: gt-1 is open",)
    stale = item.model_copy(update={"close_reason": "Stale backlog"})
    assert of(judged(edit(), item=stale)) == ("unknown", None)
    undone = item.model_copy(update={"close_reason": "Reverted: went to the wrong branch"})
    assert of(judged(edit(), did("gt done", "ok"), item=undone)) == ("failure", Mode.WRONG_BRANCH)


@pytest.mark.parametrize(
    ("cwd", "branch", "expected"),
    [
        ("/home/u/gt/gastown/polecats/nux/src", "main", Place(role="polecat", rig="gastown", worker="nux")),
        ("/home/u/gt/gastown/crew/max", "main", Place(role="crew", rig="gastown", worker="max")),
        ("/home/u/gt/gastown/refinery/rig", "", Place(role="refinery", rig="gastown")),
        ("/home/u/gt/gastown/witness", "", Place(role="witness", rig="gastown")),
        ("/home/u/gt/gastown/mayor/rig", "", Place(role="mayor", rig="gastown")),
        ("/home/u/gt/mayor", "", Place(role="mayor")),
        ("/home/u/gt/deacon/dogs/rex", "", Place(role="dog", worker="rex")),
        ("/home/u/gt/deacon/dogs/boot", "", Place(role="boot", worker="boot")),
        ("C:\\gt\\deacon", "", Place(role="deacon")),
        ("/home/u/gt", "", Place()),
        ("/home/u/gt/gastown", "", Place(rig="gastown")),
        ("/home/u/crew/max", "main", Place()),
        ("/x", "polecat/nux/gt-69d@l0x", Place(role="polecat", worker="nux", work_item="gt-69d")),
        ("/x", "polecat/nux-1767", Place(role="polecat", worker="nux-1767")),
        ("/x", "feature/polecat/nux", Place()),
    ],
)
def test_roles_are_told_by_folder_and_branch_where_they_say_so(
    cwd: str, branch: str, expected: Place
) -> None:
    assert place_of(cwd, branch, ("gt",)) == expected


def test_commands_are_split_as_the_shell_does() -> None:
    split = commands("cd a && A=1 timeout 5 pytest -q 2>&1 >out | tail; # git push\nls")
    assert [command.words for command in split] == [("cd", "a"), ("pytest", "-q"), ("tail",), ("ls",)]
    assert split[1].variables == ("A=1",)
    assert commands("echo 'open") == []
    assert commands("x" * 100_000) == []
    assert commands("cat > f <<'END'\ngit push origin main\nEND\ngit status")[-1].git() == ("status",)
    assert len(commands("cat > f <<'END'\ngit push origin main\nEND\ngit status")) == 2
