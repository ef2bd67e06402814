"""One file for each pre-training scheme: where weights come from; see :mod:`muster.models.pretraining.scheme`."""

from __future__ import annotations

from muster.models.pretraining.scheme import SCHEMES, Scheme, list_pretrainings, scheme_of, weights_file

__all__ = ["SCHEMES", "Scheme", "list_pretrainings", "scheme_of", "weights_file"]
