"""Build datasets from collections: resolve, shape, check, leave out duplicates, split, publish.

A look at the conventions says which of them hold, one pass over the documents shapes and checks rows and
puts them aside, one over these writes those that stay. Rows of one spec and one side of the split make one
dataset. The same collections under the same settings give the same bytes, so that an interrupted build is
begun again without loss, and one that was finished gives what is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from realm.core.config import Config
from realm.core.errors import RefusedError
from realm.core.paths import expanded
from realm.core.records import ArtifactKind, Record
from realm.corpus.assembly.assembler import Assembler, Assembly
from realm.corpus.assembly.conventions import Resolution, Resolver
from realm.corpus.assembly.partition import named
from realm.corpus.assembly.rowspool import RowSpool
from realm.corpus.assembly.sharing import may_train
from realm.corpus.assembly.split import is_split
from realm.corpus.assembly.yields import Yield, yield_of
from realm.corpus.check import Context, Depth
from realm.corpus.document import Document
from realm.corpus.duplicates.dedupe import EXACT, NEAR, Deduplicator
from realm.corpus.examining.examine import Examination, Examiner, checks_of
from realm.corpus.shaper import SHAPERS, Row
from realm.corpus.source import SOURCES
from realm.corpus.tally import Reason, Tally
from realm.flows.built import BuiltDataset, BuiltDatasets
from realm.flows.context import Lab
from realm.flows.corpus import CorpusConfig, Feed
from realm.flows.documents import CollectedDocuments

_DEDUPE = ("exact_duplicates", "near_duplicates")
"""Checks whose work the build does itself, where it can choose which of two rows stays."""
_TOLD_EVERY_S = 0.2
"""Between two words of progress."""


class BuildProgress(Record):
    """How far a build is."""

    stage: str
    """`rows` or `writing`."""
    done: int
    total: int


Progress = Callable[[BuildProgress], None]


class BuildReport(Record):
    """What a build came to."""

    name: str
    documents: int
    rows: int
    """That stay."""
    datasets: tuple[BuiltDataset, ...]
    """Empty where nothing was to be published."""
    left_out: tuple[Reason, ...]
    """Documents and rows that gave nothing or were left out, by reason."""
    told: tuple[Reason, ...]
    """What checks noticed without leaving a row out."""
    assembly: Assembly
    """Statistics, partitions, balance, split and contributions of the rows that stay."""
    resolution: Resolution
    yields: tuple[Yield, ...]
    """Of each shaper and check."""
    sample: tuple[Row, ...] = ()


class BuildPlan(Record):
    """What to build."""

    name: str
    sources: tuple[str, ...] = ()
    """By name; empty for all."""
    depth: Depth
    rig: str | None = None
    """Whose dataset it is; None for the lab's."""
    dry_run: bool = False
    sample: int = 0
    """Rows to show."""


def build(lab: Lab, plan: BuildPlan, context: Context, progress: Progress) -> BuildReport:
    """Build datasets and publish them. Raises RefusedError where no row is left."""
    lab.store.clear_stages(ArtifactKind.DATASET)
    with ExitStack() as stack:
        scratch = lab.store.stage(ArtifactKind.DATASET)
        stack.callback(lab.store.discard, scratch)
        return _Build(lab, plan, context, progress, scratch, stack).run()


