"""PyTorch's own: a program of torch.export, for programs that have torch but not the code of the members."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from muster.arrays import NumpyArray
from muster.training.export.file_format import FORMATS, FileFormat, Segments
from muster.training.export.graph import OUTPUTS

METADATA = "muster.json"
"""Name of the extra file inside that holds the metadata."""


class TorchFile(FileFormat):
    """``torch``."""

    suffix = ".pt2"

    def write(
        self,
        program: ExportedProgram,
        path: Path,
        metadata: dict[str, str],
        names: tuple[str, str] = OUTPUTS,  # noqa: ARG002 (outputs are told apart by their place)
    ) -> None:
        """See :meth:`FileFormat.write`."""
        with path.open("wb") as file:  # of a path torch would keep the name inside
            torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata, ensure_ascii=False)})

    def open(self, path: Path) -> Segments:
        """See :meth:`FileFormat.open`."""
        module = torch.export.load(path).module()

        @torch.no_grad()
        def segment(image: Tensor) -> tuple[NumpyArray, NumpyArray]:
            probabilities, classes = module(image)
            return probabilities.numpy(), classes.numpy()

        return segment

    def metadata(self, path: Path) -> dict[str, str]:
        """See :meth:`FileFormat.metadata`."""
        with zipfile.ZipFile(path) as archive:  # the file may be anybody's, and this runs nothing of it
            name = next(each for each in archive.namelist() if each.endswith(f"extra/{METADATA}"))
            content: dict[str, str] = json.loads(archive.read(name))
        return content


FORMATS.add("torch", TorchFile())
