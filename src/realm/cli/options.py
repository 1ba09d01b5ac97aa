"""The options that every command accepts, before or after its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from realm.core.errors import UsageError

if TYPE_CHECKING:
    from realm.lab import Realm


@dataclass
class Options:
    """What was given on the command line for all commands."""

    home: Path | None = None
    json: bool = False
    debug: bool = False
    sets: list[str] = field(default_factory=list)

    def realm(self) -> Realm:
        """Open the realm that the options name."""
        from realm.lab import Realm

        return Realm(self.home, overrides=self.sets)


FLAGS = {"--json": "json", "--debug": "debug"}
VALUES = ("--home", "--set")


def extract(argv: list[str]) -> tuple[Options, list[str]]:
    """Take the common options out of the arguments, wherever they stand.

    Everything after a bare `--` is left alone.
    """
    options, rest = Options(), []
    words = iter(argv)
    for word in words:
        name, sign, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif word in FLAGS:
            setattr(options, FLAGS[word], True)
        elif name in VALUES:
            given = value if sign else next(words, None)
            if given is None:
                raise UsageError(f"{name} needs a value", hint="see `realm --help`")
            _store(options, name, given)
        else:
            rest.append(word)
    return options, rest


def _store(options: Options, name: str, value: str) -> None:
    if name == "--home":
        options.home = Path(value)
    else:
        options.sets.append(value)
