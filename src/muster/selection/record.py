"""A selection: the ensemble that was chosen for a target, with everything that explains why.

On disk it is a folder: ``selection.yaml`` (:class:`SelectionRecord`) and ``ranking.parquet`` (one row per candidate,
best first: ``rank``, ``member_1`` to ``member_S``, then one column of scores per metric).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from muster.data import ChannelStatistics, DatasetSpec, ImageSize, Preprocessing
from muster.data.spec import FIRST_TASK
from muster.errors import ConfigError, SelectionError
from muster.files import to_builtin_types
from muster.machine import now
from muster.output_kinds import SELECTION
from muster.outputs import replaced, require_apart, require_ours
from muster.records import parse_record, read_record, write_record
from muster.remote import fetched
from muster.scoring.ranking import Ranking
from muster.search.result import SearchStatus
from muster.selection.hard_views import HardView
from muster.selection.image_predictions import ImagePredictor
from muster.selection.record_parts import (
    BootstrapConfidence,
    ForeseenHeads,
    Guessing,
    Prefilter,
    ProbeRecord,
    SizesEnd,
    SizeStep,
)
from muster.tasks.task import TASKS, Task

if TYPE_CHECKING:
    import pandas

FORMAT_VERSION = 2
"""Version of the layout of a selection folder."""

RECORD = "selection.yaml"
RANKING = "ranking.parquet"


@dataclass(frozen=True)
class SelectionRecord:
    """What ``selection.yaml`` holds: plain values only.

    Attributes:
        target: Name of the target dataset.
        target_reference: What :func:`muster.data.open_dataset` takes to open it: worlds/NAME, or a folder's path,
            relative to ``data_root`` if it lies below that and absolute otherwise.
        classes: The target's label space.
        task: What is predicted of it, see :mod:`muster.tasks.task`.
        train_images: Identifiers of the target training images that were used.
        void_images: Those among them without a labelled pixel; they contributed nothing.
        mean: Channel means of these images, of pixels scaled to 0..1.
        std: Channel standard deviations, likewise.
        image_size: Size at which members saw the images and are to be fine-tuned, as :meth:`muster.data.ImageSize.of`
            reads it; members with a preprocessing of their own saw them in that way.
        pool: The pool's folder, absolute.
        size: Members per candidate.
        metric: What the ensemble was chosen by.
        members: The chosen members, in ascending order of names.
        score: Their score under ``metric``; larger is better.
        margin: Their score minus that of the next candidate; ``None`` if there is no other.
        class_ious: IoU of each target class that the chosen members' EEPs reach on the probe set: SoftIoU-EEP's, or
            IoU-EEP's if that is the metric; where whole images are classified, the accuracy of each class. ``None`` for
            a class without a probe pixel.
        choices: The best candidate under each metric.
        single_best: The best single member by LEEP of what the predictor makes of it (baseline B1).
        member_scores: That LEEP of every eligible member, in the order of the pool; MS-LEEP is a sum of these.
        scores_alone: Score of each of them by ``metric`` as an ensemble of one; none in a record of before or by
            OSBORN, or if the work was cancelled.
        excluded: The other members of the pool, with the reason why they are no candidates.
        probe: How the probe set was made.
        versions: Software it was made with.
        predictor: What turned members into classifiers of the target's classes: ``eep`` or ``linear_probe``.
        search: How candidates were looked for, and how far the chosen one can be from the best.
        fraction: Share of the probe pixels that ensemble metrics rest on; less than 1 if the work was cancelled.
        single_scores: For each metric of single members, the score of every member that has one.
        dropped: Metrics that could not be computed, with the reason.
        sizes: The best ensemble of each size, if muster chose the size.
        sizes_end: Why no larger size was looked at, likewise.
        least_gain: What a member had to add to be worth its cost, as a share of the best single one's score, likewise;
            see :mod:`muster.search.size`.
        bootstrap_confidence: How sure the choice is; ``None`` if that was not asked for or cannot be computed.
        interrupted: Whether the work was cancelled before everything was computed: the search, or a metric.
        cost_unit: Unit of the costs in ``sizes``: ``parameters``, or ``seconds`` for an image if those are limited.
        data_root: Absolute path of the folder that ``target_reference`` is relative to; empty if it is not relative.
        train_contents: Content prefix of each of ``train_images``, see :mod:`muster.data.content`; none if the target
            does not know them, or the selection is from before they were written down.
        checksums: SHA-256 of the weights of every eligible member; none in a selection from before.
        guessing: How the members compare with guessing; ``None`` in a record of before, or with a single class.
        foreseen_heads: What the leading candidates score with a head; ``None`` if that was not asked for.
        hardness_models: For metrics on hard subsets: by wrapper, ``haste_ca`` or ``haste_cs``, and by source dataset,
            the member that decided what is hard.
        hard_eep: For ensemble metrics on hard subsets: what was read there. ``recount``: EEPs counted anew on the union
            of the hard subsets; ``whole``: those of the whole probe set; ``held out``: the linear probe's
            predictions, each of an image that it was not fitted on. Empty if there was no such metric.
        hard_fraction: Which part of the probe set counted as hard; ``None`` if no metric asked, or in a record of
            before, as in what follows.
        hardness_model: The members or architectures that were named to say which part that is; none by default.
        l_max: Layers of a network that added 1 to its score; ``None`` if no metric asked.
        reference: Absolute folder of the member trained on the target that metrics compared with, or ``train:`` and the
            architecture of one that was trained on the probe images; empty if none did.
        max_parameters: Most parameters that an ensemble could have; ``None`` for no limit.
        max_inference_seconds: Most seconds that its members could take for one image, likewise.
        resamples: Bootstrap samples that were asked for.
        foresee_heads: How many leading candidates were to be scored with a head.
        device: What members ran on.
        precision: Their precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``; empty in a record of before.
        date: When it was written, ISO 8601; empty before that, so that equal choices are equal.
        preprocessings: The preprocessing of every eligible member that has one of its own.
        prefilter: How members were passed over by what they make of some of the images; ``None`` if none was to be.
    """

    target: str
    target_reference: str
    classes: tuple[str, ...]
    train_images: tuple[str, ...]
    void_images: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int | str
    pool: str
    size: int
    metric: str
    members: tuple[str, ...]
    score: float
    margin: float | None
    class_ious: tuple[float | None, ...]
    choices: dict[str, tuple[str, ...]]
    single_best: str
    member_scores: dict[str, float]
    excluded: dict[str, str]
    probe: ProbeRecord
    versions: dict[str, str]
    search: SearchStatus
    predictor: str = "eep"
    scores_alone: dict[str, float] = field(default_factory=dict)
    fraction: float = 1.0
    single_scores: dict[str, dict[str, float]] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    sizes: tuple[SizeStep, ...] = ()
    sizes_end: SizesEnd | None = None
    least_gain: float | None = None
    bootstrap_confidence: BootstrapConfidence | None = None
    interrupted: bool = False
    cost_unit: str = "parameters"
    data_root: str = ""
    train_contents: tuple[str, ...] = ()
    checksums: dict[str, str] = field(default_factory=dict)
    guessing: Guessing | None = None
    foreseen_heads: ForeseenHeads | None = None
    hardness_models: dict[str, dict[str, str]] = field(default_factory=dict)
    hard_eep: str = ""
    hard_fraction: float | None = None
    hardness_model: tuple[str, ...] = ()
    l_max: float | None = None
    reference: str = ""
    max_parameters: int | None = None
    max_inference_seconds: float | None = None
    resamples: int = 0
    foresee_heads: int = 0
    device: str = ""
    precision: str = ""
    date: str = ""
    preprocessings: dict[str, Preprocessing] = field(default_factory=dict)
    task: str = FIRST_TASK
    prefilter: Prefilter | None = None

    @property
    def words(self) -> Task:
        """What results and units are called as the selection sees them."""
        task = TASKS[self.task]
        return TASKS[task.selected_as or task.name]

    @property
    def spec(self) -> DatasetSpec:
        """What is known of the target without opening it."""
        return DatasetSpec(self.target, "", self.classes, channels=len(self.mean), task=self.task)

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are shown to members without a preprocessing of their own."""
        return Preprocessing(ChannelStatistics(self.mean, self.std), ImageSize.of(self.image_size))

    @property
    def member_names(self) -> tuple[str, ...]:
        """The eligible members in the order of the pool: what the ranking's indices point into."""
        return tuple(self.member_scores)

    def to_mapping(self) -> dict[str, Any]:
        """The record in lists, dictionaries, strings and numbers only."""
        content: dict[str, Any] = to_builtin_types({f.name: getattr(self, f.name) for f in fields(SelectionRecord)})
        return content

    @staticmethod
    def from_mapping(content: Mapping[str, Any], where: str) -> SelectionRecord:
        """Read what :meth:`to_mapping` gave.

        Args:
            content: The mapping.
            where: What to call it in messages.

        Returns:
            The record.

        Raises:
            SelectionError: If a key is unknown, missing, or has a value of a wrong type, or names do not go together.
        """
        # A copy, because the parser turns inner lists into tuples in place.
        return _consistent(parse_record(to_builtin_types(content), SelectionRecord, where, SelectionError), where)


