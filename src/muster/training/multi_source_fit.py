"""A fit of one body with a head for each of several datasets: each batch is of one of them, in turn.

Axis names: as in :mod:`muster.training.modules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from muster.data import (
    CropViews,
    ExampleStream,
    InterleavedStream,
    Views,
    preload,
    source_of_step,
    view_for,
)
from muster.models import ImageMap, SourceHeads, SourceModel, source_heads
from muster.tasks.tallied_metric import TalliedMetric
from muster.tasks.task import tally_is_empty, task_of
from muster.training.fit_data import FitData, weights_of
from muster.training.frozen import FrozenBatch
from muster.training.modules import HISTORY_EVERY, EnsembleTraining, nothing_of
from muster.training.settings import SourceSettings
from muster.training.source_images import SourceImages


class InterleavedData(FitData):
    """Random crops of the training images of several datasets, each batch of one of them; each has its own statistics.

    Attributes:
        sources: The datasets, in order.
    """

    def __init__(self, sources: Sequence[SourceImages], settings: SourceSettings, num_workers: int = 0) -> None:
        """Keep what the loaders are made of.

        Args:
            sources: At least one.
            settings: Crops, batches and steps.
            num_workers: Processes that read and augment.
        """
        first = sources[0]
        super().__init__(first.train, first.preprocessing, settings, num_workers, first.held, settings.validate_every)
        self.sources = tuple(sources)

    def stream(self) -> ExampleStream:
        """See :meth:`FitData.stream`."""
        chosen, task = self.settings, task_of(self.train.spec)
        draws = [
            self._crops_of(source.preprocessing)
            .transform(chosen.scale_range, chosen.colour_jitter, task.truth_cut(source.train.spec))
            .draw
            for source in self.sources
        ]
        trains = [source.train for source in self.sources]
        return InterleavedStream(trains, draws, chosen.steps, chosen.batch_size, chosen.seed)

    def preload(self) -> None:
        """See :meth:`FitData.preload`."""
        for source in self.sources:
            preload(source.train)

    def class_weights(self, num_classes: int) -> Tensor | None:  # noqa: ARG002 (each source has its own)
        """See :meth:`FitData.class_weights`; those of one source after the other."""
        parts = [weights_of(source.train, source.train.spec.num_classes, self.settings) for source in self.sources]
        return torch.cat([part for part in parts if part is not None]) if None not in parts else None

    def _crops(self) -> CropViews:
        """Of the dataset whose turn it is."""
        assert self.trainer is not None  # asked for each batch of a fit
        turn = source_of_step(self.trainer.global_step, len(self.sources))
        return self._crops_of(self.sources[turn].preprocessing)

    def val_dataloader(self) -> list[DataLoader[tuple[Views, Tensor]]]:
        """One loader for each dataset, see :meth:`FitData.val_dataloader`."""
        trainer = self.trainer
        if trainer is None:
            return []
        return [
            self.validation_loader(source.held, source.preprocessing, trainer)
            for source in self.sources
            if source.held is not None
        ]


class MultiSourceTraining(EnsembleTraining):
    """One body with several heads: a step trains the body and the head of the dataset whose turn it is.

    The other heads stay as they are in that step, momentum and weight decay included, so each is trained as it would
    be by its own steps alone.

    Attributes:
        sources: Names of the datasets, in the order of the heads.

    Source:
        Mensink et al., Factors of Influence, 2021, section 5.1: a common backbone, a head for each dataset, batches of
        one dataset each, and each head classifies the images of its own dataset only.
    """

    def __init__(self, settings: SourceSettings, name: str, model: SourceModel, sources: Sequence[str]) -> None:
        """Take a model as it is.

        Args:
            settings: How to train.
            name: Name of the member.
            model: With a head for each source.
            sources: See the class.
        """
        super().__init__(settings, model.num_classes, (name,), (model,))
        self.sources = tuple(sources)

    @property
    def model(self) -> SourceModel:
        """The one member."""
        return self.models[self.names[0]]

    @property
    def heads(self) -> SourceHeads:
        """Its heads."""
        return source_heads(self.model)

    @property
    def turn(self) -> int:
        """Place of the dataset that the step at hand is for."""
        return source_of_step(self.global_step, len(self.sources))

    def _scores_of(self, name: str, member: SourceModel, images: Views | FrozenBatch) -> ImageMap:
        assert not isinstance(images, FrozenBatch)  # a source model learns everything
        view = view_for(images, member.preprocessing)
        features = self._compiled_of(name, member.features)(view)
        return ImageMap(self.heads.scores_of(self.turn, features), member.part_of(view))

    def _loss_of(self, maps: ImageMap, masks: Tensor) -> Tensor:
        loss, idle = super()._loss_of(maps, masks), self._idle_heads()
        return loss + torch.stack([nothing_of(head) for head in idle]).sum() if idle else loss

    def _class_weights_now(self) -> Tensor | None:
        if self.class_weights is None:
            return None
        weights: Tensor = self.class_weights.split(self.heads.classes)[self.turn]  # type: ignore[no-untyped-call]
        return weights

    def _idle_heads(self) -> list[nn.Module]:
        return [head for place, head in enumerate(self.heads.heads) if place != self.turn]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave the heads of other datasets as they are: a gradient of 0 would let momentum move them on."""
        for head in self._idle_heads():
            for parameter in head.parameters():
                parameter.grad = None
        super().on_before_optimizer_step(optimizer)

    def _is_noted(self, step: int) -> bool:
        """Whole rounds, so that each dataset has its points."""
        rounds = max(1, round(HISTORY_EVERY / len(self.sources)))
        return (step // len(self.sources)) % rounds == 0 or step + 1 == self.last_step

    def _curve(self, name: str) -> str:
        return f"loss/{name}/{self.sources[self.turn]}"

    def on_validation_start(self) -> None:
        """Begin the tallies anew, one for each dataset."""
        self._tallies = nn.ModuleList(TalliedMetric(self.of_task, count) for count in self.heads.classes).to(
            self.device
        )

    def validation_step(
        self,
        batch: tuple[Views, Tensor],
        batch_idx: int = 0,  # noqa: ARG002 (a hook's)
        dataloader_idx: int = 0,
    ) -> None:
        """Count on one whole image of one dataset, with its head."""
        images, masks = batch
        view = view_for(images, self.model.preprocessing)
        task, scores = self.of_task, self.heads.scores_of(dataloader_idx, self.model.features(view))
        predictions = task.predictions(scores, task.places_of(masks), self.model.part_of(view))
        cast("TalliedMetric", self._tallies[dataloader_idx]).update(predictions, masks)

    def on_validation_epoch_end(self) -> None:
        """Add a point to the validation curve of each dataset, and their mean."""
        tallies = [cast("TalliedMetric", metric).whole() for metric in self._tallies]
        self._tallies = nn.ModuleList()
        (name,), task = self.names, self.of_task
        values = {
            f"{task.key}/{name}/{source}": task.result_of(tally)
            for source, tally in zip(self.sources, tallies, strict=True)
            if not tally_is_empty(tally)
        }
        if values:
            values[f"{task.key}/{name}"] = sum(values.values()) / len(values)
        if not self.trainer.sanity_checking:
            self._log({"step": float(self.global_step), **values})
