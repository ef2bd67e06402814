"""Cells of a study: a target with one choice of its training images, the same for every process that works on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from muster.data import (
    ChannelStatistics,
    Dataset,
    ImageSize,
    Preprocessing,
    Split,
    cached,
    open_dataset,
    require_usable,
    usual_preprocessing,
)
from muster.errors import ConfigError
from muster.files import as_file_name
from muster.pool import Card, Member, Pool, without_exported
from muster.records import read_record, write_record
from muster.selection.probing import resolve_train_images, usual_image_size
from muster.selection.reopening import portable_reference
from muster.study.settings import StudySettings
from muster.study.tables import MULTI_SOURCE, PRE_TRAINING, SINGLE_SOURCE
from muster.tasks.task import choose_images, in_classes
from muster.training.target_data import TargetData

FORMAT_VERSION = 1

MOST_VALIDATION = 0.2
"""Largest share of the training images that is set aside to compare fine-tuned ensembles on."""

_VALIDATION_SEED = 101
"""Of the images set aside: the same for all subsets, so that they are compared on the same images."""


@dataclass(frozen=True)
class Cell:
    """A target, how many labels it has, and which of its images these are.

    Attributes:
        target: Name of the target.
        reference: What :func:`muster.data.open_dataset` opens.
        data_root: The folder that ``reference`` is relative to; empty if it is not relative.
        regime: Name of the regime.
        subset_seed: Seed of the choice of images.
        train_images: Identifiers of the training images that are used.
        validation_images: Of those set aside, see :attr:`StudySettings.validation_images`.
        mean: Channel means of the training images, of pixels scaled to 0..1.
        std: Channel standard deviations, likewise.
        image_size: Size at which members see the images, as :meth:`muster.data.ImageSize.of` reads it.
    """

    target: str
    reference: str
    data_root: str
    regime: str
    subset_seed: int
    train_images: tuple[str, ...]
    validation_images: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int | str

    @property
    def name(self) -> str:
        """Names its folder."""
        return as_file_name(f"{self.target}-{self.regime}-{self.subset_seed}")

    @property
    def keys(self) -> dict[str, str | int]:
        """What tables know it by."""
        return {"target": self.target, "regime": self.regime, "subset_seed": self.subset_seed}

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are shown to members without a preprocessing of their own."""
        return Preprocessing(ChannelStatistics(self.mean, self.std), ImageSize.of(self.image_size))

    def open(self) -> CellData:
        """Open the target.

        Raises:
            DatasetError: If it cannot be opened.
            ConfigError: If it has not the images of the cell any more.
        """
        root = Path(self.data_root) if self.data_root else None
        dataset = open_dataset(self.reference, root)
        if gone := sorted({*self.train_images, *self.validation_images} - set(dataset.train.identifiers)):
            raise ConfigError(
                f"The study was begun with {len(gone)} training images of {self.target} that are gone now: "
                f"{', '.join(gone[:5])}. Put them back, or give another --output."
            )
        train = cached(replace(dataset.train, identifiers=self.train_images))
        validation = replace(dataset.train, identifiers=self.validation_images)
        return CellData(self, TargetData(dataset, train, self.preprocessing), validation)

    def write(self, path: Path) -> None:
        """Keep it for the processes that work on it."""
        write_record(path, self, FORMAT_VERSION)

    @staticmethod
    def read(path: Path) -> Cell:
        """Read what :meth:`write` kept.

        Raises:
            ConfigError: If it cannot be read.
        """
        return read_record(path, Cell, FORMAT_VERSION, ConfigError)


@dataclass(frozen=True)
class CellData:
    """A cell with its images.

    Attributes:
        cell: What it is.
        target: The target as fine-tuning sees it.
        validation: The images set aside.
    """

    cell: Cell
    target: TargetData
    validation: Split


def make_cells(
    dataset: Dataset, members: Sequence[Member], settings: StudySettings, data_root: Path | None
) -> Iterator[Cell]:
    """The cells of one target: a regime and a seed of the subset each.

    Args:
        dataset: The target.
        members: Its candidates: their cards say at which size images are seen by default.
        settings: Those of the study.
        data_root: Below which the target was looked for.

    Yields:
        Regime by regime.

    Raises:
        DatasetError: If a choice of images has no labelled pixel.
    """
    reference, root = portable_reference(dataset.reference, data_root)
    require_usable(in_classes(dataset.test))
    validation, rest = _set_aside(dataset.train, settings.validation_images)
    size = settings.image_size or usual_image_size(members)
    for regime in settings.all_regimes:
        count = resolve_train_images(regime.train_images, dataset.spec.probe_images)
        for seed in settings.subset_seeds:
            train = choose_images(rest, count, seed)
            require_usable(in_classes(train))
            shown = usual_preprocessing(train, size)
            yield Cell(
                target=dataset.spec.name,
                reference=reference,
                data_root=root,
                regime=regime.name,
                subset_seed=seed,
                train_images=train.identifiers,
                validation_images=validation.identifiers,
                mean=shown.statistics.mean,
                std=shown.statistics.std,
                image_size=shown.known_size.setting,
            )


def _set_aside(train: Split, wanted: int) -> tuple[Split, Split]:
    """Some images, and the others."""
    count = min(wanted, int(MOST_VALIDATION * len(train)))
    if count == 0:
        return replace(train, identifiers=()), train
    rest, held = train.hold_out(count / len(train), _VALIDATION_SEED)
    return held, rest


def candidates_for(pool: Pool, dataset: Dataset) -> tuple[tuple[Member, ...], dict[str, str]]:
    """Members of a pool that can be fine-tuned on a target that they never saw.

    Args:
        pool: All members.
        dataset: The target.

    Returns:
        They, and for every other member the reason why it is none.
    """
    return without_exported(*pool.used_for(dataset.spec).eligible_for(dataset))


def kind_of(card: Card) -> str:
    """What a member was trained on: never to segment, on several datasets, or on one; as tables call it."""
    if not card.classes:
        return PRE_TRAINING
    return MULTI_SOURCE if card.sources else SINGLE_SOURCE
