"""The command behind ``select.py``: choose an ensemble and write down why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from muster.commands.console import make_console, one_line
from muster.commands.selection_summary import finetune_command, print_selection
from muster.commands.words import Asked, record_of
from muster.data import Dataset, open_dataset, split_record
from muster.files import as_file_name, atomic_folder, write_yaml
from muster.machine import now
from muster.metrics.corrections import DEFAULT_L_MAX
from muster.metrics.hard_subsets import DEFAULT_FRACTION
from muster.outputs import SELECTION, Inputs, claimed, only_helps
from muster.pool import Pool
from muster.probe import ProbeCache, default_cache_folder
from muster.probe.ranks import rank
from muster.report import write_selection_report
from muster.selection.hard_subsets import HardEep, HardnessModel
from muster.selection.options import idle_options, parse_measures
from muster.selection.predictors import PredictorName
from muster.selection.record import Selection
from muster.selection.run import SELECTION_METRICS, SelectOptions, Size, TrainImages, resolve_device, select
from muster.selection.search_runner import SearchName

_SELECTIONS = Path("runs") / "selections"
_GIGABYTE = 1e9

OTHER_THAN_CACHE = frozenset(SelectOptions.__annotations__) - {"cache_dir"} | {"pool", "target", "output"}
"""Options that have nothing to do with emptying the cache."""


def select_ensemble(
    pool: Path,
    target: str,
    output: Path | None = None,
    size: Size = 3,
    metric: str = "soft_iou_eep",
    metrics: tuple[str, ...] = SELECTION_METRICS,
    predictor: PredictorName = "linear_probe",
    search: SearchName = "auto",
    max_parameters: int | None = None,
    max_inference_seconds: float | None = None,
    resamples: int = 100,
    reference: Path | None = None,
    hard_fraction: float = DEFAULT_FRACTION,
    l_max: float = DEFAULT_L_MAX,
    hardness_model: HardnessModel = (),
    hard_eep: HardEep = "recount",
    train_images: TrainImages = "auto",
    pixels_per_image: int = 1000,
    image_size: int | None = None,
    seed: int = 0,
    data_root: Path | None = None,
    device: str = "auto",
    batch_size: int = 16,
    num_workers: int = 0,
    cache_dir: Path | None = None,
    cache_gb: float = 5.0,
    memory_gb: float = 4.0,
    clear_cache: bool = False,
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Choose the few members of a pool that, fine-tuned together, should do best on a dataset.

    Without options it chooses from the built-in pool for the built-in target. Nothing is trained: every member looks
    once at some training images of the target, and all ensembles are scored from that. What was looked at once is kept
    in a cache, so another ensemble metric or size takes seconds; metrics that look at features run the members again.

    Args:
        pool: Folder of the pool, as train.py wrote it.
        target: The dataset to choose for: worlds/NAME, or the folder of a dataset.
        output: Folder for the selection; by default runs/selections/TARGET-POOL. An older selection in it is replaced.
        size: Members of the ensemble; auto proposes a size from what each further member gains and costs.
        metric: What to choose by: soft_iou_eep, iou_eep, e_leep, ms_leep, base, or any metric of docs/metrics.md, also
            wrapped (logme+pca32+l, leep+haste_cs). Of a metric of single members an ensemble has the sum.
        metrics: What to show for comparison, any of the same.
        predictor: What turns a member into a classifier of the target's classes: linear_probe (a classifier on its
            features, fitted on other images than it is read on) or eep (as in A22; faster).
        search: How to look for candidates: exhaustive, greedy, beam or racing; auto scores all unless they are too
            many.
        max_parameters: Most parameters that the members may have together; null for no limit. Needs exhaustive search.
        max_inference_seconds: Most seconds that they may take for one image, as measured here; null for no limit.
            Needs exhaustive search.
        resamples: Bootstrap samples of the probe images that say how sure the choice is; 0 for none.
        reference: Folder of a member trained on the target, which rsa and dds compare with; null takes one of the pool.
        hard_fraction: Which part of the probe set counts as hard, for metrics with +haste_ca or +haste_cs.
        hardness_model: What says which part that is for all members of one source dataset: names of members (each for
            its own source) or of architectures; by default the source's member of the most common architecture.
        hard_eep: For ensemble metrics with +haste_ca or +haste_cs and the predictor eep: recount counts EEPs anew
            on the union of the members' hard subsets (H22), whole keeps those of the whole probe set.
        l_max: Layers of a network that add 1 to its score, for metrics with +l.
        train_images: Number of training images of the target to look at; auto means what its
            dataset.yaml says (probe_images), or 150; null means all.
        pixels_per_image: Pixels of each image that are compared with the ground truth.
        image_size: Longer side at which members see the images, in pixels; null takes the median of the members' own.
        seed: Of the choice of images and pixels.
        data_root: Folder below which the target is looked for.
        device: Where members run: auto, cpu, cuda or cuda:N.
        batch_size: Most images at a time; lower it if memory is short.
        num_workers: Processes that read images ahead.
        cache_dir: Folder of the cache; null means $MUSTER_CACHE, or else ~/.cache/muster/probe.
        cache_gb: Most that the cache may hold, in gigabytes; 0 switches it off.
        memory_gb: Most that predictions may take in memory, in gigabytes; more is put on disk while the search runs.
        clear_cache: Only empty the cache.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0; 130 if Ctrl-C came when there was something to choose from already.
    """
    console = make_console(quiet=only_helps())
    if clear_cache:
        asked.require_effect(OTHER_THAN_CACHE, "with --clear_cache, which only empties the cache", files=False)
        _clear(cache_dir or default_cache_folder(), console)
        return 0
    idle = idle_options(parse_measures(metric, metrics), predictor, cache_gb, target)
    asked.refuse(idle)
    runs_on = resolve_device(device)
    members = Pool.open(pool)
    dataset = open_dataset(target, data_root)
    folder = output or _SELECTIONS / f"{as_file_name(dataset.spec.name)}-{members.folder.resolve().name}"
    inputs: Inputs = {"--pool": pool, "--target": dataset.reference, "--data_root": data_root, "--reference": reference}
    with claimed(folder, SELECTION, inputs), _process_group(runs_on), _progress_bar() as progress:
        selection = select(
            members,
            dataset,
            size=size,
            metric=metric,
            metrics=metrics,
            predictor=predictor,
            search=search,
            max_parameters=max_parameters,
            max_inference_seconds=max_inference_seconds,
            resamples=resamples,
            reference=reference,
            hard_fraction=hard_fraction,
            l_max=l_max,
            hardness_model=hardness_model,
            hard_eep=hard_eep,
            train_images=train_images,
            pixels_per_image=pixels_per_image,
            image_size=image_size,
            seed=seed,
            data_root=data_root,
            device=runs_on,
            batch_size=batch_size,
            num_workers=num_workers,
            cache_dir=cache_dir,
            cache_gb=cache_gb,
            memory_gb=memory_gb,
            progress=progress,
        )
        if rank() == 0:
            ran = record_of(
                configuration,
                idle,
                {
                    "output": folder,
                    "train_images": selection.probe.train_images,
                    "image_size": selection.image_size,
                    "device": str(runs_on),
                },
            )
            _write(selection, members, dataset, folder, ran)
    print_selection(selection, members, folder, console, chosen_size=image_size is None)
    return 130 if selection.interrupted or selection.fraction < 1 else 0


def _write(selection: Selection, pool: Pool, target: Dataset, folder: Path, configuration: str) -> None:
    """Everything at once, so that an interrupted run leaves the folder as it was."""
    selection = replace(selection, date=now())  # for the report too
    with atomic_folder(folder) as partial:
        selection.save(partial)
        (partial / "config.yaml").write_text(configuration, "utf-8")
        write_yaml(partial / "splits.yaml", split_record(target))
        write_selection_report(selection, pool, target, partial / "report.html", finetune_command(folder))


def _clear(folder: Path, console: Console) -> None:
    freed = ProbeCache(folder).clear()
    console.print(f"Emptied the cache {folder}: {freed / _GIGABYTE:.3f} GB.")


@contextmanager
def _process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes that torchrun started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


class _Bar:
    """Shows one task after the other."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far one task is."""
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(one_line(what), total=total)
        self.progress.update(self.tasks[what], completed=done, total=total)


@contextmanager
def _progress_bar() -> Iterator[_Bar | None]:
    console = make_console(stderr=True)
    if only_helps() or not console.is_terminal:  # a hidden bar of older rich still prints an empty line
        yield None
        return
    what = TextColumn("{task.description}", markup=False)
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress)
