"""What fine-tuning would give if it were run again, learned from two or more runs of the same candidates.

A result is a candidate's true mean over runs plus noise, and noise of ensembles is correlated, because they share
members: a member that came out badly spoils every ensemble it is in. So the noise is taken apart by least squares into
an effect of each member and a rest of each candidate, new runs draw effects anew, and candidates share them as before.

Axis names: ``candidates``, ``members``, ``seeds`` of fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from muster.arrays import NumpyArray

_TRIALS = 40
"""Simulated runs from which the shape of the truth is corrected."""

_NEAR = 0.5
"""Share of the members, nearest in result, whose noise a member draws from. Bad members may vary more than good ones;
one member's own differences (one, of two seeds) are too few to draw from. On simulated pools a half was as good as all
where the noise is the same for all, and right where it is not."""

_LEAST_NEAR = 5


@dataclass(frozen=True, eq=False)
class SeedNoise:
    """Candidates with a plausible truth, and the noise of a run of fine-tuning.

    Attributes:
        truth: For each candidate, in the order of the measured means and of the variance that true means must have.
        reliability: Variance of the true means over that of the measured ones, 0..1.
        seeds: How many runs were measured.
    """

    truth: Float[NumpyArray, " candidates"]
    reliability: float
    seeds: int
    _makeup: Float[NumpyArray, "candidates members"]
    _effects: Float[NumpyArray, "members seeds"]
    _near: Int[NumpyArray, "members near"]
    _rests: Float[NumpyArray, " rests"]

    def draw(self, generator: np.random.Generator) -> Float[NumpyArray, " candidates"]:
        """The noise of one more run.

        Args:
            generator: Draws it.

        Returns:
            What to add to ``truth``.
        """
        members, near = self._near.shape
        whose = self._near[np.arange(members), generator.integers(0, near, members)]
        effects = self._effects[whose, generator.integers(0, self.seeds, members)] * _signs(generator, members)
        noise: NumpyArray = self._makeup @ effects
        if self._rests.any():
            noise = noise + generator.choice(self._rests, len(noise)) * _signs(generator, len(noise))
        return noise

    def draw_mean(self, generator: np.random.Generator) -> Float[NumpyArray, " candidates"]:
        """The noise of the mean over as many runs as were measured."""
        mean: NumpyArray = np.mean([self.draw(generator) for _ in range(self.seeds)], axis=0)
        return mean


def _signs(generator: np.random.Generator, count: int) -> NumpyArray:
    return generator.choice(np.array([-1.0, 1.0]), count)  # noise is as often up as down


def seed_noise(
    rows: Int[NumpyArray, "candidates size"], results: Float[NumpyArray, "candidates seeds"], seed: int = 0
) -> SeedNoise:
    """Take results apart into truth and noise.

    The variance of the noise is that of the interaction of candidates with seeds. The measured means vary by the truth
    and by the noise of a mean, so they are shrunk to their grand mean by the root of the reliability: then the truth
    has the variance that is left (shrinking by the reliability itself would give best guesses, which vary too little).
    That keeps the measured shape, which noise has blurred: two groups of members, with and without pre-training, would
    each stay too wide. So the truth is corrected once, rank by rank, by how far simulated runs from it differ from what
    was measured.

    Args:
        rows: For each candidate, its members as numbers.
        results: Finite, of at least 2 seeds and candidates.
        seed: Of the simulated runs that correct the shape.

    Returns:
        The truth and the noise. All of the truth is alike if the results vary by no more than noise.

    Source:
        Two-way analysis of variance without replication (Scheffe, The Analysis of Variance, 1959, chapter 4); the
        shrinkage to the right variance is that of constrained empirical Bayes estimates (Louis, JASA 1984). The
        correction of the shape is ours.
    """
    candidates, seeds = results.shape
    means = results.mean(axis=1)
    noise = results - means[:, None] - results.mean(axis=0) + results.mean()
    names, places = np.unique(rows, return_inverse=True)
    makeup = np.zeros((candidates, len(names)))
    np.put_along_axis(makeup, places.reshape(rows.shape), 1 / rows.shape[1], axis=1)
    of_members = np.linalg.pinv(makeup)
    effects = of_members @ noise
    rests = noise - makeup @ effects
    # Means over seeds and over members were taken off, and with them a part of the variance. What the effects took
    # of the rests, and the rests lack, makes up for each other.
    lost = seeds / (seeds - 1)
    rounding = 1e-9 * max(float(np.abs(noise).max()), 1e-300)
    variance = float((noise**2).sum() / ((candidates - 1) * (seeds - 1)))
    spread = float(means.var(ddof=1))
    reliability = max(0.0, 1 - variance / seeds / spread) if spread > 0 else 0.0
    made = SeedNoise(
        truth=means.mean() + np.sqrt(reliability) * (means - means.mean()),
        reliability=reliability,
        seeds=seeds,
        _makeup=makeup,
        _effects=effects * np.sqrt(lost * len(names) / max(len(names) - 1, 1)),
        _near=_nearest(of_members @ means),
        _rests=np.where(np.abs(rests) > rounding, rests, 0.0).ravel() * np.sqrt(lost),
    )
    return made if reliability == 0 else _reshaped(made, means, seed)


def _nearest(results: Float[NumpyArray, " members"]) -> NumpyArray:
    """For each member, those with the nearest results, itself among them."""
    count = min(len(results), max(_LEAST_NEAR, round(_NEAR * len(results))))
    distances = np.abs(results[:, None] - results[None])
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


def _reshaped(made: SeedNoise, means: NumpyArray, seed: int) -> SeedNoise:
    """Move the truth by how far sorted simulated means are from the sorted measured ones."""
    generator = np.random.default_rng(seed)
    order = np.argsort(means, kind="stable")
    runs = [np.sort(made.truth + made.draw_mean(generator)) for _ in range(_TRIALS)]
    truth = np.empty_like(means)
    truth[order] = np.sort(made.truth[order] + means[order] - np.mean(runs, axis=0))
    return SeedNoise(truth, made.reliability, made.seeds, made._makeup, made._effects, made._near, made._rests)
