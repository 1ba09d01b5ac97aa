"""Build datasets from collections: resolve, shape, check, leave out duplicates, split, publish.

One pass over the documents says which conventions hold, a second shapes and checks rows and puts them
aside, a third writes those that stay. Rows of one spec and one side of the split make one dataset. The
same collections under the same settings give the same bytes, so that an interrupted build is begun again
without loss, and one that was finished gives what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from realm.core.errors import RefusedError
from realm.core.records import ArtifactKind, Record
from realm.corpus import collection as collections
from realm.corpus.assembly.balance import Balance, balance, count_values
from realm.corpus.assembly.conventions import Resolution, Resolver
from realm.corpus.assembly.partition import Partitions, count_partitions, partition
from realm.corpus.assembly.sharing import Contribution, contributions, may_train
from realm.corpus.assembly.split import SplitReport, count_groups, split_report
from realm.corpus.assembly.statistics import DatasetStatistics, StatisticsCounter
from realm.corpus.assembly.yields import Yield, yield_of
from realm.corpus.check import Context, Depth
from realm.corpus.document import Document
from realm.corpus.duplicates.dedupe import EXACT, NEAR, Deduplicator
from realm.corpus.examining.examine import Examiner, checks_of
from realm.corpus.shaper import SHAPERS, Row
from realm.corpus.tally import Reason, Tally
from realm.flows.built import BuiltDataset, publish_built
from realm.flows.context import Lab
from realm.flows.corpus import CorpusConfig, Feed
from realm.ledger.records import CollectionRecord, SourceRecord

_DEDUPE = ("exact_duplicates", "near_duplicates")
"""Checks whose work the build does itself, where it can choose which of two rows stays."""


_PER_PRIMITIVE = 1000
"""Held-out problems of each primitive that rows are held against; most levels have fewer."""


class BuildProgress(Record):
    """How far a build is."""

    stage: str
    """`documents`, `rows` or `writing`."""
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
    statistics: DatasetStatistics
    partitions: Partitions
    balance: Balance | None
    split: SplitReport
    resolution: Resolution
    contributions: tuple[Contribution, ...]
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
    with TemporaryDirectory(prefix="build-", dir=lab.home.private) as scratch, ExitStack() as stack:
        return _Build(lab, plan, context, progress, Path(scratch), stack).run()


def context_of(lab: Lab) -> Context:
    """Return what checks may know of the lab: its skills' held-out problems, and how code parses."""
    from realm.corpus.examining.leakage import eval_hashes

    return Context(eval_hashes=eval_hashes(_problems(lab)), syntax=_fault)


def _problems(lab: Lab) -> Iterator[str]:
    for name in lab.hero.skills:
        skill = lab.skill(name)
        for level in skill.levels():
            for problem in skill.heldout(level.level, _PER_PRIMITIVE):
                yield problem.messages[-1].content


def _fault(language: str, code: str) -> str | None:
    from realm.corpus.code.syntax import GRAMMARS, parses

    return "a syntax error" if language in GRAMMARS and not parses(code, language) else None


def documents(lab: Lab, source: SourceRecord) -> Iterator[Document]:
    """Yield a source's documents as they were last collected, item by item."""
    current = {item.item: item.collection for item in lab.ledger.sources.items(source.name).values()}
    for record in lab.ledger.sources.collections(source.name):
        folder = lab.store.verified(ArtifactKind.COLLECTION, record.hash)
        for stored in collections.read_documents(folder):
            if current.get(stored.item) == record.hash:
                yield stored.document


