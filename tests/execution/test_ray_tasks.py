"""Jobs as tasks of a real Ray with two workers on this machine, some of which are killed."""

from __future__ import annotations

import gc
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from muster.errors import ConfigError
from muster.execution.executor import Executor, Job
from muster.execution.local import LOG
from muster.execution.progress import TrainingProgress
from muster.execution.ray_settings import RaySettings
from muster.execution.ray_tasks import RayTasks
from muster.execution.ray_worker import work
from muster.pool import Pool
from muster.selection.record import Selection
from muster.study.plan import StudyPlan
from muster.study.run import StudyOutcome, run_study
from muster.study.settings import StudySettings
from muster.training import pool_training
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.pool_training import train_pool
from muster.training.settings import HeadSettings, SourceSettings, TrainingSettings
from tests.execution.test_local import Heard, run
from tests.execution.this_process import ThisProcess
from tests.helpers import make_pool, undated
from tests.odd_inputs.bench import start, write_dataset
from tests.scripts.processes import alive
from tests.scripts.test_interruptions import first_steps
from tests.study.test_interrupted import assert_same

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),  # it holds what is resumed
    # What older releases of Ray leave.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file .*(/session_|/dev/null):ResourceWarning"),
]

SOURCE = SourceSettings(
    steps=6, batch_size=2, crop_size=32, image_size=32, scale_range=(1.0, 1.0), learning_rate=0.01, checkpoint_every=2,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayTasks]:
    """Ray, started once; executors that find it use it. Two tasks run side by side."""
    with pytest.MonkeyPatch.context() as patch, RayTasks(RaySettings(retries=1), workers=2) as executor:
        patch.setenv("OMP_NUM_THREADS", "1")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as each task has
        run(executor, {"first": "double"}, tmp_path_factory.mktemp("first"))  # now, whichever test comes first
        yield executor
        torch.set_num_threads(threads)
    assert not executor.ray.is_initialized()
    gc.collect()  # now, as other tests take what older releases of Ray leave for an error


@pytest.fixture(scope="module")
def heard(cluster: RayTasks, tmp_path_factory: pytest.TempPathFactory) -> tuple[Heard, Path]:
    folder = tmp_path_factory.mktemp("jobs")
    tasks = {
        "good": "double", "refused": "refuse", "unread": "missing_file", "crashed": "crash", "died": "die",
        "unknown": "no_such_task", "last": "double",
    }  # fmt: skip
    return run(cluster, tasks, folder), folder


def test_results_and_messages_are_those_of_the_tasks(heard: tuple[Heard, Path]) -> None:
    assert heard[0].results == dict.fromkeys(("good", "last"), "abab")
    assert sorted(heard[0].messages) == [(name, "half way") for name in ("good", "last")]
    assert heard[0].ticks > 0


def test_every_failure_has_its_kind_and_its_log(heard: tuple[Heard, Path]) -> None:
    failures, folder = heard[0].failures, heard[1]
    kinds = {name: failure.kind for name, failure in failures.items()}
    assert kinds == {
        "refused": "refused", "unread": "refused", "crashed": "crashed", "died": "died", "unknown": "crashed",
    }  # fmt: skip
    assert failures["refused"].reason == "expected something else than ab"
    assert failures["unread"].reason.startswith("ab cannot be read or written")
    assert failures["crashed"].reason == "ZeroDivisionError: ab"
    assert failures["died"].reason.startswith("it was started up to 2 times, and its worker died")
    log = folder / "crashed" / LOG
    assert failures["crashed"].log == f"log: {log}"
    text = log.read_text("utf-8")
    assert "what a log shows" in text
    assert "Traceback" in text
    assert sorted(path.name for path in folder.iterdir()) == sorted([*heard[0].results, *failures])
    assert not (folder / "good" / LOG).exists()


def test_a_task_whose_worker_died_is_done_by_another(cluster: RayTasks, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    found = run(cluster, {"once": "die_once"}, tmp_path / "jobs", str(mark))
    assert mark.exists()
    assert (found.results, found.failures) == ({"once": "at last"}, {})
    assert not list((tmp_path / "jobs").rglob("*log*"))


def test_a_distributed_job_has_a_process_of_its_own_in_its_task(tmp_path: Path) -> None:
    """Its log and failures are as elsewhere, and Ray tries it again if that process died."""
    executor = RayTasks(RaySettings(retries=1), processes=2)
    found = run(executor, {"once": "die_once", "crashed": "crash"}, tmp_path / "jobs", str(tmp_path / "mark"))
    assert found.results == {"once": "at last"}
    assert found.failures["crashed"].kind == "crashed"
    assert "what a log shows" in (tmp_path / "jobs" / "crashed" / LOG).read_text("utf-8")
    died = run(executor, {"died": "die"}, tmp_path / "jobs").failures["died"]
    assert (died.kind, "killed by SIGKILL" in died.reason) == ("died", True)


class _Stops(Heard):
    """Presses Ctrl-C as soon as a task speaks."""

    def progressed(self, job: Job, message: str) -> None:
        super().progressed(job, message)
        raise KeyboardInterrupt


def test_whatever_ends_the_call_ends_the_tasks(cluster: RayTasks, tmp_path: Path) -> None:
    stops = _Stops()
    for name in ("one", "two", "three"):
        cluster.submit(Job(name, "tests.execution.tasks_of_tests:wait_for_ever", "", tmp_path / name))
    with pytest.raises(KeyboardInterrupt):
        cluster.run(stops)
    process = int(stops.messages[0][1])
    deadline = time.monotonic() + 20
    while alive(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(process)
    assert run(cluster, {"next": "double"}, tmp_path).results == {"next": "abab"}  # and nothing of them is left


def test_a_task_that_no_machine_can_take_is_refused(tmp_path: Path) -> None:
    for settings, option in (
        (RaySettings(gpus=0.5), r"--ray.gpus: a task takes 0.5 GPU, .* has 0"),
        (RaySettings(cpus=1000), "--ray.cpus: a task takes 1000 CPU, .* has "),
        (RaySettings(memory_gb=1e6), "--ray.memory_gb: a task takes 1e"),
    ):
        with pytest.raises(ConfigError, match=option):
            run(RayTasks(settings), {"good": "double"}, tmp_path)
    with pytest.raises(ConfigError, match=r"--ray\.gpus"):
        run(RayTasks(RaySettings(), device="cuda"), {"good": "double"}, tmp_path)


def test_a_machine_that_does_not_see_a_folder_says_so(tmp_path: Path) -> None:
    job = {"name": "lost", "task": "tests.execution.tasks_of_tests:double", "content": "", "folder": str(tmp_path)}
    for place, folder in ((tmp_path / "away", tmp_path), (tmp_path, tmp_path / "away")):
        event, reason, _ = work({**job, "folder": str(folder)}, str(place), {}, None, False)
        assert event == "refused"
        assert f"has no folder {tmp_path / 'away'}. All machines of a Ray cluster need the same shared" in reason


def test_a_cluster_that_does_not_answer_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"--ray\.address: .* but {address} cannot be joined: .*refused"):
            RayTasks(RaySettings(address=address))._join()


def test_ray_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r'--executor ray needs Ray: pip install "muster\[ray\]"'):
        RayTasks(RaySettings())


