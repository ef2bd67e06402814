"""Networks of other libraries behind the interface of a source model.

Axis names: as in :mod:`muster.models.source_model`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from muster.errors import ConfigError
from muster.models.blueprint import Blueprint
from muster.models.cutting import Cut, as_convolution, is_pooled, scores_in
from muster.models.finding import find_channels_last, find_classifier, find_side_multiple, find_stages
from muster.models.pooled import Pooled
from muster.models.segmenter import Body, Segmenter, embeddings_of
from muster.models.source_model import BLANK_SIDE, SourceModel

CUT = "cut"
"""Key of a blueprint's config for what was found out about the network."""


class Adapted(Segmenter):
    """A network of another library: all before its classifier as the body, and its own classifier as the head.

    A new head is a 1x1 convolution on the map that the classifier reads; everything else is kept.
    """

    def __init__(self, blueprint: Blueprint, body: Body, head: nn.Module, num_classes: int) -> None:
        """Take body and head as they are.

        Args:
            blueprint: How the network is built again.
            body: Everything before the classifier.
            head: The classifier.
            num_classes: How many score maps it gives.

        Raises:
            ConfigError: If the network cannot take a blank image of the smallest size.
        """
        SourceModel.__init__(self)
        self.architecture, self.blueprint = blueprint.architecture, blueprint
        self._take(body)
        self.head = head
        self._num_classes = num_classes
        self._settle()

    def blank_image(self) -> Float[Tensor, "1 bands _ _"]:
        """See :meth:`SourceModel.blank_image`; of the usual size, where small ones are refused."""
        side = self.blueprint.config.get(CUT, {}).get("blank")
        return super().blank_image() if side is None else torch.zeros(1, 3, side, side, device=self.device)

    def replace_head(self, num_classes: int, seed: int, decoder: bool = True) -> None:
        """See :meth:`SourceModel.replace_head`."""
        super().replace_head(num_classes, seed, decoder)
        self.blueprint = replace(self.blueprint, new_head=True)
        self._settle()  # what only the old head needed is used no more


