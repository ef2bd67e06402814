"""Where odd inputs are tried: a fresh folder with a small dataset, a pool, a selection and an ensemble to spoil."""

from __future__ import annotations

import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from muster.commands.main import start as start_command
from tests.execution.this_process import without_workers
from tests.helpers import make_member

ROOT = Path(__file__).parents[2]

WORLDS = ROOT / "configs" / "finetune" / "worlds.yaml"
"""A recipe without a choice of rates: one short fit."""
CLASSES = ["ground", "wall", "sky"]

_OF_OTHER_CASES = shutil.ignore_patterns("predictions")  # made with the stock's ensemble by cases before


def start(script: str, *words: str) -> int:
    """Run a command as its script does, in this process alone; warnings are shown as a user would see them."""
    with warnings.catch_warnings(), without_workers():
        warnings.simplefilter("default")
        warnings.showwarning = _show  # pytest's keeps them for its summary
        return start_command(Path(script).stem, script, words)


def _show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    print(warnings.formatwarning(message, category, filename, lineno), file=sys.stderr)


def write_dataset(folder: Path, images: int = 4, tests: int = 2, size: int = 64, **description: object) -> Path:
    """Write a sound dataset: stripes of three classes, as PNG files in ``train/`` and ``test/``.

    Args:
        folder: Where; its name is the dataset's.
        images: Training images.
        tests: Test images.
        size: Side of the square images, in pixels.
        description: Further keys of dataset.yaml, or other values; ``...`` leaves a key out.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    content = {"name": folder.name, "domain": "made up", "classes": CLASSES} | description
    known = {key: value for key, value in content.items() if value is not ...}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(known, allow_unicode=True), "utf-8")
    for split, count in (("train", images), ("test", tests)):
        for part in ("images", "masks"):
            (folder / split / part).mkdir(parents=True)
        for number in range(count):
            image, mask = make_sample(number + (100 if split == "test" else 0), size)
            Image.fromarray(image).save(folder / split / "images" / f"{number}.png")
            Image.fromarray(mask).save(folder / split / "masks" / f"{number}.png")
    return folder


def make_sample(number: int, size: int = 64) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A seeded image ``[size, size, 3]`` and its mask ``[size, size]`` with the three classes, both 8-bit."""
    generator = np.random.default_rng(number)
    mask = (np.arange(size)[:, None] * 3 // size + np.zeros((size, size), int) + generator.integers(0, 3)) % 3
    image = np.stack([mask * 90, 255 - mask * 40, mask * 0 + 30], axis=-1) + generator.integers(0, 30, (size, size, 3))
    return image.clip(0, 255).astype(np.uint8), mask.astype(np.uint8)


@dataclass(frozen=True)
class Bench:
    """What a case may use, all below a folder of its own.

    Attributes:
        home: The working directory of the command, empty at first.
        stock: Folder with a sound dataset ``tiny``, a ``pool`` of four untrained members ``a`` to ``d``, a
            ``selection`` of two of them for ``tiny``, and a ``run`` of finetune.py on it; all made once, to be copied.
    """

    home: Path
    stock: Path

    def dataset(self, name: str = "tiny", **changes: Any) -> Path:
        """A sound dataset to spoil, see :func:`write_dataset`."""
        return write_dataset(self.home / name, **changes)

    def pool(self, name: str = "pool") -> Path:
        """A copy of the pool to spoil."""
        return self._copied("pool", name)

    def selection(self, name: str = "selection") -> Path:
        """A copy of the selection, which names the pool and the dataset in the stock."""
        return self._copied("selection", name)

    def ensemble(self, name: str = "run") -> Path:
        """A copy of the run, which ``--ensemble`` takes."""
        return self._copied("run", name)

    def _copied(self, what: str, name: str) -> Path:
        return Path(shutil.copytree(self.stock / what, self.home / name, symlinks=True, ignore=_OF_OTHER_CASES))

    def training(self, *more: str, datasets: str = "[tiny]", output: str = "new_pool") -> list[str]:
        """``train.py`` for one small member a dataset, five steps on the CPU."""
        plan = ["--plan", f"{{datasets: {datasets}, architectures: [small_fpn], overrides: []}}", "--output", output]
        quick = ["--training.steps", "5", "--training.image_size", "64", "--training.crop_size", "64"]
        return ["train.py", *plan, *quick, "--training.batch_size", "2", "--hardware.device", "cpu", *more]

    def selecting(self, *more: str, pool: str | None = None, target: str = "tiny") -> list[str]:
        """``select.py`` for two members from the stock's pool."""
        what = ["--pool", pool or str(self.stock / "pool"), "--target", target, "--size", "2", "--resamples", "0"]
        return ["select.py", *what, "--pixels_per_image", "50", "--device", "cpu", "--output", "chosen", *more]

    def finetuning(self, *more: str, selection: str | None = None) -> list[str]:
        """``finetune.py`` on the stock's selection, five steps on the CPU; ``selection=""`` leaves that option out."""
        chosen = ["--selection", selection or str(self.stock / "selection")] if selection != "" else []
        quick = ["--config", str(WORLDS), "--training.steps", "5", "--training.crop_size", "64"]
        quick += ["--training.batch_size", "2"]
        quick += [] if any("equal_cost" in word for word in more) else ["--equal_cost", "false"]
        return ["finetune.py", *chosen, *quick, "--hardware.device", "cpu", "--output", "tuned", *more]

    def predicting(self, images: str, *more: str, ensemble: str | None = None) -> list[str]:
        """``finetune.py --predict`` with the stock's ensemble."""
        made = ensemble or str(self.stock / "run")
        return ["finetune.py", "--predict", images, "--ensemble", made, "--hardware.device", "cpu", *more]


def make_stock(folder: Path) -> Path:
    """Make what :attr:`Bench.stock` describes."""
    write_dataset(folder / "tiny")
    for seed, name in enumerate("abcd"):
        make_member(folder / "pool", name, seed, classes=3 + seed % 3)
    bench = Bench(folder, folder)
    target, chosen = str(folder / "tiny"), str(folder / "selection")
    assert start(*bench.selecting("--output", chosen, target=target)) == 0
    assert start(*bench.finetuning("--output", str(folder / "run"))) == 0
    return folder
