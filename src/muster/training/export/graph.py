"""An ensemble from stored images to probabilities, in operations that exporters can follow whatever the image's size.

It computes what :class:`muster.training.finetuned_ensemble.Ensemble` does. What differs is how: sizes stay symbols.

Axis names: ``b`` images, ``c`` classes, ``h`` and ``w`` rows and columns of the stored images, ``y`` and ``x`` those of
what a member sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TypeAlias, cast

import torch
from jaxtyping import Float32, UInt8
from timm.layers.conv2d_same import Conv2dSame
from torch import SymInt, Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional

from muster.data.preprocessing import ImageSize, Preprocessing
from muster.data.transforms import SIDE_MULTIPLE
from muster.models import upsample_probabilities
from muster.training.finetuned_ensemble import Ensemble

INPUT = "image"
OUTPUTS = ("probabilities", "classes")

Side: TypeAlias = int | SymInt
"""Pixels, known now or only when the graph runs."""


class EnsembleGraph(nn.Module):
    """Preprocessing, members, head and upsampling as one module without side effects.

    Attributes:
        views: Each distinct way in which a member wants its images.
        members: The fine-tuned models.
        head: Combines them.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        """Take over what an ensemble consists of; weights are shared, not copied, wherever the operations are the same.

        Args:
            ensemble: In evaluation mode, on the CPU.
        """
        super().__init__()
        wanted = preprocessings_of(ensemble)
        distinct = list(dict.fromkeys(wanted))
        self.views = nn.ModuleList(_View(each) for each in distinct)
        self._view_of = [distinct.index(each) for each in wanted]
        self.members = nn.ModuleList(_with_known_padding(member) for member in ensemble.members)
        self.head = ensemble.head
        self.eval()

    def forward(self, image: UInt8[Tensor, "b 3 h w"]) -> tuple[Float32[Tensor, "b c h w"], UInt8[Tensor, "b h w"]]:
        """Segment stored images of one size.

        Args:
            image: RGB, 0 to 255.

        Returns:
            Class probabilities at the size of the images, and the index of the most probable class.
        """
        size = (image.shape[2], image.shape[3])
        views = [view(image) for view in self.views]
        total = torch.zeros(())
        for index, member in enumerate(self.members):
            scores = self.head.adjust(index, member(views[self._view_of[index]]))
            total = total + upsample_probabilities(scores.softmax(dim=1), size)
        probabilities = total / len(self.members)
        return probabilities, probabilities.argmax(dim=1).to(torch.uint8)


def preprocessings_of(ensemble: Ensemble) -> list[Preprocessing]:
    """How each member of an ensemble wants its images, with a size.

    Args:
        ensemble: Any.

    Returns:
        One for each member, in their order.
    """
    shared = Preprocessing(ensemble.statistics, ImageSize(longer=ensemble.image_size))
    return [shared for _ in ensemble.members]


