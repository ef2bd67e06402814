"""Experiments that compare what metrics predict with what fine-tuning reaches."""

from __future__ import annotations

from muster.study.finetuned_candidates import StudyResult, run_study

__all__ = ["StudyResult", "run_study"]
