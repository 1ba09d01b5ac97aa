"""Draw the terminal view of a played realm as an SVG, from the events it really wrote.

realm --home realm-play play && python tools/picture.py realm-play docs/play.svg --step 560
"""

from __future__ import annotations

import argparse
from datetime import datetime
from io import StringIO
from pathlib import Path

from rich.console import Console

from realm import Realm
from realm.cli.battle import Battle
from realm.core.events import Event


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("home", type=Path)
    arguments.add_argument("picture", type=Path)
    arguments.add_argument("--step", type=int, required=True, help="The hero's step to stop at.")
    given = arguments.parse_args()
    with Realm(given.home) as realm:
        view = Battle(
            f"Realm · {realm.lab.hero_name} · seed {realm.config.hero()[1].seed}",
            lambda name, level: realm.skill(name).level(level),
            realm.config.curriculum.evaluations,
        )
        shown = [event for event in history(realm) if hero_step(event) <= given.step]
    for event in shown:
        view.take(event)
    view.started -= (when(shown[-1]) - when(shown[0])).total_seconds()
    console = Console(record=True, width=92, file=StringIO(), force_terminal=True)
    console.print(view.render())
    console.save_svg(str(given.picture), title="realm play")


def history(realm: Realm) -> list[Event]:
    """Return what a viewer of the whole play saw, in order."""
    seen: list[Event] = [event for _, _, event in realm.lab.ledger.events.list()]
    for run in realm.runs():
        seen += [event for event in realm.watch(run.id, follow=False) if event is not None]
    return sorted(seen, key=lambda event: (when(event), hero_step(event)))


def when(event: Event) -> datetime:
    return datetime.fromisoformat(event.at)


def hero_step(event: Event) -> int:
    return int(getattr(event, "hero_step", 0))


if __name__ == "__main__":
    main()
