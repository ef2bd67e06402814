"""Which training settings change nothing beside the others."""

from __future__ import annotations

from muster.data.spec import TEXTS
from muster.tasks.loss import LOSSES
from muster.training.settings import ComparisonSettings, HeadSettings, SourceSettings, TrainingSettings


def idle_settings(
    training: TrainingSettings, head: HeadSettings | None = None, comparison: ComparisonSettings | None = None
) -> dict[str, str]:
    """Settings that change nothing beside the others, as options are spelt, and why.

    Args:
        training: How members are trained.
        head: How their head is learned, if there is one.
        comparison: What else is compared, if anything can be.

    Returns:
        By name of the option, the end of the sentence "it has no effect ...".
    """
    idle = _beside_lists(training)
    watches, is_source = training.schedule == "plateau", isinstance(training, SourceSettings)
    if not watches:
        idle["training.patience"] = f"with --training.schedule {training.schedule}"
        idle |= {} if is_source else {"training.validate_every": f"with --training.schedule {training.schedule}"}
    holds_out = training.tried_rates or (watches and not is_source) or (comparison is not None and comparison.holds_out)
    if not holds_out:
        other = "" if comparison is None else ", --confirm or --equal_cost"
        idle["training.held_out_fraction"] = f"without --training.learning_rates or --training.tried_stops{other}"
    if training.optimizer != "sgd":
        idle["training.momentum"] = f"with --training.optimizer {training.optimizer}"
    if training.adapt != "lora":
        idle["training.lora_rank"] = f"with --training.adapt {training.adapt}"
    if training.adapt == "frozen":
        of_crops = ("crop_size", "scale_range", "colour_jitter", "layer_decay")
        idle |= {f"training.{name}": "with --training.adapt frozen, which reads whole images" for name in of_crops}
    if training.added_loss == "none":
        idle["training.added_loss_weight"] = "without --training.added_loss"
    if not LOSSES[training.loss].takes_options:
        entropy = f"with --training.loss {training.loss}, which is no cross-entropy"
        idle |= dict.fromkeys(("training.label_smoothing", "training.class_weighting"), entropy)
    if head is not None:
        of_the_other = {
            "lbfgs": ("learning_rate", "momentum", "schedule", "batch_size"),
            "sgd": ("pixels_per_image",),
        }
        idle |= {f"head.{name}": f"with --head.optimizer {head.optimizer}" for name in of_the_other[head.optimizer]}
    return idle


OF_IMAGES = ("training.crop_size", "training.scale_range", "training.colour_jitter", "tta.flip", "tta.scales")
"""Options that are about the looks of an image."""


def idle_for(holds: str) -> dict[str, str]:
    """Settings that change nothing for what a dataset holds, as :func:`idle_settings` gives them.

    Args:
        holds: Images or texts, as :attr:`muster.data.DatasetSpec.holds` says it.
    """
    return dict.fromkeys(OF_IMAGES, "on texts, which are neither cut nor mirrored") if holds == TEXTS else {}


def _beside_lists(training: TrainingSettings) -> dict[str, str]:
    """Single values beside lists of what is tried, and what another schedule does not look at."""
    idle = {}
    if training.learning_rates:
        idle["training.learning_rate"] = (
            "beside --training.learning_rates, which says what is tried; for one rate give a list of one"
        )
    if isinstance(training, SourceSettings) and training.step_counts:
        idle["training.steps"] = "beside --training.step_counts, which says what is tried"
    if training.schedule != "step":
        idle["training.decay_after"] = f"with --training.schedule {training.schedule}"
    return idle
