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
from jaxtyping import Float, Float32, Integer, UInt8
from torch import SymInt, Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional

from muster.data.preprocessing import ImageSize, Interpolation, Preprocessing
from muster.late import late
from muster.models import upsample_probabilities
from muster.models.pooled import Pooled
from muster.models.tta import Variant
from muster.training.finetuned_ensemble import Ensemble

timm = late("timm")

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
        variants: In which ways each image is shown.
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
        self._needs = [(source.side_multiple, source.minimum_side) for source in ensemble.models.values()]
        self.head = ensemble.head
        self.variants = ensemble.tta.variants
        self._task = ensemble.task
        self.eval()

    def forward(self, image: UInt8[Tensor, "b 3 h w"]) -> tuple[Float32[Tensor, "b c ..."], Integer[Tensor, "b ..."]]:
        """Predict stored images of one size.

        Args:
            image: RGB, 0 to 255.

        Returns:
            Class probabilities, at the size of the images or of whole images, and what the task makes of them, see
            :meth:`muster.tasks.task.Task.answers`: the index of the most probable class.
        """
        size = (image.shape[2], image.shape[3])
        views = [view(image) for view in self.views]
        total = torch.zeros(())
        for variant in self.variants:
            shown = [_varied(view, variant) for view in views]
            for index, member in enumerate(self.members):
                seen = shown[self._view_of[index]]
                padded = _padded(seen, *self._needs[index])
                if isinstance(member, Pooled):
                    scores = _pooled_scores(member, seen, padded)
                    total = total + self._activated(self.head.adjust(index, scores))[:, :, 0, 0]
                    continue
                probabilities = self._activated(self.head.adjust(index, member(padded)))
                full = _at_size(probabilities, seen, padded, size)
                total = total + (full.flip(-1) if variant.mirrored else full)
        probabilities = total / (len(self.variants) * len(self.members))
        answers = self._task.answers(probabilities)
        assert answers is not None  # looked at before anything is exported
        return probabilities, answers

    def _activated(self, scores: Float[Tensor, "b c h0 w0"]) -> Float[Tensor, "b c h0 w0"]:
        """Without a look at how scores lie in memory, which programs do not know."""
        return scores.softmax(dim=1) if self._task.has_classes else self._task.activate(scores)


