"""One file for each pre-training scheme: where weights come from; see :mod:`muster.models.pretraining.scheme`."""

from __future__ import annotations

from muster.models.pretraining.scheme import SCHEMES, Scheme, StartedBody, list_pretrainings, scheme_of

__all__ = ["SCHEMES", "Scheme", "StartedBody", "list_pretrainings", "scheme_of"]
