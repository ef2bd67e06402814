"""A study that is killed again and again ends with the same numbers, whatever the number of workers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from muster.study.tables import StudyTables
from tests.helpers import make_pool
from tests.odd_inputs.bench import write_dataset
from tests.study.test_run import ABOUT_TIME

ROOT = Path(__file__).parents[2]
KILLS = 5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    make_pool(folder / "pool", 4)
    write_dataset(folder / "tiny", images=12, tests=3, size=48)
    return folder


def start(home: Path, output: str, workers: int) -> subprocess.Popen[bytes]:
    words = [
        *("--pools", "[pool]", "--targets", "[tiny]", "--output", output, "--workers", str(workers)),
        *("--probe_seeds", "[0, 1]", "--finetuning_seeds", "[0, 1]", "--sizes", "[2, 3]", "--size", "2"),
        *("--metrics", "[soft_iou_eep, leep, logme]", "--pixels_per_image", "50", "--image_size", "48"),
        *("--validation_images", "2", "--training.steps", "6", "--training.batch_size", "2"),
        *("--training.learning_rates", "[0.01, 0.02]", "--training.crop_size", "32"),
        *("--training.checkpoint_every", "2"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "muster", "study", *words]
    return subprocess.Popen(command, cwd=home, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)


def finished(home: Path, output: str, workers: int) -> StudyTables:
    assert start(home, output, workers).wait(timeout=600) == 0
    return StudyTables.read(home / output)


@pytest.fixture(scope="module")
def undisturbed(home: Path) -> StudyTables:
    return finished(home, "undisturbed", workers=1)


def assert_same(first: StudyTables, second: StudyTables) -> None:
    for name, table in vars(first).items():
        kept = [column for column in table.columns if column not in ABOUT_TIME]
        pd.testing.assert_frame_equal(table[kept], getattr(second, name)[kept])


def test_two_workers_find_the_same(home: Path, undisturbed: StudyTables) -> None:
    assert_same(finished(home, "two", workers=2), undisturbed)


def test_killed_at_random_moments_it_ends_with_the_same_numbers(home: Path, undisturbed: StudyTables) -> None:
    moments = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        process = start(home, "killed", workers=2)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moments.uniform(8, 30))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    assert killed > 0
    assert_same(finished(home, "killed", workers=2), undisturbed)
    left = [path for path in (home / "killed").rglob("*") if ".partial" in path.name or path.name.endswith(".work")]
    assert not left
