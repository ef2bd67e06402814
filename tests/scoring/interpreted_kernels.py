"""Score problems with the Triton kernels in Triton's interpreter: a program of its own, run by test_device_triton.py.

It is started with ``TRITON_INTERPRET=1``, which Triton reads when it is imported: too late in a process of tests.
"""

from __future__ import annotations

import sys

import torch

from muster.metrics.ensemble_block import Members
from muster.metrics.registry import ENSEMBLE_METRICS, METRICS
from muster.scoring.device.backends import objection
from muster.scoring.device.exhaustive import score_tiles
from muster.scoring.metric_kinds import has_exhaustive_kernels


def main(problems: str, scores: str) -> None:
    """Read problems by name, and write the scores of each."""
    compiled = [name for name in ENSEMBLE_METRICS if has_exhaustive_kernels(METRICS[name])]
    found = {}
    for name, (predictions, labels, candidates, block_numbers) in torch.load(problems, weights_only=True).items():
        members = Members(list(predictions), labels, predictions.shape[2])
        told: list[float] = []
        values = score_tiles(members, candidates.numpy(), compiled, told.append, block_numbers, backend="triton")
        found[name] = {metric: torch.from_numpy(value) for metric, value in values.items()} | {"told": sum(told)}
    found["objection"] = objection("triton", torch.device("cpu"), torch.float32)
    torch.save(found, scores)


if __name__ == "__main__":
    main(*sys.argv[1:])
