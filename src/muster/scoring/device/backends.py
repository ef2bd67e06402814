"""Which of the ways to score on a device is used, and why not a faster one.

From the fastest on: ``triton`` (:mod:`muster.scoring.device.triton_backend`), ``compiled`` and ``torch``
(:mod:`muster.scoring.device.torch_backend`, with torch's compiler and without). All give the same counts and the same
sums in fixed point. The first two need a CUDA device, Triton and a C compiler. Before one of them is used in a process,
it has a small problem to solve; where it fails, or differs from plain tensor operations, the next one is used, and the
log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations

import numpy as np
import torch

from muster.errors import unknown_name
from muster.metrics.ensemble_block import Members
from muster.scoring.device import torch_backend
from muster.scoring.device.blocks import Block, Runs, Sums
from muster.scoring.fixed_point import COUNT_LIMIT, fixed_point_scale

_log = logging.getLogger(__name__)

NAMES = ("triton", "compiled", "torch")
"""All backends, the fastest first."""

_SMALL_CLASSES = 5


@dataclass(frozen=True)
class Backend:
    """One way to add a block of pixels to the sums of all candidates.

    Attributes:
        name: One of :data:`NAMES`.
        add_block: Takes a block, runs, sums to add to, and a function that is told which part of the block is done.
        longest_run: Most candidates of a run.
        by_label: Whether the pixels of a block are to be sorted by label.
    """

    name: str
    add_block: Callable[[Block, Runs, Sums, Callable[[float], None]], None]
    longest_run: int = Runs.LONGEST
    by_label: bool = False


def backend_named(name: str) -> Backend:
    """Look a backend up.

    Args:
        name: One of :data:`NAMES`.

    Returns:
        The backend.

    Raises:
        ValueError: If there is none of that name.
        ImportError: If it needs Triton, and that is not installed.
    """
    if name == "triton":
        from muster.scoring.device import triton_backend

        return Backend(name, triton_backend.add_block, triton_backend.LONGEST_RUN, by_label=True)
    if name == "compiled":
        return Backend(name, partial(torch_backend.add_block, compiled=True))
    if name == "torch":
        return Backend(name, torch_backend.add_block)
    raise ValueError(unknown_name("backend", name, NAMES))


@cache
def fastest_backend(device: torch.device, dtype: torch.dtype) -> Backend:
    """The fastest backend that works here.

    Args:
        device: Where the predictions are.
        dtype: Their type.

    Returns:
        The backend; where the log does not say otherwise, ``triton`` on CUDA devices and ``torch`` on all others.
    """
    for name in NAMES[:-1] if device.type == "cuda" else ():
        reason = objection(name, device, dtype)
        if reason is None:
            return backend_named(name)
        _log.warning("Scoring on %s does without the backend %r, which is faster: %s", device, name, reason)
    return backend_named(NAMES[-1])


def objection(name: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Try a backend on a small problem.

    Args:
        name: One of :data:`NAMES`.
        device: Where to try it.
        dtype: The type of the predictions.

    Returns:
        Why it cannot be used; ``None`` if nothing speaks against it.
    """
    members = _small_problem(device, dtype)
    try:
        found = _small_sums(backend_named(name), members)
    except Exception as error:  # whatever a missing or too old compiler, driver or library raises
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    expected = _small_sums(backend_named("torch"), members)
    if not (torch.equal(found.counts, expected.counts) and torch.equal(found.totals, expected.totals)):
        return "on a small problem its counts differ from those of plain tensor operations"
    logs, expected_logs = (sums.log_scale.value(sums.logs) for sums in (found, expected))
    return None if np.allclose(logs, expected_logs, rtol=1e-12) else "on a small problem its logs differ"


def _small_problem(device: torch.device, dtype: torch.dtype) -> Members:
    """Predictions in multiples of 1/8, so that many sums are equal."""
    generator = torch.Generator().manual_seed(0)
    predictions = torch.randint(0, 9, (5, 300, _SMALL_CLASSES), generator=generator) / 8
    labels = torch.randint(0, _SMALL_CLASSES, (300,), generator=generator)
    return Members(list(predictions.to(device, dtype)), labels.to(device), _SMALL_CLASSES)


def _small_sums(backend: Backend, members: Members) -> Sums:
    candidates = np.array(list(combinations(range(len(members.predictions)), 3)))
    num_pixels = len(members.labels)
    scale = fixed_point_scale(3, COUNT_LIMIT, num_pixels)
    sums = Sums.zeros(members, candidates, counted=True, logged=True)
    block = Block.of(members, slice(num_pixels), scale, counted=True, by_label=backend.by_label)
    backend.add_block(block, Runs.of(candidates, backend.longest_run), sums, lambda _: None)
    return sums
