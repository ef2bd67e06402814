"""What is read of a member, if it gives numbers that scores can be made of."""

from __future__ import annotations

from collections.abc import Collection

import torch

from muster.errors import PoolError, UnfitMemberError
from muster.pool import Member
from muster.probe import ProbeCache, ProbeReader, Reading, member_probabilities, member_reading
from muster.selection.guessing import is_constant
from muster.selection.metric_inputs import NEED_READING, has_source_classes
from muster.selection.predictors import PredictorName
from muster.tasks.task import task_of

_DEAD = "it predicts the same at every probe {unit} (are its weights all zero, or its features constant?)"


def sound_reading(
    member: Member, reader: ProbeReader, cache: ProbeCache | None, needs: Collection[str], predictor: PredictorName
) -> Reading:
    """Run a member, or look its reading up; only as much as is needed.

    Args:
        member: The member.
        reader: Knows the probe set.
        cache: Where predictions are kept, if anywhere.
        needs: What metrics and the predictor ask for, by the names of :attr:`muster.metrics.Metric.needs`.
        predictor: What its predictions are made by.

    Returns:
        The reading, finite.

    Raises:
        UnfitMemberError: If it cannot take such images, or gives no numbers, or the same ones everywhere.
        PoolError: If its weights are missing or damaged, or it cannot be run.
    """
    try:
        if NEED_READING.intersection(needs):
            reading = member_reading(member, reader, cache, stages="target_layers" in needs)
        else:
            reading = Reading.of_probabilities(member_probabilities(member, reader, cache))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # in one of many processes, perhaps: so it is not left out, as the others have it
        raise PoolError(f"Member {member.name!r} cannot be run on the target's {reader.spec.holds}: {error}") from error
    if not all(torch.isfinite(values).all() for values in (reading.probabilities, reading.features)):
        raise UnfitMemberError(f"its predictions on the target's {reader.spec.holds} are not finite (NaN)")
    # Features may tell images apart where a head of zeros does not.
    translated = predictor == "eep" and has_source_classes(member)
    if is_constant(reading.features) or (translated and is_constant(reading.probabilities)):
        raise UnfitMemberError(_DEAD.format(unit=task_of(reader.spec).unit))
    return reading
