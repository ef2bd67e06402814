"""Scores of some candidates under many weightings of the probe images, on the processor.

Axis names as in :mod:`muster.scoring.resampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.scoring.resampling import ResamplingProblem

_TABLE_BYTES = 1 << 28
"""Most that the tables P(y | z) of the resamples worked on at a time may take."""

_JOINT_BYTES = 1 << 25
"""Most that the joint counts of the images worked on at a time may take."""

_UNIT = 2.0**-24
"""Most that a single-precision number is rounded by, as a part of it."""

_SHARES_PER_THREAD = 4
"""So that a thread that the machine holds up is not waited for as long."""

Report = Callable[[int, int], None]


def resampled_scores(
    problem: ResamplingProblem, weights: Float[NumpyArray, "weightings images"], progress: Report
) -> Float[NumpyArray, "weightings candidates"]:
    """Score every candidate under every weighting of the images.

    Args:
        problem: Candidates and predictions, on the CPU.
        weights: How often each image counts, at least one more than 0 times in every row.
        progress: Told how much is done, and how much there is.

    Returns:
        The scores; larger is better.
    """
    states = _refitted_states if problem.refits else _fixed_states
    return problem.scores(states(problem, weights, progress), weights)


def _fixed_states(problem: ResamplingProblem, weights: NumpyArray, progress: Report) -> NumpyArray:
    """Each image's sums are the same under every weighting: they are made once."""
    of_images = np.zeros((problem.images, *problem.state_shape))
    arrays = [array.to(problem.precision).numpy() for array in problem.arrays]
    for image in range(problem.images):
        _add_fixed(problem, arrays, image, of_images[image])
        progress(image + 1, problem.images)
    weighted: NumpyArray = weights @ of_images.reshape(problem.images, -1)
    return weighted.reshape(len(weights), *problem.state_shape)


def _add_fixed(problem: ResamplingProblem, arrays: list[NumpyArray], image: int, state: NumpyArray) -> None:
    """Add one image's sums."""
    from muster.scoring.cpu import resampling_kernels as kernels  # importing Numba takes a second

    pixels, precision = problem.pixels_of(image), arrays[0].dtype
    labels = problem.labels[pixels]
    true_class = np.stack([array[pixels, labels] for array in arrays])
    if problem.takes_logs:
        kernels.add_logs_fixed(true_class, problem.scored, problem.smallest, state)
        return
    grouped = np.empty((len(arrays), _in_tiles(len(pixels), precision) * problem.num_classes), dtype=precision)
    for array, into in zip(arrays, grouped, strict=True):
        kernels.group_pixels(array, pixels, into)
    kernels.count_fixed(grouped, labels, true_class, problem.rows, problem.num_classes, problem.is_soft, state)


