"""Steps that wait for others: in which order they begin, and what a failure stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from muster.errors import ConfigError
from muster.execution.executor import Job
from muster.execution.progress import TrainingProgress
from muster.study.schedule import Schedule, Step
from tests.execution.this_process import ThisProcess

TASK = "tests.study.test_schedule:note"


def note(content: str, tell: Callable[[str], None]) -> str:
    """Write down that a step was done; one named "bad" fails."""
    folder, name = json.loads(content)
    tell(json.dumps([1, None]))
    if name == "bad":
        raise ConfigError("it is bad")
    with (Path(folder) / "order").open("a") as file:
        print(name, file=file)
    return ""


def order(folder: Path) -> list[str]:
    return (folder / "order").read_text().split()


def step(folder: Path, name: str, *after: str) -> Step:
    def is_done() -> bool:
        return (folder / f"{name}.done").exists()

    def job() -> Job:
        return Job(name, TASK, json.dumps([str(folder), name]), folder / name)

    return Step(name, job, is_done, after)


def run(steps: list[Step], places: int = 1) -> tuple[Schedule, list[str]]:
    console = Console(quiet=True)
    schedule, ended = Schedule(steps, ThisProcess(), places, TrainingProgress(console)), list[str]()
    schedule.run("steps", lambda step: ended.append(step.name))
    return schedule, ended


def test_the_first_step_that_need_not_wait_comes_next(tmp_path: Path) -> None:
    make = partial(step, tmp_path)
    schedule, ended = run([make("a", "c"), make("b"), make("c"), make("d", "a", "b")])
    assert order(tmp_path) == ["b", "c", "a", "d"]
    assert ended == ["b", "c", "a", "d"]
    assert not schedule.failures


def test_steps_that_are_done_are_passed_over_and_free_others(tmp_path: Path) -> None:
    (tmp_path / "c.done").touch()
    schedule, ended = run([step(tmp_path, "a", "c"), step(tmp_path, "c")])
    assert (ended, schedule.found) == (["a"], ["c"])


def test_whether_a_step_is_done_is_asked_when_its_turn_comes(tmp_path: Path) -> None:
    """What a step makes may be what tells that another one is done."""
    seen: list[list[str]] = []

    def is_done() -> bool:
        seen.append(order(tmp_path))
        return True

    later = Step("later", step(tmp_path, "later").job, is_done, ("a",))
    schedule, _ = run([later, step(tmp_path, "a")])
    assert seen == [["a"]]
    assert schedule.found == ["later"]


def test_a_failure_keeps_nothing_else_from_being_done(tmp_path: Path) -> None:
    schedule, ended = run([step(tmp_path, "bad"), step(tmp_path, "a", "bad"), step(tmp_path, "b")], places=2)
    assert set(schedule.failures) == {"bad"}
    assert "it is bad" in schedule.failures["bad"]
    assert sorted(order(tmp_path)) == ["a", "b"]
    assert sorted(ended) == ["a", "b"]


def test_there_may_be_nothing_to_do() -> None:
    schedule, ended = run([])
    assert (schedule.found, ended) == ([], [])
