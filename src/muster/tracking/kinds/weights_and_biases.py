"""Weights & Biases: offline unless the user is logged in; nothing is ever asked."""

from __future__ import annotations

import netrc
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pytorch_lightning.loggers import Logger, WandbLogger

from muster.tracking.kinds.kind import KINDS, Chart, Content, LoggerKind, Picture, Rows, Run

if TYPE_CHECKING:
    import wandb

DEFAULT_HOST = "https://api.wandb.ai"
LONGEST_TAG = 64
LONGEST_ARTIFACT_NAME = 128


class WeightsAndBiases(LoggerKind):
    """``wandb``: curves, tables, images and records; runs of a project are linked by pool and target.

    The links are the run's group, its tags (``pool:NAME``, ``target:NAME``), its job type, the keys ``pool`` and
    ``target`` of its configuration, and an artifact with its records that is named for both.
    """

    folder = "wandb"

    def open(self, run: Run) -> WandbLogger:
        """See :meth:`LoggerKind.open`."""
        run.folder.mkdir(parents=True, exist_ok=True)
        return WandbLogger(experiment=_open_run(run))

    def made(self, logger: Logger) -> bool:
        """See :meth:`LoggerKind.made`."""
        return isinstance(logger, WandbLogger)

    def send(self, logger: Logger, content: Content) -> None:
        """See :meth:`LoggerKind.send`."""
        assert isinstance(logger, WandbLogger)
        run = logger.experiment
        shown: dict[str, Any] = {f"tables/{name}": _table(table) for name, table in content.tables.items()}
        if content.pictures:
            shown["images"] = [_image(picture, content) for picture in content.pictures]
            shown["confidence"] = [
                _plain(picture, picture.painted["confidence"])
                for picture in content.pictures
                if "confidence" in picture.painted
            ]
        shown |= {f"figures/{chart.name}": _figure(chart) for chart in content.charts}
        if shown:
            run.log(shown)
        run.summary.update(content.finite())
        if files := content.present():
            run.log_artifact(_artifact(run, files))

    def close(self, logger: Logger, succeeded: bool) -> None:
        """See :meth:`LoggerKind.close`."""
        super().close(logger, succeeded)
        assert isinstance(logger, WandbLogger)
        logger.experiment.finish(exit_code=0 if succeeded else 1)


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


def _open_run(run: Run) -> wandb.Run:
    import wandb  # slow to import, and most fits do without it

    settings = wandb.Settings(silent=True, console="off", init_timeout=30)
    # With "create_new" a run that the caller has open elsewhere stays his: this one is ours alone.
    options: dict[str, Any] = {"project": run.project, "group": run.group, "name": run.name, "job_type": run.job,
                               "tags": tags_of(run), "dir": str(run.folder), "config": run.options,
                               "settings": settings, "reinit": "create_new"}  # fmt: skip
    mode = tracking_mode()
    try:
        opened = wandb.init(mode=mode, **options)
    except wandb.errors.Error:
        if mode != "online":
            raise
        # Logged in, but W&B cannot be reached or refuses the key: the fit is worth more than its copy.
        opened = wandb.init(mode="offline", **options)
    opened.define_metric("trainer/global_step")
    opened.define_metric("*", step_metric="trainer/global_step")
    return opened


def tags_of(run: Run) -> tuple[str, ...]:
    """Tags such as ``pool:worlds``; a long one is cut, as W&B takes no more than 64 characters."""
    return tuple(f"{link}:{value}"[:LONGEST_TAG] for link, value in run.links.items() if value and link != "job")


def _artifact(run: wandb.Run, files: list[Path]) -> wandb.Artifact:
    """The records of a run: a selection, an ensemble or a member by its name, without its weights."""
    import wandb

    kind = run.job_type or "run"
    name = re.sub(r"[^\w.-]", "_", f"{kind}-{run.group}-{run.name}" if kind == "train" else f"{kind}-{run.group}")
    artifact = wandb.Artifact(name[:LONGEST_ARTIFACT_NAME], type=kind, metadata={"tags": list(run.tags or ())})
    for path in files:
        artifact.add_file(str(path), name=path.name)
    return artifact


def _table(table: Rows) -> wandb.Table:
    import wandb

    return wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows], allow_mixed_types=True)


def _image(picture: Picture, content: Content) -> wandb.Image:
    import wandb

    labels = dict(content.classes)
    masks = {name: {"mask_data": mask, "class_labels": labels} for name, mask in picture.masks.items()}
    return wandb.Image(picture.image, caption=picture.name, masks=masks)


def _figure(chart: Chart) -> wandb.Image | wandb.Html:
    """Where it answers to the mouse, that is kept."""
    import wandb

    if chart.page is not None:
        return wandb.Html(chart.page.read_text("utf-8"), inject=False)
    return wandb.Image(str(chart.png))


def _plain(picture: Picture, pixels: Any) -> wandb.Image:
    import wandb

    return wandb.Image(pixels, caption=picture.name)


KINDS.add("wandb", WeightsAndBiases())
