"""What a study will take, before any of it is done, and before its pools are trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from muster.data import Dataset, size_for
from muster.pool import Member
from muster.selection.probing import resolve_train_images
from muster.study.protocols import AT_RANDOM, MOST_FREQUENT
from muster.study.settings import Regime, StudySettings
from muster.training.forecast import Fits, StepTimer
from muster.training.hardware import Hardware
from muster.training.settings import TrainingSettings

USUAL_SIZE = 512
"""Side of the images where neither the study nor a member says one."""

_FORWARD = 1 / 3
"""Time of a forward pass, as a share of that of a training step for as many images."""


@dataclass(frozen=True)
class KnownMember:
    """What is known of a member, be it trained or only planned.

    Attributes:
        name: Its name.
        sources: Names of the datasets that it has seen.
        architecture: Of its network; empty if muster does not build it.
        pretraining: What it started from.
    """

    name: str
    sources: tuple[str, ...]
    architecture: str
    pretraining: str

    @classmethod
    def of(cls, member: Member) -> KnownMember:
        """What is known of a trained one."""
        card = member.card
        native = card.blueprint is None or card.blueprint.source == "native"
        sources = tuple(card.seen_datasets) or (card.dataset,)
        return cls(member.name, sources, card.architecture if native else "", card.pretraining)

    @property
    def kind(self) -> tuple[str, str]:
        """Members of one kind learn with one rate."""
        return self.architecture, self.pretraining


@dataclass(frozen=True)
class KnownPools:
    """The members that a study is about.

    Attributes:
        candidates: Of its pools.
        large: Of the pool of large single models.
        capped: Of the pool of members that saw a part of their sources.
    """

    candidates: tuple[KnownMember, ...]
    large: tuple[KnownMember, ...] = ()
    capped: tuple[KnownMember, ...] = ()


@dataclass(frozen=True)
class TargetForecast:
    """What one target with one number of labels will take, all its seeds together.

    Attributes:
        target: Its name.
        regime: What the number of labels is called.
        train_images: Training images that are used.
        test_images: Images that results are of.
        holds: What these are: images, or texts.
        crop_size: Rows and columns of the training crops.
        candidates: Members that can be candidates.
        fitted: Members that are fine-tuned for each choice of images and each seed, large ones included.
        fits: Fits that end in a fine-tuned member.
        steps: Of all fits, those that choose a rate included.
        passes: Images that members look at, to be scored and to be evaluated; what is cached may be looked at once.
        ensembles: Ensembles that are evaluated for each choice of images and each seed.
        device_bytes: Memory of the largest fit.
        weight_bytes: Disk for what is fine-tuned.
        seconds_per_step: Mean over the candidates, as timed; ``None`` if nothing was.
        batch_size: Crops of a step.
        unknown: Members whose network is not known before they are adopted, of all that can be fine-tuned.
    """

    target: str
    regime: str
    train_images: int
    test_images: int
    holds: str
    crop_size: tuple[int, int]
    candidates: int
    fitted: int
    fits: int
    steps: int
    passes: int
    ensembles: int
    device_bytes: int
    weight_bytes: int
    seconds_per_step: float | None
    batch_size: int
    unknown: int

    @property
    def hours(self) -> float | None:
        """Of all steps and passes; a pass takes a third of what a step takes for an image."""
        if self.seconds_per_step is None:
            return None
        return self.seconds_per_step * (self.steps + self.passes * _FORWARD / self.batch_size) / 3600


def forecast_study(
    settings: StudySettings,
    training: TrainingSettings,
    hardware: Hardware,
    pools: KnownPools,
    targets: Mapping[str, Dataset],
    timed_steps: int,
) -> list[TargetForecast]:
    """What a study will take.

    Args:
        settings: What is asked.
        training: How members are fine-tuned.
        hardware: What one fit computes on.
        pools: Its members.
        targets: Its targets, as the study names them; their images are counted only.
        timed_steps: Steps of each kind of fit that are timed; 0 times nothing.

    Returns:
        One entry for each target and number of labels, in their order.
    """
    timer, forecasts = StepTimer(hardware, timed_steps), []
    for target, dataset in targets.items():
        one = _Target(settings.for_target(target), settings.training_for(target, training), hardware, pools, dataset)
        times = [timer(fits) for fits in one.fits_of_candidates]
        seconds = sum(each for each in times if each is not None) / len(times) if any(times) else None
        forecasts += [one.forecast(regime, seconds) for regime in settings.all_regimes]
    return forecasts


@dataclass(frozen=True)
class _Target:
    """One target of a study."""

    settings: StudySettings
    training: TrainingSettings
    hardware: Hardware
    pools: KnownPools
    dataset: Dataset

    def eligible(self, members: Sequence[KnownMember]) -> list[KnownMember]:
        return [member for member in members if self.dataset.spec.name not in member.sources]

    @property
    def crop(self) -> tuple[int, int]:
        return self.training.crop_for(size_for(self.dataset.spec, self.settings.image_size or USUAL_SIZE))

    def fits_of(self, member: KnownMember) -> Fits:
        return Fits(member.architecture, self.dataset.spec.num_classes, self.dataset.spec, self.crop, self.training)

    @property
    def fits_of_candidates(self) -> list[Fits]:
        return [self.fits_of(member) for member in self.eligible(self.pools.candidates) if member.architecture]

    def fitted(self) -> tuple[int, list[KnownMember]]:
        """How many candidates are fine-tuned, and all others that are."""
        settings, count = self.settings, len(self.eligible(self.pools.candidates))
        large, capped = self.eligible(self.pools.large), self.eligible(self.pools.capped)
        if settings.candidates == "a22":
            count = min(count, MOST_FREQUENT + AT_RANDOM)
        elif settings.candidates == "chosen":
            count, large = min(count, len(settings.heads) * (settings.size + 1)), large[:1]
        return count, [*large, *capped]

    def forecast(self, regime: Regime, seconds: float | None) -> TargetForecast:
        settings, training, dataset = self.settings, self.training, self.dataset
        candidates = self.eligible(self.pools.candidates)
        fitted, alone = self.fitted()
        total = fitted + len(alone)
        runs = len(settings.subset_seeds) * len(settings.finetuning_seeds)
        wanted = resolve_train_images(regime.train_images, dataset.spec.probe_images)
        images = min(len(dataset.train), wanted or len(dataset.train))
        kinds = min(total, len({member.kind for member in (*candidates, *alone)}))
        steps = runs * total * training.steps
        steps += len(settings.subset_seeds) * kinds * (training.total_steps - training.steps)
        if settings.equal_cost:
            steps += runs * (settings.size + 2) * training.steps
        scored = len(candidates) + len(self.eligible(self.pools.large))
        probed = min(images, settings.probe_images or images) * len(settings.probe_seeds) * len(settings.subset_seeds)
        sizes = [math.comb(fitted, size) for size in settings.all_sizes]
        built = [self.fits_of(member) for member in (*candidates, *alone) if member.architecture]
        each = {fits.architecture: fits for fits in built}.values()
        return TargetForecast(
            dataset.spec.name, regime.name, images, len(dataset.test), dataset.spec.holds, self.crop,
            len(candidates), total, runs * total, steps,
            scored * probed + runs * total * len(dataset.test), sum(sizes) + len(alone),
            max((fits.device_bytes(self.hardware.devices) for fits in each), default=0),
            runs * total * max((fits.weight_bytes for fits in each), default=0),
            seconds, training.batch_size, len(candidates) + len(alone) - len(built),
        )  # fmt: skip
