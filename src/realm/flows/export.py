"""Write a dataset into a folder that anybody can read: rows, sidecars, lineage, card and manifest.

The folder appears whole under its name or not at all. It holds no moment of its own: the same dataset in the
same form gives the same bytes. What the gate refuses leaves only as a private copy that says so.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

from realm.core.clock import iso
from realm.core.errors import DataError, StateError, UsageError
from realm.core.hashing import canonical_json, short
from realm.core.paths import expanded
from realm.core.records import ArtifactKind, Record, Sha256
from realm.core.version import VERSION
from realm.corpus.assembly.card import CardFacts, Split, card
from realm.corpus.assembly.statistics import DatasetStatistics, StatisticsCounter
from realm.corpus.assembly.stored import stored_rows
from realm.corpus.dataset import program_version
from realm.corpus.files.lines import refusal
from realm.corpus.files.sidecar import Sidecar, sidecar_of
from realm.corpus.intake import DEFAULT_LIMITS
from realm.corpus.lineage import LINEAGE
from realm.corpus.rows.parquet_writing import ParquetWriter, TagColumns
from realm.corpus.rows.writing import ShapeName, columns_of, json_line, left_behind, write_row
from realm.flows.context import Lab
from realm.flows.publishing import Publishing, dataset_of, publishable, told
from realm.flows.stats import Progress, RowsProgress, generator_of, left_out_and_checks
from realm.ledger.records import DatasetRecord
from realm.storage import manifest as manifests
from realm.storage.durable import explained, fsync_dir, fsync_file, make_dir, rename_dir, write_file
from realm.storage.stages import remove

CARD = "README.md"
FACTS = "export.json"
_TELL_ROWS = 2000
_SIDECAR_BYTES = 60_000

_FIELDS = {
    "messages": "the turns, each with role and content; an answer of weight 0 is not to be learnt",
    "prompt": "the turns that the answer, or both endings, follow",
    "expected": "the right answer, to grade by; never shown to a model",
    "input": "in messages, the turns that both endings follow",
    "chosen": "the better ending",
    "preferred_output": "the better ending",
    "rejected": "the worse ending",
    "non_preferred_output": "the worse ending",
    "text": "a text, all of which is to be learnt",
    "conversations": "the turns, each with from and value",
    "system": "what stands before the first turn",
    "history": "earlier questions with their answers",
    "instruction": "the question",
    "output": "the answer",
    "weight": "how much the row counts against others; 1 where there is none",
    "tags": "what the row is for, such as role, task, domain and language",
    "other_tags": "tags that are no columns, as a JSON object",
}

FormatName = Literal["jsonl", "parquet"]


class ExportPlan(Record):
    """What to export, and how."""

    dataset: str
    """Name, hash or prefix."""
    out: Path
    """A folder that does not exist yet."""
    format: FormatName = "jsonl"
    shape: ShapeName = "realm"
    private: bool = False
    """Whether the copy stays in house, so that the gate is not asked."""


class RowsFile(Record):
    """A file with rows."""

    name: str
    rows: int


class ExportFacts(Record):
    """What `export.json` says."""

    format: Literal[1] = 1
    dataset: Sha256
    name: str
    spec: str
    rows: int
    file_format: FormatName
    shape: ShapeName
    private: bool
    files: tuple[RowsFile, ...]
    left_behind: dict[str, int]
    """Rows that lost something because the shape has no place for it."""
    publishing: Publishing
    scrub: dict[str, Any] | None
    created_by: str


class Exported(Record):
    """A folder that was written."""

    folder: Path
    hash: Sha256
    """Of the names and bytes of all files, as the manifest has it."""
    size_bytes: int
    facts: ExportFacts


def export(lab: Lab, plan: ExportPlan, progress: Progress) -> Exported:
    """Export a dataset. Raises RefusedError where it may not leave, or the shape cannot hold a row.

    Also NotFoundError for no such dataset, StateError where the folder exists.
    """
    record = dataset_of(lab, plan.dataset)
    out = expanded(plan.out).absolute()
    _refuse_existing(out)
    publishing = publishable(lab, record.hash)
    if not plan.private:
        publishing.require(
            f"{record.name} ({short(record.hash)})", "--private writes a copy that stays in house"
        )
    try:
        make_dir(out.parent)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{out.parent}: not a folder", hint="name a place in a folder") from None
    stage = out.with_name(f".{out.name}.{secrets.token_hex(6)}.partial")
    try:
        with explained(stage):
            stage.mkdir(mode=0o700 if plan.private else 0o755)
        facts = _Writing(lab, record, plan, publishing, stage, progress).run()
        return _finish(stage, out, facts)
    except BaseException:
        remove(stage)
        raise


def _refuse_existing(out: Path) -> None:
    if os.path.lexists(out):
        raise StateError(
            f"{out}: exists already, and an export never writes over anything", hint="name another"
        )


def _finish(stage: Path, out: Path, facts: ExportFacts) -> Exported:
    """Flush every file, write the manifest last, and give the folder its name."""
    for name in manifests.list_files(stage):
        fsync_file(stage / name)
    manifest = manifests.describe(stage, ArtifactKind.EXPORT)
    write_file(stage / manifests.MANIFEST_NAME, manifest.to_bytes())
    fsync_dir(stage)
    _refuse_existing(out)
    try:
        rename_dir(stage, out)
    except OSError:
        _refuse_existing(out)  # somebody was faster
        raise
    return Exported(folder=out, hash=manifest.hash, size_bytes=manifest.ref.size_bytes, facts=facts)


class _Look(NamedTuple):
    """What a first pass over the rows says."""

    statistics: DatasetStatistics
    tags: TagColumns
    left_behind: Counter[str]


class _Writing:
    """One export under way."""

    def __init__(
        self,
        lab: Lab,
        record: DatasetRecord,
        plan: ExportPlan,
        publishing: Publishing,
        stage: Path,
        progress: Progress,
    ) -> None:
        self._lab, self._record, self._plan = lab, record, plan
        self._publishing, self._stage, self._progress = publishing, stage, progress
        self._folder = lab.store.path(ArtifactKind.DATASET, record.hash)  # the gate has verified it
        self._columns = frozenset(columns_of(plan.shape, record.spec, plan.format))
        self._done = 0

    def run(self) -> ExportFacts:
        look = self._look()
        files = self._jsonl() if self._plan.format == "jsonl" else self._parquet(look.tags)
        for file in files:
            self._write_sidecar(file)
        if (self._folder / LINEAGE).is_file():
            with explained(self._stage):
                shutil.copyfile(self._folder / LINEAGE, self._stage / LINEAGE)
        facts = ExportFacts(
            dataset=self._record.hash,
            name=self._record.name,
            spec=self._record.spec,
            rows=self._record.rows,
            file_format=self._plan.format,
            shape=self._plan.shape,
            private=self._plan.private,
            files=files,
            left_behind=dict(look.left_behind),
            publishing=self._publishing,
            scrub=self._record.scrub,
            created_by=program_version(),
        )
        write_file(self._stage / FACTS, (facts.model_dump_json(indent=2) + "\n").encode())
        made = generator_of(self._lab, self._record)
        known = _card_facts(self._record, made, facts, look.statistics, self._files())
        text = card(look.statistics, known)
        write_file(self._stage / CARD, text.encode())
        return facts

    def _look(self) -> _Look:
        """Count the rows, learn their tags, and find out whether the shape holds every one."""
        counter, tags, behind = StatisticsCounter(), TagColumns(), Counter[str]()
        for number, row in enumerate(stored_rows(self._folder), 1):
            counter.add_stored(row.example, row.made_of)
            tags.see(row.example)
            behind.update(left_behind(self._plan.shape, row.example))
            self._tell()
            if number == 1:
                self._write(number, row.example)  # so that a wrong shape is refused at once
        return _Look(counter.statistics(*left_out_and_checks(self._record)), tags, behind)

    def _write(self, number: int, example: Any) -> dict[str, Any]:
        try:
            written = write_row(self._plan.shape, example)
            if not written.keys() <= self._columns:  # a table would hold nothing of such a row
                raise refusal(f"it is no row of {self._record.spec}")
        except DataError as error:
            raise self._refusal(number, error) from None
        return written

    def _refusal(self, number: int, error: DataError) -> DataError:
        reason = f"cannot be written in the shape {self._plan.shape}: {error.reason}"
        return DataError(reason, file=self._record.name, line=number, hint=error.hint)

    def _written(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield every row in its shape, and as a line of JSON."""
        for number, row in enumerate(stored_rows(self._folder), 1):
            written = self._write(number, row.example)
            try:
                line = json_line(written)
            except DataError as error:
                raise self._refusal(number, error) from None
            yield written, line
            self._tell()

    def _jsonl(self) -> tuple[RowsFile, ...]:
        """Write as many files as the bounds of an inbox ask for."""
        counts: dict[str, int] = {}
        size, name = 0, ""
        with explained(self._stage), ExitStack() as stack:
            for _, line in self._written():
                full = name and (
                    size + len(line) > DEFAULT_LIMITS.file_bytes or counts[name] >= DEFAULT_LIMITS.max_rows
                )
                if not name or full:
                    stack.close()
                    name = f"rows-{len(counts) + 1}.jsonl" if counts else "rows.jsonl"
                    counts[name], size = 0, 0
                    file = stack.enter_context((self._stage / name).open("xb", buffering=1 << 20))
                file.write(line)
                counts[name] += 1
                size += len(line)
        return tuple(RowsFile(name=name, rows=count) for name, count in counts.items())

    def _parquet(self, tags: TagColumns) -> tuple[RowsFile, ...]:
        path = self._stage / "rows.parquet"
        with ParquetWriter(path, self._plan.shape, self._record.spec, tags.columns()) as writer:
            for written, line in self._written():
                writer.write(written, len(line))
        return (RowsFile(name=path.name, rows=self._record.rows),)

    def _write_sidecar(self, file: RowsFile) -> None:
        """Say who generated the rows, in the form that an inbox reads."""
        made = generator_of(self._lab, self._record) or {}
        params = made.get("params", {}) if made else _params(self._record, self._publishing)
        sidecar = Sidecar(
            generator_id=str(made.get("generator_id", "realm")),
            generator_version=str(made.get("generator_version", VERSION)),
            generated_at=iso(self._record.created_at),
            example_count=file.rows,
            params=params,
        )
        data = canonical_json(sidecar.model_dump(mode="json")).encode()
        if len(data) > _SIDECAR_BYTES:
            shorter = sidecar.model_copy(update={"params": {"dataset": self._record.hash}})
            data = canonical_json(shorter.model_dump(mode="json")).encode()
        write_file(sidecar_of(self._stage / file.name), data + b"\n")

    def _files(self) -> tuple[str, ...]:
        return (*manifests.list_files(self._stage), CARD, manifests.MANIFEST_NAME)

    def _tell(self) -> None:
        """Say how far it is: every row is read twice."""
        self._done += 1
        total = 2 * self._record.rows
        if self._done % _TELL_ROWS == 0 or self._done == total:
            self._progress(RowsProgress(dataset=self._record.name, done=self._done, total=total))


