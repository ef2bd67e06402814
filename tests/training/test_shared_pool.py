"""Several processes make one pool: each takes members that nobody works on, and what is left by a killed one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from muster.execution.progress import TrainingProgress
from muster.files import to_builtin_types, write_yaml
from muster.output_kinds import POOL
from muster.outputs import mark
from muster.pool import Pool
from muster.training import member_lock
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.member_lock import member_held
from muster.training.pool_training import FAILURES, train_pool
from muster.training.settings import SourceSettings
from tests.execution.this_process import ThisProcess
from tests.helpers import make_member
from tests.odd_inputs.bench import write_dataset
from tests.scripts.test_interruptions import first_steps

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),  # it holds the lock
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint"),  # the stream of images goes on where it was
]

SOURCE = SourceSettings(
    steps=6, batch_size=2, crop_size=32, image_size=32, scale_range=(1.0, 1.0), learning_rate=0.01, checkpoint_every=2,
)  # fmt: skip

ANOTHER = """
import sys, time
from pathlib import Path
from muster.training.pool_training import train_job

def told(message):
    if Path(sys.argv[2], "last.ckpt").is_file():
        print("half way", flush=True)
        time.sleep(600)

train_job(sys.argv[1], told)
"""


def job_for(pool: Path, data: Path, kind: str) -> MemberJob:
    return MemberJob(kind, pool, str(data), kind, "none", SOURCE, Hardware("cpu"))


def beside(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened() and time.monotonic() < end:
        time.sleep(0.02)
    assert happened()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_lock, "LOOK_SECONDS", 0.05)


def test_members_of_others_are_passed_over_and_taken_up_when_these_are_killed(tmp_path: Path) -> None:
    data, pool = write_dataset(tmp_path / "tiny", images=4, tests=1, size=32), tmp_path / "pool"
    jobs = [job_for(pool, data, kind) for kind in ("small_fpn", "small_unet")]
    pool.mkdir()
    mark(pool, POOL)  # as whoever leads the other process did
    content = json.dumps(to_builtin_types(asdict(jobs[0])))
    words = [sys.executable, "-c", ANOTHER, content, str(jobs[0].work)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "half way\n"

        def kill() -> None:
            wait_for((jobs[1].folder / "card.yaml").is_file)
            other.kill()

        killing = beside(kill)
        try:
            outcome = train_pool(jobs, None, TrainingProgress(Console(quiet=True)), executor=ThisProcess())
        finally:
            other.kill()
            killing.join()
    assert (outcome.trained, outcome.by_others, outcome.failed) == (["small_unet", "small_fpn"], [], {})
    assert [member.problem() for member in Pool.open(pool)] == [None, None]
    begun = [first_steps(pool / "logs" / job.name) for job in jobs]
    assert begun[0][0] == 0
    assert begun[0][1] > 0
    assert begun[1] == [0]
    assert not (pool / "work").exists()


def test_what_another_process_finished_is_not_trained_and_its_failures_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = tmp_path / "pool"
    job = job_for(pool, write_dataset(tmp_path / "tiny", images=2, tests=1, size=32), "small_fpn")
    pool.mkdir()
    write_yaml(pool / FAILURES, {"long_ago": "nobody knows"})

    def other() -> None:
        with member_held(job.work) as held:
            assert held
            begun.set()
            wait_for((pool / "config.yaml").is_file)
            time.sleep(0.3)
            write_yaml(pool / FAILURES, {"another": "its loss became infinite"})
            make_member(pool, job.name, 0)
            shutil.rmtree(job.work)

    begun = threading.Event()
    working = beside(other)
    begun.wait()
    mark(pool, POOL)
    outcome = train_pool([job], None, TrainingProgress(Console()), executor=ThisProcess())
    working.join()
    assert (outcome.trained, outcome.by_others, outcome.failed) == ([], ["small_fpn"], {})
    assert "Waiting for what other processes train: small_fpn." in capsys.readouterr().out
    assert yaml.safe_load((pool / FAILURES).read_text()) == {"another": "its loss became infinite"}
    assert not (pool / "logs").exists()