class _Build:
    """One build under way."""

    def __init__(
        self, lab: Lab, plan: BuildPlan, context: Context, progress: Progress, scratch: Path, stack: ExitStack
    ) -> None:
        self._lab, self._plan, self._progress = lab, plan, progress
        self._config: CorpusConfig = lab.config.corpus
        sources = [lab.ledger.sources.get(name) for name in plan.sources] or lab.ledger.sources.list()
        self._documents = CollectedDocuments(lab, sources)
        self._spool = RowSpool(scratch / "rows.jsonl")
        self._left_out = Tally()
        self._yields: list[Yield] = []
        checks = [c for c in checks_of(plan.depth, self._config.checks) if c.name not in _DEDUPE]
        self._examiner = Examiner(checks, context.model_copy(update={"scratch": scratch}))
        near = self._config.dedupe.near
        self._duplicates = stack.enter_context(
            Deduplicator(near=plan.depth is Depth.DEEP if near is None else near, scratch=scratch)
        )
        self._context = context
        self._told_at = 0.0

    def run(self) -> BuildReport:
        resolver = Resolver(self._config.resolve)
        for document in self._documents.conventions():
            resolver.see(document)
        resolution = resolver.resolve(self._left_out)
        for place in self._gone():
            self._left_out.add("a convention that its source holds no longer", place)
        self._shape(resolution.excluded() | self._documents.gone)
        examined = self._settle()
        with BuiltDatasets(self._lab, self._plan.name) as datasets:
            assembler = Assembler(
                self._config.partition, self._config.balance, self._config.split, self._context.count_tokens
            )
            sample = self._write(assembler, datasets)
            left_out = self._left_out.reasons()
            assembly = assembler.assembly(left_out, examined.checks)
            if not assembly.statistics.rows:
                raise RefusedError(
                    f"{self._plan.name}: no row is left of {self._seen:,} documents",
                    hint=_why(left_out) or "collect something first: realm data add PATH",
                )
            report = BuildReport(
                name=self._plan.name,
                documents=self._seen,
                rows=assembly.statistics.rows,
                datasets=(),
                left_out=left_out,
                told=examined.told,
                assembly=assembly,
                resolution=resolution,
                yields=tuple(self._yields),
                sample=sample,
            )
            if self._plan.dry_run:
                return report
            published = datasets.publish(self._scrubbed(), self._description(report))
        return report.model_copy(update={"datasets": published})

    def _gone(self) -> list[str]:
        """Return the places of conventions that are left out because their items are there no more."""
        return [f"{source}/{document}" for source, document in sorted(self._documents.gone)]

    def _scrubbed(self) -> dict[str, Any]:
        """Sum up what the scrubber did to the collections."""
        infos = [record.scrub for record in self._documents.collections]
        counts = {name: sum(info[name] for info in infos) for name in ("clean", "replaced", "quarantined")}
        return {**counts, "versions": sorted({info["version"] for info in infos})}

    def _description(self, report: BuildReport) -> dict[str, Any]:
        """Return what every dataset of the build says of its making."""
        facts = report.assembly.model_dump(mode="json", exclude={"balance", "split"})
        return {
            **facts,
            "yields": [each.model_dump(mode="json") for each in report.yields],
            "collections": [record.hash for record in self._documents.collections],
            "gone": self._gone(),
            "feeds": [feed.model_dump(mode="json") for feed in self._config.feeds],
            "rig": self._plan.rig,
        }

    # --- documents to rows ----------------------------------------------------------------

    def _shape(self, excluded: frozenset[tuple[str, str]]) -> None:
        """Shape and check every row and put it aside; mark those that do not stay."""
        feeds = [(feed, self._chosen(feed)) for feed in self._config.feeds]
        total = sum(
            record.documents
            for _, names in feeds
            for record in self._documents.collections
            if record.source in names
        )
        self._seen = 0
        with self._spool.writing():
            for feed, names in feeds:
                if names:
                    for row in self._rows(feed, names, excluded, total):
                        self._spool.add(row, stays=self._stays(row))
        self._tell("rows", total, total)

    def _chosen(self, feed: Feed) -> frozenset[str]:
        """Return the sources that a feed names; the name of a kind means all of the kind, and only these."""
        names = frozenset(feed.sources).difference(SOURCES.names())
        return frozenset(
            source.name
            for source in self._documents.sources
            if source.kind in feed.sources or source.name in names
        )

    def _rows(
        self, feed: Feed, names: frozenset[str], excluded: frozenset[tuple[str, str]], total: int
    ) -> Iterator[Row]:
        shaper, tally, count = SHAPERS.build(self._placed(feed.shaper)), Tally(), 0
        identity = ""
        for row in shaper.shape(self._given(names, excluded, total), tally):
            identity = row.shaper
            count += 1
            yield row
        self._left_out.merge(tally.reasons())
        if identity:
            self._yields.append(yield_of(identity, count, tally))

    def _placed(self, config: Config) -> Config:
        """Return a config whose paths begin at the realm's folder."""
        paths = {
            name: self._lab.home.root / expanded(value) for name, value in config if isinstance(value, Path)
        }
        return config.model_copy(update=paths)

    def _given(
        self, names: frozenset[str], excluded: frozenset[tuple[str, str]], total: int
    ) -> Iterator[Document]:
        for document in self._documents.of(names):
            self._seen += 1
            self._tell("rows", self._seen, total)
            if (document.origin.source, document.id) not in excluded:
                yield document

    def _stays(self, row: Row) -> bool:
        """Show a row to the checks and hold it against those before it; return whether it stays so far."""
        where = f"{row.origin.source}/{row.document}"
        stays = self._examiner.see(row)
        if stays and not may_train(row, self._plan.rig, self._config.sharing):
            self._left_out.add("a rig's row that is not shared", where)
            stays = False
        if stays and is_split(row, self._config.split):
            self._left_out.add("joins documents of both sides of the split", where)
            stays = False
        if not stays:
            self._duplicates.skip()
        elif not self._duplicates.add(row):
            self._left_out.add(EXACT, where)
            stays = False
        return stays

    # --- what stays -----------------------------------------------------------------------

    def _settle(self) -> Examination:
        """Mark what only all rows together show, and count it."""
        examined = self._examiner.end()
        self._left_out.merge(examined.dropped)
        self._yields += examined.yields
        for number in range(len(self._spool)):
            if not self._examiner.stays(number):
                self._spool.drop(number)
        for found in self._duplicates.near():
            if self._spool.stays(found.row) and self._spool.stays(found.of):
                self._spool.drop(found.row)
                self._left_out.add(NEAR, f"row {found.row}")
        return examined

    def _write(self, assembler: Assembler, datasets: BuiltDatasets) -> tuple[Row, ...]:
        """Count the rows that stay and write them, but for a dry run; return the first ones."""
        sample: list[Row] = []
        by = self._config.partition.by if self._config.partition.weights else ()
        for done, row in enumerate(self._spool.kept(), 1):
            side = assembler.add(row)
            if len(sample) < self._plan.sample:
                sample.append(row)
            if not self._plan.dry_run:
                datasets.add(named(row, by) if by else row, side)
            self._tell("writing", done, len(self._spool))
        return tuple(sample)

    def _tell(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told_at < _TOLD_EVERY_S and done < total:
            return
        self._told_at = now
        self._progress(BuildProgress(stage=stage, done=done, total=total))


def _why(reasons: tuple[Reason, ...]) -> str:
    return "; ".join(f"{each.reason}: {each.count:,}" for each in reasons[:3])
