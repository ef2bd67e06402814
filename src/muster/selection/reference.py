"""What RSA and DDS compare with: features of a model of the target, given, found in the pool, or trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from muster.data import Dataset, Preprocessing, Split
from muster.errors import SelectionError
from muster.metrics import MetricSpec
from muster.models import SourceModel
from muster.pool import Member, Pool, TargetContent, reason_seen, without_exported
from muster.probe import ProbeCache, ProbeReader, member_reading
from muster.tasks.task import seen_spec, task_of

if TYPE_CHECKING:
    from muster.selection.member_scoring import Progress

TRAIN = "train"
"""What stands for a reference that is trained on the probe images."""


@dataclass(frozen=True)
class Reference:
    """A model of the target.

    Attributes:
        member: The model; or the member whose network is trained on the target.
        is_trained: Whether it is trained for this selection.
    """

    member: Member
    is_trained: bool = False

    @property
    def recorded(self) -> str:
        """What a selection's record says of it."""
        if self.is_trained:
            return f"{TRAIN}: {self.member.card.architecture}"
        return str(self.member.folder.resolve())

    def features(
        self,
        reader: ProbeReader,
        train: Split,
        cache: ProbeCache | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Float[Tensor, "images dimensions"]:
        """Its features of the probe images.

        Args:
            reader: Knows the images.
            train: What it is trained on, if it is trained: the target's images with truths of its own task.
            cache: Where it is kept then.
            seed: Of that training.
            progress: Told how far it is.

        Returns:
            Spatial means of its last map, on the reader's device.
        """
        if not self.is_trained:
            return member_reading(self.member, reader, stages=False).image_features
        network = self.trained_on(train, reader.preprocessing, reader.device, reader.precision, cache, seed, progress)
        return reader.read_all(network, stages=False).image_features

    def trained_on(
        self,
        train: Split,
        preprocessing: Preprocessing,
        device: torch.device,
        precision: str,
        cache: ProbeCache | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> SourceModel:
        """The member's network, trained on the target, as a selection looks at it.

        See :func:`muster.training.reference.reference_model`.

        Args:
            train: The images.
            preprocessing: How they are shown.
            device: Where it is trained, and then lies.
            precision: Of the training.
            cache: Where it is kept.
            seed: Of the training.
            progress: Told how far that is.
        """
        from muster.training.hardware import Hardware  # here, as few selections train anything
        from muster.training.reference import reference_model, steps_for

        steps = steps_for(len(train))

        def tell(done: int, loss: float) -> None:  # noqa: ARG001 (nobody looks at it)
            if progress is not None:
                progress("training the reference model", done, steps)

        hardware = Hardware(device.type, precision=precision, num_workers=0)  # type: ignore[arg-type]  # names of these
        trained = reference_model(self.member, train, preprocessing, hardware, seed, cache, tell)
        return task_of(seen_spec(train.spec)).fitted(trained).to(device)


def trained_from(members: Sequence[Member]) -> Reference:
    """A reference that is trained on the target, with a network of the candidates.

    Args:
        members: The candidates, used for the target.

    Raises:
        SelectionError: If none of them can be trained.
    """
    from muster.training.reference import starting_member

    trainable, _ = without_exported(members, {}, "")
    if not trainable:
        raise SelectionError("reference: no candidate has a network that can be trained. Give the folder of a member.")
    return Reference(starting_member(trainable), is_trained=True)


def find_reference(
    given: Literal["train"] | Path | None,
    pool: Pool,
    members: Sequence[Member],
    target: Dataset,
    specs: Sequence[MetricSpec],
) -> Reference | None:
    """The model of the target that some metric compares with, if any does.

    Args:
        given: The folder of a member, or :data:`TRAIN`; ``None`` takes the best such member of the pool.
        pool: Where to look.
        members: The candidates.
        target: The target.
        specs: The metrics.

    Raises:
        SelectionError: If there is none, or the one that is given was trained on something else.
    """
    asking = [spec.name for spec in specs if "reference" in spec.needs]
    if not asking:
        return None
    if str(given) == TRAIN:
        return trained_from(members)
    content = TargetContent(target)
    if given is not None:
        member = Member.open(Path(given)).used_for(seen_spec(target.spec))
        if reason_seen(member.card, content) is None:
            raise SelectionError(f"reference: {given} was trained on {member.card.dataset}, not {target.spec.name}.")
        return Reference(member)
    trained = [member for member in pool if reason_seen(member.card, content) is not None]
    if not trained:
        raise SelectionError(
            f"{', '.join(asking)} compare with a model trained on the target, and the pool {pool.folder} has none for "
            f"{target.spec.name}. Have one trained on the probe images with --reference train, name the folder of one "
            "with --reference, or leave these metrics out; parc compares with the labels instead."
        )
    return Reference(max(trained, key=lambda member: member.card.test_result or 0.0))
