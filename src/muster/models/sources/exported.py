"""Programs of torch.export: frozen networks that are ranked one by one, and cannot be fine-tuned.

Axis names: as in :mod:`muster.models.source_model`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import SymInt, Tensor, nn

from muster.data import ImageSize
from muster.errors import ConfigError
from muster.models._graph import trace
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.cutting import is_pooled, scores_in
from muster.models.exported_program import open_program
from muster.models.model_source import SOURCES, ModelSource
from muster.models.pooled import Pooled
from muster.models.source_model import BLANK_SIDE, SourceModel
from muster.user_files import require_regular

_PROGRAM = "program"


class Exported(SourceModel):
    """A program with its weights; all of it is one tensor of bytes, so that it is checked like other weights.

    It has scores and no features: metrics of features leave it out, and it takes no new head.
    """

    def __init__(self, blueprint: Blueprint, num_classes: int) -> None:
        """Nothing can be run before the bytes are loaded.

        Args:
            blueprint: How it is built again.
            num_classes: Classes that it tells apart.
        """
        super().__init__()
        self.architecture, self.blueprint = blueprint.architecture, blueprint
        self.feature_channels, self.depth = 0, 0
        self._num_classes = num_classes
        self.register_buffer(_PROGRAM, torch.empty(0, dtype=torch.uint8))
        self._network: list[nn.Module] = []  # in a list, so that its weights are not saved twice
        self._batch: int | None = None
        self.size: tuple[int, int] | None = None
        self._free = [(1, 1), (1, 1)]

    @property
    def num_classes(self) -> int:
        """See :meth:`SourceModel.num_classes`."""
        return self._num_classes

    @property
    def num_parameters(self) -> int:
        """See :meth:`SourceModel.num_parameters`."""
        return sum(parameter.numel() for network in self._network for parameter in network.parameters())

    @property
    def minimum_side(self) -> int:
        """See :meth:`SourceModel.minimum_side`."""
        return min(self.size) if self.size is not None else max(least for least, _ in self._free)

    @property
    def side_multiple(self) -> int:
        """See :meth:`SourceModel.side_multiple`."""
        return 1 if self.size is not None else math.lcm(*(multiple for _, multiple in self._free))

    @property
    def scores_features(self) -> bool:
        """It has no features."""
        return False

    def _padded_size(self, images: Tensor) -> tuple[int | SymInt, int | SymInt]:
        """A program that takes one size takes smaller images padded to it."""
        if self.size is None:
            return super()._padded_size(images)
        return max(images.shape[-2], self.size[0]), max(images.shape[-1], self.size[1])

    @property
    def device(self) -> torch.device:
        """See :meth:`SourceModel.device`."""
        return self.get_buffer(_PROGRAM).device

    def blank_image(self) -> Float[Tensor, "1 bands height width"]:
        """See :meth:`SourceModel.blank_image`; of the one size, where it takes no other."""
        return torch.zeros(1, 3, *(self.size or (BLANK_SIDE, BLANK_SIDE)))

    def features(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """None: a map without channels."""
        return images[:, :0]

    def features_and_embeddings(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> tuple[Float[Tensor, "batch channels map_height map_width"], list[Float[Tensor, "batch _"]]]:
        """None of both."""
        return images[:, :0], []

    def read(
        self,
        images: Float[Tensor, "batch bands height width"],
        stages: bool = False,  # noqa: ARG002 (it has none)
    ) -> tuple[
        Float[Tensor, "batch classes map_height map_width"],
        Float[Tensor, "batch channels _ _"],
        list[Float[Tensor, "batch _"]],
    ]:
        """See :meth:`SourceModel.read`."""
        return self(images), *self.features_and_embeddings(images)

    def forward(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> Float[Tensor, "batch classes map_height map_width"]:
        """See :meth:`SourceModel.forward`."""
        if not self._network:
            raise ConfigError("An exported program was run before it was loaded.")
        (network,) = self._network
        images = self.pad(images).contiguous()
        parts = [images] if self._batch is None else [image[None] for image in images]
        return torch.cat([_with_background(scores_in(network(part))) for part in parts])

    def score(self, features: Float[Tensor, "batch channels map_height map_width"]) -> NoReturn:  # noqa: ARG002
        """Impossible.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"An exported program such as {self.architecture!r} has no features to score.")

    def replace_head(self, num_classes: int, seed: int, decoder: bool = True) -> None:  # noqa: ARG002
        """Impossible.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"{self.architecture!r} is an exported program: it takes no new classes and cannot be fine-tuned. Adopt "
            "the model that it was exported from."
        )

    def _apply(self, change: Any, recurse: bool = True) -> Exported:
        """Move the network too."""
        super()._apply(change, recurse)  # type: ignore[no-untyped-call]
        for network in self._network:
            network._apply(change, recurse)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: Any) -> None:
        """Take bytes of any number, and open the program that they are."""
        content = state_dict[prefix + _PROGRAM]
        self.program = content.clone()
        self._open(content.cpu().numpy().tobytes())
        super()._load_from_state_dict(state_dict, prefix, *others)

    def _open(self, content: bytes) -> None:
        program = open_program(content, self.architecture)
        sides = _input_sides(program)
        self._batch, _, height, width = (side if isinstance(side, int) else None for side in sides)
        if (self._batch or 1) != 1:
            raise ConfigError(
                f"{self.architecture} takes batches of {self._batch} images only. Export it with one, or with a "
                "dynamic number (dynamic_shapes)."
            )
        self.size = None if height is None or width is None else (height, width)
        self._free = [_free_side(side, program) for side in sides[2:]]
        self._network = [program.module()]
        with torch.inference_mode(False), torch.enable_grad():
            self.depth, _ = trace(self(self.blank_image()))


def _with_background(scores: Tensor) -> Tensor:
    """One map is the score of the foreground; the background's is 0."""
    return torch.cat([torch.zeros_like(scores), scores], dim=1) if scores.shape[1] == 1 else scores


