"""The contract of the `launcher` family: which processes train a run, on this machine."""

from __future__ import annotations

from typing import Any, Protocol

from realm.core.kinds import Family


class Launcher(Protocol):
    """A way to turn the spec of a run into processes."""

    config: Any

    @property
    def entry(self) -> str:
        """`package.module:function` that one supervised child runs on the spec file.

        Whatever the child starts beside it dies with it. It keeps to what is said of every child:
        events go into the spec's file, SIGTERM means save and leave, one `Failed` says what went wrong.
        """
        ...

    @property
    def processes(self) -> int:
        """How many ranks share the rows of a step."""
        ...


LAUNCHERS: Family[Launcher] = Family("launcher", "realm.training.launchers")
