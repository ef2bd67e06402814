"""One file that segments images: the whole ensemble, from stored images to probabilities, for other programs."""

from __future__ import annotations

from muster.training.export.exporting import Agreement, Exported, ExportError, export_ensemble
from muster.training.export.file_format import FORMATS, FileFormat

__all__ = ["FORMATS", "Agreement", "ExportError", "Exported", "FileFormat", "export_ensemble"]
