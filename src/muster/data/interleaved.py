"""The order in which training on several datasets sees images: one batch of the first, one of the second, and so on."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from muster.data.spec import Split
from muster.data.stream import ExampleStream, TrainingStream, Transform


def source_of_step(step: int, sources: int) -> int:
    """Which of several datasets a step takes its batch from: each in turn.

    Args:
        step: From 0 on.
        sources: How many datasets there are.

    Returns:
        The place of the dataset.

    Source:
        Mensink et al., Factors of Influence, 2021, section 5.1: "dataset interleaving at the batch level", each batch
        from another dataset. That they come in turn is our reading.
    """
    return step % sources


class InterleavedStream(ExampleStream):
    """All training examples of a fit on several datasets, in order.

    Each dataset has a stream of its own, which goes on where the dataset's turn before ended: an image is seen once
    before any of its dataset is seen again, and a small dataset is seen more often than a large one.

    Attributes:
        streams: One for each dataset.
    """

    def __init__(
        self, splits: Sequence[Split], transforms: Sequence[Transform], steps: int, batch_size: int, seed: int
    ) -> None:
        """See the class.

        Args:
            splits: At least one, each of at least one image.
            transforms: What is done to the images of each.
            steps: At least 1.
            batch_size: At least 1.
            seed: The first dataset has the order and augmentation that it would have by itself with this seed; the
                others go on from there.

        Raises:
            ConfigError: If ``steps`` or ``batch_size`` is not positive.
            DatasetError: If a split is empty.
        """
        turns = -(-steps // len(splits))
        self.streams = [
            TrainingStream(split, transform, turns, batch_size, seed + place)
            for place, (split, transform) in enumerate(zip(splits, transforms, strict=True))
        ]
        self.steps, self.batch_size = steps, batch_size

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """Read and transform the image of one example: what the transform of its dataset makes of it.

        Args:
            index: Number of the example.

        Returns:
            The example.

        Raises:
            IndexError: If there is no such example.
        """
        self.require(index)
        step, place = divmod(index, self.batch_size)
        turn = step // len(self.streams)
        return self.streams[source_of_step(step, len(self.streams))][turn * self.batch_size + place]
