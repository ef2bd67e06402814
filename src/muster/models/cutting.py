"""Networks of any make, cut right before their classifier.

Axis names: ``batch`` images, ``height`` and ``width`` of the images in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from muster.errors import ConfigError
from muster.models.segmenter import Body, StageMaps

_OUTPUTS = ("out", "logits", "scores")
_MAPS_OF_OUTPUTS = ("decoder_last_hidden_state", "feature_maps", "hidden_states", "last_hidden_state")


class _Reached(Exception):  # noqa: N818 (no error: it ends a pass where nothing more is needed)
    """A pass has come to the place where it is cut."""


class _End(nn.Module):
    """Stands where the classifier was, with its plain attributes, which some networks look at."""

    def __init__(self, layer: nn.Module, reach: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._outputs = int(getattr(layer, "out_channels", 0))
        self._outputs_last = int(getattr(layer, "out_features", 0))  # of a linear layer, whose channels come last
        for name, value in vars(layer).items():
            if not name.startswith("_") and name != "training":
                setattr(self, name, value)
        self._reach = reach

    def forward(self, maps: Tensor) -> Tensor:
        """Ends the pass, or lets it run through with a map of the shape of the scores, which nobody reads."""
        self._reach(maps)
        if self._outputs_last:
            return maps[..., :1].expand(*maps.shape[:-1], self._outputs_last)
        return maps[:, :1].expand(-1, self._outputs, -1, -1)


class Cut(Body):
    """A whole network that is run up to one layer.

    Weights are named ``network.*``, as in the library that the network is of, but for a classifier that is taken out.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        channels: int,
        stages: Sequence[str] = (),
        minimum_side: int = 1,
        side_multiple: int = 1,
        *,
        channels_last: Sequence[str] = (),
        pooled: bool = False,
        before: bool = True,
    ) -> None:
        """Cut a network.

        Args:
            network: It is changed: it cannot be used on its own afterwards.
            layer: The name of the layer where a pass ends.
            channels: Of the map there.
            stages: Names of layers whose outputs are the stages before.
            minimum_side: The smallest image side, in pixels, that it can take.
            side_multiple: What the sides of its images must be multiples of.
            channels_last: Those of the stages whose maps have their channels last.
            pooled: Whether the network scores whole images, so that tokens need not make a map of the image.
            before: Whether the map is what the layer reads, and the layer is taken out; otherwise what it puts out.
        """
        super().__init__(channels, minimum_side)
        self.side_multiple = side_multiple
        self.network = network
        self._is_linear = before and isinstance(network.get_submodule(layer), nn.Linear)
        self._is_pooled = pooled
        self._runs_through = False
        self._maps: list[Tensor] = []
        self._features: Tensor | None = None
        for name in stages:
            note = self._note_turned if name in channels_last else self._note
            network.get_submodule(name).register_forward_hook(note)
        if before:
            parent, _, last = layer.rpartition(".")
            setattr(network.get_submodule(parent), last, _End(network.get_submodule(layer), self._reach))
        else:
            network.get_submodule(layer).register_forward_hook(self._reach_output)

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> StageMaps:
        """Maps of the stages, then the one at the cut.

        Args:
            images: Prepared.

        Returns:
            One map a stage.
        """
        if torch.compiler.is_compiling():
            # torch.export loses count of the modules that an exception leaves. It drops what nobody reads.
            return self.whole(images)[1]
        self._maps, self._features = [], None
        with suppress(_Reached):
            self.network(images)
        return self._taken(images)

    def whole(self, images: Float[Tensor, "batch bands height width"]) -> tuple[Any, StageMaps]:
        """Run all of a network.

        Args:
            images: Prepared.

        Returns:
            Whatever the network puts out (its scores only if its classifier was left in), and the maps as
            :meth:`forward` gives them.
        """
        self._maps, self._features, self._runs_through = [], None, True
        try:
            output = self.network(images)
        finally:
            self._runs_through = False
        return output, self._taken(images)

    def _taken(self, images: Tensor) -> StageMaps:
        """What a pass has left, which is kept no longer."""
        maps, features = self._maps, self._features
        self._maps, self._features = [], None
        if features is None:
            raise ConfigError("The network did not come to the layer where it is cut.")
        if self._is_pooled and features.ndim == 3:
            return _stages(maps, images, _tokens_as_map(features))
        return _stages(maps, images, as_map(features, images, self._is_linear))

    def _note(self, layer: nn.Module, arrived: object, output: object) -> None:  # noqa: ARG002 (a hook's)
        self._maps += [_tokens_as_map(each) for each in maps_in(output)]

    def _note_turned(self, layer: nn.Module, arrived: object, output: Tensor) -> None:  # noqa: ARG002 (a hook's)
        self._maps.append(output.permute(0, 3, 1, 2))

    def _reach(self, maps: Tensor) -> None:
        self._features = maps
        if not self._runs_through:
            raise _Reached

    def _reach_output(self, layer: nn.Module, arrived: object, output: object) -> None:  # noqa: ARG002 (a hook's)
        found = maps_in(output)
        if not found:
            raise ConfigError(f"The layer of the features, a {type(layer).__name__}, puts out no map.")
        self._reach(found[-1])


