"""Whether what a selection chooses by is a metric of the target's task."""

from __future__ import annotations

import warnings

from muster.metrics import parse_metric
from muster.tasks.task import TASKS, Task


def question_metric(metric: str, task: Task) -> None:
    """Ask whether a metric was meant that another task has and this one has not.

    Such a metric can be computed, but what it estimates is not this task's result: IoU of whole images, for example.

    Args:
        metric: Name of what is chosen by, wrappers included.
        task: Of the target.

    Warns:
        UserWarning: If it is one, with the metric that the task is chosen by.
    """
    name = parse_metric(metric).metric.name
    own = {*task.ensemble_metrics, *TASKS[task.selected_as or task.name].ensemble_metrics}
    others = [other.name for other in TASKS if name in other.ensemble_metrics]
    if others and name not in own:
        warnings.warn(
            f"metric: {metric} is a metric of {', '.join(others)}, and the target's task is {task.name}, whose result "
            f"is {task.result}. The choice is made by it as asked; auto takes {task.default_metric}.",
            stacklevel=4,
        )
