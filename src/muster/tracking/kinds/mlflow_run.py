"""MLflow: a local store in the run's folder, or the tracking server that the user's environment names."""

from __future__ import annotations

import csv
import io
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml
from PIL import Image
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from muster.errors import ConfigError
from muster.files import as_file_name
from muster.image_files import encoded
from muster.tracking.kinds.kind import KINDS, Content, LoggerKind, Rows, Run, flattened

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ADDRESS = "MLFLOW_TRACKING_URI"
"""MLflow's own variable: where runs are tracked. Only a user sets it; nothing here does."""

ALLOWED = "MLFLOW_ALLOW_FILE_STORE"
"""MLflow 3.5 and later refuse a folder as a store without it, because its new features need a database. Everything that
is written here is as old as that store."""

AT_ONCE = 100
"""Parameters that MLflow takes in one call."""

LONGEST = 500
"""Characters of a parameter that every version of MLflow keeps."""


class MLflowLogger(Logger):
    """Writes a run by MLflow's client alone, so that the process's own run, store and environment stay what they were.

    If the store fails while the run goes on, that is told once and nothing more is sent: the fit is worth more than its
    copy.
    """

    def __init__(self, client: MlflowClient, run_id: str, address: str) -> None:
        """Go on with a run.

        Args:
            client: Of the store.
            run_id: The run that was created in it.
            address: The store, for messages.
        """
        super().__init__()
        self.client, self.run_id, self.address = client, run_id, address
        self._failed = False

    @property
    def name(self) -> str:
        """Which logger it is."""
        return "mlflow"

    @property
    def version(self) -> str:
        """The run's number in the store."""
        return self.run_id

    @rank_zero_only
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Write parameters; those of groups have dots in their names."""
        from mlflow.entities import Param

        given = dict(params) if isinstance(params, Mapping) else vars(params)
        pairs = [Param(_known(key), str(value)[:LONGEST]) for key, value in flattened(given).items()]
        for start in range(0, len(pairs), AT_ONCE):
            self.attempt(self.client.log_batch, self.run_id, params=pairs[start : start + AT_ONCE])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write numbers of a step."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        entries = [Metric(_known(name), float(value), now, step or 0) for name, value in metrics.items()]
        self.attempt(self.client.log_batch, self.run_id, metrics=entries)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run."""
        self.attempt(self.client.set_terminated, self.run_id, "FINISHED" if status == "success" else "FAILED")

    def attempt(self, write: Callable[..., Any], *words: Any, **named: Any) -> None:
        """Write something, unless the store has failed before."""
        from mlflow.exceptions import MlflowException

        if self._failed:
            return
        try:
            write(*words, **named)
        except (MlflowException, OSError) as error:
            self._failed = True
            warnings.warn(
                f"MLflow's store {self.address} takes nothing more of this run: {_first_line(error)} The run goes on.",
                stacklevel=2,
            )


class MLflow(LoggerKind):
    """``mlflow``: ``FOLDER/mlruns``, or where ``MLFLOW_TRACKING_URI`` says.

    Configuration as parameters, curves and results as metrics, tables as CSV, images and records as artifacts. A server
    that cannot be reached is told, and the run is tracked in its folder.
    """

    folder = "mlruns"
    module = "mlflow"
    extra = "mlflow"

    def open(self, run: Run) -> MLflowLogger:
        """See :meth:`LoggerKind.open`."""
        from mlflow.exceptions import MlflowException

        os.environ.setdefault(ALLOWED, "true")
        local = (run.folder / self.folder).absolute().as_uri()
        named = os.environ.get(ADDRESS)
        try:
            return _create(run, named or local)
        except MlflowException as error:
            if named is None:
                raise ConfigError(f"MLflow cannot track in {run.folder}: {_first_line(error)}") from error
            warnings.warn(f"MLflow at {named} ({ADDRESS}): {_first_line(error)} {local} is used instead.", stacklevel=2)
        return _create(run, local)

    def made(self, logger: Logger) -> bool:
        """See :meth:`LoggerKind.made`."""
        return isinstance(logger, MLflowLogger)

    def send(self, logger: Logger, content: Content) -> None:
        """See :meth:`LoggerKind.send`."""
        assert isinstance(logger, MLflowLogger)
        if numbers := content.finite():
            logger.log_metrics(numbers)
        for name, table in content.tables.items():
            logger.attempt(logger.client.log_text, logger.run_id, as_csv(table), f"tables/{name}.csv")
        with TemporaryDirectory() as folder:
            for picture in content.pictures:
                for what, pixels in {"image": picture.image, **picture.painted}.items():
                    path = Path(folder) / f"{as_file_name(picture.name)}-{as_file_name(what)}.png"
                    path.write_bytes(encoded(Image.fromarray(pixels), "PNG"))
                    logger.attempt(logger.client.log_artifact, logger.run_id, str(path), "images")
        for drawn in (file for chart in content.charts for file in (chart.png, chart.page) if file is not None):
            logger.attempt(logger.client.log_artifact, logger.run_id, str(drawn), "figures")
        for path in content.present():
            logger.attempt(logger.client.log_artifact, logger.run_id, str(path))


def _create(run: Run, address: str) -> MLflowLogger:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name(run.project)
    number = experiment.experiment_id if experiment else client.create_experiment(run.project)
    tags = {"muster.group": run.group, **{f"muster.{link}": value for link, value in run.links.items() if value}}
    created = client.create_run(number, tags=tags, run_name=run.name)
    logger = MLflowLogger(client, created.info.run_id, address)
    logger.log_hyperparams(run.options)
    text = yaml.safe_dump(run.options, sort_keys=False, allow_unicode=True)
    logger.attempt(client.log_text, logger.run_id, text, "config.yaml")
    return logger


def as_csv(table: Rows) -> str:
    """A table as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([table.columns, *table.rows])
    return text.getvalue()


def _known(name: str) -> str:
    """A name in the characters that MLflow takes."""
    return re.sub(r"[^\w/. -]", "_", name, flags=re.ASCII)


def _first_line(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return line if line.endswith(".") else f"{line}."


KINDS.add("mlflow", MLflow())
