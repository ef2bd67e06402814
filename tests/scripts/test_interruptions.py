"""Kills at any time, and the same command again."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pandas
import pytest
import yaml

from muster.pool import Pool
from tests.execution.this_process import without_workers
from tests.scripts.conftest import STEPS, Workplace
from tests.scripts.processes import LIMIT, TORCHRUN, Script, alive, children_of, run_here, started


def newer_checkpoint(folder: Path, count: int = 1) -> object:
    """A question to ask again and again: have so many fits below ``folder`` written a checkpoint since now?"""
    before = {path: path.stat().st_mtime_ns for path in folder.glob("**/last.ckpt")}

    def written() -> bool:
        newer = 0
        for path in folder.glob("**/last.ckpt"):
            try:
                newer += path.stat().st_mtime_ns != before.get(path)
            except FileNotFoundError:
                continue
        return newer >= count

    return written


def first_steps(folder: Path) -> list[int]:
    """The step at which each fit began to log, fit by fit; -1 if it was interrupted before, or had no step left."""
    found = []
    for version in sorted(folder.glob("csv/version_*"), key=lambda path: int(path.name.split("_")[1])):
        table = version / "metrics.csv"
        found.append(int(pandas.read_csv(table)["step"].min()) if table.is_file() else -1)
    return found


def workers_gone(processes: list[int], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, processes))


def interrupt(words: list[str], workplace: Workplace, pool: Path, how: int, wait: float, checkpoint: bool) -> Script:
    """Start, and send a signal some time after work has begun or after the first new checkpoint."""
    written = newer_checkpoint(pool)
    with started(words, workplace.home) as script:
        begun = (lambda: len(script.children()) == 2) if not checkpoint else written
        script.wait_until(begun, "the first checkpoint" if checkpoint else "workers were started")
        time.sleep(wait)
        workers = script.children()
        script.process.send_signal(how)
        script.end({signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[how])
        assert workers_gone(workers), "workers outlived the process that had started them"
    return script


def kill_one_worker(folder: Path) -> None:
    """Kill a worker that this process has started for a pool, once two of them have written a checkpoint."""
    written, deadline = newer_checkpoint(folder, 2), time.monotonic() + LIMIT
    while not written() and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = [child for child in children_of(os.getpid()) if "muster.execution.worker" in command_of(child)]
    os.kill(workers[0], signal.SIGKILL)


def command_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")


def test_a_pool_is_completed_after_one_of_its_workers_was_killed(workplace: Workplace, pool: Path) -> None:
    """While another member cannot be trained: two failures, and the rest goes on."""
    killed = workplace.home / "killed"
    words = workplace.training(killed)
    diverging = ["--plan.overrides", "[{members: beta-small_unet, learning_rate: 1.0e+20}]"]
    killer = threading.Thread(target=kill_one_worker, args=(killed,))
    killer.start()
    printed = run_here([*words, *diverging], workplace.home, status=1)
    killer.join()
    failures = yaml.safe_load((killed / "failures.yaml").read_text())
    assert len(failures) == 2, printed
    assert "smaller learning_rate" in failures.pop("beta-small_unet")
    ((victim, reason),) = failures.items()
    assert "killed by SIGKILL" in reason
    assert (killed / "work" / victim / "last.ckpt").is_file()
    assert f"FAILED {victim}" in printed
    assert len(Pool.open(killed)) == 2

    with without_workers():
        run_here(words, workplace.home)  # at last in peace
    require_whole(killed, pool, [victim])


@pytest.mark.slow
def test_a_pool_is_completed_after_it_was_killed_at_its_start_and_interrupted(workplace: Workplace, pool: Path) -> None:
    chance = random.Random(0)
    killed = workplace.home / "killed at the start"
    words = workplace.training(killed)
    interrupt(words, workplace, killed, signal.SIGKILL, chance.uniform(0, 3), checkpoint=False)
    interrupt(words, workplace, killed, signal.SIGKILL, chance.uniform(0, 0.2), checkpoint=True)
    script = interrupt(words, workplace, killed, signal.SIGINT, chance.uniform(0, 0.1), checkpoint=True)
    assert "The same command goes on from here" in script.said()
    interrupted = [path.parent.name for path in (killed / "work").glob("*/last.ckpt")]
    assert interrupted
    # At last under torchrun, where the second process has nothing to do.
    Script([*TORCHRUN, *words], workplace.home).end()
    require_whole(killed, pool, interrupted)


@pytest.mark.slow  # half a minute; tests/training/test_shared_pool.py does it with one process more
def test_two_commands_share_a_pool_and_one_of_them_is_killed(workplace: Workplace, pool: Path) -> None:
    shared = workplace.home / "shared"
    words = [*workplace.training(shared), "--workers", "1"]
    written = newer_checkpoint(shared, 2)
    with started(words, workplace.home) as first, started(words, workplace.home) as second:
        first.wait_until(written, "a checkpoint of each")
        workers = first.children()
        first.process.send_signal(signal.SIGKILL)
        first.end(-signal.SIGKILL)
        assert workers_gone(workers)
        second.end()
    require_whole(shared, pool, [])
    starts = [first_steps(shared / "logs" / member.name) for member in Pool.open(shared)]
    assert all(0 not in each[1:] for each in starts), f"one was trained from the beginning again: {starts}"
    assert sum(map(len, starts)) <= 5, f"more than that of the killed one was taken up again: {starts}"


def require_whole(killed: Path, pool: Path, interrupted: list[str]) -> None:
    """All is as in the pool that nobody interrupted, and nothing was trained twice."""
    members = Pool.open(killed)
    assert [member.problem() for member in members] == [None] * 4
    assert {m.name: m.card.checksum for m in members} == {m.name: m.card.checksum for m in Pool.open(pool)}
    assert sorted(path.name for path in killed.iterdir()) == [".muster", "config.yaml", "logs", "members", "splits"]
    assert list(killed.rglob(".partial-*")) == []
    for name in interrupted:
        starts = first_steps(killed / "logs" / name)
        assert 0 not in starts[1:], f"{name} was trained from the beginning again: {starts}"
        assert len(starts) > 1, f"{name} was never taken up again: {starts}"


@pytest.mark.slow  # half a minute; a killed pool is completed in the test before
def test_a_finetuning_that_chooses_its_members_goes_on_with_them(workplace: Workplace, pool: Path) -> None:
    folder = workplace.home / "chosen at start"
    options = ["--size", "2", "--pool", str(pool), "--target", str(workplace.target)]
    words = [*workplace.finetuning(folder), *options]
    written = newer_checkpoint(folder)
    with started(words, workplace.home) as script:
        script.wait_until(written, "the first checkpoint")
        script.process.send_signal(signal.SIGINT)
        script.end(130)
    assert "The same command goes on from here" in script.said()
    chosen = (folder / "selection" / "selection.yaml").read_bytes()

    written = newer_checkpoint(folder)
    with started(words, workplace.home) as script:
        script.wait_until(written, "the next checkpoint")
        script.process.send_signal(signal.SIGKILL)
        script.end(-signal.SIGKILL)

    Script(words, workplace.home).end()
    assert (folder / "selection" / "selection.yaml").read_bytes() == chosen
    result = yaml.safe_load((folder / "result.yaml").read_text())
    assert result["members"] == yaml.safe_load(chosen)["members"]
    resumed = result["resumed_at_steps"]
    assert 1 <= len(resumed) <= 2, "one that had done its last step when it was killed has nothing to go on with"
    assert all(0 < step < STEPS for step in resumed)
    assert "Resumed from step" in (folder / "report.html").read_text("utf-8")
    starts = first_steps(folder)
    assert starts[0] <= 0
    assert starts[-1] > 0, f"it began again: {starts}"
    history = pandas.read_csv(folder / "history.csv")
    assert history["step"].tolist() == sorted({*range(0, STEPS, 20), STEPS - 1})
    assert not (folder / "work").exists()
    assert [path.name for path in folder.rglob(".partial-*")] == []
