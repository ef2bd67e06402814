"""Which members are worth a look at all probe images: the others are passed over by what they make of some.

Bolya et al. (2021, section 3.2) know of no method whose time grows less than linearly with the bank of models. Here all
members look at a few images, the better ones at twice as many (successive halving), until as many are left as were
asked for. Those alone look at the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from muster.arrays import number_within_groups
from muster.metrics import parse_metric
from muster.metrics.hard_subsets import DEFAULT_FRACTION
from muster.pool import Member
from muster.probe import ProbeCache, ProbeReader, ProbeSet
from muster.probe.growing import GrowingReader, KnownReadings
from muster.selection.member_scoring import Progress, Request, score_members
from muster.selection.predictors import Predictor
from muster.selection.probe_tasks import ProbeRun
from muster.selection.record_parts import Prefilter, PrefilterRound

LEAST_IMAGES = 10
"""Images of the first round, if there are twice as many. Chosen: a linear probe is fitted on half of them."""

LEAST_UNITS = 40
"""Pixels of them, likewise; where one prediction is made for a whole image, that many images. With 20 such images the
linear probe's order had little to do with that on all."""

_PAIR = 2
"""Images of a class that come together, so that a classifier can be fitted on one and read on the other."""


@dataclass(frozen=True)
class Kept:
    """What a prefilter leaves.

    Attributes:
        members: Those that look at all images, in their order.
        passed_over: The others, with the reason.
        reader: Reads all images; it knows what was read of the members already.
        record: What happened.
    """

    members: tuple[Member, ...]
    passed_over: dict[str, str]
    reader: ProbeReader
    record: Prefilter


def rounds_of(members: int, keep: int, images: int, least: int = LEAST_IMAGES) -> list[tuple[int, int]]:
    """How many images the members of each round look at, and how many members go on.

    Args:
        members: How many there are.
        keep: How many are to look at all images.
        images: How many there are.
        least: Images of the first round, if there are twice as many.

    Returns:
        For each round but the last, in which those that are left look at all images; none if all are to do so. Images
        double from round to round and members fall by the same factor, by half if that takes no smaller first round.

    Source:
        Successive halving: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
        Optimization", AISTATS 2016.

    Example:
        >>> rounds_of(32, 2, 160)
        [(10, 16), (20, 8), (40, 4), (80, 2)]
    """
    if members <= keep or images < _PAIR:
        return []
    affordable = int(math.log2(max(images / least, 2)))
    count = min(affordable, math.ceil(math.log2(members / keep)))
    factor = (keep / members) ** (1 / count)
    found = [(images // 2 ** (count - place), math.ceil(members * factor ** (place + 1))) for place in range(count)]
    return [*found[:-1], (found[-1][0], keep)]


def image_order(probe: ProbeSet, seed: int) -> list[int]:
    """The images of a probe set, ordered so that the first ones have two of each class, as far as there is room.

    Args:
        probe: The probe set.
        seed: Decides about all else.

    Returns:
        Places of those that have probe pixels. An image counts for the class that most of it is.
    """
    generator = np.random.default_rng((seed, len(probe.images)))
    shuffled = generator.permutation(np.array(probe.images))
    rank = generator.permutation(probe.class_shares.shape[1])
    mains = np.array([int(probe.class_shares[image].argmax()) for image in shuffled.tolist()])
    pairs = number_within_groups(mains) // _PAIR
    return [image for *_, image in sorted(zip(pairs.tolist(), rank[mains].tolist(), shuffled.tolist(), strict=True))]


def prefilter(
    members: Sequence[Member],
    keep: int,
    whole: ProbeReader,
    predictor: Predictor,
    cache: ProbeCache | None,
    most_bytes: float,
    seed: int,
    progress: Progress | None = None,
    run: ProbeRun | None = None,
) -> Kept:
    """Pass over the members that do worse than others on some of the probe images.

    They are compared by LEEP of the predictor on images that it was not made from.

    Args:
        members: The candidates.
        keep: How many of them look at all images.
        whole: Reads all images.
        predictor: What turns a member into a classifier of the target's classes.
        cache: Where predictions on the images of each round are kept.
        most_bytes: Most that readings take until the members look at the rest.
        seed: Of the choice of images.
        progress: Told how far the work is.
        run: Runs members elsewhere. They are then read anew on all images of each round, and in the end: other
            machines do not know what was read before.

    Returns:
        The members that are left, and a reader for them.
    """
    order, known = image_order(whole.probe, seed), KnownReadings(most_bytes)
    leep = predictor.scored_by(parse_metric("leep"))
    left, passed_over, rounds = list(members), dict[str, str](), list[PrefilterRound]()
    units, holds = len(whole.probe) / len(order), whole.spec.holds
    for images, going_on in rounds_of(
        len(members), keep, len(order), max(LEAST_IMAGES, math.ceil(LEAST_UNITS / units))
    ):
        some, request = sorted(order[:images]), Request((leep,), leep, DEFAULT_FRACTION)
        reader = GrowingReader(whole, known, some) if run is None else whole.of_images(some)
        unfit = {} if run is None else run.read(left, reader, request, predictor, some)
        told = _named(progress, images, holds)
        scored = score_members(left, reader, cache, request, predictor, _nothing, None, told, unfit)
        rounds.append(PrefilterRound(images, len(left)))
        passed_over |= scored.broken
        leeps = {name: honest.leep for name, honest in scored.honest.items()}
        best = sorted(leeps, key=lambda name: (-leeps[name], name))
        for place, name in enumerate(best[going_on:], start=going_on + 1):
            passed_over[name] = (
                f"passed over by the prefilter: LEEP {leeps[name]:.3f} on {images} probe {holds}, {place} of "
                f"{len(best)}"
            )
        left = [member for member in left if member.name in best[:going_on]]
        known.forget_all_but(best[:going_on])
    record = Prefilter(keep, len(members), len(order), tuple(rounds))
    return Kept(tuple(left), passed_over, GrowingReader(whole, known) if rounds and run is None else whole, record)


def _named(progress: Progress | None, images: int, holds: str) -> Progress | None:
    return None if progress is None else lambda _, done, total: progress(f"prefilter, {images} {holds}", done, total)


def _nothing(predictions: Tensor) -> None:
    """Predictions on some images are of no use later."""
