"""The command ``muster pretrain``: weights for a pool, learned of images without labels."""

from __future__ import annotations

from pathlib import Path

from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.data import DataSettings
from muster.data.opening import is_built_in
from muster.files import as_file_name, to_builtin_types, write_text
from muster.launch import only_helps
from muster.models import check_architecture
from muster.output_kinds import PRETRAINING
from muster.outputs import Inputs, claimed
from muster.tracking import LOGS, Run, TrackingSettings, tracked
from muster.training.finetuning import forget_checkpoint
from muster.training.hardware import Hardware
from muster.training.simclr import PretrainingRecord, SimCLRSettings, pretrain_simclr
from muster.training.simclr.images import open_unlabelled
from muster.training.simclr.pretraining import METHOD, WEIGHTS

PRETRAININGS = Path("runs") / "pretrainings"


def pretrain(
    architecture: str,
    datasets: list[str] = [],  # noqa: B006 (it is read only; a tuple would be typed otherwise)
    images: list[Path] = [],  # noqa: B006 (likewise)
    pretraining: str = "none",
    output: Path | None = None,
    data: Spread[DataSettings] = DataSettings(),  # noqa: B008 (frozen)
    training: SimCLRSettings = SimCLRSettings(),  # noqa: B008 (frozen)
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    tracking: Spread[TrackingSettings] = TrackingSettings(),  # noqa: B008 (frozen)
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Pre-train a network with SimCLR on the training images of several datasets, without their labels.

    It learns to tell two views of an image from those of all others. What is written is weights.safetensors, which an
    entry of a pool's plan.networks names, and pretraining.yaml beside it: architecture, images, steps, licences,
    checksum. A member that starts from these weights says on its card that it has seen the images. Stopped at any
    moment, the same command goes on.

    Args:
        architecture: Of the network, as in a pool's plan; of one with a decoder, such as unet:resnet50, the encoder is
            pre-trained, and starts any network with that encoder.
        datasets: Datasets whose training images are taken: worlds/NAME, worlds/NAME@2000 or folders, as in a plan.
        images: Folders of image files without labels.
        pretraining: What the network starts from: none, imagenet, simclr, or a .safetensors file.
        output: Folder of what is written; by default below runs/pretrainings.
        data: Where datasets lie.
        training: How to train.
        hardware: What to compute on.
        tracking: Where the curve goes besides pretraining.yaml.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0.
    """
    check_architecture(architecture)
    idle = {}
    if all(is_built_in(reference) for reference in datasets):
        idle["data_root"] = "as all datasets are built in"
    asked.refuse(idle)
    splits = open_unlabelled(datasets, images, data.data_root)
    name = as_file_name(f"{splits[0].spec.name}{'-and-more' if len(splits) > 1 else ''}-{architecture}-{METHOD}")
    folder = output or PRETRAININGS / name
    inputs: Inputs = {
        **{f"--datasets, number {number + 1}": reference for number, reference in enumerate(datasets)},
        **{f"--images, number {number + 1}": path for number, path in enumerate(images)},
    }
    with claimed(folder, PRETRAINING, inputs):
        run = Run(folder / LOGS, "train", name, folder.name, name, to_builtin_types(training))
        with tracked(tracking.kinds, run) as loggers:
            done = pretrain_simclr(splits, architecture, pretraining, training, folder, hardware, loggers)
        if only_helps():
            return 0
        write_text(folder / "config.yaml", record_of(configuration, idle, hardware.resolved_options()))
        forget_checkpoint(folder)
    _tell(done, folder)
    return 0


def _tell(done: PretrainingRecord, folder: Path) -> None:
    """Say what there is, and how a plan names it."""
    console, weights = make_console(), folder / WEIGHTS
    console.print(
        f"{weights}: {done.architecture} ({done.holds}), {done.steps} steps on {done.images} images; loss "
        f"{done.losses[0][1]:.2f} at first, {done.losses[-1][1]:.2f} at last."
    )
    console.print(f"In plan.networks: {{architecture: {done.architecture}, pretraining: {METHOD}, weights: {weights}}}")