def _in_tiles(pixels: int, dtype: np.dtype[np.floating] | type[np.floating]) -> int:
    """The number of pixels, filled up to whole tiles."""
    from muster.scoring.cpu import resampling_kernels as kernels  # importing Numba takes a second

    tile: int = kernels.GROUPS * kernels.lanes_of(dtype)
    return -(-pixels // tile) * tile


def _refitted_states(problem: ResamplingProblem, weights: NumpyArray, progress: Report) -> NumpyArray:
    """Sums over pixels, of EEPs that are refitted under every weighting."""
    at_once = max(1, _TABLE_BYTES // (8 * int(problem.ends[-1]) * problem.num_classes))
    lows = range(0, len(weights), at_once)
    states = np.zeros((len(weights), *problem.state_shape))
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for number, low in enumerate(lows):
            share = slice(low, low + at_once)
            refit = _Refit(problem, weights[share], states[share], threads)
            refit.estimate()
            for image in refit.add_images():
                progress(number * problem.images + image + 1, len(lows) * problem.images)
    return states


@dataclass(eq=False)
class _Refit:
    """EEPs refitted under some weightings, which the threads share out among them.

    Each thread writes to what belongs to its own weightings, and goes through images and pixels in their order: the
    numbers do not depend on how many threads there are.

    Attributes:
        problem: Candidates and source probabilities.
        weights: ``[weightings, images]``.
        states: Where sums are added, ``[weightings, *problem.state_shape]``.
        threads: Who works.
        tables: P(y | z) of each weighting, float64 ``[weightings, sources, classes]``, the classes filled up with zeros
            to whole tiles.
        packed: The same as float32, ``[weightings, tiles of classes x sources x TARGETS]``; empty for logs.
    """

    problem: ResamplingProblem
    weights: NumpyArray
    states: NumpyArray
    threads: ThreadPoolExecutor
    tables: NumpyArray = field(init=False)
    packed: NumpyArray = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the sources and the shares of the threads."""
        from muster.scoring.cpu.resampling_kernels import TARGETS  # importing Numba takes a second

        self._arrays = [array.numpy() for array in self.problem.arrays]
        self._ends = self.problem.ends
        padded = -(-self.problem.num_classes // TARGETS) * TARGETS
        self.tables = np.zeros((len(self.weights), int(self._ends[-1]), padded))
        self.packed = np.empty((len(self.weights), 0), dtype=np.float32)
        count = min(len(self.weights), _SHARES_PER_THREAD * torch.get_num_threads())
        bounds = np.linspace(0, len(self.weights), count + 1).astype(int)
        self._shares = [slice(low, high) for low, high in pairwise(bounds)]

    def estimate(self) -> None:
        """Fill the tables: joint counts of each image, weighted sums of those, each column divided by its mass."""
        from muster.scoring.cpu.resampling_kernels import TARGETS

        weightings, sources, padded = self.tables.shape
        flat = self.tables.reshape(weightings, -1)
        at_once = max(1, _JOINT_BYTES // (8 * sources * padded))
        for low in range(0, self.problem.images, at_once):
            images = range(low, min(low + at_once, self.problem.images))
            joints = np.stack([self._joint(image) for image in images])
            flat += self.weights[:, images.start : images.stop] @ joints.reshape(len(images), -1)
        mass = self.tables.sum(axis=2, keepdims=True)
        np.divide(self.tables, mass, out=self.tables, where=mass > 0)
        if not self.problem.takes_logs:
            tiles = self.tables.reshape(weightings, sources, -1, TARGETS).transpose(0, 2, 1, 3)
            self.packed = np.ascontiguousarray(tiles, dtype=np.float32).reshape(weightings, -1)

    def add_images(self) -> Iterator[int]:
        """Add what each image contributes; the next one is laid out while the threads work.

        Yields:
            Each image when it is done.
        """
        following = self._lay_out(0)
        for image in range(self.problem.images):
            work = [self.threads.submit(self._add, image, *following, share) for share in self._shares]
            if image + 1 < self.problem.images:
                following = self._lay_out(image + 1)
            for task in work:
                task.result()
            yield image

    def _joint(self, image: int) -> Float[NumpyArray, "sources classes"]:
        """Sum of source probabilities over an image's pixels of each class."""
        from muster.scoring.cpu import resampling_kernels as kernels

        pixels, joint = self.problem.pixels_of(image), np.zeros(self.tables.shape[1:])
        labels = self.problem.labels[pixels]
        for array, (low, high) in zip(self._arrays, pairwise(self._ends), strict=True):
            own = np.zeros((joint.shape[1], array.shape[1]))
            kernels.add_joint(array, pixels, labels, own)
            joint[low:high] = own.T
        return joint

    def _lay_out(self, image: int) -> tuple[NumpyArray, NumpyArray]:
        """Source probabilities at an image's pixels: float64 ``[sources, pixels]`` and float32 ``grouped``.

        Both go to the end of a tile; the former has another tile of zeros, which the loops read in passing.
        """
        from muster.scoring.cpu import resampling_kernels as kernels

        pixels = self.problem.pixels_of(image)
        together = np.concatenate([array[pixels] for array in self._arrays], axis=1)
        grouped = np.empty(0, dtype=np.float32)
        if not self.problem.takes_logs:
            grouped = np.empty(_in_tiles(len(pixels), np.float32) * together.shape[1], dtype=np.float32)
            kernels.group_pixels(together.astype(np.float32, copy=False), np.arange(len(pixels)), grouped)
        probs = np.zeros((together.shape[1], _in_tiles(len(pixels), np.float32) + _in_tiles(1, np.float32)))
        probs[:, : len(pixels)] = together.T
        return probs, grouped

    def _add(self, image: int, probs: NumpyArray, grouped: NumpyArray, share: slice) -> None:
        """Add one image's sums under some of the weightings."""
        from muster.scoring.cpu import resampling_kernels as kernels

        problem, tables, states = self.problem, self.tables[share], self.states[share]
        labels, weights = problem.labels[problem.pixels_of(image)], np.ascontiguousarray(self.weights[share, image])
        members, precision = len(self._arrays), torch.empty(0, dtype=problem.precision).numpy().dtype
        if problem.takes_logs:
            true_class = np.empty((members, len(labels)), dtype=precision)
            where = (probs, self._ends, tables, labels, weights, problem.scored)
            kernels.add_logs_refitted(*where, problem.smallest, true_class, states)
            return
        exact = np.empty((members, _in_tiles(1, np.float32), tables.shape[2]), dtype=precision)
        read = (probs, grouped, self._ends, tables, self.packed[share], labels, weights, problem.rows)
        kernels.count_refitted(*read, problem.num_classes, problem.is_soft, self._sure_ratio(), exact, states)

    def _sure_ratio(self) -> float:
        """The second largest sum is really smaller than the largest if it is less than this part of it.

        Both are sums of numbers that are not negative. So single precision changes each by at most this part of it:
        one rounding of a probability, one of the table's entry, one for each source class that is added up and one for
        each member. The definition's own rounding is one for each member, twice.
        """
        longest = int(np.diff(self._ends).max())
        wrong_by = (longest + 2 * self.problem.rows.shape[1] + 4) * _UNIT
        return float(1 - 3 * wrong_by)
