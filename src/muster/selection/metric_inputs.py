"""What metrics are computed from, looked up by the names that the registry uses.

Axis names: ``pixels`` the probe pixels, ``images`` the probe images that have pixels, ``dimensions`` of a feature
vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.errors import PoolError, SelectionError
from muster.metrics import MetricSpec, hard_images_to_pixels, reduce_dimensions
from muster.metrics.ensemble_block import first_argmax
from muster.pool import Member, holds_of
from muster.probe import ProbeSet, Reading
from muster.tasks.task import TASKS

_HOST = torch.device("cpu")

_OF_PIXELS = frozenset({"probs", "labels", "numbers", "features", "groups", "prediction", "predictions"})
_OF_IMAGES = frozenset({"image_features", "annotations", "reference", "target_layers"})
NEED_READING = frozenset({"features", "image_features", "target_layers"})
"""What takes more of a member than its probabilities."""

_SAMPLE = {"source_features": "features", "source_labels": "labels"}
NEED_SOURCE = frozenset({*_SAMPLE, "source_layers"})
"""What is read from the sample of its source that a member carries."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Arrays of one member and of the target.

    Attributes:
        values: By the names of :attr:`muster.metrics.Metric.needs`; ``groups`` is the row among ``images`` that each
            pixel is from, ``source_layers`` and ``target_layers`` are one array per stage of the network,
            ``prediction`` is what the predictor makes of the member, once it is known, ``predictions`` its
            classes. All on one device.
    """

    values: Mapping[str, Any]

    @cached_property
    def on_host(self) -> Inputs:
        """The same on the CPU, where metrics other than LEEP are computed; copied once, when first asked for."""
        return Inputs({name: _moved(value, _HOST) for name, value in self.values.items()})

    def score(self, spec: MetricSpec, hard: Int[Tensor, " hardest"] | None = None) -> Any:
        """Compute a metric of single members, or what a metric compares candidates by.

        Args:
            spec: Which, with its wrappers (all but the depth, which takes all members to add).
            hard: The pixels or images to look at alone, if the spec asks for that.

        Returns:
            What the metric's function, or its combination's, returns.

        Raises:
            ValueError: If the metric cannot be computed from these arrays.
        """
        # Only what the metric asks for is cut and reduced below, and what says which pixels are meant.
        wanted = {*spec.metric.needs, "labels", "groups"}
        given = self if spec.metric.name == "leep" else self.on_host
        inputs = Inputs({name: value for name, value in given.values.items() if name in wanted})
        if hard is not None:
            inputs = inputs.of_pixels(hard) if spec.hard == "pixels" else inputs.of_images(hard)
        if spec.metric.most_pixels is not None:
            inputs = inputs.thinned(spec.metric.most_pixels)
        if spec.dimensions is not None:
            inputs = inputs.reduced(spec.dimensions)
        require_known(inputs.values, spec.metric.needs)
        combination = spec.metric.combination
        function = spec.metric.function if combination is None else combination.of_member
        return function(*(inputs.values[name] for name in spec.metric.needs))

    def with_prediction(self, prediction: Float[Tensor, "pixels classes"]) -> Inputs:
        """The same with what the predictor makes of the member."""
        both = {"prediction": prediction, "predictions": first_argmax(prediction)}
        return Inputs({**self.values, **both})

    def of_pixels(self, pixels: Int[Tensor, " chosen"]) -> Inputs:
        """The same for some of the pixels; what is known of images stays."""
        chosen = pixels.to(self.values["labels"].device)
        return Inputs({n: v[chosen] if n in _OF_PIXELS else v for n, v in self.values.items()})

    def of_images(self, images: Int[Tensor, " chosen"]) -> Inputs:
        """The same for some of the images and their pixels."""
        images = images.to(self.values["labels"].device)
        chosen = {
            name: [layer[images] for layer in value] if name == "target_layers" else value[images]
            for name, value in self.values.items()
            if name in _OF_IMAGES
        }
        of_pixels = self.of_pixels(hard_images_to_pixels(images, self.values["groups"]))
        return Inputs({**of_pixels.values, **chosen})

    def thinned(self, pixels: int) -> Inputs:
        """The same for a seeded choice of at most so many pixels."""
        count = len(self.values["labels"])
        if count <= pixels:
            return self
        chosen = np.sort(np.random.default_rng(0).choice(count, pixels, replace=False))
        return self.of_pixels(torch.from_numpy(chosen))

    def reduced(self, dimensions: int) -> Inputs:
        """The same with features reduced to their principal components; fewer dimensions than asked for all stay.

        A metric that compares two sets of features has both reduced, each by itself.
        """
        names = {"features", "image_features", "reference"} & set(self.values)
        reduced = {n: reduce_dimensions(self.values[n], min(dimensions, *self.values[n].shape)) for n in names}
        return Inputs({**self.values, **reduced})


def target_inputs(
    probe: ProbeSet,
    target_images: int,
    reference: Float[Tensor, "images dimensions"] | None,
    device: torch.device = _HOST,
) -> dict[str, Any]:
    """What all members share.

    Args:
        probe: The probe set.
        target_images: Number of the target's training images.
        reference: Features of a model trained on the target, if some metric asks for them.
        device: Where members are read.

    Returns:
        Values for :class:`Inputs`.
    """
    rows = torch.full((len(probe.sizes),), -1)
    rows[list(probe.images)] = torch.arange(len(probe.images))
    shared: dict[str, Any] = {
        "labels": probe.labels,
        "groups": rows[probe.image_of_pixel],
        "annotations": probe.class_shares[list(probe.images)],
        "target_images": target_images,
    }
    if reference is not None:
        shared["reference"] = reference
    if probe.numbers is not None:
        shared["numbers"] = probe.numbers
    return {name: _moved(value, device) for name, value in shared.items()}


def member_inputs(member: Member, reading: Reading, shared: Mapping[str, Any], needs: frozenset[str]) -> Inputs:
    """Put together what metrics ask of one member, on the device of its reading.

    Args:
        member: Its source sample is read if need be.
        reading: What it makes of the target.
        shared: See :func:`target_inputs`.
        needs: Names that some metric asks for.

    Returns:
        The inputs; what nobody asks for may be missing.
    """
    values = {**shared, "probs": reading.probabilities}
    if not has_source_classes(member):
        del values["probs"]
    if reading.features.shape[1] or not len(reading.features):  # an exported model has none
        values |= {"features": reading.features, "image_features": reading.image_features}
        values["target_layers"] = list(reading.stages)
    if needs & NEED_SOURCE:
        values |= _source_values(member)
    device = reading.probabilities.device
    return Inputs({name: _moved(value, device) for name, value in (values | _card_values(member)).items()})


def has_source_classes(member: Member) -> bool:
    """Whether a member predicts classes of its own that EEP can translate: a backbone does not, nor one of depths."""
    return bool(member.card.classes) and TASKS[member.card.task].outputs_are_classes


class UnknownError(ValueError):
    """A metric needs something of a member that is not known, as of a model that others trained."""


_WORDS = {
    "probs": "it has no source classes",
    "numbers": "the truth of the target is classes, not numbers such as depths",
    "features": "it has no features",
    "image_features": "it has no features",
    "target_layers": "it has no features",
    "source_miou": "its card does not say what it reaches on its source",
    "train_images": "its card does not say how much it was trained on",
    "source_images": "its card does not say how much it was trained on",
    **dict.fromkeys(NEED_SOURCE, "it carries no sample of its source (source_sample.safetensors)"),
}


def require_known(values: Mapping[str, Any], needs: Iterable[str]) -> None:
    """Check that all is there that a computation needs of a member.

    Args:
        values: What is known.
        needs: Names.

    Raises:
        UnknownError: If some is not.
    """
    missing = [name for name in needs if name not in values]
    if missing:
        raise UnknownError("; ".join(dict.fromkeys(_WORDS.get(name, f"its {name} is not known") for name in missing)))


def _moved(value: Any, device: torch.device) -> Any:
    """A tensor or a list of tensors on a device; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, list) and value and isinstance(value[0], Tensor):
        return [each.to(device) for each in value]
    return value


