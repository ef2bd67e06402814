"""Tables and images of reports, sent to trackers. Apart from the loggers, so that a fit imports no report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from muster.data.spec import VOID
from muster.report.palette import confidence_colours
from muster.report.records import ReportImage
from muster.report.tables import Table

if TYPE_CHECKING:
    import wandb


@rank_zero_only
def log_tables(
    loggers: Sequence[Logger],
    tables: Mapping[str, Table],
    report_images: Sequence[ReportImage] = (),
    classes: Sequence[str] = (),
) -> None:
    """Send the tables and images of a report to the trackers among some loggers.

    Args:
        loggers: What :func:`make_logger` gave.
        tables: See :func:`muster.report.selection_tables` and :func:`muster.report.finetuning_tables`.
        report_images: Shown with their label maps, which W&B can switch on and off.
        classes: Names of the classes in those maps.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            content: dict[str, Any] = {f"tables/{name}": _wandb_table(table) for name, table in tables.items()}
            if report_images:
                content["images"] = [_wandb_image(report_image, classes) for report_image in report_images]
                content["confidence"] = [_wandb_confidence(report_image) for report_image in report_images]
            logger.experiment.log(content)


def _wandb_table(table: Table) -> wandb.Table:
    import wandb

    return wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows], allow_mixed_types=True)


def _wandb_image(report_image: ReportImage, classes: Sequence[str]) -> wandb.Image:
    import wandb

    labels = dict(enumerate(classes)) | {VOID: "void"}
    maps = {"ground truth": report_image.truth, **report_image.predictions}
    masks = {name: {"mask_data": values.numpy(), "class_labels": labels} for name, values in maps.items()}
    return wandb.Image(report_image.image.permute(1, 2, 0).numpy(), caption=report_image.identifier, masks=masks)


def _wandb_confidence(report_image: ReportImage) -> wandb.Image:
    import wandb

    return wandb.Image(confidence_colours(report_image.confidence), caption=report_image.identifier)
