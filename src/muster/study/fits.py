"""One member fine-tuned on one cell of a study: a job of its own, kept so that nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from safetensors.torch import load_file

from muster.data import Preprocessing
from muster.errors import ConfigError
from muster.files import atomic_folder, read_yaml, sha256_of, to_builtin_types, write_yaml
from muster.machine import device_label
from muster.models import Blueprint, SourceModel, rebuild
from muster.models.tensors import write_tensors
from muster.pool import Member
from muster.records import parse_record
from muster.study.cells import Cell
from muster.study.results import CellJob
from muster.training.checks import require_trainable
from muster.training.clock import Clock
from muster.training.finetuning import fit_members
from muster.training.finished import Finished, digest_of, read_finished
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.settings import TrainingSettings

TASK = "muster.study.fits:fit_job"
"""What a worker process is told to call."""

RECORD = "fit.yaml"
WEIGHTS = "member.safetensors"


@dataclass(frozen=True)
class FitJob(CellJob):
    """A member to fine-tune.

    Attributes:
        member: Folder of the source model.
        checksum: Of its weights, as its card says.
        settings: How; if they name rates or numbers of steps to choose from, these are tried first.
        rate_of: Folder of the fit whose rate and number of steps are taken over; empty for those of the settings.
        hardware: What to compute on.
    """

    member: Path
    checksum: str
    settings: TrainingSettings
    rate_of: str
    hardware: Hardware

    def resolved(self) -> tuple[TrainingSettings, int | None]:
        """The settings with the rate that is taken over, and the number of steps, if that was chosen too.

        Where the fit that should have chosen them failed, this one chooses for itself.
        """
        chosen = read_record_of(Path(self.rate_of)) if self.rate_of else None
        return (self.settings, None) if chosen is None else (self.settings.at_rate(chosen.learning_rate), chosen.stop)

    def description(self) -> str:
        """See :meth:`StudyJob.description`."""
        settings, stop = self.resolved()
        return digest_of(
            {
                "settings": settings.described(),
                "stop": stop,
                "cell": asdict(Cell.read(self.cell)),
                "member": self.checksum,
                "precision": self.hardware.resolved_precision(),
            }
        )

    def is_done(self) -> bool:
        """Whether its result is there, of the same description."""
        return read_finished(self.folder / RECORD, FitRecord, self.description()) is not None


@dataclass(frozen=True)
class FitRecord(Finished):
    """What is kept of a fit, beside the weights.

    Attributes:
        member: Name of the source model.
        blueprint: How the fine-tuned network is built.
        checksum: SHA-256 of its weights.
        learning_rate: The initial rate.
        stop: Steps after which it ended, if that was chosen.
        steps: Steps that its schedule spans.
        seconds: Time of all its fits.
        device: What it was computed on.
        preprocessing: The network's own, if it has one.
        held_out: Largest mIoU on held-out training images by rate, where rates were tried.
    """

    member: str
    blueprint: Blueprint
    checksum: str
    learning_rate: float
    stop: int | None
    steps: int
    seconds: float
    device: str
    preprocessing: Preprocessing | None = None
    held_out: dict[float, float | None] = field(default_factory=dict)


def read_record_of(folder: Path) -> FitRecord | None:
    """What is kept of a fit.

    Args:
        folder: The fit's.

    Returns:
        ``None`` if it is not done.
    """
    if not (folder / RECORD).is_file():
        return None
    return parse_record(read_yaml(folder / RECORD, ConfigError), FitRecord, str(folder / RECORD), ConfigError)


def load_fitted(folder: Path, num_classes: int) -> SourceModel:
    """A fine-tuned member.

    Args:
        folder: Of its fit.
        num_classes: Of the target.

    Returns:
        In evaluation mode, on the CPU.

    Raises:
        ConfigError: If it is not there, or its weights were damaged or exchanged.
    """
    record = read_record_of(folder)
    if record is None or sha256_of(folder / WEIGHTS) != record.checksum:
        raise ConfigError(
            f"{folder} is no finished fit of a study, or its weights were damaged. Delete the folder, and run the same "
            "command again: the member is fine-tuned anew."
        )
    model = rebuild(record.blueprint, num_classes)
    model.load_state_dict(load_file(folder / WEIGHTS))
    model.preprocessing = record.preprocessing
    return model.eval()


def fit_job(content: str, tell: Callable[[str], None]) -> str:
    """Fine-tune a member in a worker process.

    Args:
        content: A :class:`FitJob` as JSON.
        tell: Takes the number of steps done and the latest loss, as JSON.

    Returns:
        Nothing: the result lies in its folder.
    """
    job = parse_record(json.loads(content), FitJob, "job", ConfigError)
    finetune_member(job, lambda step, loss: tell(json.dumps([step, loss])))
    return ""


def finetune_member(job: FitJob, progress: Callable[[int, float], None]) -> None:
    """Fine-tune a member, and keep it; interrupted, the same job goes on from its last checkpoint.

    Args:
        job: What to do.
        progress: Told the number of steps done and the latest loss.

    Raises:
        ConfigError: If the settings do not go with the images.
        TrainingDivergedError: If the loss became infinite or NaN, at every rate that was tried.
        PoolError: If the source model cannot be loaded.
    """
    settings, stop = job.resolved()
    cell = Cell.read(job.cell).open()
    spec = cell.target.dataset.spec
    member = Member.open(job.member).used_for(spec)
    module = EnsembleTraining(settings, spec.num_classes)
    module.set_members((member.name,), [member.load_model()])
    require_trainable(module.models, settings, cell.target.preprocessing.known_size)
    if stop is not None:
        module.stops = {member.name: stop}
    clock, load = Clock(progress), partial(_load_again, member)
    description = {"weights": job.checksum}
    writes = fit_members(module, cell.target, job.work, job.hardware, [clock], depends_on=description, reload=load)
    if not writes:  # a process that only shares the fit
        return
    with atomic_folder(job.folder) as partial_folder:
        _write(partial_folder, job, module, member, clock.seconds)


def _load_again(member: Member, names: Sequence[str]) -> list[SourceModel]:
    assert tuple(names) == (member.name,)
    return [member.load_model()]


def _write(folder: Path, job: FitJob, module: EnsembleTraining, member: Member, seconds: float) -> None:
    name, model = member.name, module.models[member.name]
    write_tensors(model, folder / WEIGHTS)
    record = FitRecord(
        description=job.description(),
        member=name,
        blueprint=model.blueprint,
        checksum=sha256_of(folder / WEIGHTS),
        learning_rate=module.rate_of(name),
        stop=module.stops.get(name),
        steps=module.settings.steps,
        seconds=round(seconds, 2),
        device=device_label(job.hardware.resolved_device()),
        preprocessing=model.preprocessing,
        held_out=module.held_out.get(name, {}),
    )
    write_yaml(folder / RECORD, to_builtin_types(asdict(record)))
