"""The comparison of device backends, on the CPU."""

from __future__ import annotations

import torch

from benchmarks.device_backends import compare_backends
from benchmarks.search import made_up
from muster.scoring import score_ensembles


def test_backends_beside_the_processor() -> None:
    eeps, labels = made_up(6, 500, 4)
    found = compare_backends(
        torch.from_numpy(eeps),
        torch.from_numpy(labels),
        score_ensembles(eeps, labels),
        ("triton", "torch"),
        {"torch": 60},
    )
    assert "cannot_be_used" in found["triton"]
    assert found["torch"]["seconds"] < found["torch"]["most_seconds"]
    assert found["torch"]["same_order"]
    assert found["torch"]["largest_relative_difference"]["iou_eep"] == 0
    assert max(found["torch"]["largest_relative_difference"].values()) < 1e-12
