"""How a model is trained: the few knobs that source training and fine-tuning share, and those of the ensemble head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from muster.data import ImageSize, SizeSetting
from muster.errors import ConfigError, unknown_name
from muster.limits import MOST_IMAGES, MOST_STEPS, require_real, require_seed, require_whole
from muster.tasks.loss import LOSSES, ClassWeighting

FixedSchedule: TypeAlias = Literal["step", "poly", "cosine", "constant"]
"""How a rate changes with the steps alone."""

Schedule: TypeAlias = Literal[FixedSchedule, "plateau"]

Adapt: TypeAlias = Literal["full", "frozen", "lora"]

Optimizer: TypeAlias = Literal["sgd", "adamw"]

Normalisation = Literal["source", "pretraining"]

HeadOptimizer: TypeAlias = Literal["lbfgs", "sgd"]

HeadKept: TypeAlias = Literal["if_better", "always"]

MOST_RATES = 20
"""Rates to choose from: each costs a fit."""

MOST_RANK = 1024
"""Largest rank of what LoRA adds: no smaller than most layers."""

MOST_STEP_COUNTS = 10
"""Numbers of steps to choose from that each cost a fit."""

MOST_STOPS = 100
"""Numbers of steps to choose from: each costs a look at the held-out images."""

_LARGEST_FACTOR = 100.0
"""Largest factor of the random rescaling: beyond it a training crop is a single stored pixel."""


@dataclass(frozen=True)
class TrainingSettings:
    """Gradient descent on random crops (A22 4.1 and B, M21 4.1 and A.2 as it stands; what is newer is off).

    Attributes:
        steps: Number of optimizer steps.
        batch_size: Images per step, over all devices together.
        learning_rate: Initial rate.
        learning_rates: Rates to choose from instead, for each member by itself: each is tried on the training images
            without those held out, the best on the held-out ones is taken, and with it all training images are
            learned from. A single one is taken as it is, and if there is none, ``learning_rate``.
        tried_stops: At how many evenly spaced steps of a fit on the other images the members are evaluated on those
            held out, to choose for each where its training ends: the last fit, on the same schedule, stops there. 1:
            all steps are done. In a fit of fewer steps than that, at each step.
        held_out_fraction: Share of the training images held out to choose by: a rate, a number of steps, or between
            candidates. The test split is never used.
        schedule: ``step`` divides the rate by 10 after 2/3 of the steps, ``poly`` lets it fall to 0 as (1 - t)^0.9,
            ``cosine`` as (1 + cos(pi t)) / 2, ``constant`` leaves it; ``plateau`` halves it for a member
            whenever its loss on the images held out for that (``held_out_fraction``; of a source
            ``validation_fraction``), which are not trained on, has stopped falling.
        decay_after: Shares of the steps after which ``step`` divides the rate by 10, in ascending order; if none are
            named, 2/3.
        patience: How many looks in a row ``plateau`` lets pass without a smaller loss; the next one halves the rate.
        validate_every: Steps between two looks: for ``plateau``, and of a source for its validation curve.
        optimizer: ``sgd``, or ``adamw``, which spares biases and normalisations its weight decay.
        momentum: The momentum of SGD.
        weight_decay: The weight decay; that of AdamW is decoupled from the gradient.
        warmup_steps: Steps in which the rate rises evenly to the initial one; the schedule spans the rest. A number
            below 1 is a share of the steps.
        layer_decay: The head learns with the rate, each stage before it with this share of the rate of the one after.
        clip_norm: Longest gradient of a member; longer ones are scaled down. Null for no limit.
        ema_decay: Members are evaluated and kept with an exponential moving average of their weights that forgets this
            share less of its past with each step (fewer at the beginning, when there is little of it). Null for the
            weights of the last step.
        loss: ``scores`` brings scores to the size of the mask and takes softmax there; ``probabilities`` takes softmax
            at the model's own resolution and brings probabilities to the size of the mask, as M21 A.2 and evaluation;
            ``dice`` and ``focal`` are meant to be added to one of them.
        added_loss: Name of a loss that is added to it, or none.
        added_loss_weight: What that is multiplied by.
        label_smoothing: Share of each pixel's label that a cross-entropy spreads evenly over all classes.
        class_weighting: Whether a pixel counts in a cross-entropy as any other, or by one over its class's share of the
            training pixels (``inverse``), or by the root of that (``sqrt``).
        crop_size: Side of the square training crops, in pixels, or their rows and columns (512x1024); null takes
            squares of the longer side of the images, or what images are brought to if that is rows and columns.
        scale_range: Least and greatest factor of the random rescaling.
        colour_jitter: Strength of random changes of brightness, contrast, saturation and hue, from 0 (none) to 1.
        checkpoint_every: Steps between two checkpoints, from which an interrupted run goes on.
        adapt: How much of a member is fine-tuned: ``full``; ``frozen``, its new head alone, on features that are
            computed once for each whole image and its mirror image; ``lora``, the head and what peft adds to the
            attention blocks of a transformer.
        lora_rank: Rank of what LoRA adds to a layer.
        seed: The seed of weights, order, augmentation and of which images are held out.
    """

    steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 0.05
    learning_rates: tuple[float, ...] = ()
    tried_stops: int = 1
    held_out_fraction: float = 0.2
    schedule: Schedule = "step"
    decay_after: tuple[float, ...] = ()
    patience: int = 10
    validate_every: int = 100
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_steps: int | float = 0
    layer_decay: float = 1.0
    clip_norm: float | None = None
    ema_decay: float | None = None
    loss: str = "scores"
    added_loss: str = "none"
    added_loss_weight: float = 1.0
    label_smoothing: float = 0.0
    class_weighting: ClassWeighting = "none"
    crop_size: SizeSetting | None = None
    scale_range: tuple[float, float] = (0.7, 1.5)
    colour_jitter: float = 0.0
    checkpoint_every: int = 100
    adapt: Adapt = "full"
    lora_rank: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anything is built.

        Raises:
            ConfigError: If a value is out of its range.
        """
        require_whole("steps", self.steps, 1, MOST_STEPS)
        require_whole("batch_size", self.batch_size, 1, MOST_IMAGES)
        for name in ("checkpoint_every", "validate_every", "patience"):
            require_whole(name, getattr(self, name))
        require_real("learning_rate", self.learning_rate, above=True)
        require_real("momentum", self.momentum, 0.0, 1.0, below=True)
        require_real("weight_decay", self.weight_decay)
        _require_warmup(self.warmup_steps, self.steps)
        _require_decays(self.decay_after)
        require_real("layer_decay", self.layer_decay, 0.0, 1.0, above=True)
        require_real("label_smoothing", self.label_smoothing, 0.0, 1.0, below=True)
        require_real("added_loss_weight", self.added_loss_weight, above=True)
        if self.clip_norm is not None:
            require_real("clip_norm", self.clip_norm, above=True)
        if self.ema_decay is not None:
            require_real("ema_decay", self.ema_decay, 0.0, 1.0, below=True)
        require_whole("lora_rank", self.lora_rank, 1, MOST_RANK)
        require_real("colour_jitter", self.colour_jitter, 0.0, 1.0)
        _require_losses(self.loss, self.added_loss)
        require_whole("tried_stops", self.tried_stops, 1, MOST_STOPS)
        require_real("held_out_fraction", self.held_out_fraction, 0.0, 1.0, above=True, below=True)
        require_seed("seed", self.seed)
        _require_rates("learning_rates", self.learning_rates)
        if self.crop_size is not None:
            if isinstance(self.crop_size, str) and "x" not in self.crop_size:
                raise ConfigError(
                    f"crop_size: expected the side of a square (512), or rows x columns (512x1024), but got "
                    f"{self.crop_size!r}."
                )
            ImageSize.of(self.crop_size, "crop_size")
        for end in self.scale_range:
            require_real("scale_range", end, 0.0, _LARGEST_FACTOR, above=True)
        low, high = self.scale_range
        if low > high:
            raise ConfigError(f"scale_range: expected the least factor before the greatest, but got [{low}, {high}].")

    def crop_for(self, image_size: ImageSize) -> tuple[int, int]:
        """Rows and columns of the training crops.

        Args:
            image_size: Size of the images.

        Returns:
            In pixels; of texts all that is seen.
        """
        if image_size.characters is not None:  # of texts nothing is cut out
            return image_size.of_a_square
        size = image_size if self.crop_size is None else ImageSize.of(self.crop_size, "crop_size")
        return size.of_a_square

    @property
    def steps_of_warmup(self) -> int:
        """Steps in which the rate rises, where a share of the steps is given too."""
        share = round(self.warmup_steps * self.steps)
        return min(share, self.steps - 1) if self.warmup_steps < 1 else int(self.warmup_steps)

    @property
    def total_steps(self) -> int:
        """Steps of all fits together: one for each rate that is tried, and the last."""
        return self.steps * (len(self.tried_rates) + 1)

    @property
    def tried_rates(self) -> tuple[float, ...]:
        """The rates of the fits that come before the last, to choose by; empty if nothing is to be chosen."""
        if self.tried_stops > 1 or len(self.learning_rates) > 1:
            return self.learning_rates or (self.learning_rate,)
        return ()

    @property
    def initial_rate(self) -> float:
        """The initial rate where none is chosen: that of ``learning_rates`` if it names a single one."""
        return self.learning_rates[0] if len(self.learning_rates) == 1 else self.learning_rate

    def at_rate(self, rate: float) -> TrainingSettings:
        """The same with one rate, and with nothing to choose.

        Args:
            rate: The initial rate.
        """
        return replace(self, learning_rate=rate, learning_rates=(), tried_stops=1)

    def described(self) -> dict[str, Any]:
        """What a fit depends on, for the description of a result: all but what its schedule does not look at."""
        unused = [] if self.schedule == "plateau" else ["patience", "validate_every"]
        unused += [] if self.schedule == "step" and self.decay_after else ["decay_after"]
        return {name: value for name, value in asdict(self).items() if name not in unused}

    def without_choices(self) -> TrainingSettings:
        """The same with nothing to choose: where the rate is one of several, the middle one of them."""
        if not self.tried_rates:
            return self.at_rate(self.initial_rate)
        rates = sorted(self.tried_rates)
        return self.at_rate(rates[(len(rates) - 1) // 2])


def _require_warmup(value: int | float, steps: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < steps
    if not (whole or (isinstance(value, float) and 0 <= value < 1)):
        raise ConfigError(
            f"warmup_steps: expected a whole number, from 0 to {steps - 1}, or a share of the steps, below 1, but got "
            f"{value!r}."
        )


def _require_decays(shares: Sequence[float]) -> None:
    for share in shares:
        require_real("decay_after", share, 0.0, 1.0, above=True, below=True)
    if list(shares) != sorted(set(shares)):
        raise ConfigError(f"decay_after: expected shares in ascending order, each once, but got {list(shares)}.")


def _require_losses(loss: str, added: str) -> None:
    known = LOSSES.names()
    if loss not in known:
        raise ConfigError(f"loss: {unknown_name('loss', loss, known)}")
    if added not in ("none", *known):
        raise ConfigError(f"added_loss: {unknown_name('loss', added, ('none', *known))}")
    if added == loss:
        raise ConfigError(f"added_loss: expected another one than loss, but got {added!r} for both.")


def _require_rates(name: str, rates: Sequence[float]) -> None:
    if len(rates) > MOST_RATES:
        raise ConfigError(f"{name}: expected at most {MOST_RATES} rates, as each costs a fit, but got {len(rates)}.")
    for rate in rates:
        require_real(name, rate, above=True)
    if len(set(rates)) < len(rates):
        raise ConfigError(f"{name}: expected different rates, but got {', '.join(map(str, rates))}.")


@dataclass(frozen=True)
class SourceSettings(TrainingSettings):
    """How a source model is trained: TrainingSettings, and what belongs to its dataset.

    Attributes:
        image_size: Size to which images are resized, in pixels: a number is the longer side, shorter:512 the shorter
            one, 512x1024 rows and columns.
        train_images: Use a seeded choice of that many training images; null uses all.
        validation_fraction: Share of the training images held out to draw the validation curve; 0 for none.
        sample_images: Training images whose mean embedding is kept with the member, for what is hard (HASTE), drawn
            with weights that balance the classes; null takes all up to 1000, and of more a tenth.
        normalisation: ``source`` normalises with the channel statistics of the source's training images (M21), and
            later with those of each target; ``pretraining`` with those that the weights it starts from were trained
            with, wherever the member is used.
        step_counts: Numbers of steps to choose from instead of ``steps``, on the held-out images: each is a fit of its
            own, with each of the rates, and its schedule spans just these steps. The last fit takes the best of all.
    """

    image_size: SizeSetting = 128
    train_images: int | None = None
    validation_fraction: float = 0.0
    sample_images: int | None = None
    normalisation: Normalisation = "source"
    step_counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a value is out of its range.
        """
        super().__post_init__()
        self._require_step_counts()
        if self.adapt != "full":
            raise ConfigError(f"adapt: expected full, as a source model learns everything, but got {self.adapt!r}.")
        ImageSize.of(self.image_size)
        require_real("validation_fraction", self.validation_fraction, 0.0, 1.0, below=True)
        if self.schedule == "plateau" and self.validation_fraction == 0:
            raise ConfigError(
                "validation_fraction: expected more than 0 with schedule plateau, which looks at what is held out."
            )
        if self.train_images is not None:
            require_whole("train_images", self.train_images)
        if self.sample_images is not None:
            require_whole("sample_images", self.sample_images)

    def _require_step_counts(self) -> None:
        if not self.step_counts:
            return
        if len(self.step_counts) > MOST_STEP_COUNTS or len(set(self.step_counts)) < len(self.step_counts):
            raise ConfigError(
                f"step_counts: expected at most {MOST_STEP_COUNTS} different numbers of steps, as each costs a fit for "
                f"every rate, but got {list(self.step_counts)}."
            )
        for count in self.step_counts:
            require_whole("step_counts", count, 1, MOST_STEPS)
            self.of_steps(count)

    def of_steps(self, steps: int) -> SourceSettings:
        """The same with one number of steps.

        Args:
            steps: Of each fit.

        Raises:
            ConfigError: If other settings do not go with so few.
        """
        return replace(self, steps=steps, step_counts=())

    @property
    def all_step_counts(self) -> tuple[int, ...]:
        """The numbers of steps to choose from; at least one."""
        return self.step_counts or (self.steps,)

    @property
    def tried_rates(self) -> tuple[float, ...]:
        """See :attr:`TrainingSettings.tried_rates`; with several numbers of steps, a single rate is tried with each."""
        rates = super().tried_rates
        return rates or ((self.initial_rate,) if len(self.step_counts) > 1 else ())

    @property
    def total_steps(self) -> int:
        """Steps of all fits together, the last one as long as it can be."""
        return sum(self.all_step_counts) * len(self.tried_rates) + max(self.all_step_counts)

    def at_rate(self, rate: float) -> SourceSettings:
        """See :meth:`TrainingSettings.at_rate`; of one number of steps to choose from it is the one."""
        steps = self.step_counts[0] if len(self.step_counts) == 1 else self.steps
        return replace(self, steps=steps, step_counts=(), learning_rate=rate, learning_rates=(), tried_stops=1)


@dataclass(frozen=True)
class HeadSettings:
    """How the ensemble head is learned, once the members are fine-tuned and frozen (A22 5.1 says only "fine-tune").

    Attributes:
        optimizer: ``lbfgs`` goes downhill on sampled pixels until it is done, in seconds; ``sgd`` takes steps on
            batches of whole images, all labelled pixels.
        learning_rate: Initial rate of ``sgd``.
        momentum: The momentum of ``sgd``.
        schedule: How the rate of ``sgd`` falls, as in fine-tuning.
        steps: Steps of ``sgd``; at most this many iterations of ``lbfgs``.
        batch_size: Images per step of ``sgd``.
        pixels_per_image: Labelled pixels drawn from each image for ``lbfgs``.
        penalty: The penalty of the squared distance of weights and biases from the plain mean: on images that the
            members know by heart, biases would grow for ever.
        keep: ``if_better`` keeps a learned head only where training images that it did not learn from come out better
            with it than with the plain mean (see :func:`muster.training.head.learn_head`); ``lbfgs`` also tries larger
            penalties so. ``always`` keeps the head that is learned with the penalty.
    """

    optimizer: HeadOptimizer = "lbfgs"
    learning_rate: float = 0.5
    momentum: float = 0.9
    schedule: FixedSchedule = "step"
    steps: int = 60
    batch_size: int = 16
    pixels_per_image: int = 200
    penalty: float = 1e-4
    keep: HeadKept = "if_better"

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a value is out of its range.
        """
        require_real("head.learning_rate", self.learning_rate, above=True)
        require_real("head.momentum", self.momentum, 0.0, 1.0, below=True)
        require_real("head.penalty", self.penalty)
        require_whole("head.steps", self.steps, 1, MOST_STEPS)
        require_whole("head.batch_size", self.batch_size, 1, MOST_IMAGES)
        require_whole("head.pixels_per_image", self.pixels_per_image, 1, MOST_IMAGES)


MOST_CONFIRMED = 1000
"""Candidates that brief fine-tuning can compare: their members are all trained side by side."""


@dataclass(frozen=True)
class ComparisonSettings:
    """What a fine-tuning compares besides fine-tuning the chosen members and B1.

    Attributes:
        confirm: Fine-tune the members of so many leading candidates briefly on a part of the training images, and let
            the others decide between the candidates: after a tenth of the steps the better half of them stays, and
            goes on to twice the steps, until one is left. 0 takes the metric's choice as it is.
        equal_cost: Also fine-tune a single model that costs as much as the ensemble, and show it beside: the best
            member by the metric, with as many steps as all members together, and a larger input or several views of an
            image in the ensemble's time. It takes two thirds of the whole run (62 of 98 s in the demo, on 2 cores).
    """

    confirm: int = 0
    equal_cost: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If there would be nothing to compare.
        """
        require_whole("confirm", self.confirm, 0, MOST_CONFIRMED)
        if self.confirm == 1:
            raise ConfigError("confirm: expected 0, or at least 2 candidates to compare, but got 1.")

    @property
    def holds_out(self) -> bool:
        """Whether some training images are held out for it."""
        return self.confirm > 0 or self.equal_cost