@dataclass(frozen=True)
class Selection(SelectionRecord):
    """The chosen ensemble with the ranking of all candidates.

    Attributes:
        ranking: All candidates with all scores; its indices point into :attr:`member_names`.
        on_images: For each chosen member what makes target predictions of it on whole images, for reports. Not
            written to disk: empty in a loaded selection.
        hard_views: What there is to show of hard subsets, likewise.
        seconds: How long each metric of single members took for all members, and by wrapper (``haste_ca``) how long it
            took to find what is hard, likewise.
    """

    ranking: Ranking = field(kw_only=True)
    on_images: Mapping[str, ImagePredictor] = field(default_factory=dict)
    hard_views: tuple[HardView, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def names_of(self, candidate: int) -> tuple[str, ...]:
        """Names of the members of one row of the ranking."""
        names = self.member_names
        return tuple(names[int(index)] for index in self.ranking.members[candidate])

    def save(self, folder: Path | str) -> Path:
        """Write the selection to a folder of its own, whole or not at all.

        Args:
            folder: Created, or replaced if it holds a selection.

        Returns:
            The path of ``selection.yaml``.

        Raises:
            SelectionError: If the folder holds something else, which would be lost, lies in the pool or the target, or
                another process is at work there.
            OutputError: If it cannot be written.
        """
        path = Path(folder)
        target = self.target_reference if not self.data_root else str(Path(self.data_root) / self.target_reference)
        require_apart(path, {"pool": self.pool, "target": target}, "The folder", SelectionError)
        with replaced(path, SELECTION, SelectionError) as partial:
            record = SelectionRecord(**{f.name: getattr(self, f.name) for f in fields(SelectionRecord)})
            record = replace(record, date=record.date or now())
            self.to_table().to_parquet(partial / RANKING, index=False)
            write_record(partial / RECORD, record, FORMAT_VERSION)
        return path / RECORD

    def to_table(self) -> pandas.DataFrame:
        """The ranking as a table: one row per candidate, best first; see the module's description."""
        import pandas

        order = self.ranking.order(self.metric)
        names = np.asarray(self.member_names, dtype=object)[self.ranking.members[order]]
        columns: dict[str, Any] = {"rank": np.arange(1, len(order) + 1)}
        columns |= {f"member_{place + 1}": names[:, place] for place in range(self.size)}
        columns |= {metric: scores[order] for metric, scores in self.ranking.scores.items()}
        return pandas.DataFrame(columns)

    @classmethod
    def load(cls, folder: Path | str) -> Selection:
        """Read a selection back.

        Args:
            folder: What :meth:`save` wrote, or the ``selection.yaml`` in it.

        Returns:
            The selection, without ``on_images``.

        Raises:
            SelectionError: If a file is missing, unreadable, or does not go with the other.
        """
        path = Path(folder)
        path = fetched(path.parent if path.name == RECORD else path, SelectionError)
        if not path.is_dir() or not ((path / RECORD).exists() or (path / RECORD).is_symlink()):
            what = f"holds no {RECORD}" if path.is_dir() else "is not a folder"
            raise SelectionError(f"{path} {what}. Give the folder that select.py wrote, with {RECORD} in it.")
        record = read_record(path / RECORD, SelectionRecord, FORMAT_VERSION, SelectionError)
        record = _consistent(record, str(path / RECORD))
        return cls(**vars(record), ranking=_read_ranking(path / RANKING, record))


def require_replaceable(folder: Path) -> None:
    """Check that writing a selection to a folder would not delete anything but an older selection.

    Args:
        folder: It may be missing or empty.

    Raises:
        SelectionError: If it is a file, or holds what muster did not write as a selection.
    """
    require_ours(folder, SELECTION, SelectionError)


def _consistent(record: SelectionRecord, where: str) -> SelectionRecord:
    """Refuse a record whose names point nowhere."""
    named = {*record.members, record.single_best, *(name for names in record.choices.values() for name in names)}
    if unknown := sorted(named - set(record.member_scores)):
        raise SelectionError(f"{where}: {', '.join(unknown)} chosen, but not among member_scores.")
    if len(set(record.members)) != record.size:
        raise SelectionError(f"{where}: expected {record.size} different members, but got {', '.join(record.members)}.")
    if record.train_contents and len(record.train_contents) != len(record.train_images):
        raise SelectionError(
            f"{where}: expected one of train_contents for each of {len(record.train_images)} train_images, "
            f"but got {len(record.train_contents)}."
        )
    try:
        ImageSize.of(record.image_size)
    except ConfigError as error:
        raise SelectionError(f"{where}: {error}") from error
    if len(record.class_ious) != len(record.classes):
        raise SelectionError(
            f"{where}: expected one of class_ious for each of {len(record.classes)} classes, "
            f"but got {len(record.class_ious)}."
        )
    return record


def _read_ranking(path: Path, record: SelectionRecord) -> Ranking:
    """The ranking in the order of rows that :class:`Ranking` promises."""
    import pandas

    try:
        table = pandas.read_parquet(path)
    except FileNotFoundError:
        raise SelectionError(f"{path} does not exist. Run select.py again.") from None
    except (OSError, ValueError) as problem:  # pyarrow's errors are of these kinds
        raise SelectionError(f"{path} cannot be read as Parquet: {problem}. Run select.py again.") from problem
    places = {name: place for place, name in enumerate(record.member_names)}
    columns = [f"member_{place + 1}" for place in range(record.size)]
    metrics = [name for name in table.columns if name not in ("rank", *columns)]
    try:
        members = np.array([[places[name] for name in row] for row in table[columns].to_numpy()], dtype=np.int64)
        rows = np.lexsort(members.T[::-1])
        scores = {name: table[name].to_numpy(dtype=np.float64)[rows] for name in metrics}
        ranking = Ranking(members[rows], scores, record.fraction)
        ranking.order(record.metric)
    except (KeyError, ValueError) as problem:
        raise SelectionError(f"{path} does not go with {RECORD}: {problem}. Run select.py again.") from problem
    return ranking
