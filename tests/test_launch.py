"""What torchrun and srun say of a process, and what Lightning is told of it. Nothing is started here."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

from muster import launch
from muster.errors import ConfigError
from muster.execution.placement import worker_environments
from muster.training.cluster import cluster_environment
from muster.training.hardware import Hardware

ALLOCATION = {
    "SLURM_JOB_ID": "1234567", "SLURM_JOB_NAME": "finetune", "SLURM_NODELIST": "gpu[07-08]", "SLURM_NNODES": "2",
    "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
}  # fmt: skip
"""What a batch script of two machines with four tasks each sees, before srun starts any of them."""

STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2"}
SIXTH = {**ALLOCATION, **STEP, "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"}
"""The second task of the second machine."""

TORCHRUN = {
    "RANK": "5", "LOCAL_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4",
    "GROUP_WORLD_SIZE": "2", "MASTER_ADDR": "gpu07", "MASTER_PORT": "29500",
}  # fmt: skip


def launched(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(launch.without_launcher(os.environ)):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("MASTER_ADDR", "MASTER_PORT"):  # Lightning sets them: they go afterwards
        monkeypatch.setenv(name, variables.get(name, ""))
        if name not in variables:
            monkeypatch.delenv(name)


@pytest.mark.parametrize("variables", [SIXTH, TORCHRUN], ids=["srun", "torchrun"])
def test_each_process_knows_its_place(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    launched(monkeypatch, variables)
    assert launch.launched_processes() == 8
    assert launch.launched_on_this_machine() == 4
    assert launch.launched_nodes() == 2
    assert launch.local_rank() == 1
    assert launch.only_helps()
    assert Hardware("cpu").processes() == 8
    found = cluster_environment()
    found.validate_settings(num_devices=4, num_nodes=2)
    places = (found.world_size(), found.global_rank(), found.local_rank(), found.node_rank())
    assert places == (8, 5, 1, 1)
    assert found.main_address == "gpu07"
    assert found.main_port == (29500 if variables is TORCHRUN else 15000 + 4567)


def test_srun_is_slurms_and_jobs_are_not_submitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, SIXTH)
    found = cluster_environment()
    assert isinstance(found, SLURMEnvironment)
    assert not found.auto_requeue


def test_the_first_task_alone_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, {**ALLOCATION, **STEP})
    assert not launch.only_helps()


@pytest.mark.parametrize(
    "variables",
    [{}, ALLOCATION, {**ALLOCATION, **STEP, "SLURM_STEP_NUM_TASKS": "1"}, {"RANK": "0", "NODE_RANK": "3"}],
    ids=["nothing", "batch script", "srun of one task", "numbered node"],
)
def test_a_process_by_itself_is_one_whatever_the_allocation(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    launched(monkeypatch, variables)
    assert (launch.launched_processes(), launch.launched_on_this_machine(), launch.launched_nodes()) == (1, None, 1)
    assert not launch.only_helps()
    assert isinstance(cluster_environment(), LightningEnvironment)


def test_torchrun_started_by_srun_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, {**SIXTH, **TORCHRUN, "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"})
    assert launch.launcher() == "torchrun"
    assert launch.launched_processes() == 8
    assert isinstance(cluster_environment(), TorchElasticEnvironment)


@pytest.mark.parametrize("each", [None, "3"])
def test_tasks_that_machines_do_not_share_evenly_are_refused(monkeypatch: pytest.MonkeyPatch, each: str | None) -> None:
    launched(monkeypatch, {**SIXTH, **({} if each is None else {"SLURM_NTASKS_PER_NODE": each})})
    if each is None:
        monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(ConfigError, match=f"8 tasks on 2 machines, with --ntasks-per-node {(each or 'none')}"):
        cluster_environment()


@pytest.mark.parametrize("variables", [SIXTH, TORCHRUN], ids=["srun", "torchrun"])
def test_a_worker_is_no_part_of_what_was_launched(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    launched(monkeypatch, variables)
    (environment,) = worker_environments(1, 1, [])
    launched(monkeypatch, {name: value for name, value in environment.items() if name in variables})
    assert launch.launched_processes() == 1
    assert isinstance(cluster_environment(), LightningEnvironment)
    assert environment.get("SLURM_JOB_ID") == variables.get("SLURM_JOB_ID")
