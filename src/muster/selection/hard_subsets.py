"""Which part of the probe set is hard (HASTE): found by one hardness model for all members of one source dataset.

Axis names: ``samples`` are probe images or probe pixels.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.errors import ConfigError, UnfitMemberError, unknown_name
from muster.metrics import (
    MetricSpec,
    hard_buckets,
    hard_subset,
    mahalanobis_hardness,
    similarity_hardness,
    with_easy_samples,
)
from muster.metrics.metric_spec import WRAPPERS_OF_HARDNESS, Hardness
from muster.pool import Member
from muster.selection.metric_inputs import Inputs, require_known

HardnessModel: TypeAlias = tuple[str, ...] | str
"""Names of members or of architectures, in a list or between commas."""


HardEep: TypeAlias = Literal["recount", "whole"]
"""What an ensemble's EEPs are on the union of hard subsets: counted anew on it, or those of the whole probe set."""


def hardness_models(members: Sequence[Member], named: HardnessModel = ()) -> dict[str, list[Member]]:
    """For each source dataset, the members that may say what is hard, in the order in which they are asked.

    One model serves all members of a source: the first that can be run. By default it is the source's member of the
    architecture that is the most common one in the pool.

    Args:
        members: The candidates.
        named: Members, each for its own source, or architectures, for all sources that have them.

    Returns:
        By source dataset. Where a member is named it is the only one.

    Raises:
        ConfigError: If a name is neither a member's nor an architecture, or two names are for one source.

    Source:
        "Towards Estimating Transferability using Hard Subsets" (HASTE), 2022, appendix A.2: a ResNet-50 for all models
        trained on one source.
    """
    common = Counter(member.card.architecture for member in members)
    order = sorted(members, key=lambda m: (-common[m.card.architecture], m.card.architecture, m.name))
    models: dict[str, list[Member]] = {}
    for member in order:
        models.setdefault(source_of(member), []).append(member)
    claimed: dict[str, str] = {}
    for name in hardness_names(named):
        for source, chosen in _named(name, order).items():
            if claimed.setdefault(source, name) != name:
                raise ConfigError(
                    f"hardness_model: {claimed[source]!r} and {name!r} are both for members of {source}. One model "
                    "decides what is hard for all members of a source: name one."
                )
            models[source] = chosen
    return models


def source_of(member: Member) -> str:
    """What members must share to have one hardness model: their source; a member of which it is not known is alone."""
    return member.card.dataset or member.name


def hardness_names(named: HardnessModel) -> tuple[str, ...]:
    """The names in an option, one by one.

    Example:
        >>> hardness_names("a, b")
        ('a', 'b')
    """
    if not isinstance(named, str):
        return tuple(named)
    return tuple(name.strip() for name in named.split(",")) if named else ()


def _named(name: str, members: Sequence[Member]) -> dict[str, list[Member]]:
    """The sources that a name is for, with its members."""
    chosen = [member for member in members if name in (member.name, member.card.architecture)]
    if not chosen:
        known = [*(member.name for member in members), *(member.card.architecture for member in members)]
        raise ConfigError(f"hardness_model: {unknown_name('candidate or architecture', name, set(known))}")
    found: dict[str, list[Member]] = {}
    for member in chosen:
        found.setdefault(source_of(member), []).append(member)
    return found


SHOWN_CLASSES, SHOWN_OF_EACH = 5, 80
"""Classes on the map of samples (H22, figure 2), and samples of each."""


@dataclass(frozen=True, eq=False)
class Known:
    """What a hardness model says.

    Attributes:
        hardness: Of each sample; larger is harder.
        groups: Which image each sample is of, where samples are pixels; otherwise each is an image.
        shown: Some samples of a few classes.
        features: Of these, as the model sees them.
        labels: Of these; of an image the class that most of its probe pixels have.
    """

    hardness: Float[Tensor, " samples"]
    groups: Int[Tensor, " samples"]
    shown: Int[Tensor, " shown"]
    features: Float[Tensor, "shown dimensions"]
    labels: Int[Tensor, " shown"]


