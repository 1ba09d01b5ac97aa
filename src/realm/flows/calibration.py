"""How well a checkpoint's confidences are calibrated, over everything it was asked in one way."""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.records import Record
from realm.evaluation.calibration import Calibration, CalibrationConfig, Sure, calibrate
from realm.evaluation.score import conditions
from realm.flows.context import Lab
from realm.ledger.records import CheckpointRecord


class CheckpointCalibration(Record):
    """A checkpoint's calibration, and what it was measured on."""

    checkpoint: str
    hash: str
    evaluations: tuple[int, ...]
    """Those whose answers count: measured as the newest was."""
    left_out: tuple[int, ...]
    """Those measured in another way; confidences of different ways are not mixed."""
    answers: int
    """Of these evaluations, with a confidence or without."""
    calibration: Calibration | None
    """None where no answer has a confidence."""


def of_checkpoint(
    lab: Lab, checkpoint: CheckpointRecord, config: CalibrationConfig | None = None
) -> CheckpointCalibration:
    """Measure the calibration of all answers that a checkpoint gave as in its newest evaluation."""
    found = lab.ledger.evaluations.list(checkpoint=checkpoint.hash)
    alike = [each for each in found if conditions(each.context) == conditions(found[0].context)]
    used = tuple(each.id for each in alike)
    return CheckpointCalibration(
        checkpoint=checkpoint.name,
        hash=checkpoint.hash,
        evaluations=used,
        left_out=tuple(each.id for each in found if each.id not in used),
        answers=sum(each.total for each in alike),
        calibration=of_evaluations(lab, used, config),
    )


def of_evaluations(
    lab: Lab, evaluations: Sequence[int], config: CalibrationConfig | None = None
) -> Calibration | None:
    """Measure the calibration of some evaluations' answers; None where no confidence is known."""
    sure = [
        Sure(key=result.key, confidence=result.confidence, score=result.score)
        for evaluation in evaluations
        for result in lab.ledger.evaluations.results(evaluation)
        if result.confidence is not None
    ]
    return calibrate(sure, config) if sure else None