def preprocessings_of(ensemble: Ensemble) -> list[Preprocessing]:
    """How each member of an ensemble wants its images, with a size.

    Args:
        ensemble: Any.

    Returns:
        One for each member, in their order.
    """
    return [ensemble.preprocessing.seen_by(own) for own in ensemble.owns]


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
    """Stored images as a member wants them: :func:`muster.data.prepare_image`, for symbols too."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._size, self._interpolation = preprocessing.known_size, preprocessing.interpolation
        self._is_turned = preprocessing.channel_order == "bgr"
        statistics = preprocessing.statistics
        self.register_buffer("mean", torch.tensor(statistics.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(statistics.std)[:, None, None])

    def forward(self, image: UInt8[Tensor, "b 3 h w"]) -> Float32[Tensor, "b 3 y x"]:
        """Resize, cut out the middle where that is wanted, and normalise."""
        size = shown_size(self._size, image.shape[2], image.shape[3])
        resized = _resized(image.float(), size, self._interpolation)
        if self._size.crop is not None:
            resized = _cut(resized, self._size.crop)
        if self._interpolation == "bicubic":
            resized = resized.clamp(0, 255)
        normalised = (resized / 255 - self.mean) / self.std
        return normalised.flip(1) if self._is_turned else normalised


def _cut(images: Tensor, crop: tuple[int, int]) -> Tensor:
    """The middle of images, see :func:`muster.data.preprocessing.middle`."""
    for axis, cut in zip((2, 3), crop, strict=True):
        left_over = torch.scalar_tensor(images.shape[axis], dtype=torch.int64) - cut
        half = left_over // 2
        start = half + (left_over - 2 * half) * (half - half // 2 * 2)
        images = images.index_select(axis, start + torch.arange(cut))
    return images


def _pooled_scores(member: Pooled, seen: Tensor, padded: Tensor) -> Tensor:
    """What a member for whole images scores: its map is averaged over the part of it that shows the image."""
    if not member.scores_features:
        return _mean_over(member.inner(padded), seen, padded)
    return member.inner.score(_mean_over(member.inner.features(padded), seen, padded))


def _mean_over(maps: Tensor, seen: Tensor, padded: Tensor) -> Tensor:
    """:func:`muster.models.padding.spatial_mean`, for symbols too."""
    if seen is padded:
        return maps.mean(dim=(2, 3), keepdim=True)
    covered = []
    for axis in (2, 3):
        cells = torch.scalar_tensor(maps.shape[axis])
        share = torch.scalar_tensor(seen.shape[axis]) / torch.scalar_tensor(padded.shape[axis])
        covered.append((cells * share - torch.arange(maps.shape[axis])).clamp(0, 1))
    down, across = (each / each.sum() for each in covered)
    return (maps * down[:, None] * across).sum(dim=(2, 3), keepdim=True)


def _resized(images: Tensor, size: tuple[Side, Side], interpolation: Interpolation = "bilinear") -> Tensor:
    """Smaller images are made with antialiasing."""
    sides = cast("tuple[int, int]", size)  # torch takes symbols wherever it takes numbers
    if interpolation == "nearest":
        return functional.interpolate(images, sides, mode="nearest-exact")
    return functional.interpolate(images, sides, mode=interpolation, align_corners=False, antialias=True)


def _varied(images: Tensor, variant: Variant) -> Tensor:
    """:meth:`muster.models.tta.Variant.of`, for symbols too."""
    height, width = images.shape[2:]
    if variant.scale != 1:
        images = _resized(images, (_scaled(height, variant.scale), _scaled(width, variant.scale)))
    return images.flip(-1) if variant.mirrored else images


def _scaled(side: Side, scale: float) -> Side:
    if isinstance(side, int):
        return max(1, round(side * scale))
    exact = torch.scalar_tensor(side, dtype=torch.float64) * scale
    return _as_symbol(exact.round().long().clamp(min=1))


def _padded(images: Tensor, multiple: int, least: int) -> Tensor:
    """:meth:`muster.models.SourceModel.pad`, for symbols too."""
    height, width = images.shape[2:]
    rows, columns = (_padded_side(side, multiple, least) for side in (height, width))
    if statically_known_true(rows == height) and statically_known_true(columns == width):
        return images
    return functional.pad(images, cast("list[int]", [0, columns - width, 0, rows - height]))


def _padded_side(side: Side, multiple: int, least: int) -> Side:
    fewest = -(-least // multiple)
    if isinstance(side, int):
        return max(-(-side // multiple), fewest) * multiple
    count = (torch.scalar_tensor(side, dtype=torch.int64) + (multiple - 1)) // multiple
    return _as_symbol(count.clamp(min=fewest), fewest) * multiple


def _at_size(maps: Tensor, seen: Tensor, padded: Tensor, size: tuple[Side, Side]) -> Tensor:
    """The part of maps of padded images that shows the images, at a size: sampled at the centres of its pixels."""
    if seen is padded:
        return upsample_probabilities(maps, size)
    shares = (
        2 * torch.scalar_tensor(part) / whole for part, whole in zip(seen.shape[2:], padded.shape[2:], strict=True)
    )
    rows, columns = (
        (torch.arange(cast("int", wanted)) + 0.5) * share / torch.scalar_tensor(wanted) - 1
        for wanted, share in zip(size, shares, strict=True)
    )
    down, across = rows[:, None].expand(-1, size[1]), columns[None].expand(size[0], -1)
    grid = torch.stack([across, down], dim=-1)[None].expand(maps.shape[0], -1, -1, -1)
    return functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def shown_size(size: ImageSize, height: Side, width: Side) -> tuple[Side, Side]:
    """The size that an image is resized to, as :meth:`muster.data.ImageSize.resized` has it, for symbols too.

    Args:
        size: What is asked for.
        height: Rows of the stored image.
        width: Its columns.

    Returns:
        Rows and columns.
    """
    if size.exact is not None:
        return size.exact
    nearest = size.crop is None  # with a crop sides are rounded down, see :meth:`muster.data.ImageSize.resized`
    wanted, given = (size.longer, torch.sym_max(height, width)) if size.longer else (
        size.shorter, torch.sym_min(height, width)
    )  # fmt: skip
    assert wanted is not None  # exactly one of the three is given
    rows, columns = (_rounded(side, given, wanted, nearest) for side in (height, width))
    return rows, columns


def _rounded(side: Side, given: Side, wanted: int, nearest: bool) -> Side:
    """The length that a side is brought to, at least one."""
    if isinstance(side, int) and isinstance(given, int):
        return max(1, (2 * side * wanted + (given if nearest else 0)) // (2 * given))
    sides, all_given = (torch.scalar_tensor(each, dtype=torch.int64) for each in (side, given))
    half = all_given if nearest else torch.zeros_like(all_given)
    return _as_symbol(((2 * sides * wanted + half) // (2 * all_given)).clamp(min=1))


def _as_symbol(count: Tensor, least: int = 1) -> SymInt:
    """A positive number as a symbol of its own.

    All sizes in a network are then simple multiples of it, and torch can tell which of them are equal; of fractions of
    the image's sides it cannot.
    """
    number = cast("SymInt", count.item())
    torch._check(number >= least)
    return number


def _with_known_padding(member: nn.Module) -> nn.Module:
    """A member whose convolutions of TensorFlow's kind pad by a number that is known before the graph runs."""
    if not any(isinstance(module, timm.layers.Conv2dSame) for module in member.modules()):
        return member
    # Weights are shared with the original, so that a copy costs nothing.
    known = {id(tensor): tensor for tensor in (*member.parameters(), *member.buffers())}
    copy = deepcopy(member, known)
    for parent in list(copy.modules()):
        for name, child in parent.named_children():
            if isinstance(child, timm.layers.Conv2dSame):
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
    side = max(max(each.known_size.of_a_square) for each in preprocessings)
    return [(1, side * 13 // 16 + 3, side * 5 // 4 + 1), (2, side * 7 // 8 + 1, side * 9 // 16 + 2)]
