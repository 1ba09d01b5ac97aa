"""How well a scrubber does on rows whose labels are known."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from realm.core.errors import DataError
from realm.core.records import Record
from realm.core.text import printable
from realm.corpus.scrub import Scrubber
from realm.corpus.scrubbing.finding import Finding, Verdict
from realm.corpus.scrubbing.rowfile import FileRow, rows

_SECRET, _CLEAN = "secret", "clean"


class Score(Record):
    """Shares from 0 to 1, of secret kinds only; None where no row tells."""

    recall: float | None
    """Secret rows with a finding that overlaps the secret, replaced or quarantined."""
    precision: float | None
    """Of the rows replaced without asking, those that are labelled secret."""
    quarantine_rate: float | None
    """Clean rows quarantined."""
    false_positive_rate: float | None
    """Clean rows replaced."""
    mb_per_s: float
    """Text (10⁶ bytes of UTF-8) a second of CPU time, personal data looked for too."""
    rows: int


def score(file: Path, scrubber: Scrubber) -> Score:
    """Score a scrubber on rows `{text, label: secret|clean, secret?}`. Raises DataError with the line."""
    counts: Counter[str] = Counter()
    size_bytes, seconds = 0, 0.0
    scrubber.prepare()
    for row in rows(file):
        text, label, secret = _labelled(file, row)
        size_bytes += len(text.encode("utf-8", "surrogatepass"))
        began = time.process_time()
        result = scrubber.scrub_text(text)
        seconds += time.process_time() - began
        findings = [finding for finding in result.findings if not finding.personal]
        verdict = _verdict(findings, scrubber.config.high)
        counts.update((label, f"{label}/{verdict}"))
        counts["found"] += label == _SECRET and _overlaps(findings, text, secret)
    replaced = counts[f"{_SECRET}/{Verdict.REPLACED}"] + counts[f"{_CLEAN}/{Verdict.REPLACED}"]
    return Score(
        recall=_share(counts["found"], counts[_SECRET]),
        precision=_share(counts[f"{_SECRET}/{Verdict.REPLACED}"], replaced),
        quarantine_rate=_share(counts[f"{_CLEAN}/{Verdict.QUARANTINED}"], counts[_CLEAN]),
        false_positive_rate=_share(counts[f"{_CLEAN}/{Verdict.REPLACED}"], counts[_CLEAN]),
        mb_per_s=round(size_bytes / 1e6 / seconds, 3) if seconds else 0.0,
        rows=counts[_SECRET] + counts[_CLEAN],
    )


def _labelled(file: Path, row: FileRow) -> tuple[str, str, str | None]:
    value: Any = row.value if isinstance(row.value, dict) else {}
    text, label, secret = value.get("text"), value.get("label"), value.get("secret")
    if not isinstance(text, str) or label not in (_SECRET, _CLEAN) or not isinstance(secret, str | None):
        raise DataError(
            "not a labelled row",
            file=printable(file.name),
            line=row.line,
            hint='rows to score look like {"text": "…", "label": "secret" or "clean", "secret": "…" or null}',
        )
    return text, label, secret


def _verdict(findings: list[Finding], high: float) -> Verdict:
    if any(finding.confidence < high for finding in findings):
        return Verdict.QUARANTINED
    return Verdict.REPLACED if findings else Verdict.CLEAN


def _overlaps(findings: list[Finding], text: str, secret: str | None) -> bool:
    if not secret:
        return bool(findings)
    at = text.find(secret)
    if at < 0:
        return bool(findings)
    while at >= 0:
        if any(finding.start < at + len(secret) and finding.end > at for finding in findings):
            return True
        at = text.find(secret, at + 1)
    return False


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
