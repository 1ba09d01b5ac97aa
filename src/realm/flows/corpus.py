"""The `corpus` section of `realm.yaml`: how documents become datasets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SerializeAsAny

from realm.core.config import Config
from realm.corpus.assembly.balance import BalanceConfig
from realm.corpus.assembly.conventions import ResolveConfig
from realm.corpus.assembly.partition import PartitionConfig
from realm.corpus.assembly.sharing import SharingConfig
from realm.corpus.assembly.split import SplitConfig
from realm.corpus.check import CHECKS, Depth
from realm.corpus.duplicates.dedupe import DedupeConfig
from realm.corpus.scrub import Scrubber
from realm.corpus.shaper import SHAPERS
from realm.corpus.source import SOURCES

SourceKind = Annotated[SerializeAsAny[Config], SOURCES.part()]
ShaperKind = Annotated[SerializeAsAny[Config], SHAPERS.part()]
CheckKind = Annotated[SerializeAsAny[Config], CHECKS.part()]


class Feed(Config):
    """A shaper, and whose documents it gets."""

    shaper: ShaperKind
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    """Sources by name or by kind."""


def _feeds() -> tuple[Feed, ...]:
    rows = ("chat_jsonl", "conversations", "inbox", "claude_code", "terminal", "documents")
    return (
        Feed(shaper=SHAPERS.config("as_is"), sources=rows),
        Feed(shaper=SHAPERS.config("code"), sources=("repo",)),
        Feed(shaper=SHAPERS.config("work_item"), sources=("beads",)),
        Feed(shaper=SHAPERS.config("preference"), sources=("claude_code", "events", "beads")),
    )


class CorpusConfig(Config):
    """What is collected, and what is made of it."""

    sources: tuple[SourceKind, ...] = ()
    """Collected by `realm data add` without a path, and watched by `realm up`."""
    scrub: Scrubber.Config = Scrubber.Config()
    feeds: tuple[Feed, ...] = Field(default_factory=_feeds)
    depth: Depth = Depth.STANDARD
    """How deep rows are checked unless a build asks for more."""
    checks: tuple[CheckKind, ...] = ()
    """Settings of single checks; all others of the depth run with theirs as shipped."""
    dedupe: DedupeConfig = DedupeConfig()
    resolve: ResolveConfig = ResolveConfig()
    partition: PartitionConfig = PartitionConfig()
    balance: BalanceConfig | None = None
    """Targets to hold the rows against; none reports no balance."""
    split: SplitConfig = SplitConfig()
    sharing: SharingConfig = SharingConfig()
