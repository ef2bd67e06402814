"""Jobs in worker processes: every way in which one can end, and the others that go on."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from muster.execution.executor import Executor, Failure, Job
from muster.execution.local import LOG, LocalProcesses

ROOT = Path(__file__).parents[2]


@dataclass
class Heard:
    """What the executor told."""

    messages: list[tuple[str, str]] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    ticks: int = 0

    def progressed(self, job: Job, message: str) -> None:
        self.messages.append((job.name, message))

    def done(self, job: Job, result: str) -> None:
        self.results[job.name] = result

    def failed(self, job: Job, failure: Failure) -> None:
        self.failures[job.name] = failure

    def tick(self) -> None:
        self.ticks += 1


def environment(mark: str = "") -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])  # the tasks of the tests are importable, too
    return {**os.environ, "PYTHONPATH": path, "MARK": mark}


def run(executor: Executor, tasks: dict[str, str], folder: Path, content: str = "ab") -> Heard:
    heard = Heard()
    for name, task in tasks.items():
        executor.submit(Job(name, f"tests.execution.tasks_of_tests:{task}", content, folder / name))
    executor.run(heard)
    return heard


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Heard, Path]:
    """One worker is given all jobs in turn, the bad ones between good ones."""
    folder = tmp_path_factory.mktemp("jobs")
    tasks = {
        "good": "double", "refused": "refuse", "unread": "missing_file", "crashed": "crash", "between": "double",
        "died": "die", "unknown": "no_such_task", "last": "double",
    }  # fmt: skip
    return run(LocalProcesses([environment()]), tasks, folder), folder


def test_results_and_messages_are_those_of_the_tasks(heard: tuple[Heard, Path]) -> None:
    assert heard[0].results == dict.fromkeys(("good", "between", "last"), "abab")
    assert heard[0].messages == [(name, "half way") for name in ("good", "between", "last")]
    assert heard[0].ticks > 0


def test_every_failure_has_its_kind_and_the_others_go_on(heard: tuple[Heard, Path]) -> None:
    kinds = {name: failure.kind for name, failure in heard[0].failures.items()}
    assert kinds == {
        "refused": "refused",
        "unread": "refused",
        "crashed": "crashed",
        "died": "died",
        "unknown": "crashed",
    }
    reasons = {name: failure.reason for name, failure in heard[0].failures.items()}
    assert reasons["refused"] == "expected something else than ab"
    assert reasons["unread"].startswith("ab cannot be read or written")
    assert reasons["crashed"] == "ZeroDivisionError: ab"
    assert "killed by SIGKILL; the machine may have run out of memory" in reasons["died"]
    assert "no_such_task" in reasons["unknown"]


def test_the_log_of_a_failure_is_that_of_its_job_alone(heard: tuple[Heard, Path]) -> None:
    log = heard[1] / "crashed" / LOG
    assert heard[0].failures["crashed"].log == f"log: {log}"
    text = log.read_text("utf-8")
    assert "what a log shows" in text
    assert "Traceback" in text
    assert "not for the parent" not in text  # of the job before
    assert not (heard[1] / "good" / LOG).exists()


def test_a_worker_goes_on_with_the_next_job_or_is_a_fresh_process(tmp_path: Path) -> None:
    tasks = dict.fromkeys("abc", "which_process")
    same = run(LocalProcesses([environment("x")]), tasks, tmp_path / "same").results
    assert len(set(same.values())) == 1
    fresh = run(LocalProcesses([environment("x")], fresh_processes=True), tasks, tmp_path / "fresh").results
    assert len(set(fresh.values())) == 3
    assert all(value.endswith(" x") for value in (same | fresh).values())


def test_workers_have_the_environments_that_they_were_given(tmp_path: Path) -> None:
    tasks = {str(number): "which_process" for number in range(6)}
    results = run(LocalProcesses([environment("x"), environment("y")]), tasks, tmp_path).results
    workers = {tuple(value.split()) for value in results.values()}
    assert {mark for _, mark in workers} == {"x", "y"}
    assert len(workers) == 2


def test_nothing_to_do_starts_nothing(tmp_path: Path) -> None:
    assert run(LocalProcesses([environment()]), {}, tmp_path) == Heard()


class _Follows(Heard):
    """Submits two more jobs once the first one is done."""

    def __init__(self, executor: Executor, folder: Path) -> None:
        super().__init__()
        self.executor, self.folder = executor, folder

    def done(self, job: Job, result: str) -> None:
        super().done(job, result)
        if job.name == "first":
            for name in ("second", "third"):
                task = "tests.execution.tasks_of_tests:which_process"
                self.executor.submit(Job(name, task, "", self.folder / name))


def test_jobs_that_a_listener_submits_use_all_places(tmp_path: Path) -> None:
    """The other worker had ended, as nothing waited for it."""
    executor = LocalProcesses([environment("x"), environment("y")])
    heard = _Follows(executor, tmp_path)
    executor.submit(Job("first", "tests.execution.tasks_of_tests:double", "ab", tmp_path / "first"))
    executor.run(heard)
    assert set(heard.results) == {"first", "second", "third"}