def _params(record: DatasetRecord, publishing: Publishing) -> dict[str, Any]:
    """Return what a sidecar says of a dataset that no single program generated."""
    return {
        "dataset": record.hash,
        "name": record.name,
        "spec": record.spec,
        "licences": {each.licence: each.rows for each in publishing.licences[:100]},
        "scrub": record.scrub,
    }


def _card_facts(
    record: DatasetRecord,
    made: dict[str, Any] | None,
    facts: ExportFacts,
    statistics: DatasetStatistics,
    files: tuple[str, ...],
) -> CardFacts:
    build = record.build or {}
    split = build.get("side") or "train"
    return CardFacts(
        name=_name(record.name),
        hash=record.hash,
        splits=tuple(Split(name=split, file=file.name, rows=file.rows) for file in facts.files),
        created_by=facts.created_by,
        facts=tuple(_about(record, made, facts, statistics)),
        files=tuple((name, _holds(name, facts)) for name in files),
        fields=tuple(
            (name, _FIELDS[name]) for name in columns_of(facts.shape, record.spec, facts.file_format)
        ),
        build_rows=build.get("statistics", {}).get("rows"),
        against=tuple(f"{each.what}: {told(each)}" for each in facts.publishing.obstacles),
    )


def _name(name: str) -> str:
    """Return a name as `Name` allows it: a dataset may be called after a file or a drill."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in name)
    return kept.lstrip(".")[:128] or "dataset"


def _about(
    record: DatasetRecord, made: dict[str, Any] | None, facts: ExportFacts, statistics: DatasetStatistics
) -> Iterator[tuple[str, str]]:
    build = record.build or {}
    yield "called", record.name
    yield "rows are", f"{record.spec}, written in the shape {facts.shape}"
    if "side" in build:
        yield "side", f"{build['side']}; sessions, files and work items are on one side as a whole"
    yield "came from", _came_from(record, statistics)
    if made:
        yield "generated by", f"{made.get('generator_id', '?')} {made.get('generator_version', '')}"
    if build.get("rig"):
        yield "built for", f"the rig {build['rig']}"
    yield "secrets and personal data", _scrubbed(record.scrub)
    for what, count in facts.left_behind.items():
        yield "left behind by the shape", f"{what} of {count:,} rows"


def _came_from(record: DatasetRecord, statistics: DatasetStatistics) -> str:
    sources = statistics.by.get("source", {})
    return ", ".join(f"{name} ({rows:,} rows)" for name, rows in sources.items()) or record.source


def _scrubbed(scrub: dict[str, Any] | None) -> str:
    if scrub is None:
        return "nobody has looked for any"
    found = (
        f"looked for in all documents: {scrub.get('clean', 0):,} clean, {scrub.get('replaced', 0):,} with "
    )
    left = scrub.get("quarantined", 0)
    return f"{found}something replaced, {left:,} in doubt and not in the dataset"


def _holds(name: str, facts: ExportFacts) -> str:
    rows = {file.name: file.rows for file in facts.files}
    if name in rows:
        return f"{rows[name]:,} rows"
    said = {
        LINEAGE: "of each row in its order: source, file, lines, commit or session, licence, versions",
        FACTS: "what was exported, and how the gate decided",
        CARD: "this card",
        manifests.MANIFEST_NAME: "size and SHA-256 of every file",
    }
    return said.get(name, "who generated the rows, for an inbox")
