"""Prediction of an image of 12 000 x 16 000 pixels stays below 2 GB."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from muster.data import ChannelStatistics, ImageSize, Preprocessing
from muster.models import build_model
from muster.training.finetuned_ensemble import Ensemble

HEIGHT, WIDTH = 12_000, 16_000
MOST_BYTES = 2_000_000_000
CODE = """
import resource, sys
from muster.commands.main import main
status = main(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("PEAK", peak * (1 if sys.platform == "darwin" else 1024))
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_is_bounded(tmp_path: Path) -> None:
    shown = Preprocessing(ChannelStatistics((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)), ImageSize(longer=128))
    members = [build_model("small_fpn", 6, seed=seed) for seed in (0, 1)]
    made = Ensemble(("a", "b"), members, [f"class {index}" for index in range(6)], shown)
    made.stored_size = (600, 800)
    made.save(tmp_path / "run" / "ensemble", "tiny", {})
    profile = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 3, "dtype": "uint8", "tiled": True}
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.5, 0.5)}
    block = np.random.default_rng(0).integers(0, 256, (3, 1000, WIDTH), dtype=np.uint8)
    with rasterio.open(tmp_path / "large.tif", "w", **profile, **place) as file:
        for top in range(0, HEIGHT, 1000):
            file.write(block, window=((top, top + 1000), (0, WIDTH)))
    words = ["predict", str(tmp_path / "large.tif"), "--ensemble", str(tmp_path / "run"), "--hardware.device", "cpu"]
    words += ["--output", str(tmp_path / "out"), "--confidence", "true", "--uncertainty", "true"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", CODE, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    peak = int(done.stdout.split("PEAK")[1])
    assert peak < MOST_BYTES
    with rasterio.open(tmp_path / "out" / "masks" / "large.tif") as mask:
        assert mask.shape == (HEIGHT, WIDTH)
        assert mask.crs == place["crs"]
