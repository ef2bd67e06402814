"""The images of a source that a member is trained on, and how they are shown."""

from __future__ import annotations

from dataclasses import dataclass

from muster.data import Dataset, Preprocessing, Split, cached, require_usable, usual_preprocessing
from muster.tasks.task import choose_images, in_classes
from muster.training.member_job import MemberJob

MOST_KEPT_BYTES = 1 << 30
"""Training images of a member are kept in memory until they fill this much."""


@dataclass(frozen=True)
class SourceImages:
    """The images of one source of a member.

    Attributes:
        dataset: The source.
        train: Training images, those held out left aside.
        held: Those held out for the validation curve, if there are any.
        preprocessing: How they are shown.
    """

    dataset: Dataset
    train: Split
    held: Split | None
    preprocessing: Preprocessing

    @classmethod
    def of(cls, job: MemberJob, dataset: Dataset) -> SourceImages:
        """The images that a member is trained on, after a look at every mask.

        Args:
            job: Says how many of them, which are held out, and what they are normalised with.
            dataset: One of its sources.

        Returns:
            The images; those of all sources share the memory that there is for them.

        Raises:
            DatasetError: If a mask cannot be read, or fewer than two classes have a labelled pixel.
        """
        require_usable(in_classes(dataset.test))
        settings, most = job.settings, MOST_KEPT_BYTES // len(job.sources)
        train, held = cached(choose_images(dataset.train, settings.train_images, settings.seed), most), None
        if settings.validation_fraction > 0:
            train, held = train.hold_out(settings.validation_fraction, settings.seed)
        require_usable(in_classes(train), masks_only=True)
        return cls(dataset, train, held, usual_preprocessing(train, settings.image_size, job.own_statistics()))
