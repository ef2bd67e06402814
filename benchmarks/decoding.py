"""How fast one loader worker reads street scenes, as they are published and as ``muster convert`` has them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from benchmarks.requirements import scratch_folder
from benchmarks.timing import usual_cost
from muster.data import Split, open_dataset
from muster.data.conversion import convert_folder

_GIGABYTES = 0.1

_NOISE = 1.2
"""Levels; with it a drawn scene takes as much room as a photograph of Cityscapes, 2.6 MB."""


def decoding(rows: int = 1024, columns: int = 2048, images: int = 4, repetitions: int = 5) -> dict[str, Any]:
    """Reading an image and its mask: PNG as published, beside PNG that is stored.

    Args:
        rows: Of an image.
        columns: Likewise.
        images: Images read at a time.
        repetitions: How often.

    Returns:
        Milliseconds a pair, pairs a second of one worker, and megabytes a pair, of both.
    """
    with scratch_folder(_GIGABYTES) as scratch:
        folder, fast = scratch / "published", scratch / "stored"
        _write(folder, rows, columns, images)
        convert_folder(folder, fast, threads=1)
        found = {place.name: _measured(place, images, repetitions) for place in (folder, fast)}
    plain, ours = found["published"].pop("milliseconds"), found["stored"].pop("milliseconds")
    return {"milliseconds": ours, "plain_milliseconds": plain, "times_faster": round(plain / ours, 1), **found}


def _write(folder: Path, rows: int, columns: int, images: int) -> None:
    """A dataset of drawn street scenes, enlarged, with the noise of a camera."""
    scenes, random = open_dataset("worlds/city_drive").train, np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    content = {"name": "streets", "domain": "driving", "classes": list(scenes.spec.classes)}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content))
    for number in range(images + 1):  # one of them is held out
        scene = scenes[number]
        drawn = Image.fromarray(scene.image.permute(1, 2, 0).numpy()).resize((columns, rows), Image.Resampling.BICUBIC)
        pixels = np.asarray(drawn) + np.rint(random.normal(0, _NOISE, (rows, columns, 3)))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{number}.png")
        mask = Image.fromarray(scene.mask.numpy()).resize((columns, rows), Image.Resampling.NEAREST)
        mask.save(folder / "masks" / f"{number}.png")


def _measured(folder: Path, images: int, repetitions: int) -> dict[str, float]:
    split = open_dataset(str(folder)).train
    seconds = usual_cost(partial(_read, split), repetitions).processor_seconds / len(split)
    size = sum(path.stat().st_size for path in folder.rglob("*.png")) / (images + 1)
    return {
        "milliseconds": round(1000 * seconds, 1),
        "pairs_a_second": round(1 / seconds, 1),
        "megabytes": round(size / 1e6, 2),
    }


def _read(split: Split) -> None:
    for index in range(len(split)):
        split[index]
