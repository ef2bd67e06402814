"""Which task a network is of that others trained: its own scores say it, and who adopts it where they do not."""

from __future__ import annotations

from muster.errors import ConfigError
from muster.models.pooled import Pooled
from muster.models.source_model import SourceModel
from muster.tasks.classification import CLASSIFICATION
from muster.tasks.segmentation import SEGMENTATION
from muster.tasks.task import TASKS, Task
from muster.tasks.text_classification import TEXT_CLASSIFICATION


def usual_task(is_pooled: bool) -> Task:
    """What a network of images is for, where nothing else says it.

    Args:
        is_pooled: Whether it scores whole images, and not every place.
    """
    return CLASSIFICATION if is_pooled else SEGMENTATION


def task_of_network(model: SourceModel, said: str = "") -> Task:
    """The task of a network.

    Args:
        model: With its own classifier, or a backbone, which has none yet and can get a decoder.
        said: Name of the task that it was trained for, if the model or whoever adopts it says one.

    Returns:
        By default classification for one that scores whole images, or texts, and segmentation for others.

    Raises:
        ConfigError: If there is no such task, or it cannot be one of such a network.
    """
    found = usual_task(isinstance(model, Pooled))
    if model.holds == TEXT_CLASSIFICATION.holds:
        found = TEXT_CLASSIFICATION
    if not said:
        return found
    task = TASKS[said]
    if task.holds != found.holds:
        raise ConfigError(
            f"task: {model.architecture} takes {found.holds}, and {said} is for {task.holds}. Leave it out, or name "
            "another task."
        )
    if task.is_pooled != found.is_pooled:
        scored = "whole images" if found.is_pooled else "every place of an image"
        raise ConfigError(
            f"task: {model.architecture} has scores for {scored}, which those for {said} are not. Leave it out, or "
            "name another task."
        )
    return task
