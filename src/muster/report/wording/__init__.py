"""Words: every sentence of a report or a summary, made from the numbers of a selection or a fine-tuning.

Nothing here decides anything, and nothing elsewhere reads these sentences. ``selection`` says how a choice came about
and how far it can be trusted, ``track_record`` how such choices fared in studies, ``warnings`` why not to trust it,
``hard_subsets`` what HASTE looked at, ``prefilter`` which members were not looked at in full, ``foreseen_heads`` what
heads would change, ``confirmation`` what brief fine-tuning made of the choice, and ``finetuning`` what stands beside a
result.
"""

from __future__ import annotations

from muster.report.wording.foreseen_heads import foreseen_heads_sentence
from muster.report.wording.hard_subsets import hard_label
from muster.report.wording.prefilter import prefilter_sentence
from muster.report.wording.selection import (
    choice_line,
    choice_sentence,
    confidence_sentence,
    interruption_line,
    listed_label,
    predictor_label,
    search_sentence,
    size_sentence,
)
from muster.report.wording.track_record import track_record_sentence
from muster.report.wording.warnings import ReportWarning, no_better_than_guessing, warning_of

__all__ = [
    "ReportWarning",
    "choice_line",
    "choice_sentence",
    "confidence_sentence",
    "foreseen_heads_sentence",
    "hard_label",
    "interruption_line",
    "listed_label",
    "no_better_than_guessing",
    "predictor_label",
    "prefilter_sentence",
    "search_sentence",
    "size_sentence",
    "track_record_sentence",
    "warning_of",
]
