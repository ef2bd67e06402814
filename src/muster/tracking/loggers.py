"""Where a fit writes its course: CSV always, Weights & Biases when asked. A tracker is a copy, never the record."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from muster.errors import ConfigError, unknown_name
from muster.files import to_builtin_types

if TYPE_CHECKING:
    import wandb

LoggerKind = Literal["csv", "wandb"]


@dataclass(frozen=True)
class TrackingSettings:
    """Where a fit writes its course.

    Attributes:
        logger: Where training curves go besides history.csv: csv, or wandb as well.
    """

    logger: LoggerKind = "csv"


KINDS = ("csv", "wandb")
CSV_FOLDER = "csv"
DEFAULT_HOST = "https://api.wandb.ai"


def make_logger(
    kind: str, folder: Path, project: str, group: str, name: str, config: Mapping[str, Any]
) -> list[Logger]:
    """Loggers for one fit; for a Trainer's ``logger``.

    CSV goes to ``folder/csv/version_N``, a new N for each fit, so that a resumed fit deletes nothing. The W&B run is
    opened by rank zero only, is offline unless the user is logged in, and never asks anything. Close it with
    :func:`close_loggers` when everything has been sent.

    Args:
        kind: ``"csv"``, or ``"wandb"`` for both.
        folder: The run's own folder; the W&B run lies in it too.
        project: W&B project.
        group: Runs that belong together: pool and target.
        name: What to call this run.
        config: The resolved configuration, in plain values.

    Returns:
        The loggers, CSV first.

    Raises:
        ConfigError: If ``kind`` is unknown.
    """
    if kind not in KINDS:
        raise ConfigError(unknown_name("logger", kind, KINDS))
    loggers: list[Logger] = [CSVLogger(folder, name=CSV_FOLDER)]
    if kind == "wandb" and getattr(rank_zero_only, "rank", 0) in (None, 0):
        folder.mkdir(parents=True, exist_ok=True)
        loggers.append(WandbLogger(experiment=_open_run(folder, project, group, name, config)))
    return loggers


def tracking_mode() -> Literal["online", "offline", "disabled"]:
    """How a W&B run would be opened, found out without a network and without asking.

    Returns:
        What ``WANDB_MODE`` says if it is ``offline`` or ``disabled``; otherwise ``online`` if an API key is set in
        ``WANDB_API_KEY`` or the netrc file, and ``offline`` if not.
    """
    wanted = os.environ.get("WANDB_MODE", "").lower()
    if wanted == "disabled":
        return "disabled"
    if wanted in ("offline", "dryrun"):
        return "offline"
    return "online" if os.environ.get("WANDB_API_KEY") or _netrc_has_key() else "offline"


def _netrc_has_key() -> bool:
    host = urlsplit(os.environ.get("WANDB_BASE_URL", DEFAULT_HOST)).netloc
    given = os.environ.get("NETRC")
    for path in [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            entry = netrc.netrc(path).authenticators(host)
        except (OSError, netrc.NetrcParseError):
            continue
        if entry is not None and entry[2]:
            return True
    return False


def _open_run(folder: Path, project: str, group: str, name: str, config: Mapping[str, Any]) -> wandb.Run:
    import wandb  # slow to import, and most fits do without it

    settings = wandb.Settings(silent=True, console="off", init_timeout=30)
    # With "create_new" a run that the caller has open elsewhere stays his: this one is ours alone.
    options: dict[str, Any] = {"project": project, "group": group, "name": name, "dir": str(folder),
                               "config": to_builtin_types(config), "settings": settings,
                               "reinit": "create_new"}  # fmt: skip
    mode = tracking_mode()
    try:
        run = wandb.init(mode=mode, **options)
    except wandb.errors.Error:
        if mode != "online":
            raise
        # Logged in, but W&B cannot be reached or refuses the key: the fit is worth more than its copy.
        run = wandb.init(mode="offline", **options)
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step")
    return run


@rank_zero_only
def close_loggers(loggers: Sequence[Logger], succeeded: bool = True) -> None:
    """Write everything out and end the runs that :func:`make_logger` opened.

    Args:
        loggers: The loggers of one fit.
        succeeded: Whether the fit did what it should.
    """
    for logger in loggers:
        logger.finalize("success" if succeeded else "failed")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=0 if succeeded else 1)
