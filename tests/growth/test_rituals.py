from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from realm.growth.rituals import CHECKS, HealthCheck, HealthConfig, HealthFacts, examine

WELL: dict[str, Any] = {
    "steps": 100,
    "steps_not_finite": 0,
    "masking_proven": True,
    "asked": 50,
    "answered": 50,
    "checkpoint_verified": True,
    "gradient_median": 0.5,
    "gradient_highest": 2.0,
    "rollbacks": 0,
    "alerts": 0,
    "training_loss": 0.4,
    "validation_loss": 0.45,
    "drift": 0.1,
}


def check(id: str, **changed: Any) -> HealthCheck:
    health = examine(HealthFacts.model_validate({**WELL, **changed}))
    others = [other for other in health.checks if other.id != id]
    assert {other.status for other in others} == {"ok"}
    [found] = [one for one in health.checks if one.id == id]
    return found


def test_a_healthy_training_passes_every_check() -> None:
    health = examine(HealthFacts.model_validate(WELL))
    assert [one.id for one in health.checks] == list(CHECKS)
    assert len(CHECKS) == 9
    assert {one.status for one in health.checks} == {"ok"}
    assert not any(one.remedy for one in health.checks)
    assert health.factor == 1.0
    assert health.unknown == ()


@pytest.mark.parametrize(
    ("id", "changed", "status"),
    [
        ("finite", {"steps_not_finite": 1}, "critical"),
        ("finite", {"steps": 0}, "failed"),
        ("masking", {"masking_proven": False}, "critical"),
        ("evaluation", {"answered": 49}, "failed"),
        ("evaluation", {"asked": 0, "answered": 0}, "failed"),
        ("checkpoint", {"checkpoint_verified": False}, "critical"),
        ("gradients", {"gradient_highest": 10.1}, "warning"),
        ("gradients", {"gradient_highest": 101}, "failed"),
        ("gradients", {"gradient_median": 0}, "failed"),
        ("rollbacks", {"rollbacks": 1}, "failed"),
        ("alerts", {"alerts": 3}, "warning"),
        ("validation", {"validation_loss": 0.7}, "warning"),
        ("validation", {"validation_loss": 1.3}, "failed"),
        ("validation", {"training_loss": 0.0, "validation_loss": 0.2}, "failed"),
        ("validation", {"training_loss": 0.01, "validation_loss": 0.1}, "ok"),
        ("conventions", {"drift": 0.3}, "warning"),
        ("conventions", {"drift": 0.5}, "failed"),
    ],
)
def test_each_check_has_its_own_fault(id: str, changed: dict[str, Any], status: str) -> None:
    found = check(id, **changed)
    assert found.status == status
    assert found.details
    assert bool(found.remedy) == (status != "ok")


def test_what_nobody_measured_is_unknown_not_well() -> None:
    health = examine(HealthFacts.model_validate({**WELL, "drift": None, "gradient_median": None}))
    assert health.unknown == ("gradients", "conventions")
    assert len(health.checks) == 7
    with pytest.raises(ValidationError):
        HealthFacts.model_validate({**WELL, "masking_proven": None})


def test_the_factor_falls_with_each_fault_and_is_nothing_after_a_critical_one() -> None:
    def factor(**changed: Any) -> float:
        return examine(HealthFacts.model_validate({**WELL, **changed})).factor

    assert factor(alerts=1) == 0.95
    assert factor(rollbacks=1) == 0.8
    assert factor(rollbacks=1, alerts=1) == pytest.approx(0.76)
    assert factor(steps_not_finite=1) == 0.0
    own = HealthConfig(failed_factor=0.5)
    assert examine(HealthFacts.model_validate({**WELL, "rollbacks": 2}), own).factor == 0.5