def _input_sides(program: torch.export.ExportedProgram) -> list[Any]:
    """Sides of the one input, symbols where they are free."""
    inputs = set(program.graph_signature.user_inputs)
    found = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    if len(found) != 1 or found[0].ndim != 4 or found[0].shape[1] != 3:
        raise ConfigError("Expected an exported program of one input, images [batch, 3, height, width].")
    return list(found[0].shape)


def _free_side(side: Any, program: torch.export.ExportedProgram) -> tuple[int, int]:
    """The least that the program takes along a side, and what it takes multiples of, as it was exported."""
    expression: Any = None if isinstance(side, int) else side.node.expr
    symbols = () if expression is None else tuple(expression.free_symbols)
    if len(symbols) != 1 or not (multiple := expression.coeff(symbols[0])).is_Integer:
        return 1, 1
    bounds = program.range_constraints.get(symbols[0])
    return max(1, int(multiple) * int(bounds.lower if bounds is not None else 1)), max(1, int(multiple))


class ExportedSource(ModelSource):
    """``from: exported``: ``model`` is a ``.pt2`` file."""

    can_be_finetuned = False

    def adopt(self, entry: Adoption) -> Adopted:
        """See :meth:`ModelSource.adopt`."""
        entry.required("model")
        entry.unused("weights", "architecture", "encoder", "arguments", "layer", "pretraining")
        path = Path(entry.model).expanduser()
        if path.suffix in (".pt", ".pth", ".jit"):
            raise entry.error(f"model: {path} is no .pt2 file. TorchScript is not read: it carries code of its own")
        try:
            require_regular(path)
            content = path.read_bytes()
        except OSError as error:
            raise entry.error(f"model: {path} cannot be read ({error.strerror or error})") from error
        program = Exported(Blueprint("exported", path.name), 0)
        program.load_state_dict({_PROGRAM: torch.frombuffer(bytearray(content), dtype=torch.uint8)})
        program.eval()
        with torch.no_grad():
            scores = program(program.blank_image())
        program._num_classes = scores.shape[1]
        model: SourceModel = Pooled(program) if is_pooled(scores) else program
        size = None if program.size is None else ImageSize(exact=program.size)
        said = entry.preprocessing()
        if said is not None:
            model.preprocessing = replace(said, size=size or said.size)
        return Adopted(model, entry.class_names(model.num_classes))

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:
        """See :meth:`ModelSource.build`."""
        return Exported(blueprint, num_classes)


SOURCES.add("exported", ExportedSource())
