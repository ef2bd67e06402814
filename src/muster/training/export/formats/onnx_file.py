"""ONNX: one file for ONNX Runtime, TensorRT, OpenVINO and whatever else reads it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from muster.arrays import NumpyArray
from muster.errors import OutputError
from muster.training.export.file_format import FORMATS, FileFormat, Segments
from muster.training.export.graph import INPUT, OUTPUTS

OPSET = 18
"""The first version of the operators that can make an image smaller with antialiasing."""

MOST_BYTES = 2**31 - 2**20
"""A single ONNX file holds less than 2 GB: it is one protocol buffer."""


class OnnxFile(FileFormat):
    """``onnx``."""

    suffix = ".onnx"
    needs = ("onnx", "onnxscript", "onnxruntime")

    def write(
        self, program: ExportedProgram, path: Path, metadata: dict[str, str], names: tuple[str, str] = OUTPUTS
    ) -> None:
        """See :meth:`FileFormat.write`."""
        size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
        if size > MOST_BYTES:
            raise OutputError(f"{path} would hold {size / 1e9:.1f} GB, and a single ONNX file holds at most 2 GB.")
        made = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(names),
            external_data=False,
            verbose=False,
        )
        assert made is not None  # it is only for exporters of long ago
        for node in made.model.graph.all_nodes():
            node.metadata_props.clear()  # where each came from in torch and in the exporter: as long as the rest
        made.model.metadata_props.update(metadata)
        made.save(path, external_data=False)

    def open(self, path: Path) -> Segments:
        """See :meth:`FileFormat.open`."""
        import onnxruntime

        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

        def segment(image: Tensor) -> tuple[NumpyArray, NumpyArray]:
            probabilities, classes = session.run(None, {INPUT: image.numpy()})
            return probabilities, classes

        return segment

    def metadata(self, path: Path) -> dict[str, str]:
        """See :meth:`FileFormat.metadata`."""
        import onnx

        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


FORMATS.add("onnx", OnnxFile())
