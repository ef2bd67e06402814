"""One tiny pool, selection and fine-tuning, each made once by the real script; train.py by a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.scripts.processes import run, run_here

CLASSES = ["ground", "wall", "sky"]
ARCHITECTURES = ["small_fpn", "small_unet"]
STEPS = 60


def _write_dataset(folder: Path, shift: int) -> None:
    """Four training and two test images of 64 x 64: stripes, of colours that differ between the datasets."""
    folder.mkdir(parents=True)
    description = {"name": folder.name, "domain": "made up", "classes": CLASSES}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(description))
    for split, count in (("train", 4), ("test", 2)):
        for part in ("images", "masks"):
            (folder / split / part).mkdir(parents=True)
        for number in range(count):
            generator = np.random.default_rng((shift, count, number))
            mask = (np.arange(64)[:, None] * 3 // 64 + np.zeros((64, 64), int) + generator.integers(0, 3)) % 3
            image = np.stack([mask * 90, 255 - mask * (40 + shift), mask * 0 + 30 * shift], axis=-1)
            image = (image + generator.integers(0, 30, image.shape)).clip(0, 255)
            Image.fromarray(image.astype(np.uint8)).save(folder / split / "images" / f"{number}.png")
            Image.fromarray(mask.astype(np.uint8)).save(folder / split / "masks" / f"{number}.png")


@dataclass(frozen=True)
class Workplace:
    """Where the scripts work: data, results, and what they are told."""

    home: Path

    @property
    def target(self) -> Path:
        """A dataset that the pool has not seen."""
        return self.home / "data sets" / "gamma"

    @property
    def pool(self) -> Path:
        """The pool that is trained once."""
        return self.home / "pool"

    def training(self, output: Path | str) -> list[str]:
        """What train.py is told, for a pool like :attr:`pool` in another place."""
        return ["train.py", "--config", str(self.home / "train.yaml"), "--output", str(output)]

    def finetuning(self, output: Path | str) -> list[str]:
        """What finetune.py is told, apart from what to fine-tune."""
        return ["finetune.py", "--config", str(self.home / "finetune.yaml"), "--output", str(output)]


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("scripts"))
    for shift, name in enumerate(("alpha", "beta", "gamma")):
        _write_dataset(place.home / "data sets" / name, shift)
    # Crops are whole images: nothing is void, so that two processes see the same losses as one.
    training = {"batch_size": 4, "crop_size": 64, "scale_range": [1.0, 1.0], "checkpoint_every": 5, "steps": STEPS}
    plan = {"datasets": ["alpha", "beta"], "architectures": ARCHITECTURES}
    config = {
        "plan": plan,
        "training": training | {"image_size": 64, "learning_rate": 0.05},
        "data_root": str(place.home / "data sets"),
        "workers": 2,
    }
    (place.home / "train.yaml").write_text(yaml.safe_dump(config))
    (place.home / "finetune.yaml").write_text(
        yaml.safe_dump({"training": training | {"learning_rate": 0.01}, "equal_cost": False})
    )
    return place


@pytest.fixture(scope="session")
def pool(workplace: Workplace) -> Path:
    """Four members, trained by train.py without an interruption."""
    words = [*workplace.training(workplace.pool), "--workers", "1", "--logger", "csv,tensorboard"]
    run(words, workplace.home)
    return workplace.pool


@pytest.fixture(scope="session")
def selection(workplace: Workplace, pool: Path) -> Path:
    """Two of them, chosen for gamma by select.py."""
    folder = workplace.home / "selection"
    options = ["--size", "2", "--pixels_per_image", "200", "--output", str(folder)]
    printed = run_here(["select.py", "--pool", pool, "--target", workplace.target, *options], workplace.home)
    assert f"Next: python finetune.py --selection {folder}" in printed
    return folder


@pytest.fixture(scope="session")
def finetuned(workplace: Workplace, selection: Path) -> Path:
    """The selection, fine-tuned by finetune.py."""
    folder = workplace.home / "finetuned"
    printed = run_here([*workplace.finetuning(folder), "--selection", str(selection)], workplace.home)
    assert f"--ensemble {folder}" in printed
    return folder
