"""The steps of a study: scores first, then the fits of all members, seed by seed, and what is made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import product

from muster.data import ImageSize
from muster.execution.executor import Job
from muster.files import to_builtin_types
from muster.metrics.hard_subsets import DEFAULT_FRACTION
from muster.pool import Member
from muster.selection.probing import usual_image_size
from muster.study import distances, evaluation, fits, heads, scores, sweeps
from muster.study.cells import Cell, kind_of
from muster.study.distances import DistancesJob, FeaturesJob
from muster.study.evaluation import EvaluationJob
from muster.study.fits import FitJob
from muster.study.heads import HeadJob
from muster.study.plan import StudyPlan
from muster.study.protocols import a22_members, best_ensemble, chosen_members
from muster.study.results import StudyJob, read_table
from muster.study.schedule import Step
from muster.study.scores import ScoreJob
from muster.study.sweeps import SweepJob, part_name, parts_of

_ALONE = ("leep",)


def phases_of(plan: StudyPlan) -> Iterator[tuple[str, list[Step]]]:
    """What is to be done, in parts of which one must end before the next one is asked for.

    Args:
        plan: If it fine-tunes a part of the members only, which ones depends on their scores.

    Yields:
        A headline, and the steps.
    """
    if plan.settings.candidates == "all":
        yield "Scores, fine-tuning and results", list(_all_steps(plan))
    else:
        scored = [step for cell in plan.cells for step in _score_steps(plan, cell)]
        yield "Scores", [*scored, *_distance_steps(plan)]
        yield "Fine-tuning and results", list(_result_steps(plan))


def _all_steps(plan: StudyPlan) -> Iterator[Step]:
    """Cell by cell, so that what is known of the first ones can be looked at while the others go on."""
    first, *others = plan.settings.finetuning_seeds
    for cell in plan.cells:
        yield from _score_steps(plan, cell)
        yield from _steps_of_run(plan, cell, first)
    yield from _distance_steps(plan)
    for seed in others:
        for cell in plan.cells:
            yield from _steps_of_run(plan, cell, seed)
    yield from _sweep_steps(plan)


def _score_steps(plan: StudyPlan, cell: Cell) -> Iterator[Step]:
    """Scores of all candidates, for every seed of the probe pixels."""
    for seed in plan.settings.probe_seeds:
        yield _score_step(plan, cell, seed, plan.members[cell.target], large=False)
        if plan.large[cell.target]:
            yield _score_step(plan, cell, seed, plan.large[cell.target], large=True)


def _score_step(plan: StudyPlan, cell: Cell, seed: int, members: Sequence[Member], large: bool) -> Step:
    job = _score_job(plan, cell, seed, members, large)
    name = _score_name(cell, seed, large)
    units = len(members) * len(plan.settings.predictors)
    return Step(name, partial(_job, name, scores.TASK, job), job.is_done, (), units, kind="scores")


def _score_job(plan: StudyPlan, cell: Cell, seed: int, members: Sequence[Member], large: bool) -> ScoreJob:
    settings = plan.settings
    return ScoreJob(
        cell=plan.cell_file(cell),
        members=tuple(member.folder for member in members),
        checksums=tuple(member.card.checksum for member in members),
        sizes=(1,) if large else settings.all_sizes,
        metrics=_ALONE if large else settings.metrics,
        predictors=settings.predictors,
        pixels_per_image=settings.pixels_per_image,
        seed=seed,
        hard_fraction=DEFAULT_FRACTION,
        hardness_model=None if large else settings.hardness_model or None,
        device=plan.hardware.device,
        folder=plan.scores_folder(cell, seed, large),
        train_images=settings.probe_images,
        shows_hard=not large and seed == settings.probe_seeds[0],
    )


def _score_name(cell: Cell, seed: int, large: bool) -> str:
    return f"{cell.name} {'large pool, ' if large else ''}scores with probe seed {seed}"


def _result_steps(plan: StudyPlan) -> Iterator[Step]:
    """Fits, evaluations and heads: seed by seed, cell by cell.

    Where rates are to be chosen, one member of each kind of network and pre-training chooses for all of its kind.
    """
    for seed in plan.settings.finetuning_seeds:
        for cell in plan.cells:
            yield from _steps_of_run(plan, cell, seed)
    yield from _sweep_steps(plan)


def _sweep_steps(plan: StudyPlan) -> Iterator[Step]:
    """Scores with other settings of the probe, of the members whose ensembles are compared; last, as nothing waits."""
    for cell, seed in product(plan.cells, plan.settings.probe_seeds):
        for setting, values in parts_of(plan.settings, cell):
            yield _sweep_step(plan, cell, seed, setting, values)


def _sweep_step(plan: StudyPlan, cell: Cell, seed: int, setting: str, values: tuple[float, ...]) -> Step:
    part, settings = part_name(setting, values), plan.settings
    members = members_to_fit(plan, cell)
    job = SweepJob(
        cell=plan.cell_file(cell),
        folder=plan.sweep_folder(cell, seed, part),
        setting=setting,
        values=values,
        sweeps=settings.sweeps,
        scores=replace(
            _score_job(plan, cell, seed, members, large=False),
            sizes=tuple(sorted({1, settings.size})),
            shows_hard=False,
        ),
    )
    name, units = f"{cell.name} {part} with probe seed {seed}", len(members) * len(settings.predictors) * len(values)
    return Step(
        name, partial(_job, name, sweeps.TASK, job), job.is_done, (), units, kind=f"scores with other {setting}"
    )


def _steps_of_run(plan: StudyPlan, cell: Cell, seed: int) -> Iterator[Step]:
    members = members_to_fit(plan, cell)
    together = (*members, *alone_to_fit(plan, cell))
    fitted = [_fit_step(plan, cell, seed, member, together) for member in together]
    yield from fitted
    yield (evaluated := _evaluation_step(plan, cell, seed, together, [step.name for step in fitted]))
    if plan.settings.heads:
        yield _head_step(plan, cell, seed, members, evaluated.name)


def members_to_fit(plan: StudyPlan, cell: Cell) -> tuple[Member, ...]:
    """The members whose ensembles are compared on a cell.

    Args:
        plan: Says by which protocol.
        cell: Its scores must be there if the protocol asks for them.
    """
    members = plan.members[cell.target]
    if plan.settings.candidates == "all":
        return members
    table = read_table(plan.scores_folder(cell, plan.settings.probe_seeds[0]), "scores")
    if not len(table):
        return ()
    if plan.settings.candidates == "a22":
        names = a22_members(table, plan.settings.size, cell.subset_seed)
    else:
        names = chosen_members(table, [plan.settings.chooser(text) for text in plan.settings.heads], plan.settings.size)
    return tuple(member for member in members if member.name in names)


def alone_to_fit(plan: StudyPlan, cell: Cell) -> tuple[Member, ...]:
    """The members that are compared on a cell as single models only.

    Args:
        plan: Where only what is chosen is fine-tuned, of the large pool the best by LEEP is (B1L).
        cell: Its scores must be there in that case.
    """
    alone = plan.alone(cell.target)
    if plan.settings.candidates != "chosen":
        return alone
    table = read_table(plan.scores_folder(cell, plan.settings.probe_seeds[0], large=True), "scores")
    predictors = {plan.settings.chooser(text)[0] for text in plan.settings.heads}
    best = [best_ensemble(table, predictor, *_ALONE, 1) for predictor in predictors] if len(table) else []
    names = {name for members in best for name in members}
    capped = plan.capped[cell.target]
    return tuple(member for member in alone if member.name in names or member in capped)


def _fit_step(plan: StudyPlan, cell: Cell, seed: int, member: Member, members: Sequence[Member]) -> Step:
    settings, first_seed = replace(plan.training_of(cell), seed=seed), plan.settings.finetuning_seeds[0]
    chooser = next(other.name for other in members if _kind(other) == _kind(member))
    takes_over = bool(settings.tried_rates) and (chooser != member.name or seed != first_seed)
    job = FitJob(
        cell=plan.cell_file(cell),
        member=member.folder,
        checksum=member.card.checksum,
        settings=settings,
        rate_of=str(plan.fit_folder(cell, first_seed, chooser)) if takes_over else "",
        hardware=plan.hardware,
        folder=plan.fit_folder(cell, seed, member.name),
    )
    name = _fit_name(cell, seed, member.name)
    after = (_fit_name(cell, first_seed, chooser),) if takes_over else ()
    units = settings.steps if takes_over else settings.total_steps
    return Step(
        name, partial(_job, name, fits.TASK, job), job.is_done, after, units, kind=f"fits of {member.card.architecture}"
    )


def _kind(member: Member) -> tuple[str, str]:
    """Members of one kind learn with one rate."""
    return member.card.architecture, member.card.pretraining


def _fit_name(cell: Cell, seed: int, member: str) -> str:
    return f"{cell.name} seed {seed} {member}"


def _evaluation_step(plan: StudyPlan, cell: Cell, seed: int, members: Sequence[Member], after: Sequence[str]) -> Step:
    job = EvaluationJob(
        cell=plan.cell_file(cell),
        fits={member.name: plan.fit_folder(cell, seed, member.name) for member in members},
        alone=tuple(member.name for member in alone_to_fit(plan, cell)),
        sizes=plan.settings.all_sizes,
        seed=seed,
        hardware=plan.hardware,
        folder=plan.results_folder(cell, seed),
    )
    name, units = f"{cell.name} seed {seed} results of all ensembles", len(plan.datasets[cell.target].test)
    return Step(name, partial(_job, name, evaluation.TASK, job), job.is_done, tuple(after), units, True, "results")


def _head_step(plan: StudyPlan, cell: Cell, seed: int, members: Sequence[Member], evaluated: str) -> Step:
    name = f"{cell.name} seed {seed} heads of the choices"
    make = partial(_head_job, plan, cell, seed, members)  # once the scores say which are chosen
    after = [evaluated]
    if plan.settings.candidates == "all":
        after.append(_score_name(cell, plan.settings.probe_seeds[0], large=False))
    settings = plan.settings
    units = len(settings.heads) + settings.equal_cost * (settings.size + 2) * plan.training_of(cell).steps  # two trials
    return Step(
        name,
        lambda: _job(name, heads.TASK, make()),
        lambda: make().is_done(),
        tuple(after),
        units,
        adds_results=True,
        kind="heads",
    )


def _head_job(plan: StudyPlan, cell: Cell, seed: int, members: Sequence[Member]) -> HeadJob:
    settings = plan.settings
    names = {member.name: member for member in members}
    table = read_table(plan.scores_folder(cell, settings.probe_seeds[0]), "scores")
    table = table[table["members"].map(lambda text: set(text.split()) <= names.keys())] if len(table) else table
    choosers = [settings.chooser(text) for text in settings.heads] if len(table) else []
    choices = [best_ensemble(table, *chooser, settings.size) for chooser in choosers]
    # B1 too: a head lifts a single member as well, and without that an ensemble's head would look like its merit.
    choices += [best_ensemble(table, predictor, "leep", 1) for predictor, _ in choosers]
    alone = best_ensemble(table, *choosers[0], 1) if choosers and settings.equal_cost else ()
    rival = alone[0] if alone else ""
    return HeadJob(
        cell=plan.cell_file(cell),
        fits={name: plan.fit_folder(cell, seed, name) for name in names},
        choices=tuple(choice for choice in choices if choice),
        rival=rival,
        rival_folder=names[rival].folder if rival else plan.output,
        training=replace(plan.training_of(cell), seed=seed),
        head=plan.head,
        hardware=plan.hardware,
        folder=plan.heads_folder(cell, seed),
    )


def _distance_steps(plan: StudyPlan) -> Iterator[Step]:
    """Features of each dataset's images, and what they say of all datasets together."""
    if (network := plan.network) is None:
        return
    size = ImageSize.of(plan.settings.image_size or usual_image_size([network])).setting
    images, device = plan.settings.distance_images, plan.hardware.device
    names = {dataset: f"images of {dataset}" for dataset in plan.compared}
    for name, dataset in plan.compared.items():
        job = FeaturesJob.of(dataset, images, network, size, device, plan.features_folder(name))
        yield Step(names[name], partial(_job, names[name], distances.FEATURES_TASK, job), job.is_done, kind="images")
    together = DistancesJob(
        features={name: plan.features_folder(name) for name in plan.compared},
        domains={name: dataset.spec.domain for name, dataset in plan.compared.items()},
        targets=tuple(plan.datasets),
        member=network.name,
        kind=kind_of(network.card),
        folder=plan.distances_folder,
    )
    name = "distances between datasets"
    make = partial(_job, name, distances.TASK, together)
    yield Step(name, make, together.is_done, tuple(names.values()), 1, True, "distances")


def _job(name: str, task: str, content: StudyJob) -> Job:
    return Job(name, task, json.dumps(to_builtin_types(asdict(content))), content.work)
