"""All checks, as one union told apart by `check`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from realm.evaluation.agents.checks.calls import BdEdit, EndsWithDone, NeverRan, Order, Ran, SafeCommands
from realm.evaluation.agents.checks.items import (
    Acyclic,
    ClosedInOrder,
    Created,
    Item,
    Needs,
    Parallelism,
    Untouched,
)
from realm.evaluation.agents.checks.repository import (
    ChangedOnly,
    CleanTree,
    Commits,
    FileSays,
    ForcePush,
    Merged,
    OwnMerge,
    Pushed,
    PushToMain,
    Rebased,
    TestsPass,
)
from realm.evaluation.agents.checks.town import (
    Answer,
    Convoy,
    Escalated,
    Mailed,
    MailSubjects,
    Nudged,
    RoleRules,
    Slung,
)

AnyCheck = Annotated[
    Acyclic
    | Answer
    | BdEdit
    | ChangedOnly
    | CleanTree
    | ClosedInOrder
    | Commits
    | Convoy
    | Created
    | EndsWithDone
    | Escalated
    | FileSays
    | ForcePush
    | Item
    | Mailed
    | MailSubjects
    | Merged
    | Needs
    | NeverRan
    | Nudged
    | Order
    | OwnMerge
    | Parallelism
    | Pushed
    | PushToMain
    | Ran
    | Rebased
    | RoleRules
    | SafeCommands
    | Slung
    | TestsPass
    | Untouched,
    Field(discriminator="check"),
]
