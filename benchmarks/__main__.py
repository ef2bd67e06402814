"""``python -m benchmarks``: time muster's own work beside the plain way of doing it, and print ratios as JSON.

Figures of one machine mean little; the ratios were measured side by side. Each is the median over repetitions.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from muster.data import open_dataset
from muster.data.worlds import WORLD_NAMES
from muster.metrics import e_leep, iou_eep, ms_leep, soft_iou_eep
from muster.models import build_model
from muster.probe import read_pixels
from muster.search import score_ensembles
from muster.tasks.training import segmentation_loss


def main() -> None:
    """Run every benchmark."""
    machine = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    results = {
        "machine": {**machine, "torch": torch.__version__, "python": platform.python_version()},
        "worlds_ms_per_image": worlds(),
        "reading_probe_pixels": reading(),
        "scoring": scoring(),
        "training_step": training_step(),
    }
    print(json.dumps(results, indent=2))


def seconds(work: Callable[[], Any], repetitions: int = 5) -> float:
    """Median time of some work, after one run to warm up."""
    work()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def worlds() -> dict[str, float]:
    """Drawing one picture of each world."""
    result = {}
    for name in WORLD_NAMES:
        train = open_dataset(f"worlds/{name}").train
        result[name] = round(1000 * seconds(lambda train=train: [train[i] for i in range(10)]) / 10, 2)  # type: ignore[misc]
    return result


def reading() -> dict[str, float]:
    """1000 pixels of a 134-class map of 128 x 128 at 1024 x 1024: at the pixels only, and by upsampling it whole."""
    maps = torch.rand(134, 128, 128, generator=torch.Generator().manual_seed(0)).softmax(dim=0)
    generator = torch.Generator().manual_seed(1)
    rows, columns = (torch.randint(1024, (1000,), generator=generator) for _ in range(2))

    def whole() -> torch.Tensor:
        large = functional.interpolate(maps[None], size=(1024, 1024), mode="bilinear", align_corners=False)[0]
        return large[:, rows, columns].T

    ours = seconds(lambda: read_pixels(maps, rows, columns, (1024, 1024)))
    plain = seconds(whole, repetitions=3)
    return {
        "ms_at_pixels": round(1000 * ours, 3),
        "ms_whole_map": round(1000 * plain, 1),
        "times_faster": round(plain / ours, 1),
        "whole_map_megabytes": round(134 * 1024 * 1024 * 4 / 1e6),
        "at_pixels_megabytes": round(1000 * 134 * 4 / 1e6, 1),
    }


def scoring() -> dict[str, float]:
    """All four metrics on candidates of three, 150 000 pixels, 23 classes: together, and one metric at a time."""
    generator = np.random.default_rng(0)
    labels = torch.from_numpy(generator.integers(0, 23, 150_000))
    eeps = torch.from_numpy(generator.dirichlet(np.ones(23), (5, 150_000)).astype(np.float32))
    together = seconds(lambda: score_ensembles(eeps, labels), repetitions=3) / 10
    metrics = (ms_leep, e_leep, iou_eep, soft_iou_eep)
    apart = seconds(lambda: [metric(eeps[:3], labels) for metric in metrics], repetitions=3)
    return {
        "ms_per_candidate": round(1000 * together, 1),
        "ms_metrics_one_by_one": round(1000 * apart, 1),
        "times_faster": round(apart / together, 2),
    }


def training_step() -> dict[str, float]:
    """One step of a batch of 16 at 64 x 64, for each small network."""
    images = torch.randn(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    masks = torch.randint(0, 11, (16, 64, 64), generator=torch.Generator().manual_seed(1))
    result = {}
    for name in ("small_fpn", "small_unet", "small_dilated"):
        model = build_model(name, 11)
        optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)

        def step(model: torch.nn.Module = model, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.zero_grad()
            segmentation_loss(model(images), masks).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        result[f"ms_{name}"] = round(1000 * seconds(step, repetitions=10), 1)
    return result


if __name__ == "__main__":
    main()
