"""No pre-training: seeded random weights."""

from __future__ import annotations

from muster.models.pretraining.scheme import SCHEMES, Scheme


class NoPretraining(Scheme):
    """``none``."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Scheme.names`."""
        return ("none",)


SCHEMES.add("none", NoPretraining())
