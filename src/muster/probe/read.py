"""A member's predictions at the probe pixels, without ever making a score map of the image's size.

Axis names: ``pixels`` the probe pixels, ``source_classes`` the member's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float32
from torch import Tensor

from muster.data import DatasetSpec, Preprocessing, Split
from muster.machine import free_bytes
from muster.models import SourceModel
from muster.models.padding import spatial_mean
from muster.models.pooled import Pooled
from muster.models.prediction import probabilities_of
from muster.precision import forward_precision, resolve_precision
from muster.probe.interpolation import read_batch
from muster.probe.pixels import ProbeSet
from muster.probe.prepared import KeptBytes, PreparedProbe
from muster.probe.reading import Reading, RowBuffer
from muster.tasks.task import task_of

_READING_PART = 0.5
"""Part of a GPU's free memory that what is read from one member may take."""

_BLANK_SIDE = 64
"""Side of the blank image on which a network that takes images of any size is asked how wide its stages are."""


@dataclass(frozen=True)
class Elsewhere:
    """Where members run, if that is not in the process that asks for what they predict.

    Attributes:
        device: Kind of device.
        label: The same for people.
        precision: Of the forward passes; never ``auto``.
    """

    device: str
    label: str
    precision: str


class ProbeReader:
    """Runs one member after the other over the probe images.

    Images of equal prepared size share a batch, wherever they are in the split. In a distributed run whole batches are
    dealt out: a batch then holds the same images whatever the number of processes, and the numbers are the same too.

    Everything happens on one device: images are sent to it as bytes and are prepared there once for all members that
    want them alike, and what is read stays there, unless it takes more than half of the memory that is free.

    Attributes:
        probe: The probe set.
        preprocessing: How images are shown to members without a preprocessing of their own.
        device: Where members run, and where what was read of them is put.
        precision: In which precision, see :data:`muster.precision.Precision`; never ``auto``.
        elsewhere: Where members run, if not here: their predictions are looked up under that kind of device.
    """

    def __init__(
        self,
        split: Split,
        probe: ProbeSet,
        preprocessing: Preprocessing,
        device: torch.device | str = "cpu",
        batch_size: int = 16,
        num_workers: int = 0,
        precision: str = "auto",
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Keep what batches are planned from; nothing is read yet.

        Args:
            split: The images that the probe set was drawn from.
            probe: See the class.
            preprocessing: See the class.
            device: See the class.
            batch_size: Most images at a time.
            num_workers: Processes that read ahead.
            precision: ``auto`` is bf16-mixed on a GPU that has it, and 32-true elsewhere. Probabilities are computed in
                float32 whatever it is.
            elsewhere: See the class; its precision goes before.

        Raises:
            ConfigError: If there is no such precision.
        """
        self.probe, self.preprocessing, self.elsewhere = probe, preprocessing, elsewhere
        self.device = torch.device(device)
        self.precision = resolve_precision(precision, self.device) if elsewhere is None else elsewhere.precision
        self._split, self._batch_size, self._num_workers = split, batch_size, num_workers
        self._kept_bytes = KeptBytes()
        self._prepared: dict[Preprocessing, PreparedProbe] = {}

    @property
    def spec(self) -> DatasetSpec:
        """Of the images that are read, as a selection sees them."""
        return self._split.spec

    @property
    def made_on(self) -> str:
        """Kind of the device that predictions are made on."""
        return self.device.type if self.elsewhere is None else self.elsewhere.device

    def prepared_for(self, own: Preprocessing | None) -> PreparedProbe:
        """The probe images as a member sees them.

        Args:
            own: Its own preprocessing, if it has one.

        Returns:
            The same object for all that want them alike.
        """
        wanted = self.preprocessing.seen_by(own)
        if wanted not in self._prepared:
            self._prepared[wanted] = PreparedProbe(
                self._split, self.probe, wanted, self.device, self._batch_size, self._num_workers, self._kept_bytes
            )
        return self._prepared[wanted]

    def of_images(self, images: Sequence[int]) -> ProbeReader:
        """A reader of some of the images alone, which shows them alike.

        Args:
            images: Ascending places in the split, of images that have probe pixels.
        """
        split = replace(self._split, identifiers=tuple(self._split.identifiers[image] for image in images))
        return ProbeReader(
            split, self.probe.of_images(images), self.preprocessing, self.device, self._batch_size, self._num_workers,
            self.precision, self.elsewhere,
        )  # fmt: skip

    def read(
        self,
        model: SourceModel,
        progress: Callable[[int, int], None] | None = None,
        of: str = "",  # noqa: ARG002 (for readers that know a part)
    ) -> Float32[Tensor, "pixels source_classes"]:
        """A model's predictions at the probe pixels.

        Args:
            model: In evaluation mode, on :attr:`device`. Its weights are laid out anew in memory (channels last).
            progress: Called after each batch of this process with how many are done and how many there are.
            of: Name of the model, for readers that may know a part of what it makes of the images.

        Returns:
            Probabilities, the same on every rank. Not checked: a broken model gives NaN.
        """
        return self._read(model, progress, features=False, stages=False).probabilities

    def read_all(
        self,
        model: SourceModel,
        progress: Callable[[int, int], None] | None = None,
        stages: bool = True,
        of: str = "",  # noqa: ARG002 (for readers that know a part)
    ) -> Reading:
        """A model's predictions at the probe pixels, and the features behind them.

        Args:
            model: As for :meth:`read`.
            progress: As for :meth:`read`.
            stages: Whether what each stage makes of an image is wanted too; it takes a few percent of the time.
            of: As for :meth:`read`.

        Returns:
            The reading, the same on every rank. Not checked: a broken model gives NaN.
        """
        return self._read(model, progress, features=True, stages=stages)

    @torch.no_grad()
    def _read(
        self, model: SourceModel, progress: Callable[[int, int], None] | None, features: bool, stages: bool
    ) -> Reading:
        if task_of(self._split.spec).is_pooled and not isinstance(model, Pooled):
            raise ValueError("Expected a model with one prediction for a whole image; Member.used_for makes it so.")
        # Convolutions take a tenth to a third less time so, and a pixel's channels lie together for the interpolation.
        model.to(memory_format=torch.channels_last)
        with forward_precision(self.precision, self.device):
            shown = self.prepared_for(model.preprocessing)
            arrays = self._arrays(model, shown, features, stages)
            for done, batch in enumerate(shown):
                part = model.part_of(batch.images)
                scores, maps, embeddings = model.read(batch.images, stages)
                arrays.probabilities.put(batch.places.into, read_batch(probabilities_of(scores), batch.places, part))
                if features:
                    arrays.features.put(batch.places.into, read_batch(maps, batch.places, part))
                    arrays.image_features.put(batch.rows, spatial_mean(maps, part))
                for stage, embedding in zip(arrays.stages, embeddings, strict=True):
                    stage.put(batch.rows, embedding)
                if progress is not None:
                    progress(done + 1, len(shown.share))
        return arrays.whole().summed_over_ranks(self.device)

    def _arrays(self, model: SourceModel, shown: PreparedProbe, features: bool, stages: bool) -> _Arrays:
        """Zeros, to which every rank adds its share."""
        widths: list[int] = []
        if stages:  # asked of the network itself: a rank without a batch has to know too
            # What comes out is as wide for any size, but a network from elsewhere may take one size only.
            rows, columns = (_BLANK_SIDE, _BLANK_SIDE) if model.preprocessing is None else shown.shape
            blank = model.blank_images(1, rows, columns)
            widths = [stage.shape[1] for stage in model.features_and_embeddings(blank)[1]]
        pixels, images = (len(self.probe), len(self.probe.images)) if features else (len(self.probe), 0)
        dimensions = model.feature_channels if features else 0
        needed = len(self.probe) * (model.num_classes + dimensions) * torch.float32.itemsize
        fits = needed <= _READING_PART * free_bytes(self.device)
        device = self.device if fits else torch.device("cpu")
        return _Arrays(
            RowBuffer(pixels, model.num_classes, device),
            RowBuffer(pixels if features else 0, dimensions, device),
            RowBuffer(images, dimensions, device),
            [RowBuffer(images, width, device) for width in widths],
        )


@dataclass(frozen=True, eq=False)
class _Arrays:
    """Those of a :class:`Reading` while they are filled."""

    probabilities: RowBuffer
    features: RowBuffer
    image_features: RowBuffer
    stages: list[RowBuffer]

    def whole(self) -> Reading:
        return Reading(
            self.probabilities.whole(),
            self.features.whole(),
            self.image_features.whole(),
            tuple(stage.whole() for stage in self.stages),
        )
