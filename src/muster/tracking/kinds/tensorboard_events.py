"""TensorBoard: event files in the run's folder."""

from __future__ import annotations

import numpy as np
import yaml
from PIL import Image
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from muster.markdown import markdown_table
from muster.tracking.kinds.kind import KINDS, Content, LoggerKind, Picture, Rows, Run


class TensorBoardEvents(LoggerKind):
    """``tensorboard``: ``FOLDER/tensorboard/version_N``; ``tensorboard --logdir runs`` finds all of them.

    Tables and the configuration are texts, results are scalars, images stand beside the painted masks.
    """

    folder = "tensorboard"
    module = "tensorboard"
    extra = "tensorboard"

    def open(self, run: Run) -> TensorBoardLogger:
        """See :meth:`LoggerKind.open`."""
        logger = TensorBoardLogger(run.folder, name=self.folder, default_hp_metric=False)
        options = yaml.safe_dump(run.options, sort_keys=False, allow_unicode=True)
        logger.experiment.add_text("config", "    " + options.replace("\n", "\n    "))  # indented: a block of code
        return logger

    def made(self, logger: Logger) -> bool:
        """See :meth:`LoggerKind.made`."""
        return isinstance(logger, TensorBoardLogger)

    def send(self, logger: Logger, content: Content) -> None:
        """See :meth:`LoggerKind.send`."""
        assert isinstance(logger, TensorBoardLogger)
        events = logger.experiment
        for name, value in content.finite().items():
            events.add_scalar(name, value, 0)
        for name, table in content.tables.items():
            events.add_text(f"tables/{name}", as_markdown(table))
        for picture in content.pictures:
            events.add_image(f"images/{picture.name}", side_by_side(picture), dataformats="HWC")
        for chart in content.charts:
            with Image.open(chart.png) as drawn:
                pixels = np.asarray(drawn.convert("RGB"))
            events.add_image(f"figures/{chart.name}", pixels, dataformats="HWC")


def as_markdown(table: Rows) -> str:
    """A table as TensorBoard shows one."""
    headings, *rows = ([_cell(value) for value in line] for line in (table.columns, *table.rows))
    return "\n".join(markdown_table(headings, rows))


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def side_by_side(picture: Picture) -> np.ndarray:
    """The image and everything that was painted for it, from left to right.

    Args:
        picture: All of one size.

    Returns:
        uint8 ``[h, w, 3]``, with a white line between the parts.
    """
    parts = [picture.image, *picture.painted.values()]
    line = np.full((picture.image.shape[0], 2, 3), 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, line)][:-1], axis=1)


KINDS.add("tensorboard", TensorBoardEvents())
