"""Which executor a command takes, and which options then change nothing. Ray itself is not started."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.errors import ConfigError
from muster.execution.choice import chosen_executor, idle_options
from muster.execution.executor import Executor
from muster.execution.ray_settings import RaySettings
from tests.odd_inputs.bench import start


def test_local_processes_are_left_to_whoever_has_jobs_and_ray_is_an_executor() -> None:
    with chosen_executor("local", RaySettings(), 1, "auto", None) as executor:
        assert executor is None
    with chosen_executor("ray", RaySettings(), 1, "auto", 2, {"OMP_NUM_THREADS": "1"}) as executor:
        assert isinstance(executor, Executor)


def test_options_that_change_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, told in (
        (("--ray.gpus", "0.5"), "--ray.gpus has no effect without --executor ray."),
        (
            ("--executor", "ray", "--ray.address", "auto", "--workers", "2"),
            "--workers has no effect with --ray.address",
        ),
        (("--executor", "slurm"), "--executor: expected"),
    ):
        assert start("train", "--output", "pool", *words) == 2
        assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert idle_options("ray", RaySettings()) == {}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cpus": 0}, "ray.cpus: expected a whole number, from 1 to 1024, but got 0"),
        ({"gpus": -1.0}, "ray.gpus: expected a finite number, at least 0"),
        ({"memory_gb": 0.0}, "ray.memory_gb: expected a finite number, more than 0"),
        ({"retries": -1}, "ray.retries: expected a whole number, at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        RaySettings(**options)  # type: ignore[arg-type]