def scores_in(output: object) -> Tensor:
    """The scores in what a network puts out.

    Args:
        output: A tensor, a mapping or an object with ``out`` or ``logits``, or a sequence that begins with the scores.

    Returns:
        ``[batch, classes, h, w]``; of a network that scores whole images a map of a single place.

    Raises:
        ConfigError: If there are none.
    """
    found = output
    if isinstance(found, Mapping):
        found = next((found[key] for key in _OUTPUTS if key in found), None)
    elif isinstance(found, tuple | list) and found:
        found = scores_in(found[0]) if not isinstance(found[0], Tensor) else found[0]
    elif not isinstance(found, Tensor):
        found = next((getattr(found, key) for key in _OUTPUTS if hasattr(found, key)), None)
    if isinstance(found, Tensor) and found.ndim == 2:
        return found[:, :, None, None]
    if not isinstance(found, Tensor) or found.ndim != 4:
        came = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else type(output).__name__
        raise ConfigError(
            "Expected a network that puts out scores [batch, classes, height, width], or [batch, classes] for whole "
            f"images, alone, first in a sequence, or as {' or '.join(map(repr, _OUTPUTS))} of a mapping, but got "
            f"{came}."
        )
    return found


def is_pooled(scores: Float[Tensor, "batch classes height width"]) -> bool:
    """Whether scores are of whole images: maps of a single place."""
    return tuple(scores.shape[-2:]) == (1, 1)


def as_convolution(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d:
    """A classifier as a convolution with a score map for each class.

    Args:
        layer: A convolution, or a linear layer of places. One output is the score of the foreground: the background's
            is 0, so that softmax gives what the sigmoid gives.

    Returns:
        With a copy of the weights.
    """
    weight = layer.weight.detach()
    bias = weight.new_zeros(weight.shape[0]) if layer.bias is None else layer.bias.detach()
    if weight.ndim == 2:
        weight = weight[:, :, None, None]
    if weight.shape[0] == 1:
        weight, bias = (torch.cat([torch.zeros_like(values), values]) for values in (weight, bias))
    classes, channels, *kernel = weight.shape
    padding, dilation = (layer.padding, layer.dilation) if isinstance(layer, nn.Conv2d) else (0, 1)
    head = nn.Conv2d(channels, classes, tuple(kernel), padding=padding, dilation=dilation)  # type: ignore[arg-type]
    with torch.no_grad():
        head.weight.copy_(weight)
        assert head.bias is not None
        head.bias.copy_(bias)
    return head


def maps_in(output: object) -> list[Tensor]:
    """Feature maps in what a layer puts out, those of tokens as maps of one column."""
    if isinstance(output, Tensor):
        return [output]
    for key in _MAPS_OF_OUTPUTS:
        found = getattr(output, key, None)
        if isinstance(found, Tensor):
            return [found]
        if isinstance(found, tuple | list):
            return [_tokens_as_map(each) for each in found if isinstance(each, Tensor) and each.ndim in (3, 4)]
    if isinstance(output, tuple | list):
        first = [each for each in output if isinstance(each, Tensor) and each.ndim == 4 and each.shape[1] > 0]
        nested = [maps_in(each) for each in output if isinstance(each, tuple | list)]
        return first or next((maps for maps in nested if maps), [])
    return []


def _stages(maps: Sequence[Tensor], images: Tensor, features: Tensor) -> StageMaps:
    """One map each; some encoders count the image itself as the first."""
    return [[each] for each in (*maps, features) if each is not images]


def _tokens_as_map(maps: Tensor) -> Tensor:
    return maps if maps.ndim == 4 else maps.transpose(1, 2)[..., None]


def as_map(maps: Tensor, images: Tensor, is_linear: bool = False) -> Tensor:
    """Channels first, unlike for a linear layer; tokens are put in as many rows as the shape of the images says."""
    if maps.ndim == 2:
        return maps[:, :, None, None]
    if maps.ndim == 4:
        return maps.permute(0, 3, 1, 2) if is_linear else maps
    if maps.ndim == 3:
        height, width = images.shape[-2:]
        rows = round((maps.shape[1] * height / width) ** 0.5)
        if rows and maps.shape[1] % rows == 0:
            return maps.transpose(1, 2).reshape(maps.shape[0], maps.shape[2], rows, maps.shape[1] // rows)
    raise ConfigError(
        f"Expected a map [batch, channels, height, width] before the classifier, but got {list(maps.shape)}."
    )
