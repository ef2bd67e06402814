"""Whatever turns a member into a classifier of the target's classes at the probe pixels.

Axis names: ``pixels`` the probe pixels, ``classes`` the target's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.errors import UnfitMemberError
from muster.metrics import MetricSpec, eep, fit_linear_probe, ms_leep
from muster.pool import Member
from muster.probe import ProbeCache, ProbeReader, member_key
from muster.ranks import flag_from_rank_zero, from_rank_zero, rank
from muster.selection.image_predictions import ProbedFeatures
from muster.selection.metric_inputs import Inputs, require_known

PredictorName: TypeAlias = Literal["eep", "linear_probe"]

_LINEAR_VERSION = 4
"""Part of the cache key: raise it when the linear probe gives other numbers."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a predictor makes of one member.

    Attributes:
        predictions: ``[pixels, classes]``, probabilities of the target's classes at the probe pixels.
        on_images: The same for whole images; ``None`` for EEP, whose table is counted for every member anyway.
    """

    predictions: Tensor
    on_images: ProbedFeatures | None = None


@dataclass(frozen=True)
class Predictor:
    """A kind of predictor.

    Attributes:
        name: ``eep`` translates a member's source classes by counting (:func:`muster.metrics.eep`); ``linear_probe``
            fits a classifier to its features, read on images that it was not fitted on
            (:func:`muster.metrics.linear_probe`).
        num_classes: Number of target classes.
    """

    name: PredictorName
    num_classes: int

    @property
    def needs(self) -> frozenset[str]:
        """What it is made from, by the names of :attr:`muster.metrics.Metric.needs`."""
        return frozenset({"features", "labels", "groups"} if self.name == "linear_probe" else {"probs", "labels"})

    def scored_by(self, spec: MetricSpec) -> MetricSpec:
        """The metric as it is computed with this predictor: LEEP is a score of the predictions.

        Scores shown side by side share one predictor, and MS-LEEP is the sum of the members' LEEPs. With ``eep``
        LEEP is the papers', counted anew on a hard subset; the linear probe's predictions are read there as they
        are.
        """
        if self.name == "eep" or spec.metric.name != "leep":
            return spec
        metric = replace(spec.metric, function=leep_of, needs=("prediction", "labels"))
        return replace(spec, metric=metric)

    def kept(self, member: Member, reader: ProbeReader, cache: ProbeCache | None) -> Predicted | None:
        """What was made of a member at an earlier time, if looking it up is cheaper than making it.

        In a distributed run rank zero alone looks; the others have no use for predictions on whole images.
        """
        if self.name == "eep" or cache is None:
            return None
        found = cache.get_tensors(self.key(member, reader)) if rank() == 0 else None
        shape = len(reader.probe), self.num_classes
        if found is not None and found["predictions"].shape != shape:
            found = None
        if not flag_from_rank_zero(found is not None, reader.device):
            return None
        predictions = torch.empty(shape) if found is None else found["predictions"]
        on_images = None
        if found is not None:
            readers = found["readers"].tolist()
            on_images = ProbedFeatures(found["classifiers"], dict(zip(reader.probe.images, readers, strict=True)))
        return Predicted(from_rank_zero(predictions, reader.device).to(reader.device), on_images)

    def predict(self, inputs: Inputs, member: Member, reader: ProbeReader, cache: ProbeCache | None) -> Predicted:
        """Make predictions, and keep them if that spares work the next time.

        Args:
            inputs: ``probs``, ``features``, ``labels`` and ``groups`` of the member.
            member: Whose they are.
            reader: Knows the probe set.
            cache: Where predictions are kept, if anywhere.

        Returns:
            Probabilities of the target's classes, float32, and what gives them on whole images.

        Raises:
            UnfitMemberError: If they cannot be made of it.
        """
        try:
            return self._predict(inputs, member, reader, cache)
        except ValueError as error:
            raise UnfitMemberError(f"the {self.name} predictor cannot be made of it: {error}") from error

    def _predict(self, inputs: Inputs, member: Member, reader: ProbeReader, cache: ProbeCache | None) -> Predicted:
        values = inputs.values
        require_known(values, self.needs)
        if self.name == "eep":
            return Predicted(eep(values["probs"], values["labels"], self.num_classes))
        fitted = fit_linear_probe(values["features"], values["labels"], values["groups"], self.num_classes)
        by_row = dict(zip(values["groups"].tolist(), fitted.reader.tolist(), strict=True))
        readers, images = [by_row[row] for row in sorted(by_row)], reader.probe.images
        classifiers = fitted.classifiers.cpu()
        if cache is not None and rank() == 0:
            made = {"predictions": fitted.predictions, "classifiers": classifiers, "readers": torch.tensor(readers)}
            cache.put_tensors_later(self.key(member, reader), made)
        return Predicted(fitted.predictions, ProbedFeatures(classifiers, dict(zip(images, readers, strict=True))))

    def key(self, member: Member, reader: ProbeReader) -> str:
        """The cache key of what a linear probe makes of a member.

        Unlike the member's probabilities, a fitted classifier depends on the labels and the number of classes.
        """
        facts = f"{member_key(member, reader)} {self.name} {_LINEAR_VERSION} {self.num_classes}"
        return hashlib.sha256(facts.encode() + reader.probe.labels.numpy().tobytes()).hexdigest()


def leep_of(prediction: Float[Tensor, "pixels classes"], labels: Int[Tensor, " pixels"]) -> float:
    """LEEP of target predictions, whatever made them: mean over pixels of log p(y_i | x_i).

    Args:
        prediction: Probabilities of the target's classes.
        labels: The true ones.

    Returns:
        At most 0; larger is better.
    """
    return ms_leep([prediction], labels)
