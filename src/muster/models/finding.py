"""Where a network of any make classifies, what its stages are, and which sizes of images it takes, found by running it.

Axis names: ``batch`` images, ``height`` and ``width`` of the images in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from muster.errors import ConfigError
from muster.models.cutting import as_map, is_pooled, maps_in, scores_in

_TOLERANCE = 1e-4
_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)


@torch.no_grad()
def find_classifier(network: nn.Module, images: Float[Tensor, "batch bands height width"]) -> str:
    """Find the layer whose output, up to upsampling and softmax, is a network's scores.

    Scores of whole images may also be the mean of its output over the image.

    Args:
        network: In evaluation mode.
        images: Any that it takes.

    Returns:
        The name of the last such layer.

    Raises:
        ConfigError: If there is none.
    """
    called: list[tuple[str, nn.Conv2d | nn.Linear, Tensor]] = []

    def note(name: str, layer: Any, arrived: object, output: Tensor) -> None:  # noqa: ARG001 (a hook's)
        called.append((name, layer, output))

    linear = {name: each for name, each in network.named_modules() if isinstance(each, nn.Conv2d | nn.Linear)}
    with _hooks(linear, note):
        scores = scores_in(network(images)).float()
    fitting = [each for each in called if _channels_out(each[1]) == scores.shape[1]]
    for name, layer, output in reversed(fitting):
        if _is_plain(layer, is_pooled(scores)) and _gives(output, images, isinstance(layer, nn.Linear), scores):
            return name
    last = (
        f"The last layer with {scores.shape[1]} outputs is {fitting[-1][0]!r}"
        if fitting
        else "None has as many outputs"
    )
    raise ConfigError(
        f"The scores are not the output of one convolution or linear layer, up to upsampling. {last}. Name the layer "
        "whose output the scores are made of with `layer`: a new head will read its output."
    )


@torch.no_grad()
def find_side_multiple(
    network: nn.Module, images: Float[Tensor, "batch bands height width"], scores_of: Callable[[Any], Tensor]
) -> int:
    """Find what the sides of a network's images must be multiples of, by trying.

    Args:
        network: In evaluation mode.
        images: Any that it takes.
        scores_of: Finds the scores in what the network puts out.

    Returns:
        The smallest power of two with which the network takes other sizes too; 1 for a network that takes only the
        size of ``images``, which must come in that size anyway.
    """
    base = -(-images.shape[-2] // _MULTIPLES[-1]) * _MULTIPLES[-1]  # a multiple of all that are tried
    for multiple in _MULTIPLES:
        # An odd number of them each way, so that the sides are not multiples of more.
        others = images.new_zeros(1, images.shape[1], base + multiple, base + 3 * multiple)
        try:
            scores_of(network(others))
        except (RuntimeError, ValueError, TypeError, AssertionError, IndexError):
            continue
        return multiple
    return 1


@torch.no_grad()
def find_stages(network: nn.Module, images: Float[Tensor, "batch bands height width"], until: str) -> tuple[str, ...]:
    """Find layers whose outputs tell how a network sees an image, from fine to coarse.

    Args:
        network: In evaluation mode.
        images: Any that it takes.
        until: The layer at which the network will be cut.

    Returns:
        The layer that hands over the maps of an encoder, if one does; otherwise, for each resolution on the way down,
        the last layer that has it; and of a network whose blocks pass tokens on, four blocks evenly spaced.
    """
    called: list[tuple[str, Any]] = []
    done: list[bool] = []

    def note(name: str, layer: nn.Module, arrived: object, output: object) -> None:  # noqa: ARG001 (a hook's)
        if name == until:
            done.append(True)
        elif not done:
            called.append((name, output))

    with _hooks({name: each for name, each in network.named_modules() if name}, note):
        network(images)
    encoders = [name for name, output in called if len(maps_in(output)) > 1]
    if encoders:
        return (encoders[0],)
    last: dict[int, str] = {}
    for name, output in called:
        halvings = _halvings(output, images) if isinstance(output, Tensor) else 0
        if halvings and halvings >= max(last, default=0):
            last[halvings] = name
    return tuple(last.values()) if len(last) > 1 else _spaced(_blocks(called)) or tuple(last.values())


def find_channels_last(
    network: nn.Module, images: Float[Tensor, "batch bands height width"], stages: Sequence[str]
) -> tuple[str, ...]:
    """Which stages have maps whose channels come last: those of square images are then not square in the last sides.

    Args:
        network: In evaluation mode.
        images: Square ones that it takes.
        stages: As :func:`find_stages` gives them.

    Returns:
        Their names.
    """
    found: list[str] = []

    def note(name: str, layer: nn.Module, arrived: object, output: object) -> None:  # noqa: ARG001 (a hook's)
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[1] == output.shape[2] != output.shape[3]:
            found.append(name)

    with torch.no_grad(), _hooks({name: network.get_submodule(name) for name in stages}, note):
        network(images)
    return tuple(found)


def _halvings(output: Tensor, images: Tensor) -> int:
    """How often the resolution of square images was halved on the way to a map of them; 0 for what is no such map."""
    if output.ndim != 4:
        return 0
    height, size = images.shape[-2], output.shape[2]
    if size not in (output.shape[1], output.shape[3]) or not 1 < size < height:
        return 0
    halvings = round(height / size).bit_length() - 1
    return halvings if -(-height // 2**halvings) == size else 0


def _blocks(called: Sequence[tuple[str, Any]]) -> list[str]:
    """Layers that stand in one row and put out tokens ``[batch, tokens, channels]``; of several rows the longest."""
    rows: dict[str, list[str]] = {}
    for name, output in called:
        row, _, number = name.rpartition(".")
        if number.isdigit() and isinstance(output, Tensor) and output.ndim == 3 and output.shape[1] > 1:
            rows.setdefault(row, []).append(name)
    return max(rows.values(), key=len, default=[])


def _spaced(names: Sequence[str], count: int = 4) -> tuple[str, ...]:
    """So many of them, evenly spaced, the last among them; all if there are no more."""
    return tuple(
        dict.fromkeys(names[-(-len(names) * part // count) - 1] for part in range(1, count + 1)) if names else ()
    )


def _channels_out(layer: nn.Conv2d | nn.Linear) -> int:
    return layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features


def _is_plain(layer: nn.Conv2d | nn.Linear, pooled: bool) -> bool:
    """Whether a layer can be taken over as a convolution that keeps the size; of a mean, if it looks at one place."""
    return isinstance(layer, nn.Linear) or (
        layer.stride == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and (not pooled or layer.kernel_size == (1, 1))
    )


def _gives(output: Tensor, images: Tensor, is_linear: bool, scores: Tensor) -> bool:
    """Whether scores are an output, at their size, perhaps after softmax or its logarithm."""
    try:
        maps = as_map(output, images, is_linear).float()
    except ConfigError:  # tokens that make no map
        return False
    size = (scores.shape[-2], scores.shape[-1])
    scale = float(scores.abs().max()) + 1e-6
    for change in (lambda maps: maps, partial(torch.softmax, dim=1), partial(torch.log_softmax, dim=1), torch.sigmoid):
        for resized in _resized(maps, size):
            if float((change(resized) - scores).abs().max()) <= _TOLERANCE * scale:
                return True
    return False


def _resized(maps: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Maps at a size, by every way of interpolation that networks end with, or as the mean over the image."""
    if maps.shape[-2:] == size:
        yield maps
        return
    if size == (1, 1):
        yield maps.mean(dim=(2, 3), keepdim=True)
        return
    for mode in ("bilinear", "bicubic"):
        for aligned in (False, True):
            yield functional.interpolate(maps, size, mode=mode, align_corners=aligned)
    yield functional.interpolate(maps, size, mode="nearest")


@contextmanager
def _hooks(layers: Mapping[str, nn.Module], note: Callable[..., None]) -> Iterator[None]:
    """Call ``note(name, layer, arrived, output)`` after each of the layers, within the block."""
    handles = [layer.register_forward_hook(partial(note, name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
