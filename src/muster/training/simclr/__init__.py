"""SimCLR: pre-training on images without labels, by telling two views of an image from those of all others.

Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020,
https://arxiv.org/abs/2002.05709; A22 3.1 starts half of its pool from such weights.
"""

from __future__ import annotations

from muster.training.pretraining_record import PretrainingRecord, read_pretraining
from muster.training.simclr.pretraining import pretrain_simclr
from muster.training.simclr.settings import SimCLRSettings

__all__ = ["PretrainingRecord", "SimCLRSettings", "pretrain_simclr", "read_pretraining"]
