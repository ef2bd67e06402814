"""What a format of exported ensembles has to offer, and which there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from jaxtyping import Float32, Integer, UInt8
from torch import Tensor
from torch.export import ExportedProgram

from muster.arrays import NumpyArray
from muster.errors import ConfigError
from muster.registry import Registry

Segments: TypeAlias = Callable[
    [UInt8[Tensor, "b 3 h w"]], tuple[Float32[NumpyArray, "b c ..."], Integer[NumpyArray, "b ..."]]
]
"""What an exported file does: images in, class probabilities and class indices out."""


class FileFormat(ABC):
    """A kind of file that an ensemble can be exported to.

    Attributes:
        suffix: How names of such files end.
        needs: Modules that have to be installed.
    """

    suffix: str
    needs: tuple[str, ...] = ()

    @abstractmethod
    def write(
        self,
        program: ExportedProgram,
        path: Path,
        metadata: dict[str, str],
        names: tuple[str, str] = ("probabilities", "classes"),
    ) -> None:
        """Write a program.

        Args:
            program: As :func:`muster.training.export.graph.trace` gives it.
            path: The file to write.
            metadata: Text to put into the file, by keys that begin with ``muster.``.
            names: What it calls its outputs, where the format has names for them.

        Raises:
            Exception: Of many classes, if an operation has no counterpart in this format.
        """

    @abstractmethod
    def open(self, path: Path) -> Segments:
        """Open a file, as whoever deploys it would.

        Args:
            path: What :meth:`write` wrote.

        Returns:
            A function that runs it on the CPU.
        """

    @abstractmethod
    def metadata(self, path: Path) -> dict[str, str]:
        """What was put into a file."""


FORMATS: Registry[FileFormat] = Registry("format", "muster.training.export.formats", ConfigError)
"""All formats; a file in :mod:`muster.training.export.formats` adds its own."""
