"""Parts of a selection's record that say several things of one matter, in plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

SizesEnd: TypeAlias = Literal["largest", "budget", "interrupted"]
"""Why no larger ensemble was looked at: the size, the budget, or the work was cancelled."""


@dataclass(frozen=True)
class ProbeRecord:
    """How the probe set was made.

    Attributes:
        train_images: Number of target training images asked for; ``None`` for all.
        pixels_per_image: Pixels drawn from each.
        image_size: Size at which members saw the images, as :meth:`muster.data.ImageSize.of` reads it.
        seed: The seed of the choice of images and pixels.
    """

    train_images: int | None = 150
    pixels_per_image: int = 1000
    image_size: int | str | None = None
    seed: int = 0


@dataclass(frozen=True)
class PrefilterRound:
    """One round of a prefilter.

    Attributes:
        images: Probe images that members looked at.
        members: How many members.
    """

    images: int
    members: int


@dataclass(frozen=True)
class Prefilter:
    """How members were passed over before the others looked at all probe images.

    Attributes:
        keep: Members that were to look at all of them.
        members: Members that there were.
        images: Probe images.
        rounds: What came before; none if all members looked at all images.
    """

    keep: int
    members: int
    images: int
    rounds: tuple[PrefilterRound, ...] = ()

    @property
    def share(self) -> float:
        """Looks of a member at an image that were taken, beside all members at all images."""
        before = [0, *(each.images for each in self.rounds)]
        taken = sum(each.members * (each.images - old) for each, old in zip(self.rounds, before, strict=False))
        last = min(self.keep, self.members)
        return (taken + last * (self.images - before[-1])) / (self.members * self.images)


@dataclass(frozen=True)
class BootstrapConfidence:
    """How far the choice depends on which images were probed, see :func:`muster.scoring.bootstrap_top_k`.

    Attributes:
        margin: Score of the chosen candidate minus that of the best other one.
        low: Lower end of its interval over bootstrap samples of the probe images.
        high: Upper end.
        level: Share of the samples that the interval spans.
        resamples: Number of samples.
        images: Number of images that were resampled.
        selection_frequency: In which share of the samples each of the top-k candidates is best, in the order of the
            ranking.
    """

    margin: float
    low: float
    high: float
    level: float
    resamples: int
    images: int
    selection_frequency: tuple[float, ...]


@dataclass(frozen=True)
class ForeseenHeads:
    """The leading candidates' scores with a head, see :func:`muster.selection.foreseen_heads.foresee_heads`.

    Attributes:
        candidates: Members of each, in the order in which the metric ranks them.
        plain: Score of the plain mean of each, on the units that were looked at.
        with_head: Score with a head, of images that it was not fitted to.
        penalties: Of the head of each; ``None`` where the plain mean did better, which is then scored.
        images: Probe images.
        units: Probe pixels, or images, that were looked at.
    """

    candidates: tuple[tuple[str, ...], ...]
    plain: tuple[float, ...]
    with_head: tuple[float, ...]
    penalties: tuple[float | None, ...]
    images: int
    units: int

    @property
    def leader(self) -> int:
        """Place of the candidate with the best score; the first of equals."""
        return max(range(len(self.with_head)), key=lambda place: (self.with_head[place], -place))


@dataclass(frozen=True)
class SizeStep:
    """The best ensemble of one size.

    Attributes:
        size: Number of members.
        members: Their names.
        score: What the metric gives it.
        cost: What its members cost together, in the selection's ``cost_unit``.
    """

    size: int
    members: tuple[str, ...]
    score: float
    cost: float


@dataclass(frozen=True)
class Guessing:
    """How members compare with guessing by class frequency.

    See :func:`muster.selection.guessing.compare_with_guessing`.

    Attributes:
        leep: LEEP of guessing: minus the entropy of the probe labels.
        iou: Mean IoU of always naming the most frequent class.
        best: The member that does best.
        best_leep: Its LEEP on images that its predictor was not made from.
        best_iou: Its mean IoU on these.
        low: Lower end of the interval of that LEEP over bootstrap samples of the probe images.
        high: Upper end.
        level: Share of the samples that the interval spans.
        better: The members that do better than guessing.
    """

    leep: float
    iou: float
    best: str
    best_leep: float
    best_iou: float
    low: float
    high: float
    level: float
    better: tuple[str, ...]

    @property
    def explained(self) -> float:
        """Share of the entropy of the probe labels that the best member explains; 1 is all, 0 or less is none."""
        return 1 - self.best_leep / self.leep
