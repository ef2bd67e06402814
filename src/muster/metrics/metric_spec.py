"""A metric as somebody asks for it: its name, and what is to be wrapped around it.

Written ``METRIC+WRAPPER+WRAPPER``: ``parc+pca32+l`` is PARC after a reduction to 32 principal components, with the
depth of the network added (the best of Bolya et al., NeurIPS 2021); ``leep+haste_cs`` is LEEP on the hardest
pixels alone, ``leep+haste_cs_2of5`` LEEP on the second of five buckets of pixels, from hard to easy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from muster.errors import unknown_name
from muster.metrics.registry import Kind, Metric, get_metric

Hardness: TypeAlias = Literal["images", "pixels"]

_PCA = re.compile(r"pca([1-9][0-9]*)")
_HARD: dict[str, Hardness] = {"haste_ca": "images", "haste_cs": "pixels"}
WRAPPERS_OF_HARDNESS = {kind: name for name, kind in _HARD.items()}
"""Which wrapper asks for each kind of hard subset."""

_BUCKET = re.compile(r"(haste_ca|haste_cs)_([1-9][0-9]*)of([1-9][0-9]*)")
_FEATURES = {"features", "image_features"}
_ARRAYS = {"probs", "eeps", *_FEATURES}
_WRAPPERS = ("pcaN", "l", *_HARD, *(f"{name}_KofN" for name in _HARD))


@dataclass(frozen=True)
class MetricSpec:
    """A metric with its wrappers.

    Attributes:
        name: As it was written; names columns of rankings.
        metric: What is wrapped. For MS-LEEP on hard subsets it is LEEP, each member's on its own (H22 A.2), of which an
            ensemble has the sum; for GBC on hard subsets the spherical one, as in H22.
        dimensions: Number of principal components that features are reduced to first (``+pcaN``; Bolya et al., NeurIPS
            2021, section 4), those of a reference too; ``None`` for all of them.
        hard: Only the hardest part of the target is looked at (HASTE, section 4): ``"images"`` that resemble the source
            least (``+haste_ca``, class-agnostic), or ``"pixels"`` far from the mean of their class (``+haste_cs``).
        bucket: (k, n) for the k-th of n equal buckets from hard to easy (``+haste_ca_KofN``, ``+haste_cs_KofN``; HASTE,
            section 5.6); ``None`` for the hardest part alone.
        with_depth: Scores are standardised over the members, and each one's relative depth is added (``+l``; Bolya et
            al., eq. 6).
    """

    name: str
    metric: Metric
    dimensions: int | None = None
    hard: Hardness | None = None
    with_depth: bool = False
    bucket: tuple[int, int] | None = None

    @property
    def title(self) -> str:
        """What to call it in a table."""
        bucket = "" if self.bucket is None else f" {self.bucket[0]}/{self.bucket[1]}"
        prefix = {"images": f"HASTE(CA{bucket})-", "pixels": f"HASTE(CS{bucket})-", None: ""}[self.hard]
        pca = "" if self.dimensions is None else f", f={self.dimensions}"
        named = get_metric(self.name.split("+")[0])  # MS-LEEP, say, although the LEEPs of its members are computed
        title = (named if named.kind == "ensemble" else self.metric).title
        return f"{prefix}{title}{' + l' if self.with_depth else ''}{pca}"

    @property
    def hard_subset(self) -> str:
        """A name for the part of the target that is looked at; empty for all of it."""
        return " ".join(map(str, (self.hard or "", *(self.bucket or ())))).strip()

    @property
    def kind(self) -> Kind:
        """Whether single members have the score, or only ensembles."""
        return self.metric.kind

    @property
    def is_of_predictions(self) -> bool:
        """Whether it is a metric of the members' predictions together, on the whole probe set or on hard subsets."""
        return self.metric.definition is not None

    @property
    def is_plain_ensemble(self) -> bool:
        """Whether it is one on the whole probe set, which every search and the bootstrap know."""
        return self.is_of_predictions and self.hard is None

    @property
    def needs(self) -> frozenset[str]:
        """All that has to be known of a member: see :attr:`muster.metrics.Metric.needs`."""
        more = {"images": {"source_layers", "target_layers"}, "pixels": {"features", "labels"}, None: set[str]()}
        return frozenset(self.metric.needs) | more[self.hard]


def parse_metric(text: str) -> MetricSpec:
    """Read a metric as it is written on the command line.

    Args:
        text: A name of :data:`muster.metrics.METRICS`, then any of ``+pcaN``, ``+l``, and ``+haste_ca`` or
            ``+haste_cs``, also with a bucket, as in ``+haste_ca_2of5``.

    Returns:
        What it means.

    Raises:
        ValueError: If a name is unknown, a wrapper comes twice, or does not go with the metric.

    Example:
        >>> parse_metric("logme+pca32+l").title
        'LogME + l, f=32'
    """
    name, *wrappers = text.split("+")
    metric = get_metric(name)
    dimensions, hard, bucket, with_depth = None, None, None, False
    for wrapper in wrappers:
        if (found := _PCA.fullmatch(wrapper)) and dimensions is None:
            dimensions = int(found[1])
        elif wrapper in _HARD and hard is None:
            hard = _HARD[wrapper]
        elif (found := _BUCKET.fullmatch(wrapper)) and hard is None and int(found[2]) <= int(found[3]):
            hard, bucket = _HARD[found[1]], (int(found[2]), int(found[3]))
        elif wrapper == "l" and not with_depth:
            with_depth = True
        else:
            raise ValueError(f"Metric {text!r}: {_objection(wrapper, wrappers)}")
    spec = MetricSpec(text, metric, dimensions, hard, with_depth, bucket)
    if reason := _misfit(spec):
        raise ValueError(f"Metric {text!r}: {reason}")
    if hard is not None and name == "gbc":  # H22 A.2: so in all its experiments
        return replace(spec, metric=get_metric("gbc_spherical"))
    if hard is not None and name == "ms_leep":  # each member has a hard subset of its own, and a LEEP on it
        return replace(spec, metric=get_metric("leep"))
    return spec


def _objection(wrapper: str, wrappers: list[str]) -> str:
    bucket = _BUCKET.fullmatch(wrapper)
    if bucket and int(bucket[2]) > int(bucket[3]):
        return f"{wrapper!r} asks for bucket {bucket[2]} of {bucket[3]}. Buckets count from 1, the hardest."
    if wrapper in _HARD or wrapper == "l" or bucket or _PCA.fullmatch(wrapper):
        return f"{'+'.join(wrappers)!r} wraps twice in the same way. Name each kind of wrapper once."
    return unknown_name("wrapper", wrapper, _WRAPPERS)


def _misfit(spec: MetricSpec) -> str:
    """Why the wrappers do not go with the metric, or nothing."""
    name, needs = spec.metric.name, set(spec.metric.needs)
    if spec.dimensions is not None and ("source_features" in needs or not needs & _FEATURES):
        return f"'+pca' reduces features of the target, which is not what {name!r} is computed from."
    if spec.with_depth and spec.kind != "member":
        return f"'+l' adds a member's depth, but {name!r} is no score of single members."
    if spec.hard is not None and (spec.metric.combination is not None or not needs & _ARRAYS):
        return f"HASTE needs a metric of probe pixels or images, which {name!r} is not."
    if spec.hard == "pixels" and "image_features" in needs:
        return f"{name!r} looks at whole images: use '+haste_ca', which chooses images."
    return ""
