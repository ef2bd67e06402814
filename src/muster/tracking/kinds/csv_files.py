"""CSV: the curves of a fit as plain files, always kept."""

from __future__ import annotations

from pytorch_lightning.loggers import CSVLogger, Logger

from muster.tracking.kinds.kind import KINDS, LoggerKind, Run


class CSVFiles(LoggerKind):
    """``csv``: ``FOLDER/csv/version_N``, a new N for each fit, so that a resumed fit deletes nothing.

    What a run finds besides its curves lies in files of muster's own.
    """

    folder = "csv"
    everywhere = True  # Lightning's logger knows by itself which process writes

    def open(self, run: Run) -> CSVLogger:
        """See :meth:`LoggerKind.open`."""
        return CSVLogger(run.folder, name=self.folder)

    def made(self, logger: Logger) -> bool:
        """See :meth:`LoggerKind.made`."""
        return isinstance(logger, CSVLogger)


KINDS.add("csv", CSVFiles())
