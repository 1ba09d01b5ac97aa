"""Name a source by its path, collect from it, and keep what a person must decide apart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from realm.core.errors import UsageError
from realm.core.hashing import canonical_json, hash_json, short
from realm.corpus.document import Document
from realm.corpus.scrub import ScrubbedDocument, Scrubber
from realm.corpus.scrubbing.decisions import write_private
from realm.corpus.source import SOURCES, SourceConfig
from realm.flows.collect import Collected, Hold, Progress, add_source, collect
from realm.flows.context import Lab
from realm.ledger.records import SourceRecord


def source_config(path: Path, kind: str | None, name: str | None, settings: dict[str, Any]) -> SourceConfig:
    """Return the config of a source at a path; without a kind, what the path shows decides.

    Raises UsageError where it does not, ConfigError for settings that the kind does not know.
    """
    whole = path.expanduser().absolute()
    data = {"kind": kind or _kind_of(whole), "name": name or whole.stem or "source", "path": str(whole)}
    config = SOURCES.config({**data, **settings})
    assert isinstance(config, SourceConfig)
    return config


def _kind_of(path: Path) -> str:
    if path.is_file():
        return "chat_jsonl"
    if (path / ".git").exists():
        return "repo"
    raise UsageError(
        f"{path}: what kind of source this is does not show",
        hint=f"say it with --kind, one of: {', '.join(SOURCES.names())}",
    )


def collect_from(lab: Lab, configs: Iterable[SourceConfig], progress: Progress) -> list[Collected]:
    """Note sources and collect what is new in each."""
    records = [add_source(lab, config) for config in configs]
    return collect_again(lab, records, progress)


def collect_again(lab: Lab, records: Iterable[SourceRecord], progress: Progress) -> list[Collected]:
    """Collect what is new in known sources."""
    scrubber = Scrubber(lab.config.corpus.scrub)
    return [collect(lab, record, scrubber, _holding(lab, record.name), progress) for record in records]


def _holding(lab: Lab, source: str) -> Hold:
    """Return what writes undecided documents into the quarantine, readable by their owner only.

    A document's file is named by the hash of its place, so that reading it again replaces it.
    """
    folder = lab.home.vault / "quarantine" / "scrub" / source

    def hold(item: str, document: Document, found: ScrubbedDocument) -> None:
        waiting = {
            "source": source,
            "item": item,
            "document": document.model_dump(mode="json", exclude_defaults=True),
            "findings": [finding.model_dump(mode="json") for finding in found.findings],
        }
        name = short(hash_json([source, item, document.id]))
        write_private(folder / f"{name}.json", canonical_json(waiting).encode() + b"\n")

    return hold
