"""What `realm data add` does: collect, show what would be collected, take what an agent's hook hands in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.cli.bars import bar
from realm.cli.options import Options
from realm.cli.output import print_error, print_json, print_line, print_table
from realm.core.errors import RealmError

if TYPE_CHECKING:
    from realm.corpus.rows.detection import Detected
    from realm.flows.collect import Collected, CollectProgress
    from realm.flows.preview import Preview
    from realm.lab import Realm

_SHOWN_CHARS = 4000


def settings_of(assignments: Sequence[str]) -> dict[str, Any]:
    """Return `KEY=VALUE` words as settings; values are read as YAML. Raises UsageError."""
    from realm.core.config import override
    from realm.core.errors import UsageError

    for assignment in assignments:
        if not assignment.partition("=")[1]:
            raise UsageError(f"--setting {assignment}: expected KEY=VALUE", hint="such as licence=MIT")
    return override({}, assignments)


def collect(
    options: Options, paths: Sequence[str], *, kind: str | None, name: str | None, settings: dict[str, Any]
) -> int:
    """Collect from the places, or from all known sources, and show what it brought."""
    failed: list[str] = []

    def tell(source: str, error: RealmError) -> None:
        failed.append(source)
        print_error(error, as_json=options.json)

    with options.realm() as realm, bar("bytes") as show:

        def progress(at: CollectProgress) -> None:
            show(at.source, at.bytes, at.bytes_total, f"{at.documents:,} documents")

        found = _collected(realm, paths, kind, name, settings, progress, tell)
        detected = [] if options.json else _detected(realm, paths, kind, name, settings)
    if options.json:
        print_json(found)
    else:
        for line in detected:
            print_line(line)
        _show(found)
        if failed:
            print_line(f"not collected: {', '.join(failed)}")
    return 1 if failed else 0


def _detected(
    realm: Realm, paths: Sequence[str], kind: str | None, name: str | None, settings: dict[str, Any]
) -> list[str]:
    """Say what shape of rows files were taken for; nothing of what could not be read."""
    found = []
    for path in paths:
        if not Path(path).is_file():  # a preview lists the whole source
            continue
        try:
            shown = realm.preview(path, kind=kind, name=name, settings=settings, limit=0)
        except RealmError:
            continue
        if shown.detected is not None:
            found.append(f"{shown.name}: {_shape(shown.detected)}")
    return found


def _shape(detected: Detected) -> str:
    return f"rows of shape {detected.shape} in {detected.format}, {detected.why}"


def _collected(
    realm: Realm,
    paths: Sequence[str],
    kind: str | None,
    name: str | None,
    settings: dict[str, Any],
    progress: Callable[[CollectProgress], None],
    tell: Callable[[str, RealmError], None],
) -> list[Collected]:
    if not paths:
        return realm.collect(progress=progress, on_error=tell)
    found: list[Collected] = []
    for path in paths:
        try:
            found += realm.collect(path, kind=kind, name=name, settings=settings, progress=progress)
        except RealmError as error:
            if len(paths) == 1:
                raise
            tell(path, error)
    return found


def preview(
    options: Options,
    paths: Sequence[str],
    *,
    kind: str | None,
    name: str | None,
    settings: dict[str, Any],
    sample: int,
) -> None:
    """Show what the places would bring; nothing is written."""
    with options.realm() as realm:
        found = [realm.preview(path, kind=kind, name=name, settings=settings, limit=sample) for path in paths]
    if options.json:
        print_json(found)
        return
    for each in found:
        _show_preview(each)


def from_hook(options: Options) -> int:
    """Take the session that a hook names on standard input: silent when done, 1 for whatever fails."""
    from realm.corpus.agents.hook import PAYLOAD_BYTES, transcript_of
    from realm.flows.context import Lab
    from realm.flows.handed import hand_in
    from realm.flows.home import find_home

    try:
        file = transcript_of(sys.stdin.buffer.read(PAYLOAD_BYTES + 1))
        lab = Lab.open(find_home(options.home), overrides=options.sets)
        try:
            hand_in(lab, file)
        finally:
            lab.close()
    except RealmError as error:
        print_error(error, as_json=options.json)
        return 1
    return 0


def _show(found: list[Collected]) -> None:
    print_table(
        ("source", "kind", "items", "new", "documents", "replaced", "quarantined", "left out"),
        (
            (
                each.source,
                each.kind,
                each.items,
                each.new,
                each.documents,
                each.replaced,
                each.quarantined,
                sum(reason.count for reason in each.left_out),
            )
            for each in found
        ),
        empty="Nothing was collected. Name a source: realm data add PATH",
    )
    for each in found:
        if each.left_out:
            print_table(
                (f"{each.source}: left out or changed", "count", "first seen"),
                ((reason.reason, reason.count, ", ".join(reason.examples[:2])) for reason in each.left_out),
                empty="",
            )


def _show_preview(found: Preview) -> None:
    from realm.core.text import printable

    print_line(f"{found.name}: {found.kind}, {found.items:,} items, {found.bytes / 1e6:,.1f} MB")
    settings = {key: value for key, value in found.config.items() if key not in ("name", "kind")}
    for key, value in settings.items():
        print_line(f"  {key}: {value}")
    if found.detected is not None:
        print_line(f"  {_shape(found.detected)}")
    for reason in found.left_out:
        print_line(f"  left out: {reason.count} × {reason.reason}")
    for each in found.documents:
        kinds = "".join(f", {count} × {kind}" for kind, count in each.findings.items())
        print_line(f"\n{printable(each.item)}: {each.verdict.value}{kinds}")
        if each.document is None:
            print_line("  in doubt: it would wait for `realm data review`")
        else:
            text = each.document.model_dump_json(exclude_defaults=True)
            print_line(f"  {printable(text, limit=_SHOWN_CHARS)}")