def trace(graph: EnsembleGraph, size: tuple[int, int], fixed: bool = False) -> ExportedProgram:
    """Turn a graph into a program of plain operations.

    Args:
        graph: What to trace.
        size: Rows and columns of an image to trace it with.
        fixed: Whether the program takes images of this size alone; the number of images is free in any case.

    Returns:
        The program.

    Raises:
        Exception: Of many classes, if torch cannot follow a member.
    """
    example = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    free = {0: Dim("batch", min=1)}
    if not fixed:
        free |= {2: Dim("height", min=1), 3: Dim("width", min=1)}
    with torch.no_grad():
        program = torch.export.export(graph, (example,), dynamic_shapes={INPUT: free}, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names files of this machine
    return program


class _View(nn.Module):
    """Stored images as a member wants them."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        assert preprocessing.size is not None  # there are none in an ensemble
        self._size, self._interpolation = preprocessing.size, preprocessing.interpolation
        order = [0, 1, 2] if preprocessing.channel_order == "rgb" else [2, 1, 0]
        self._is_turned = order != [0, 1, 2]
        statistics = preprocessing.statistics
        self.register_buffer("mean", torch.tensor(statistics.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(statistics.std)[:, None, None])

    mean: Tensor
    std: Tensor

    def forward(self, image: UInt8[Tensor, "b 3 h w"]) -> Float32[Tensor, "b 3 y x"]:
        """Resize and normalise."""
        size = shown_size(self._size, image.shape[2], image.shape[3])
        smooth = {} if self._interpolation == "nearest" else {"align_corners": False, "antialias": True}
        resized = functional.interpolate(
            image.float(), cast("tuple[int, int]", size), mode=self._interpolation, **smooth
        )
        normalised = (resized / 255 - self.mean) / self.std
        return normalised.flip(1) if self._is_turned else normalised


def shown_size(size: ImageSize, height: Side, width: Side, multiple: int = SIDE_MULTIPLE) -> tuple[Side, Side]:
    """The size at which an image is shown, as :func:`muster.data.transforms.fit_size` has it, for symbols too.

    Args:
        size: What is asked for.
        height: Rows of the stored image.
        width: Its columns.
        multiple: What both sides are multiples of, unless the size is exact.

    Returns:
        Rows and columns.
    """
    if size.exact is not None:
        return size.exact
    wanted, given = (size.longer, torch.sym_max(height, width)) if size.longer else (
        size.shorter, torch.sym_min(height, width)
    )  # fmt: skip
    assert wanted is not None  # exactly one of the three is given
    rows, columns = (_rounded(side, given, wanted, multiple) * multiple for side in (height, width))
    return rows, columns


def _rounded(side: Side, given: Side, wanted: int, multiple: int) -> Side:
    """How many multiples a side is rounded to, at least one."""
    if isinstance(side, int) and isinstance(given, int):
        return max(1, (2 * side * wanted + given * multiple) // (2 * given * multiple))
    # As a number that is read from a tensor the count is a symbol of its own. All sizes in a network are then simple
    # multiples of it, and torch can tell which of them are equal; of a fraction of the image's sides it cannot.
    sides, all_given = (torch.scalar_tensor(each, dtype=torch.int64) for each in (side, given))
    count = ((2 * sides * wanted + all_given * multiple) // (2 * all_given * multiple)).clamp(min=1)
    number = cast("SymInt", count.item())
    torch._check(number >= 1)
    return number


def _with_known_padding(member: nn.Module) -> nn.Module:
    """A member whose convolutions of TensorFlow's kind pad by a number that is known before the graph runs."""
    if not any(isinstance(module, Conv2dSame) for module in member.modules()):
        return member
    # Weights are shared with the original, so that a copy costs nothing.
    known = {id(tensor): tensor for tensor in (*member.parameters(), *member.buffers())}
    copy = deepcopy(member, known)
    for parent in list(copy.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Conv2dSame):
                setattr(parent, name, _SamePadding(child))
    return copy


class _SamePadding(nn.Module):
    """A convolution whose output is the input's size over the stride, rounded up, as TensorFlow pads it."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, maps: Tensor) -> Tensor:
        """Pad and convolve."""
        layer = self.convolution
        down, across = (
            _same_padding(maps.shape[2 + axis], layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis])
            for axis in (0, 1)
        )
        around = [across // 2, across - across // 2, down // 2, down - down // 2]
        padded = functional.pad(maps, cast("list[int]", around))
        return functional.conv2d(padded, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)


def _same_padding(side: Side, kernel: int, stride: int, dilation: int) -> Side:
    """Rows or columns to add; where the stride goes into the side, they do not depend on it."""
    reach = dilation * (kernel - 1) + 1
    if statically_known_true(side % stride == 0):
        return max(reach - stride, 0)
    return torch.sym_max((-(-side // stride) - 1) * stride + reach - side, 0)


def shapes_to_check(
    preprocessings: Sequence[Preprocessing], fixed: tuple[int, int] | None
) -> list[tuple[int, int, int]]:
    """Numbers of images and their rows and columns with which an export is compared with its ensemble.

    Args:
        preprocessings: How members want images, with sizes.
        fixed: The only size that the export takes, if it is one.

    Returns:
        Two of them: wide images larger than what members see, and tall ones that are smaller.
    """
    if fixed is not None:
        return [(1, *fixed), (2, *fixed)]
    sizes = [each.size for each in preprocessings if each.size is not None]
    side = max(size.longer or size.shorter or max(size.exact or (1,)) for size in sizes)
    return [(1, side * 13 // 16 + 3, side * 5 // 4 + 1), (2, side * 7 // 8 + 1, side * 9 // 16 + 2)]