def _card_values(member: Member) -> dict[str, Any]:
    """What the card says; what it does not say is not there."""
    card = member.card
    values: dict[str, Any] = {"num_classes": [len(card.classes)], "depth": card.depth}
    if card.test_result is not None:
        values["source_miou"] = [card.test_result]
    if card.train_images is not None:
        values |= {"train_images": [card.train_images], "source_images": card.train_images}
    return values


def require_source_samples(members: Sequence[Member], specs: Sequence[MetricSpec]) -> None:
    """Check that the members carry what metrics ask of their sources, before any is run.

    Where some members carry it, the others are left out of these metrics, see :class:`UnknownError`.

    Args:
        members: The candidates.
        specs: The metrics.

    Raises:
        SelectionError: If all lack it, naming them and the metrics.
    """
    asking = [spec.name for spec in specs if spec.needs & NEED_SOURCE]
    if not asking:
        return
    lacking = [member.name for member in members if not _has_source(member)]
    if lacking and len(lacking) == len(members):
        holds = holds_of(member.card for member in members)
        raise SelectionError(
            f"{', '.join(asking)} compare with the members' own source {holds}, but {', '.join(lacking)} carry no "
            "sample of them (source_sample.safetensors with stage_K, features and labels). Leave these metrics out, or "
            "train these members again with train.py."
        )


def _has_source(member: Member) -> bool:
    try:
        return {*_SAMPLE, "source_layers"} <= set(_source_values(member))
    except PoolError:
        return False


def _source_values(member: Member) -> dict[str, Any]:
    sample = member.load_source_sample()
    stages = [sample[f"stage_{k}"] for k in range(len(sample)) if f"stage_{k}" in sample]
    values: dict[str, Any] = {name: sample[key] for name, key in _SAMPLE.items() if key in sample}
    return {**values, "source_layers": stages} if stages else values
