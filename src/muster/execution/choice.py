"""Which executor a command runs its jobs with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from muster.errors import ConfigError, unknown_name
from muster.execution.executor import Executor
from muster.execution.ray_settings import ExecutorName, RaySettings


@contextmanager
def chosen_executor(
    name: ExecutorName,
    ray: RaySettings,
    processes: int,
    device: str,
    workers: int | None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Executor | None]:
    """The executor that was asked for, for as long as a command works.

    Args:
        name: Of the executor.
        ray: What tasks of Ray are given.
        processes: How many processes work on one job.
        device: What they compute on.
        workers: How many jobs run side by side, if that was said.
        environment: More environment variables of each job.

    Yields:
        The executor; ``None`` for processes of this machine, which whoever has jobs starts as they fit on it.

    Raises:
        ConfigError: If there is no such executor, or its library is not installed.
    """
    if name == "local":
        yield None
    elif name == "ray":
        from muster.execution.ray_tasks import RayTasks

        with RayTasks(ray, processes, device, workers, environment) as tasks:
            yield tasks
    else:
        raise ConfigError(f"executor: {unknown_name('executor', name, ('local', 'ray'))}")


def idle_options(name: ExecutorName, ray: RaySettings) -> dict[str, str]:
    """Options that change nothing with an executor, and why.

    Args:
        name: Of the executor.
        ray: The settings of Ray.

    Returns:
        By name of the option; a group's name stands for all in it.
    """
    if name != "ray":
        return {"ray": "without --executor ray"}
    return {} if ray.address is None else {"workers": "with --ray.address, as Ray runs as many tasks as fit there"}
