"""What each of some processes on the CPU computes together with the others, for the tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from muster.data import VOID, ChannelStatistics, ImageSize, Preprocessing
from muster.launch import launched_processes
from muster.models import Blueprint, SourceModel, build_model
from muster.models.adapted import adapt
from muster.ranks import rank, sum_over_ranks, world_size
from muster.tasks.loss import LossOptions
from muster.tasks.segmentation import SEGMENTATION
from muster.training.evaluation import count_split
from muster.training.finetuned_ensemble import Ensemble
from muster.training.finetuning import fit_members
from muster.training.fit_data import FitData
from muster.training.fitting import fit, fit_steps
from muster.training.hardware import Hardware
from muster.training.head import judge_penalties, learn_head
from muster.training.head_kept import fit_kept_head
from muster.training.head_units import collect_units
from muster.training.modules import EnsembleTraining
from muster.training.process_group import process_group
from muster.training.results import HeadChoice
from muster.training.settings import HeadSettings, TrainingSettings
from muster.training.simclr import SimCLRSettings
from muster.training.simclr.images import ViewData, ViewPairs
from muster.training.simclr.module import SimCLR
from muster.training.target_data import TargetData
from tests.helpers import make_target, shown

STATISTICS = ChannelStatistics((0.5,) * 3, (0.25,) * 3)
SHOWN = shown(STATISTICS, 48)


def make_ensemble() -> Ensemble:
    models = [build_model("small_fpn", 3, seed=seed) for seed in range(2)]
    return Ensemble("ab", models, ("ground", "wall", "sky"), shown(STATISTICS, 64)).eval()


def compute(folder: Path) -> dict[str, torch.Tensor]:
    """Counts over five images and over one; the head by L-BFGS; the head step by step."""
    pl._logger.setLevel("ERROR")
    target, ensemble, found = make_target(5, void=("02",)), make_ensemble(), {}
    for images in (5, 1):
        split = target.train.subset(images, 0)
        counts = count_split(
            lambda batch, size: {"a": ensemble(batch, size).argmax(dim=1)}, split, shown(STATISTICS, 64), batch_size=2
        )
        found |= {f"confusion {images}": counts["a"].confusion, f"by image {images}": counts["a"].by_image}
    units = collect_units(ensemble, target.train, 0, "cpu", 16, 20)
    found |= {"labels": units.truth, "images": units.images, "numbers": units.numbers}
    found |= {f"cells of {name}": reading.cells for name, reading in zip("ab", units.readings, strict=True)}
    found["held out"] = compared(judge_penalties(ensemble.task, ensemble.head, units, HeadSettings(), 0))
    found["losses"] = torch.tensor(learn_head(ensemble, target.train, 0, settings=HeadSettings(keep="always")))
    found["lbfgs"] = torch.stack([ensemble.head.weights, ensemble.head.biases]).detach()
    stepped, settings = make_ensemble(), HeadSettings(optimizer="sgd", steps=3, batch_size=3, learning_rate=0.1)
    hardware = Hardware("cpu", devices=launched_processes())
    fit_kept_head(stepped, target.train, settings, 0, folder / "judged", hardware)
    assert stepped.head_choice is not None
    found |= {"held out, sgd": compared(stepped.head_choice), "kept, sgd": stepped.head.weights.detach().clone()}
    stepped = make_ensemble()
    history = fit_kept_head(stepped, target.train, replace(settings, keep="always"), 0, folder, hardware)
    found["curve"] = torch.tensor([point["loss/learned head"] for point in history])
    found["sgd"] = torch.stack([stepped.head.weights, stepped.head.biases]).detach()
    found |= gradients_of_losses() | fitted_with_everything(folder / "fit", hardware)
    found |= fitted_on_a_plateau(folder / "plateau", hardware)
    found |= fitted_from_elsewhere(folder / "others", hardware)
    found |= pretrained_without_labels(folder / "simclr", hardware)
    return found


def compared(choice: HeadChoice) -> torch.Tensor:
    """What decided whether a head is kept."""
    assert choice.plain_mean is not None
    return torch.tensor([choice.plain_mean, *choice.held_out.values(), choice.images, choice.folds])


def gradients_of_losses() -> dict[str, torch.Tensor]:
    """What each loss of a batch that the processes share comes to, and its gradient; one has little but void."""
    generator, found = torch.Generator().manual_seed(0), {}
    maps = torch.randn(2, 3, 4, 4, generator=generator)
    masks = torch.randint(0, 3, (2, 16, 16), generator=generator)
    masks[1, 1:] = VOID
    mine = slice(rank(), None, world_size())
    for name in SEGMENTATION.losses:
        factors = torch.ones(3, 1, 1, requires_grad=True)
        options = LossOptions(torch.tensor([0.5, 1.0, 2.0]), 0.1)
        loss = SEGMENTATION.loss(maps[mine] * factors, masks[mine], name, options)
        loss.backward()
        assert factors.grad is not None
        both = torch.cat([loss.detach()[None], factors.grad.flatten()])
        found[f"loss {name}"] = sum_over_ranks(both, torch.device("cpu")) / world_size()
    return found


def fitted_with_everything(folder: Path, hardware: Hardware) -> dict[str, torch.Tensor]:
    """Weights after two steps with clipped gradients, an average of weights, layer-wise rates and Dice added."""
    settings = TrainingSettings(
        steps=2, batch_size=4, crop_size=32, learning_rate=0.5, warmup_steps=1, schedule="cosine", layer_decay=0.7,
        clip_norm=1.0, ema_decay=0.9, added_loss="dice", class_weighting="sqrt", colour_jitter=0.2,
    )  # fmt: skip
    module = EnsembleTraining(settings, 3)
    module.set_members(("a",), (build_model("small_fpn", 3),))
    data = FitData(make_target(5).train, SHOWN, settings)
    fit(module, data, folder, hardware)
    return {name: module.state_dict()[f"members.0.{name}"] for name in ("head.weight", "body.smooth.1.running_mean")}


def fitted_on_a_plateau(folder: Path, hardware: Hardware) -> dict[str, torch.Tensor]:
    """Losses on three held-out images, which two processes share unevenly, rates that they halve, and weights."""
    settings = TrainingSettings(
        steps=3, batch_size=2, crop_size=32, learning_rate=1.0, schedule="plateau", patience=1, validate_every=1,
        held_out_fraction=0.5,
    )  # fmt: skip
    module, target = EnsembleTraining(settings, 3), TargetData(make_target(5), make_target(5).train, SHOWN)
    module.set_members(("a",), (build_model("small_fpn", 3),))
    fit_members(module, target, folder, hardware)
    told = [[point["held_out_loss/a"], point["rate/a"]] for point in module.history if "rate/a" in point]
    return {"looks": torch.tensor(told), "after looks": module.state_dict()["members.0.head.weight"]}


def fitted_from_elsewhere(folder: Path, hardware: Hardware) -> dict[str, torch.Tensor]:
    """Weights after two steps of a network from elsewhere with its own preprocessing, whole and its head alone."""
    found = {}
    for adapt_as in ("full", "frozen", "lora"):
        settings = TrainingSettings(steps=2, batch_size=4, learning_rate=0.1, adapt=adapt_as, lora_rank=2)
        settings = settings if adapt_as == "frozen" else replace(settings, crop_size=32, scale_range=(1.0, 1.0))
        module, target = EnsembleTraining(settings, 3), TargetData(make_target(5), make_target(5).train, SHOWN)
        module.set_members(("a",), (tiny_attention(),))
        fit_members(module, target, folder / adapt_as, hardware)
        tuned = module.members[0].state_dict()
        found |= {f"{adapt_as} {name}": value.clone() for name, value in tuned.items()}
    return found


def pretrained_without_labels(folder: Path, hardware: Hardware) -> dict[str, torch.Tensor]:
    """Losses of SimCLR, in which each view is told from those of all processes, and weights after three steps."""
    settings = SimCLRSettings(steps=3, batch_size=4, view_size=32, hidden_channels=16, projection_channels=8)
    module = SimCLR(build_model("small_fpn", 1).body, settings)
    fit_steps(module, ViewData(ViewPairs([make_target(5).train], settings), 0), folder, hardware, settings.steps)
    names = ("projection.layers.0.weight", "body.stem.0.weight", "body.smooth.1.running_mean")
    return {"contrasts": torch.tensor([loss for _, loss in module.history])} | {
        f"simclr {name}": module.state_dict()[name].clone() for name in names
    }


def tiny_attention() -> SourceModel:
    """A module that muster did not build, with attention for LoRA and a preprocessing of its own."""
    config = SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=8, num_labels=5, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, classifier_dropout_prob=0.0, drop_path_rate=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = adapt(Blueprint("transformers", "segformer"), SegformerForSemanticSegmentation(config))
    model.preprocessing = Preprocessing(ChannelStatistics((0.4,) * 3, (0.2,) * 3), ImageSize(exact=(64, 64)), "bgr")
    return model


def as_started_by_srun(number: int, processes: int, port: int) -> dict[str, str]:
    """Environment variables of one of the processes, on a machine of its own."""
    variables = {"SLURM_STEP_NUM_TASKS": processes, "SLURM_NTASKS": processes, "SLURM_NTASKS_PER_NODE": 1,
                 "SLURM_STEP_NUM_NODES": processes, "SLURM_NNODES": processes, "SLURM_PROCID": number,
                 "SLURM_LOCALID": 0, "SLURM_NODEID": number, "SLURM_NODELIST": "localhost",
                 "MASTER_PORT": port}  # fmt: skip
    return {name: str(value) for name, value in variables.items()}


def one_of(number: int, processes: int, port: int, folder: Path) -> None:
    """Be one of the processes, as srun would have started it, and write down what it found."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in as_started_by_srun(number, processes, port).items():
            patch.setenv(name, value)
        torch.set_num_threads(1)
        with process_group(torch.device("cpu")):
            torch.save(compute(folder / "work"), folder / f"{number}.pt")
            dist.barrier()
