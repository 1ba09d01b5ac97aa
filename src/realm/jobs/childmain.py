"""Main module of a child that starts cold: `python -m realm.jobs.childmain PARENT ENTRY SPEC`."""

from __future__ import annotations

import sys
from pathlib import Path

from realm.jobs import entry, lifeline

if __name__ == "__main__":
    parent, name, spec = sys.argv[1:]
    lifeline.die_with(int(parent))
    entry.run(name, Path(spec))
