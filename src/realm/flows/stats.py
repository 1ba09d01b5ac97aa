"""What datasets hold, what generators and validators yield, and who may use a model for what they gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from realm.core.hashing import hash_json
from realm.core.records import ArtifactKind, Record, Sha256
from realm.corpus.assembly.partition import NONE
from realm.corpus.assembly.sharing import Access, Contribution, DistinctContributions, may_use
from realm.corpus.assembly.statistics import CheckVersion, DatasetStatistics, StatisticsCounter
from realm.corpus.assembly.stored import stored_rows
from realm.corpus.assembly.yields import Change, Yield, compare, merged
from realm.corpus.dataset import read_info
from realm.corpus.tally import Reason
from realm.flows.checkpoints import resolve
from realm.flows.context import Lab
from realm.flows.plan import RunPlan
from realm.flows.publishing import Publishing, ancestry, dataset_of, model_publishable, publishable
from realm.ledger.records import DatasetRecord

_TELL_ROWS = 2000


class RowsProgress(Record):
    """How many rows have been read."""

    dataset: str
    done: int
    total: int


Progress = Callable[[RowsProgress], None]


class DatasetStats(Record):
    """What one dataset holds and where that came from."""

    hash: Sha256
    name: str
    spec: str
    source: str
    created_at: datetime
    size_bytes: int
    side: str | None
    """Of the split; None where the dataset was not built."""
    rig: str | None
    generator: dict[str, Any] | None
    scrub: dict[str, Any] | None
    statistics: DatasetStatistics
    """Counted over its own rows; what was left out and the checks are those of the whole build."""
    build_rows: int | None
    """Of all datasets of its build."""
    partitions: dict[str, int]
    """Rows by the tags that `corpus.partition.by` names, most first."""
    contributions: tuple[Contribution, ...]
    """Different rows of each contributor."""
    runs: tuple[str, ...]
    """That drew from it."""
    publishing: Publishing


class LabStats(Record):
    """What generators and validators came to over all builds, each document counted once for a version."""

    datasets: int
    builds: int
    """Different ones: the datasets of one build, and a build made again, count as one."""
    shapers: tuple[Yield, ...]
    checks: tuple[Yield, ...]
    programs: tuple[Yield, ...]
    """Skills and other generators whose rows came as drills or whole files; none of these is rejected."""
    changes: tuple[Change, ...]
    """Each version against the one before it."""
    contributions: tuple[Contribution, ...]
    """Different rows over all datasets."""
    rows_for_access: int
    """Accepted rows, among those a model was trained on, from which on a contributor may use it."""


class TrainedOn(Record):
    """A dataset behind a model."""

    hash: Sha256
    name: str
    rows: int
    runs: tuple[str, ...]
    missing: bool = False
    """Whether it is no longer in the vault."""


class ModelStats(Record):
    """What a model was trained on, and what follows from that."""

    model: str
    checkpoint: Sha256
    base: str
    whole: bool
    """Whether every run behind it is known for certain."""
    datasets: tuple[TrainedOn, ...]
    contributions: tuple[Contribution, ...]
    """Different rows among those it was trained on."""
    access: tuple[Access, ...]
    publishing: Publishing


def dataset_stats(lab: Lab, reference: str, progress: Progress) -> DatasetStats:
    """Return what a dataset holds, read from its rows. Raises NotFoundError."""
    record = dataset_of(lab, reference)
    folder = lab.store.verified(ArtifactKind.DATASET, record.hash)
    counter, given, parts = StatisticsCounter(), DistinctContributions(), Counter[str]()
    for number, row in enumerate(stored_rows(folder), 1):
        counter.add_stored(row.example, row.made_of)
        if row.made_of is not None:
            given.add(row.example, row.made_of.origin)
        parts[_part(row.example.tags, lab.config.corpus.partition.by)] += 1
        if number % _TELL_ROWS == 0 or number == record.rows:
            progress(RowsProgress(dataset=record.name, done=number, total=record.rows))
    build = record.build or {}
    return DatasetStats(
        **record.model_dump(include={"hash", "name", "spec", "source", "created_at", "size_bytes"}),
        side=build.get("side"),
        rig=build.get("rig"),
        generator=generator_of(lab, record),
        scrub=record.scrub,
        statistics=counter.statistics(*left_out_and_checks(record)),
        build_rows=build.get("statistics", {}).get("rows"),
        partitions=dict(sorted(parts.items(), key=lambda item: (-item[1], item[0]))),
        contributions=given.contributions(),
        runs=tuple(run for run, datasets in _runs(lab) if record.hash in datasets),
        publishing=publishable(lab, record.hash),
    )


def lab_stats(lab: Lab, progress: Progress) -> LabStats:
    """Return what every generator and validator came to, and what every contributor gave."""
    records = lab.ledger.datasets.list()
    builds = _builds(records)
    yields = list(_counted(builds))
    names = {name for build in builds for name in build.checks}
    contributed = [record for record in records if (record.build or {}).get("contributions")]
    return LabStats(
        datasets=len(records),
        builds=len(builds),
        shapers=tuple(each for each in yields if each.name not in names),
        checks=tuple(each for each in yields if each.name in names),
        programs=_programs(lab, records),
        changes=tuple(_changes(builds, yields)),
        contributions=_contributed(lab, contributed, progress),
        rows_for_access=lab.config.corpus.sharing.min_rows,
    )


def model_stats(lab: Lab, reference: str, progress: Progress) -> ModelStats:
    """Return what a model was trained on. `reference` as for `realm ask`. Raises NotFoundError."""
    checkpoint = resolve(lab, reference)
    behind = ancestry(lab, checkpoint)
    known = {record.hash: record for record in lab.ledger.datasets.list()}
    used = {content: tuple(r.id for r in behind.runs if content in _drawn(r)) for content in behind.datasets}
    given = _contributed(lab, [known[content] for content in used if content in known], progress)
    sharing = lab.config.corpus.sharing
    return ModelStats(
        model=reference,
        checkpoint=checkpoint.hash,
        base=behind.base,
        whole=behind.whole,
        datasets=tuple(
            TrainedOn(
                hash=content,
                name=known[content].name if content in known else "",
                rows=known[content].rows if content in known else 0,
                runs=runs,
                missing=content not in known,
            )
            for content, runs in used.items()
        ),
        contributions=given,
        access=tuple(may_use(each.contributor, [given], sharing) for each in given),
        publishing=model_publishable(lab, reference),
    )


def left_out_and_checks(record: DatasetRecord) -> tuple[tuple[Reason, ...], tuple[CheckVersion, ...]]:
    """Return what a dataset's build left out and which checks looked; nothing where it was not built."""
    found = (record.build or {}).get("statistics", {})
    dropped = tuple(Reason.model_validate(each) for each in found.get("dropped", ()))
    return dropped, tuple(CheckVersion.model_validate(each) for each in found.get("checks", ()))