class HardSubsets:
    """Finds hard subsets when they are first asked for, and keeps them.

    Attributes:
        models: By the wrapper that asks, ``haste_ca`` or ``haste_cs``, and by source dataset: the member that decides
            what is hard. A model that cannot say one of the two gives way to the next for that one alone.
        kinds: What is asked for.
        seconds: By wrapper, how long it took to find what is hard, for all sources together.
    """

    def __init__(
        self,
        specs: Sequence[MetricSpec],
        fraction: float,
        models: Mapping[str, list[Member]],
        read: Callable[[Member], Inputs],
        easy: tuple[float, int] = (0.0, 0),
    ) -> None:
        """Nothing is looked at yet.

        Args:
            specs: All metrics.
            fraction: Which part counts as hard, 0..1.
            models: See :func:`hardness_models`.
            read: Looks at a member; raises :class:`UnfitMemberError` for one that cannot be run.
            easy: Share of the other samples that are looked at as well, and the seed of the draw.
        """
        self.kinds: list[Hardness] = sorted({spec.hard for spec in specs if spec.hard is not None})
        self.seconds: dict[str, float] = {}
        self._fraction, self._order, self._read, self._easy = fraction, models, read, easy
        self._hardness: dict[tuple[str, str], Known | str] = {}
        self._subsets: dict[tuple[str, str], Tensor] = {}
        self.models: dict[str, dict[str, str]] = {}

    def of(self, spec: MetricSpec, member: Member, inputs: Inputs) -> Int[Tensor, " hardest"]:
        """The part of the probe set that a metric looks at for one member.

        Args:
            spec: A metric on a hard subset.
            member: Whose score it is.
            inputs: What is known of that member, so that it is not run again if it is the hardness model itself.

        Returns:
            Ascending indices of pixels or of images.

        Raises:
            ValueError: If no member of its source can say what is hard, or there are more buckets than samples.
        """
        source = source_of(member)
        key = source, spec.hard_subset
        if key not in self._subsets:
            if (source, self.kinds[0]) not in self._hardness:
                self._look(source, member, inputs)
            found = self._hardness[source, str(spec.hard)]
            if isinstance(found, str):
                raise ValueError(f"what is hard for members of {source} cannot be found: {found}")
            self._subsets[key] = self._cut(spec, found.hardness)
        return self._subsets[key]

    def known(self, source: str, kind: Hardness) -> Known | None:
        """What the hardness model of a source says; ``None`` if none could, or none was asked yet."""
        found = self._hardness.get((source, kind))
        return found if isinstance(found, Known) else None

    def _cut(self, spec: MetricSpec, hardness: Float[Tensor, " samples"]) -> Int[Tensor, " hardest"]:
        if spec.bucket is None:
            chosen = torch.as_tensor(hard_subset(hardness, self._fraction))
            return torch.as_tensor(with_easy_samples(chosen, len(hardness), *self._easy))
        place, count = spec.bucket
        return torch.as_tensor(hard_buckets(hardness, count)[place - 1])

    def _look(self, source: str, member: Member, inputs: Inputs) -> None:
        """Let the first model that can be run say how hard everything is."""
        reasons: dict[str, str] = {}
        for model in self._order[source]:
            missing = [kind for kind in self.kinds if (source, kind) not in self._hardness]
            begin = time.perf_counter()
            try:
                known = inputs if model.name == member.name or not missing else self._read(model)
            except UnfitMemberError as error:
                reasons |= dict.fromkeys(missing, f"{model.name}: {error}")
                continue
            for kind in missing:
                try:
                    self._hardness[source, kind] = _known(kind, known.values, _hardness(kind, known))
                    self.models.setdefault(WRAPPERS_OF_HARDNESS[kind], {})[source] = model.name
                except ValueError as error:
                    reasons[kind] = f"{model.name}: {error}"
                wrapper, now = WRAPPERS_OF_HARDNESS[kind], time.perf_counter()
                self.seconds[wrapper], begin = self.seconds.get(wrapper, 0.0) + now - begin, now
        for kind in self.kinds:
            self._hardness.setdefault((source, kind), reasons.get(kind, ""))


def _hardness(kind: str, inputs: Inputs) -> Float[Tensor, " samples"]:
    values = inputs.values
    require_known(values, {"features", "labels"} if kind == "pixels" else {"source_layers", "target_layers"})
    if kind == "pixels":
        return torch.as_tensor(mahalanobis_hardness(values["features"], values["labels"]))
    return torch.as_tensor(similarity_hardness(values["source_layers"], values["target_layers"]))


def _known(kind: str, values: Mapping[str, Any], hardness: Float[Tensor, " samples"]) -> Known:
    """With some samples to show; of images their last stage, which is at hand whenever their hardness is."""
    if kind == "pixels":
        labels, groups, features = values["labels"], values["groups"], values["features"]
    else:
        labels, features = values["annotations"].argmax(dim=1), values["target_layers"][-1]
        groups = torch.arange(len(hardness))
    shown = shown_samples(labels)
    return Known(hardness, groups, shown, features[shown].float(), labels[shown])


def shown_samples(labels: Int[Tensor, " samples"]) -> Int[Tensor, " shown"]:
    """Some samples of a few classes, drawn with a fixed seed; ascending.

    Args:
        labels: Of all samples.
    """
    random = np.random.default_rng(0)
    there = np.unique(labels.numpy())
    classes = np.sort(random.permutation(there)[:SHOWN_CLASSES])
    rows = [random.permutation(np.flatnonzero(labels.numpy() == label))[:SHOWN_OF_EACH] for label in classes]
    return torch.from_numpy(np.sort(np.concatenate(rows)))
