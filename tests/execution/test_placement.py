"""Which GPUs and how many threads each worker process has."""

from __future__ import annotations

import pytest

from muster.execution.placement import visible_gpus, worker_environments
from muster.machine import available_cores


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def seen(workers: int, devices: int, gpus: list[str]) -> list[str]:
    return [each["CUDA_VISIBLE_DEVICES"] for each in worker_environments(workers, devices, gpus)]


def test_workers_take_gpus_in_turn() -> None:
    assert seen(2, 1, ["0", "1"]) == ["0", "1"]
    assert seen(2, 2, ["0", "1", "2", "3"]) == ["0,1", "2,3"]
    assert seen(5, 1, ["0", "1"]) == ["0", "1", "0", "1", "0"]  # they share


def test_only_gpus_that_this_process_sees_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert visible_gpus(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    assert seen(2, 1, visible_gpus(2)) == ["3", "GPU-5"]


def test_cores_are_shared_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_environments(1, 1, [])[0]["OMP_NUM_THREADS"] == str(available_cores())
    assert worker_environments(10_000, 1, [])[0]["OMP_NUM_THREADS"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in worker_environments(1, 1, [])[0]
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert worker_environments(2, 1, [])[1]["OMP_NUM_THREADS"] == "7"
