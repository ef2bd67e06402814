"""Tables and images of reports, sent to trackers. Apart from the loggers, so that a fit imports no report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from muster.data.spec import VOID
from muster.report.palette import confidence_colours, label_colours
from muster.report.records import AnyImage, DrawnImage
from muster.report.tables import Table
from muster.tracking.kinds import Chart, Content, Picture
from muster.tracking.loggers import send


@rank_zero_only
def send_report(
    loggers: Sequence[Logger],
    tables: Mapping[str, Table],
    numbers: Mapping[str, float],
    report_images: Sequence[AnyImage] = (),
    classes: Sequence[str] = (),
    files: Sequence[Path] = (),
    charts: Sequence[Chart] = (),
) -> None:
    """Send what a report shows to the trackers among some loggers.

    Args:
        loggers: What :func:`muster.tracking.make_loggers` gave.
        tables: See :func:`muster.report.selection_tables` and :func:`muster.report.finetuning_tables`.
        numbers: See :func:`muster.report.selection_numbers` and :func:`muster.report.finetuning_numbers`.
        report_images: Shown with their label maps.
        classes: Names of the classes in those maps.
        files: Records and reports to keep with them; those that are missing are left out.
        charts: Figures, as files that are there.
    """
    names = dict(enumerate(classes)) | {VOID: "void"}
    pictures = [_picture(report_image) for report_image in report_images]
    send(loggers, Content(numbers, dict(tables), pictures, names, files, charts))


def _picture(report_image: AnyImage) -> Picture:
    if isinstance(report_image, DrawnImage):
        first, *others = ((name, each.permute(1, 2, 0).numpy()) for name, each in report_image.pictures.items())
        return Picture(report_image.identifier, first[1], {}, dict(others))
    maps = {"ground truth": report_image.truth, **report_image.predictions}
    painted = {name: label_colours(labels) for name, labels in maps.items()}
    return Picture(
        report_image.identifier,
        report_image.image.permute(1, 2, 0).numpy(),
        {name: labels.numpy() for name, labels in maps.items()},
        {**painted, "confidence": confidence_colours(report_image.confidence)},
    )