class _Build:
    """One build under way."""

    def __init__(
        self, lab: Lab, plan: BuildPlan, context: Context, progress: Progress, scratch: Path, stack: ExitStack
    ) -> None:
        self._lab, self._plan, self._progress = lab, plan, progress
        self._config: CorpusConfig = lab.config.corpus
        known = lab.ledger.sources.list()
        self._sources = [lab.ledger.sources.get(name) for name in plan.sources] or known
        self._collections: list[CollectionRecord] = [
            record for source in self._sources for record in lab.ledger.sources.collections(source.name)
        ]
        self._total = sum(record.documents for record in self._collections)
        self._spool = scratch / "rows.jsonl"
        self._left_out = Tally()
        self._yields: list[Yield] = []
        checks = [c for c in checks_of(plan.depth, self._config.checks) if c.name not in _DEDUPE]
        self._examiner = Examiner(checks, context.model_copy(update={"scratch": scratch}))
        self._near = stack.enter_context(Deduplicator(self._config.dedupe, scratch=scratch))
        self._count_tokens = context.count_tokens

    def run(self) -> BuildReport:
        resolution = self._resolve()
        excluded = resolution.excluded()
        dropped = self._spool_rows(excluded)
        kept = [number for number in range(self._spooled) if number not in dropped]
        if not kept:
            raise RefusedError(
                f"{self._plan.name}: no row is left of {self._total:,} documents",
                hint=_why(self._left_out.reasons()) or "collect something first: realm data add PATH",
            )
        statistics = self._statistics(dropped)
        counts = count_partitions(self._kept(dropped), self._config.partition.by)
        parts = partition(counts, self._config.partition)
        split = split_report(count_groups(self._kept(dropped)), self._config.split)
        targets = self._config.balance
        report = BuildReport(
            name=self._plan.name,
            documents=self._total,
            rows=len(kept),
            datasets=(),
            left_out=self._left_out.reasons(),
            told=self._examined.told,
            statistics=statistics,
            partitions=parts,
            balance=balance(count_values(self._kept(dropped), targets.by), targets) if targets else None,
            split=split,
            resolution=resolution,
            contributions=contributions(self._kept(dropped)),
            yields=tuple(self._yields),
            sample=tuple(row for row, _ in zip(self._kept(dropped), range(self._plan.sample), strict=False)),
        )
        if self._plan.dry_run:
            return report
        self._tell("writing", 0, len(kept))
        published = publish_built(
            self._lab,
            self._plan.name,
            lambda: self._kept(dropped),
            self._scrubbed(),
            self._description(report),
            self._config.split,
        )
        return report.model_copy(update={"datasets": published})

    def _scrubbed(self) -> dict[str, Any]:
        """Sum up what the scrubber did to the collections."""
        infos = [record.scrub for record in self._collections]
        counts = {name: sum(info[name] for info in infos) for name in ("clean", "replaced", "quarantined")}
        return {**counts, "versions": sorted({info["version"] for info in infos})}

    def _description(self, report: BuildReport) -> dict[str, Any]:
        """Return what every dataset of the build says of its making."""
        facts = report.model_dump(
            mode="json", include={"statistics", "partitions", "contributions", "yields"}
        )
        return {
            **facts,
            "collections": [record.hash for record in self._collections],
            "feeds": [feed.model_dump(mode="json") for feed in self._config.feeds],
            "rig": self._plan.rig,
        }

    # --- documents ------------------------------------------------------------------------

    def _documents(self, sources: Iterable[SourceRecord], stage: str) -> Iterator[Document]:
        seen = 0
        for source in sources:
            for document in documents(self._lab, source):
                yield document
                seen += 1
                if seen % 500 == 0:
                    self._tell(stage, seen, self._total)

    def _resolve(self) -> Resolution:
        resolver = Resolver(self._config.resolve)
        count = 0
        for document in self._documents(self._sources, "documents"):
            resolver.see(document)
            count += 1
        self._total = count  # without those of items that were collected again since
        return resolver.resolve(self._left_out)

    # --- rows -----------------------------------------------------------------------------

    def _spool_rows(self, excluded: frozenset[tuple[str, str]]) -> set[int]:
        """Shape and check every row into the spool; return the numbers of those that are left out."""
        dropped: set[int] = set()
        self._spooled = 0
        with self._spool.open("wb", buffering=1 << 20) as file:
            for feed in self._config.feeds:
                for row in self._shaped(feed, excluded):
                    number, self._spooled = self._spooled, self._spooled + 1
                    file.write(row.model_dump_json(exclude_defaults=True).encode() + b"\n")
                    if not self._stays(row):
                        dropped.add(number)
        self._examined = self._examiner.end()
        self._left_out.merge(self._examined.dropped)
        self._yields += self._examined.yields
        dropped |= {number for number in range(self._spooled) if not self._examiner.stays(number)}
        for found in self._near.near():
            if found.row not in dropped and found.of not in dropped:
                dropped.add(found.row)
                self._left_out.add(NEAR, f"row {found.row}")
        return dropped

    def _shaped(self, feed: Feed, excluded: frozenset[tuple[str, str]]) -> Iterator[Row]:
        chosen = [s for s in self._sources if s.name in feed.sources or s.kind in feed.sources]
        if not chosen:
            return
        shaper, tally, count = SHAPERS.build(feed.shaper), Tally(), 0
        identity = ""
        given = (
            document
            for document in self._documents(chosen, "rows")
            if (document.origin.source, document.id) not in excluded
        )
        for row in shaper.shape(given, tally):
            identity = row.shaper
            count += 1
            yield row
        self._left_out.merge(tally.reasons())
        if identity:
            self._yields.append(yield_of(identity, count, tally))

    def _stays(self, row: Row) -> bool:
        """Show a row to the checks and hold it against those before it; return whether it stays so far."""
        where = f"{row.origin.source}/{row.document}"
        stays = self._examiner.see(row)
        if stays and not may_train(row, self._plan.rig, self._config.sharing):
            self._left_out.add("a rig's row that is not shared", where)
            stays = False
        if not stays:
            self._near.skip()
        elif not self._near.add(row):
            self._left_out.add(EXACT, where)
            stays = False
        return stays

    # --- what stays -----------------------------------------------------------------------

    def _kept(self, dropped: set[int]) -> Iterator[Row]:
        with self._spool.open("rb") as file:
            for number, line in enumerate(file):
                if number not in dropped:
                    yield Row.model_validate_json(line)

    def _statistics(self, dropped: set[int]) -> DatasetStatistics:
        counter = StatisticsCounter(self._count_tokens)
        for row in self._kept(dropped):
            counter.add(row)
        return counter.statistics(self._left_out.reasons(), self._examined.checks)

    def _tell(self, stage: str, done: int, total: int) -> None:
        self._progress(BuildProgress(stage=stage, done=done, total=total))


def _why(reasons: tuple[Reason, ...]) -> str:
    return "; ".join(f"{each.reason}: {each.count:,}" for each in reasons[:3])