class Tapped(Adapted):
    """A network whose scores are more than a linear layer makes of one map: they are those of the whole network.

    A new head is a linear layer on the map that the network is tapped for, and what comes after that is not used.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        body: Cut,
        num_classes: int,
        scores_of: Callable[[Any], Tensor] = scores_in,
    ) -> None:
        """Take a network as it is.

        Args:
            blueprint: How the network is built again.
            body: The network, cut after the layer of the features.
            num_classes: How many score maps it gives.
            scores_of: Finds the scores in what the network puts out.
        """
        self._scores_of = scores_of
        super().__init__(blueprint, body, nn.Identity(), num_classes)

    @property
    def scores_features(self) -> bool:
        """Its own scores take more than the features; those of a new head do not."""
        return self.blueprint.new_head

    def read(
        self, images: Float[Tensor, "batch bands height width"], stages: bool = False
    ) -> tuple[
        Float[Tensor, "batch classes map_height map_width"],
        Float[Tensor, "batch channels _ _"],
        list[Float[Tensor, "batch _"]],
    ]:
        """See :meth:`SourceModel.read`."""
        if self.blueprint.new_head:
            return super().read(images, stages)
        assert isinstance(self.body, Cut)
        output, maps = self.body.whole(self.pad(images))
        embeddings = embeddings_of(maps, self.part_of(images)) if stages else []
        return self._scores_of(output), maps[-1][0], embeddings

    def forward(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> Float[Tensor, "batch classes map_height map_width"]:
        """See :meth:`SourceModel.forward`."""
        return super().forward(images) if self.blueprint.new_head else self.read(images)[0]

    def score(
        self, features: Float[Tensor, "batch channels map_height map_width"]
    ) -> Float[Tensor, "batch classes map_height map_width"]:
        """Scores of a new head; the own ones take more than the features.

        Raises:
            ConfigError: If there is no new head.
        """
        if not self.blueprint.new_head:
            raise ConfigError(f"The scores of {self.architecture!r} take more than its features. Run it on images.")
        return super().score(features)


def adapt(
    blueprint: Blueprint,
    network: nn.Module,
    layer: str | None = None,
    minimum_side: int = 1,
    scores_of: Callable[[Any], Tensor] = scores_in,
    usual_side: int = 0,
) -> SourceModel:
    """Put a network whose weights are loaded behind the interface.

    Args:
        blueprint: Says how to build the network alone; what is found here is added to its config.
        network: A module of images that gives scores. It is changed.
        layer: The layer whose output is the features, where the scores are more than a linear layer makes of them.
        minimum_side: The smallest side that it takes, in pixels.
        scores_of: Finds the scores in what the network puts out.
        usual_side: Side of the images that it was made for, tried where it refuses small ones; 0 if it is not known.

    Returns:
        The model, in evaluation mode; one that scores whole images is pooled.

    Raises:
        ConfigError: If the network cannot be run, or no layer classifies.
    """
    network.eval()
    if layer is not None and layer not in dict(network.named_modules()):
        raise ConfigError(f"layer: the network has none of the name {layer!r}.")
    images, is_small = _images_for(network, scores_of, max(BLANK_SIDE, minimum_side), usual_side)
    found: dict[str, Any] = {"minimum_side": minimum_side if is_small else usual_side}
    if not is_small:
        found["blank"] = usual_side
    try:
        with torch.no_grad():
            scores = scores_of(network(images))
        found["classes"] = scores.shape[1]
        found["side_multiple"] = find_side_multiple(network, images, scores_of)
        until = find_classifier(network, images) if layer is None else layer
        found["classifier" if layer is None else "layer"] = until
        found["stages"] = list(find_stages(network, images, until))
        if turned := find_channels_last(network, images, found["stages"]):
            found["channels_last"] = list(turned)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise _cannot_run(images.shape[-1], error) from error
    if is_pooled(scores):
        found["pooled"] = True
    model = cut(replace(blueprint, config={**blueprint.config, CUT: found}), network, scores_of)
    return Pooled(model) if is_pooled(scores) else model


def _images_for(
    network: nn.Module, scores_of: Callable[[Any], Tensor], small: int, usual: int
) -> tuple[Float[Tensor, "1 3 side side"], bool]:
    """An image that a network takes, of a small side or of the usual one, and whether it is the small one."""
    generator = torch.Generator().manual_seed(0)
    for side in (small, usual) if usual else (small,):
        images = torch.zeros(1, 3, side, side).normal_(generator=generator)
        try:
            with torch.no_grad():
                scores_of(network(images))
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            problem = _cannot_run(side, error)
            problem.__cause__ = error
            continue
        return images, side == small
    raise problem


def _cannot_run(side: int, error: Exception) -> ConfigError:
    return ConfigError(f"The network cannot be run on an image of {side} x {side} pixels: {error}")


def cut(blueprint: Blueprint, network: nn.Module, scores_of: Callable[[Any], Tensor] = scores_in) -> Adapted:
    """Cut a network as :func:`adapt` found that it is to be cut.

    Args:
        blueprint: With what was found, under :data:`CUT`: the name of the ``classifier``, which is taken out, or of the
            ``layer`` whose output is the features; names of the ``stages``, and of those with ``channels_last``; number
            of ``classes``; ``minimum_side``; ``side_multiple``, which cards of before it lack; whether it is
            ``pooled``; the side of a ``blank`` image, where small ones are refused.
        network: Built anew. It is changed.
        scores_of: Finds the scores in what the network puts out.

    Returns:
        The model, in evaluation mode.

    Raises:
        ConfigError: If the network has no such layers, as another release of its library may not have.
    """
    found = blueprint.config[CUT]
    network.eval()
    where: tuple[Any, ...] = found["stages"], found["minimum_side"], found.get("side_multiple", 1)
    kind: dict[str, Any] = {
        "channels_last": found.get("channels_last", ()), "pooled": found.get("pooled", False)
    }  # fmt: skip
    try:
        if "classifier" in found:
            layer = network.get_submodule(found["classifier"])
            head = as_convolution(layer)  # type: ignore[arg-type]
            body = Cut(network, found["classifier"], head.in_channels, *where, **kind)
            model = Adapted(blueprint, body, head, head.out_channels)
        else:
            body = Cut(network, found["layer"], 0, *where, before=False, **kind)
            side = found.get("blank", max(BLANK_SIDE, body.minimum_side))
            with torch.no_grad():
                body.feature_channels = body(torch.zeros(1, 3, side, side))[-1][0].shape[1]
            model = Tapped(blueprint, body, found["classes"], scores_of)
    except AttributeError as error:
        raise ConfigError(
            f"{blueprint.architecture!r} is built otherwise than when it was adopted: {error}."
        ) from error
    model.eval()
    return model