def generator_of(lab: Lab, record: DatasetRecord) -> dict[str, Any] | None:
    """Return who generated a dataset; what the sidecar of an inbox file said, the dataset alone knows."""
    if record.generator is not None or record.build is not None:
        return record.generator
    return read_info(lab.store.path(ArtifactKind.DATASET, record.hash)).generator


class _Build(NamedTuple):
    """One build, whatever number of datasets it made."""

    at: datetime
    collections: frozenset[str]
    yields: tuple[Yield, ...]
    checks: frozenset[str]


def _builds(records: Iterable[DatasetRecord]) -> list[_Build]:
    """Return the different builds, oldest first: what they say of their making is equal but for the side."""
    found: dict[str, _Build] = {}
    for record in sorted(records, key=lambda each: (each.created_at, each.hash)):
        if record.build is None:
            continue
        key = hash_json({name: value for name, value in record.build.items() if name != "side"})
        if key not in found:
            found[key] = _Build(
                at=record.created_at,
                collections=frozenset(record.build.get("collections", ())),
                yields=tuple(Yield.model_validate(each) for each in record.build.get("yields", ())),
                checks=frozenset(check.name for check in left_out_and_checks(record)[1]),
            )
    return list(found.values())


def _counted(builds: list[_Build]) -> Iterator[Yield]:
    """Yield one sum a version; of builds that share a collection only the one that saw most rows counts."""
    versions: dict[tuple[str, str], list[tuple[_Build, Yield]]] = {}
    for build in builds:
        for each in build.yields:
            versions.setdefault((each.name, each.version), []).append((build, each))
    for _, found in sorted(versions.items()):
        taken: set[str] = set()
        chosen = []
        for build, each in sorted(found, key=lambda pair: (pair[1].seen, pair[0].at), reverse=True):
            if not taken & build.collections:
                taken |= build.collections
                chosen.append(each)
        yield from merged(chosen)


def _changes(builds: list[_Build], yields: list[Yield]) -> Iterator[Change]:
    """Set each version beside the one before it, in the order in which they were first used."""
    first: dict[tuple[str, str], datetime] = {}
    for build in builds:
        for each in build.yields:
            first.setdefault((each.name, each.version), build.at)
    by_name: dict[str, list[Yield]] = {}
    for each in sorted(yields, key=lambda one: first[one.name, one.version]):
        if each.seen:
            by_name.setdefault(each.name, []).append(each)
    for _, versions in sorted(by_name.items()):
        for before, after in pairwise(versions):
            yield compare(before, after)


def _programs(lab: Lab, records: Iterable[DatasetRecord]) -> tuple[Yield, ...]:
    """Count the rows of datasets that say which program generated them."""
    found = [
        Yield(name=str(made["generator_id"]), version=str(made["generator_version"]), accepted=record.rows)
        for record in records
        if record.build is None
        and (made := generator_of(lab, record)) is not None
        and {"generator_id", "generator_version"} <= made.keys()
    ]
    return merged(found)


def _contributed(lab: Lab, records: Iterable[DatasetRecord], progress: Progress) -> tuple[Contribution, ...]:
    """Count the different rows of each contributor over some datasets."""
    counter = DistinctContributions()
    for record in records:
        for number, row in enumerate(stored_rows(lab.store.path(ArtifactKind.DATASET, record.hash)), 1):
            if row.made_of is None:
                break
            counter.add(row.example, row.made_of.origin)
            if number % _TELL_ROWS == 0 or number == record.rows:
                progress(RowsProgress(dataset=record.name, done=number, total=record.rows))
    return counter.contributions()


def _drawn(run: Any) -> frozenset[str]:
    return frozenset(each.dataset for each in RunPlan.of(run).rows)


def _runs(lab: Lab) -> Iterator[tuple[str, frozenset[str]]]:
    for run in reversed(lab.ledger.runs.list()):
        yield run.id, _drawn(run)


def _part(tags: dict[str, str | int], by: tuple[str, ...]) -> str:
    return "/".join(str(tags.get(name, "")).replace("/", "_") or NONE for name in by)
