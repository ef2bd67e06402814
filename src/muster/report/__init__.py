"""Reports: one HTML page per selection and per fine-tuning, and label maps in colour."""

from __future__ import annotations

from muster.report.finetuning import write_finetuning_report
from muster.report.images import choose_images, class_counts, make_picture, selection_pictures, shrink
from muster.report.palette import class_colours, label_colours, mask_image, overlay
from muster.report.records import Picture
from muster.report.selection import write_selection_report
from muster.report.sheet import picture_sheet
from muster.report.tables import Table, finetuning_tables, metric_label, selection_tables
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN, Cost, Difference, FinetuneResult

__all__ = [
    "LEARNED_HEAD",
    "PLAIN_MEAN",
    "Cost",
    "Difference",
    "FinetuneResult",
    "Picture",
    "Table",
    "choose_images",
    "class_colours",
    "class_counts",
    "finetuning_tables",
    "label_colours",
    "make_picture",
    "mask_image",
    "metric_label",
    "overlay",
    "picture_sheet",
    "selection_pictures",
    "selection_tables",
    "shrink",
    "write_finetuning_report",
    "write_selection_report",
]
