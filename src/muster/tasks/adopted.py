"""Which task a network is of that others trained: its own scores say it."""

from __future__ import annotations

from muster.models.pooled import Pooled
from muster.models.source_model import SourceModel
from muster.tasks.classification import CLASSIFICATION
from muster.tasks.segmentation import SEGMENTATION
from muster.tasks.task import Task


def task_of_network(model: SourceModel) -> Task:
    """The task of a network whose scores are read by softmax.

    Args:
        model: With its own classifier, or a backbone, which has none yet and can get a decoder.

    Returns:
        Classification for one that scores whole images, segmentation for others.
    """
    return CLASSIFICATION if isinstance(model, Pooled) else SEGMENTATION
