"""Reports: one HTML page per selection and per fine-tuning, and label maps in colour."""

from __future__ import annotations

from muster.report.finetuning import write_finetuning_report
from muster.report.images import choose_images, class_counts, make_report_image, selection_images, shrink
from muster.report.numbers import finetuning_numbers, selection_numbers
from muster.report.palette import class_colours, label_colours, mask_image, overlay
from muster.report.records import ReportImage
from muster.report.selection import write_selection_report
from muster.report.sheet import image_sheet
from muster.report.tables import Table, finetuning_tables, metric_label, selection_tables
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN, Cost, Difference, FinetuneResult

__all__ = [
    "LEARNED_HEAD",
    "PLAIN_MEAN",
    "Cost",
    "Difference",
    "FinetuneResult",
    "ReportImage",
    "Table",
    "choose_images",
    "class_colours",
    "class_counts",
    "finetuning_numbers",
    "finetuning_tables",
    "image_sheet",
    "label_colours",
    "make_report_image",
    "mask_image",
    "metric_label",
    "overlay",
    "selection_images",
    "selection_numbers",
    "selection_tables",
    "shrink",
    "write_finetuning_report",
    "write_selection_report",
]
