"""The card of a model that others trained."""

from __future__ import annotations

from muster.models.adoption import Adopted
from muster.pool.card import Card, software_versions
from muster.tasks.adopted import task_of_network


def card_of_adopted(adopted: Adopted, name: str, dataset: str = "", domain: str = "", task: str = "") -> Card:
    """What is known of a model that others trained, from the model itself.

    Args:
        adopted: What its source made of it.
        name: The member's name.
        dataset: Name of the dataset that it was trained on; empty if nobody said.
        domain: Its visual domain, likewise.
        task: Name of the task that it was trained for, if somebody said it.

    Returns:
        A card without a checksum: the weights need not lie in a file.

    Raises:
        ConfigError: If the task is none of such a network.
    """
    model, own = adopted.model, adopted.model.preprocessing
    return Card(
        name=name,
        dataset=dataset,
        domain=domain,
        classes=adopted.classes,
        task=task_of_network(model, task or adopted.task).name,
        seen_datasets=(dataset,) if dataset else (),
        architecture=model.architecture,
        pretraining=adopted.pretraining,
        mean=own.statistics.mean if own else (0.0, 0.0, 0.0),
        std=own.statistics.std if own else (1.0, 1.0, 1.0),
        parameters=model.num_parameters,
        depth=model.depth,
        versions=software_versions(),
        checksum="",
        image_size=None if own is None or own.size is None else own.size.setting,
        blueprint=model.blueprint,
        started_from=model.started_from,
        weights_licence=adopted.licence,
        preprocessing=own,
    )