def jobs_for(pool: Path, data: Path) -> list[MemberJob]:
    hardware = Hardware("cpu")
    return [MemberJob(f"tiny-{kind}", pool, str(data), kind, "none", SOURCE, hardware) for kind in
            ("small_fpn", "small_unet")]  # fmt: skip


def test_a_killed_worker_costs_no_member_and_changes_none(
    cluster: RayTasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "tiny", images=4, tests=1, size=32)
    progress = TrainingProgress(Console(quiet=True))
    with monkeypatch.context() as patch:
        patch.setattr(pool_training, "TASK", "tests.execution.tasks_of_tests:train_and_be_killed")
        outcome = train_pool(jobs_for(tmp_path / "killed", data), None, progress, executor=cluster)
    assert (sorted(outcome.trained), outcome.failed) == (["tiny-small_fpn", "tiny-small_unet"], {})
    victim = (tmp_path / "killed" / "killed").read_text()
    train_pool(jobs_for(tmp_path / "quiet", data), None, progress, executor=ThisProcess())
    killed, undisturbed = (Pool.open(tmp_path / name) for name in ("killed", "quiet"))
    assert [member.problem() for member in killed] == [None, None]
    assert {m.name: m.card.checksum for m in killed} == {m.name: m.card.checksum for m in undisturbed}
    assert not (tmp_path / "killed" / "work").exists()
    begun = {job.name: first_steps(tmp_path / "killed" / "logs" / job.name) for job in jobs_for(tmp_path, data)}
    assert begun.pop(victim)[-1] > 0
    assert list(begun.values()) == [[0]]


def study_of(home: Path, output: str, executor: Executor) -> StudyOutcome:
    settings = StudySettings(
        pools=(home / "pool",), targets=("worlds/attic",), sizes=(1, 2), size=2, metrics=("soft_iou_eep", "leep"),
        pixels_per_image=20, image_size=32, validation_images=2, probe_images=4,
        predictors=("eep",), heads=(),
    )  # fmt: skip
    training = TrainingSettings(steps=2, batch_size=2, learning_rates=(0.01,), crop_size=32)
    plan = StudyPlan.of(settings, training, HeadSettings(), Hardware("cpu"), home / output, None)
    return run_study(plan, TrainingProgress(Console(quiet=True)), executor=executor)


def test_a_selection_is_the_same_with_both_executors(tmp_path: Path) -> None:
    make_pool(tmp_path / "pool", 3)
    target = write_dataset(tmp_path / "tiny", images=6, tests=1)
    words = ["--pool", str(tmp_path / "pool"), "--target", str(target), "--size", "2", "--device", "cpu"]
    words += ["--pixels_per_image", "20", "--resamples", "40", "--cache_gb", "0", "--metrics", "auto,parc"]
    for name, more in (("here", []), ("ray", ["--executor", "ray", "--ray.retries", "1"])):
        assert start("select.py", *words, *more, "--output", str(tmp_path / name)) == 0
    here, there = (Selection.load(tmp_path / name) for name in ("here", "ray"))
    assert undated(there) == undated(here)
    assert here.ranking.scores.keys() == there.ranking.scores.keys() > {"soft_iou_eep", "parc"}
    for name, scores in here.ranking.scores.items():
        assert np.array_equal(there.ranking.scores[name], scores), name
    assert not (tmp_path / "ray" / "work").exists()


def test_a_study_of_a_world_finds_the_same_with_both_executors(cluster: RayTasks, tmp_path: Path) -> None:
    make_pool(tmp_path / "pool", 2)
    with_ray, here = study_of(tmp_path, "ray", cluster), study_of(tmp_path, "here", ThisProcess())
    assert (with_ray.failed, here.failed) == ({}, {})
    assert with_ray.done == here.done > 0
    assert_same(with_ray.tables, here.tables)
    assert len(with_ray.tables.ensembles) == 3
