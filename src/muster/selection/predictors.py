"""Whatever turns a member into a classifier of the target's classes at the probe pixels.

Axis names: ``pixels`` the probe pixels, ``classes`` the target's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from jaxtyping import Float, Int
from torch import Tensor

from muster.metrics import MetricSpec, eep, fit_linear_probe, ms_leep
from muster.pool import Member
from muster.probe import ProbeCache, ProbeReader, keep, look_up, member_key
from muster.selection.image_predictions import ProbedFeatures
from muster.selection.metric_inputs import Inputs, require_known

PredictorName: TypeAlias = Literal["eep", "linear_probe"]

_LINEAR_VERSION = 3
"""Part of the cache key: raise it when the linear probe gives other numbers."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a predictor makes of one member.

    Attributes:
        predictions: ``[pixels, classes]``, probabilities of the target's classes at the probe pixels.
        on_images: The same for whole images; ``None`` for predictions from the cache, and for EEP, whose table is
            counted for every member anyway.
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

    def kept(self, member: Member, reader: ProbeReader, cache: ProbeCache | None) -> Tensor | None:
        """Predictions from an earlier time, if looking them up is cheaper than making them."""
        if self.name == "eep" or cache is None:
            return None
        return look_up(self._key(member, reader), (len(reader.probe), self.num_classes), reader, cache)

    def predict(self, inputs: Inputs, member: Member, reader: ProbeReader, cache: ProbeCache | None) -> Predicted:
        """Make predictions, and keep them if that spares work the next time.

        Args:
            inputs: ``probs``, ``features``, ``labels`` and ``groups`` of the member.
            member: Whose they are.
            reader: Knows the probe set.
            cache: Where predictions are kept, if anywhere.

        Returns:
            Probabilities of the target's classes, float32, and what gives them on whole images.
        """
        values = inputs.values
        require_known(values, self.needs)
        if self.name == "eep":
            predictions = eep(values["probs"], values["labels"], self.num_classes)
            return Predicted(predictions)
        fitted = fit_linear_probe(values["features"], values["labels"], values["groups"], self.num_classes)
        if cache is not None:
            keep(self._key(member, reader), fitted.predictions, cache)
        readers = dict(zip(values["groups"].tolist(), fitted.reader.tolist(), strict=True))
        return Predicted(fitted.predictions, ProbedFeatures(fitted.classifiers.cpu(), readers))

    def _key(self, member: Member, reader: ProbeReader) -> str:
        """Unlike a member's probabilities, a fitted classifier depends on the labels and the number of classes."""
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
