"""Scenarios: a situation in a town, what is to be done, and how it is checked. One YAML file a suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from realm.core.config import Config, explain
from realm.core.errors import DataError
from realm.core.hashing import canonical_json
from realm.core.records import Name
from realm.evaluation.agents.beads import Store
from realm.evaluation.agents.check import Check
from realm.evaluation.agents.checks import AnyCheck
from realm.evaluation.agents.checks.calls import BdEdit, SafeCommands
from realm.evaluation.agents.checks.repository import Branch, ForcePush, Merged, OwnMerge, PushToMain
from realm.evaluation.agents.checks.town import RoleRules
from realm.evaluation.agents.documents import read_rows
from realm.evaluation.agents.evidence import Role
from realm.evaluation.agents.gt import Letter
from realm.evaluation.agents.protocol import ToolCall

SuiteName = Literal["work_items", "git", "conventions", "planning", "code"]
FilePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]{0,200}$")]


class BranchState(Config):
    """One branch of the repository, with one commit on top of where it begins."""

    name: Branch
    start: Branch = "main"
    files: dict[FilePath, str | None] = Field(default_factory=dict)
    """Text of files, none to remove them."""
    message: str = "Work in progress"
    pushed: bool = True
    """The remote has it."""
    here: bool = True
    """The work folder has it; otherwise only the remote does."""


class Scenario(Config):
    """One situation."""

    id: Name
    title: str
    level: Annotated[int, Field(ge=1, le=5)] = 1
    role: Role
    me: str
    """The agent's address, such as `shop/polecats/nux`."""
    goal: str
    """What the model is told to do."""
    prefix: Annotated[str, Field(pattern=r"^[a-z]{1,8}$")] = "rl"
    """Beginning of the ids of new work items."""
    files: dict[FilePath, str] = Field(default_factory=dict)
    """What main begins with."""
    branches: tuple[BranchState, ...] = ()
    """In the order they are made; `main` may be among them, and then moves on."""
    on: Branch = "main"
    """The branch that is checked out."""
    edits: dict[FilePath, str | None] = Field(default_factory=dict)
    """Changes in the work folder that are not committed."""
    issues: tuple[dict[str, Any], ...] = ()
    """Lines of an issues export."""
    hook: str = ""
    agents: tuple[str, ...] = ()
    """Agents and rigs that there are."""
    inbox: tuple[Letter, ...] = ()
    tests: dict[FilePath, str] = Field(default_factory=dict)
    """Files put back before the tests are run at the end."""
    programs: bool = False
    """Python may be run."""
    max_turns: Annotated[int, Field(ge=1, le=60)] = 20
    checks: tuple[AnyCheck, ...]
    solution: tuple[ToolCall, ...]
    """Calls that pass all checks."""
    wrong: tuple[ToolCall, ...]
    """Calls that fail some."""
    fails: Annotated[tuple[str, ...], Field(min_length=1)]
    """The checks that `wrong` fails."""

    @field_validator("solution", "wrong", mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        """Read a bare line as a command to run."""
        if not isinstance(value, list):
            return value
        return [{"tool": "run", "args": {"command": v}} if isinstance(v, str) else v for v in value]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        pushed = {"main", *(branch.name for branch in self.branches if branch.pushed)}
        for check in self.checks:
            if isinstance(check, Merged) and check.branch not in pushed:
                raise ValueError(f"the check merged asks for {check.branch}, which is not pushed")
        known = {check.name for check in self.all_checks()}
        if set(self.fails) - known:
            raise ValueError(
                f"fails names {', '.join(sorted(set(self.fails) - known))}, which is not checked"
            )
        if self.hook and self.hook not in self.store():
            raise ValueError(f"{self.hook} is on the hook and no issue")
        return self

    def store(self) -> Store:
        """Return a fresh store of the work items that there are."""
        return Store.read(self.prefix, "".join(canonical_json(row) + "\n" for row in self.issues))

    def all_checks(self) -> tuple[Check, ...]:
        """Return the checks of the scenario and those that always apply."""
        always: list[Check] = [SafeCommands(), BdEdit(), RoleRules(), ForcePush()]
        if self.role == "polecat":
            always += [PushToMain(), OwnMerge()]
        named = {check.name for check in self.checks}
        return (*self.checks, *(check for check in always if check.name not in named))


def read_scenarios(path: Path) -> tuple[Scenario, ...]:
    """Read a file of scenarios. Raises DataError with the line of the first that is faulty."""
    found: list[Scenario] = []
    for line, row in read_rows(path):
        try:
            scenario = Scenario.model_validate(row)
        except ValidationError as error:
            raise DataError("; ".join(explain(Scenario, error)), file=path.name, line=line) from None
        if any(scenario.id == other.id for other in found):
            raise DataError(f"{scenario.id} is there twice", file=path.name, line=line)
        found.append(scenario)
    return tuple(found)


def shipped(suite: SuiteName) -> Path:
    """Return the file of a suite that comes with the package."""
    return Path(__file__).parent / "scenarios" / f"{suite}.yaml"


def content(scenarios: Sequence[Scenario]) -> list[Any]:
    """Return scenarios as JSON values, for their hash."""
    return [scenario.model_dump(mode="json", exclude_defaults=True) for scenario in scenarios]
