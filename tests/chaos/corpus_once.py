"""Collect from a source or build, in shards of a few rows: what the corpus tests kill.

Arguments: HOME add|build PATH. Prints `ready` before the work begins.
"""

from __future__ import annotations

import sys
from pathlib import Path

from realm import Realm
from realm.corpus.check import Depth
from realm.flows import collect
from realm.flows.build import BuildPlan

collect.SHARD_BYTES = 12_000
collect.SHARD_ITEMS = 3


def main() -> None:
    home, verb, path = sys.argv[1:]
    with Realm(Path(home)) as lab:
        lab.lab  # noqa: B018 - opens the databases before the clock runs
        print("ready", flush=True)
        if verb == "add":
            lab.collect(Path(path), kind="chat_jsonl", name="mine")
        else:
            lab.build(BuildPlan(name="mine", depth=Depth.STANDARD))


if __name__ == "__main__":
    main()
