"""MLflow: a tracking server, or a local database under `<folder>/mlflow`.

User name, password or token of a server come from the environment alone, under MLflow's own names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator

from realm.core.config import Config as BaseConfig
from realm.training.sink import Measured, Outcome, TrackedRun, require_extra

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAG = "realm.run"
_STATUS: dict[Outcome, str] = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_AT_ONCE = 1000
"""Metrics that the server takes in one call."""
_PARAMS_AT_ONCE = 100


def _without_secrets(uri: str) -> str:
    if urlsplit(uri).password is not None:
        raise ValueError("a tracking URI holds no password; set MLFLOW_TRACKING_USERNAME and _PASSWORD")
    return uri


class MLflow:
    """Log metrics and parameters to one MLflow run, found again by its tag `realm.run`."""

    class Config(BaseConfig):
        """Where runs are filed."""

        kind: Literal["mlflow"] = "mlflow"
        tracking_uri: Annotated[str, AfterValidator(_without_secrets)] | None = None
        """A server such as `http://127.0.0.1:5000`; none keeps a database beside the lab's files."""
        experiment: str = "realm"
        """The experiment that runs are filed under."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._client: MlflowClient | None = None
        self._id = ""

    def require(self) -> None:
        """Raise MissingExtraError unless MLflow is installed."""
        require_extra("mlflow", "mlflow")

    def open(self, run: TrackedRun) -> None:
        """Find the run by its tag, or create it."""
        self.require()
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        folder = Path(run.folder) / "mlflow"
        uri = self.config.tracking_uri
        if uri is None:
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{folder / 'mlflow.db'}"
        self._client = client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(self.config.experiment)
        if experiment is not None:
            experiment_id = experiment.experiment_id
        else:
            local = None if self.config.tracking_uri else (folder / "artifacts").as_uri()
            experiment_id = client.create_experiment(self.config.experiment, artifact_location=local)
        found = client.search_runs([experiment_id], f"tags.`{_TAG}` = '{run.id}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            client.update_run(self._id, status="RUNNING")
        else:
            self._id = self._create(client, experiment_id, run)

    def _create(self, client: MlflowClient, experiment_id: str, run: TrackedRun) -> str:
        from mlflow.entities import Param

        tags = {_TAG: run.id, "realm.group": run.group}
        created: str = client.create_run(experiment_id, run_name=run.run, tags=tags).info.run_id
        params = [Param(name, str(value)) for name, value in run.settings.items()]
        for begin in range(0, len(params), _PARAMS_AT_ONCE):
            client.log_batch(created, params=params[begin : begin + _PARAMS_AT_ONCE])
        return created

    def write(self, measured: Sequence[Measured]) -> None:
        """Log metrics, up to a thousand in a call."""
        from mlflow.entities import Metric

        assert self._client is not None
        metrics = [
            Metric(name, value, _milliseconds(item.at), item.step)
            for item in measured
            for name, value in item.figures.items()
        ]
        for begin in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self._id, metrics=metrics[begin : begin + _AT_ONCE])

    def close(self, outcome: Outcome) -> None:
        """Say how the run ended."""
        assert self._client is not None
        self._client.set_terminated(self._id, status=_STATUS[outcome])


def _milliseconds(at: str) -> int:
    return int(1000 * (datetime.fromisoformat(at).timestamp() if at else time.time()))
