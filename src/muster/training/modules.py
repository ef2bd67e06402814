"""Training of segmentation models: one source model, or all members of an ensemble side by side.

Axis names: ``b`` images, ``c`` classes, ``h`` and ``w`` rows and columns of a crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn

from muster.data import Preprocessing, Split, Views, view_for
from muster.errors import MusterError
from muster.models import ImageMap, SourceModel
from muster.tasks.loss import LossOptions
from muster.tasks.tallied_metric import TalliedMetric
from muster.tasks.task import Task, tally_is_empty, task_of
from muster.training.adaptation import adapt_member
from muster.training.frozen import FrozenBatch
from muster.training.optimizers import make_optimizer, with_schedule
from muster.training.settings import TrainingSettings

HISTORY_EVERY = 20
"""Steps between two points of the training curve, and between two looks for a loss that is not finite."""


class TrainingDivergedError(MusterError):
    """A training loss became infinite or NaN."""


def _everywhere(holds: Tensor) -> list[bool]:
    """What holds in every process of a distributed fit, so that all of them go on alike."""
    if dist.is_available() and dist.is_initialized():
        counted = holds.int()
        dist.all_reduce(counted, dist.ReduceOp.MIN)
        holds = counted > 0
    return [bool(value) for value in holds.tolist()]


def is_finite(module: nn.Module) -> bool:
    """Whether none of its weights and buffers is infinite or NaN."""
    return all(bool(value.isfinite().all()) for value in module.state_dict().values())


def nothing_of(member: nn.Module) -> Tensor:
    """Zero, as a function of every parameter: distributed training insists that each takes part.

    Args:
        member: What is not trained by the step at hand.
    """
    return torch.stack([(value * 0).nan_to_num().sum() for value in member.parameters() if value.requires_grad]).sum()


class EnsembleTraining(pl.LightningModule):
    """Members that share no parameter, each with its own loss, trained in one fit.

    The gradient of the sum of the losses is, for each member, the gradient of its own loss, so one fit equals
    separate fits (A22 4.1). A source model is the case of one member.

    Attributes:
        settings: How to train.
        num_classes: Size of the label space.
        task: What is to be predicted; ``None`` until it is known, see :attr:`of_task`.
        names: Names of the members, in order.
        members: The models, likewise.
        history: Points of the training curves: ``step``, and per member ``loss/NAME`` or ``miou/NAME``; with the
            schedule plateau ``held_out_loss/NAME`` and ``rate/NAME``, too.
        rates: Initial learning rates of members that have one of their own; the others have that of the settings.
        stops: Steps after which a member is not trained on, for those whose number of steps was chosen.
        held_out: For members of which something was chosen, the largest mIoU on held-out images by rate; ``None`` where
            it diverged.
        curves: For them, mIoU on held-out images by rate and number of steps.
        diverged: Members whose loss or weights became infinite or NaN in a trial.
        idle: Members that are trained no further, since a trial has left them behind.
        compiles: Whether members are compiled before the first step; a fit sets it.
        class_weights: float32 ``[c]``, what the pixels of each class count in a cross-entropy; ``None`` if all count
            alike. A fit sets it by its training images.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        num_classes: int,
        names: Sequence[str] = (),
        models: Sequence[SourceModel] = (),
        trial: bool = False,
    ) -> None:
        """Take models as they are; without any, :meth:`set_members` must be called before the fit begins.

        Args:
            settings: See the class.
            num_classes: See the class.
            names: See the class.
            models: See the class.
            trial: Whether a member that diverges is left out from then on, and the others go on; otherwise it ends the
                fit. The curves of a trial are not logged.
        """
        super().__init__()
        self.settings = settings
        self.num_classes = num_classes
        self.task: Task | None = None
        self.trial = trial
        self.rates: dict[str, float] = {}
        self.stops: dict[str, int] = {}
        self.held_out: dict[str, dict[float, float | None]] = {}
        self.curves: dict[str, dict[float, dict[int, float | None]]] = {}
        self.diverged: set[str] = set()
        self.idle: set[str] = set()
        self.names: tuple[str, ...] = tuple(names)
        self.members = nn.ModuleList(models)
        self.history: list[dict[str, float]] = []
        self.compiles = False
        self._rests = False
        self.class_weights: Tensor | None = None
        self._compiled: dict[str, Callable[[Tensor], Tensor]] = {}  # no modules, so that no weight is saved twice
        self._tallies = nn.ModuleList()

    @property
    def models(self) -> dict[str, SourceModel]:
        """The members by their names."""
        return {name: cast("SourceModel", member) for name, member in zip(self.names, self.members, strict=True)}

    @property
    def members_chosen(self) -> bool:
        """Whether there is anything to train."""
        return len(self.names) > 0

    def set_members(self, names: Sequence[str], models: Sequence[SourceModel]) -> None:
        """Take source models as members: everything but the classifier is kept, a new linear head is put on.

        A head depends on the seed and the member's name only, so that a member starts alike in any ensemble.

        Args:
            names: Names of the members.
            models: The models, in the same order; they are changed.
        """
        for name, model in zip(names, models, strict=True):
            seed = head_seed(self.settings.seed, name)
            # What is not trained is of no use: a fresh decoder in front of the head.
            model.replace_head(self.num_classes, seed, decoder=self.settings.adapt == "full")
            adapt_member(name, model, self.settings.adapt, self.settings.lora_rank, seed)
        self.names = tuple(names)
        # A pool hands its models over in evaluation mode, and Lightning leaves the mode as it is.
        self.members = nn.ModuleList(models).train()

    def train(self, mode: bool = True) -> EnsembleTraining:
        """Within a fit, members whose bodies are frozen go on computing as they do in evaluation."""
        super().train(mode)
        if mode and self._rests:
            self.members.eval()
        return self

    def on_train_start(self) -> None:
        """From now on; Lightning warns of what it finds in evaluation mode before."""
        self._rests = self.settings.adapt != "full"
        self.train()

    @property
    def of_task(self) -> Task:
        """What is to be predicted, told by the images of the fit.

        Raises:
            RuntimeError: If there is no fit, or its data module does not say which images are learned from.
        """
        if self.task is None:
            train = getattr(getattr(self.trainer, "datamodule", None), "train", None)
            if not isinstance(train, Split):
                raise RuntimeError("Expected a data module with the training images as `train`, as FitData has it.")
            self.task = task_of(train.spec)
        return self.task

    def losses(self, name: str) -> list[tuple[int, float]]:
        """The training curve of one member, as (step, loss)."""
        key = f"loss/{name}"
        return [(int(point["step"]), point[key]) for point in self.history if key in point]

    @property
    def owns(self) -> tuple[Preprocessing | None, ...]:
        """The own preprocessing of each member, ``None`` for members without."""
        return tuple(model.preprocessing for model in self.models.values())

    def forward(self, images: Views) -> list[Tensor]:
        """Scores of every member, each at its own resolution, from images as each member wants them."""
        return [model(view_for(images, model.preprocessing)) for model in self.models.values()]

    def rate_of(self, name: str) -> float:
        """Initial learning rate of a member."""
        return self.rates.get(name, self.settings.initial_rate)

    def last_step_of(self, name: str) -> int:
        """Number of steps after which a member is not trained on."""
        return self.stops.get(name, self.settings.steps)

    @property
    def last_step(self) -> int:
        """Number of steps after which no member is trained on."""
        return max((self.last_step_of(name) for name in self.names), default=self.settings.steps)

    def training_step(self, batch: tuple[Views | FrozenBatch, Tensor]) -> Tensor:
        """Sum of the members' losses."""
        images, masks = batch
        losses = []
        for name, member in self.models.items():
            if name in self.diverged | self.idle or self.global_step >= self.last_step_of(name):
                losses.append(nothing_of(member))
                continue
            with self._own_randomness(name, member):
                losses.append(self._loss_of(self._scores_of(name, member, images), masks))
        if self._is_noted(self.global_step):
            self._record(losses)
        return torch.stack(losses).sum()

    def _scores_of(self, name: str, member: SourceModel, images: Views | FrozenBatch) -> ImageMap:
        if isinstance(images, FrozenBatch):
            return ImageMap(member.score(images.features(name, member)))
        view = view_for(images, member.preprocessing)
        return ImageMap(self._compiled_of(name, member)(view), member.part_of(view))

    def _loss_of(self, maps: ImageMap, masks: Tensor) -> Tensor:
        chosen = self.settings
        options = LossOptions(self._class_weights_now(), chosen.label_smoothing, maps.part)
        return self.of_task.loss(maps.values, masks, chosen.loss, options, chosen.added_loss, chosen.added_loss_weight)

    def losses_on(self, images: Views, truths: Tensor) -> list[Tensor]:
        """The training loss of every member on whole images, by itself.

        Args:
            images: As each member wants them, see :meth:`forward`.
            truths: Of these images.
        """
        views = [view_for(images, model.preprocessing) for model in self.models.values()]
        maps = [
            ImageMap(model(view), model.part_of(view)) for model, view in zip(self.models.values(), views, strict=True)
        ]
        return [self._loss_of(each, truths) for each in maps]

    def note(self, values: dict[str, float]) -> None:
        """Add a point to the curves.

        Args:
            values: By name of the curve.
        """
        self._log({"step": float(self.global_step), **values})

    def _class_weights_now(self) -> Tensor | None:
        """Those of the classes that the masks of the step at hand are of."""
        return self.class_weights

    def _compiled_of(self, name: str, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """What a member computes, compiled if that is asked for; only for crops, which are all of one size."""
        if self.compiles and name not in self._compiled:
            self._compiled[name] = torch.compile(forward)
        return self._compiled.get(name, forward)

    @contextmanager
    def _own_randomness(self, name: str, member: nn.Module) -> Iterator[None]:
        """Let dropout draw from the seed, the member and the step, so that any ensemble and any restart draws alike."""
        if not any("drop" in type(layer).__name__.lower() for layer in member.modules()):
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(head_seed(self.settings.seed + self.global_step * 4099 + self.global_rank, name))
            yield

    def _is_noted(self, step: int) -> bool:
        """Whether a step is a point of the training curve."""
        return step % HISTORY_EVERY == 0 or step + 1 == self.last_step

    def _curve(self, name: str) -> str:
        """The training curve that a member's loss at this step is a point of."""
        return f"loss/{name}"

    def _record(self, losses: Sequence[Tensor]) -> None:
        finite = _everywhere(torch.stack([loss.detach().isfinite() for loss in losses]))
        for name, loss, is_sound in zip(self.names, losses, finite, strict=True):
            if not is_sound:
                came = f"The training loss of {name!r} is {float(loss.detach())} at step {self.global_step}."
                self._diverge(name, came)
        sound = [(name, float(loss.detach())) for name, loss in zip(self.names, losses, strict=True)]
        over = {name for name in self.names if self.global_step >= self.last_step_of(name)}
        values = {self._curve(name): value for name, value in sound if name not in self.diverged | self.idle | over}
        self._log({"step": float(self.global_step), **values})

    def _log(self, point: dict[str, float]) -> None:
        self.history.append(point)
        if not self.trial:
            self.log_dict({name: value for name, value in point.items() if name != "step"})

    def _diverge(self, name: str, came: str) -> None:
        """End the fit, or in a trial leave one member out; the fit of a trial ends when all are out."""
        if not self.trial:
            raise TrainingDivergedError(f"{came} A smaller learning_rate than {self.rate_of(name)} usually helps.")
        self.diverged.add(name)
        if self.diverged | self.idle == set(self.names):
            self.trainer.should_stop = True

    def on_validation_start(self) -> None:
        """Begin the tallies anew."""
        self._tallies = nn.ModuleList(TalliedMetric(self.of_task, self.num_classes) for _ in self.names).to(self.device)

    def validation_step(self, batch: tuple[Views, Tensor]) -> None:
        """Count on one whole image."""
        images, masks = batch
        task, size = self.of_task, self.of_task.places_of(masks)
        for model, metric in zip(self.models.values(), self._tallies, strict=True):
            view = view_for(images, model.preprocessing)
            predictions = task.predictions(model(view), size, model.part_of(view))
            cast("TalliedMetric", metric).update(predictions, masks)

    def on_validation_epoch_end(self) -> None:
        """Add a point to the validation curve."""
        tallies = [cast("TalliedMetric", metric).whole() for metric in self._tallies]
        self._tallies = nn.ModuleList()
        counted = zip(self.names, tallies, strict=True)
        # A held-out share with nothing to score gives no point, and is no reason to end the training.
        task = self.of_task
        values = {f"{task.key}/{name}": task.result_of(tally) for name, tally in counted if not tally_is_empty(tally)}
        if not self.trainer.sanity_checking:
            self._log({"step": float(self.global_step), **values})

    def on_train_end(self) -> None:
        """Refuse weights that the very last step spoilt: no loss was computed with them."""
        for name, member in zip(self.names, self.members, strict=True):
            if not is_finite(member):
                self._diverge(name, f"Weights of {name!r} became infinite or NaN at the last step.")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the curves, as plain values."""
        checkpoint["muster_history"] = self.history
        checkpoint["muster_diverged"] = sorted(self.diverged)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the curves up again."""
        self.history = list(checkpoint["muster_history"])
        self.diverged = set(checkpoint.get("muster_diverged", ()))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:  # noqa: ARG002 (the hook's)
        """Scale down the gradient of each member that is too long, by itself: members do not know of each other."""
        if self.settings.clip_norm is not None:
            for member in self.members:
                nn.utils.clip_grad_norm_(member.parameters(), self.settings.clip_norm)

    def configure_optimizers(self) -> Any:
        """The optimizer of the settings over all members, and their schedule, step by step."""
        chosen = self.settings
        rates = [self.rate_of(name) for name in self.names]
        ends = [self.last_step_of(name) for name in self.names]
        optimizer = make_optimizer(list(self.models.values()), rates, chosen, ends)
        warmup, decays = chosen.steps_of_warmup, chosen.decay_after
        return with_schedule(optimizer, chosen.schedule, chosen.steps, warmup, chosen.patience, decays)


def head_seed(seed: int, name: str) -> int:
    """A seed of its own for each member's new head, the same in every run."""
    return (seed + int.from_bytes(name.encode(), "little")) % (2**63 - 25)
