"""A callback that tells how far a fit is, how long it took in all, and where it went on after an interruption."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

Progress = Callable[[int, float], None]
"""Called with the number of steps done and the latest loss."""


class Clock(Callback):
    """Tells about once a second how far training is, and adds up the time it took over interruptions."""

    def __init__(self, progress: Progress) -> None:
        """Start the clock."""
        self.progress = progress
        self.steps_before = 0  # of fits that came before this one
        self.told = 0.0
        self.before = 0.0
        self.started = time.monotonic()
        self.resumed_at_steps: tuple[int, ...] = ()  # of this fit alone
        self._resumes = False
        self._begun = False

    @property
    def seconds(self) -> float:
        """Time spent training so far, that before an interruption included."""
        return self.before + time.monotonic() - self.started

    def begin_fit(self, steps_before: int) -> None:
        """Get ready for the next of several fits: the time goes on, and interruptions are counted anew.

        Args:
            steps_before: Steps of all fits that came before.
        """
        self.steps_before = steps_before
        self.resumed_at_steps = ()
        self._resumes = False  # the fit before may have been done already, and then nothing asked

    def state_dict(self) -> dict[str, Any]:
        """The time so far and the interruptions of this fit, for the checkpoint."""
        return {"seconds": self.seconds, "resumed_at_steps": list(self.resumed_at_steps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the time in the checkpoint."""
        self.before = float(state_dict["seconds"])
        self.started = time.monotonic()
        self.resumed_at_steps = tuple(state_dict.get("resumed_at_steps", ()))  # older checkpoints do not say
        self._resumes = True

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 (the hook's)
        """Leave out of the time what came before the first fit, such as the choice of its members."""
        if not self._begun and not self._resumes:
            self.started = time.monotonic()
        self._begun = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 (the hook's)
        """Note where a fit goes on; one that was done already does not come here."""
        if self._resumes:
            self.resumed_at_steps = (*self.resumed_at_steps, trainer.global_step)
            self._resumes = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002 (all of these are the hook's)
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Tell, unless that was done within the last second."""
        now = time.monotonic()
        if trainer.is_global_zero and (now - self.told > 1 or trainer.global_step == trainer.max_steps):
            self.told = now
            self.progress(self.steps_before + trainer.global_step, float(outputs["loss"]))
