"""What selecting does within budgets, at its limits, and when it is interrupted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from muster.cancel import Cancelled, CancelToken
from muster.data import Dataset, channel_statistics
from muster.errors import ConfigError, SelectionError
from muster.metrics import OsbornMember, osborn_of_candidates, pairwise_conditional_entropy
from muster.metrics.metric_spec import parse_metric
from muster.pool import Pool
from muster.report.wording import search_sentence, size_sentence
from muster.scoring import PredictionStore
from muster.scoring.prediction_writer import PredictionWriter
from muster.scoring.ranking import Ranking
from muster.search.result import SearchResult, SearchStatus
from muster.selection import (
    Selection,
    bootstrap_confidence,
    candidate_scoring,
    hard_subsets,
    search_runner,
)
from muster.selection.member_scoring import ScoredMembers
from muster.selection.run import select
from muster.selection.search_runner import Budget, require_searchable
from muster.tasks.source_sample import sample_source
from tests.helpers import make_member, make_target, shown

OPTIONS: dict[str, Any] = {
    "size": 2, "pixels_per_image": 40, "cache_gb": 0.0, "batch_size": 4, "resamples": 0, "predictor": "eep"
}  # fmt: skip
osborn_module = import_module("muster.metrics.osborn")  # the package has the function by that name
HARD = ("e_leep+haste_cs", "iou_eep+haste_cs")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder, source = tmp_path_factory.mktemp("pool"), make_target(4, name="elsewhere")
    statistics = channel_statistics(source.train)
    for seed, name in enumerate("abcd"):
        architecture = "small_unet" if seed == 1 else "small_fpn"
        member = make_member(folder, name, seed, classes=3, dataset="elsewhere", architecture=architecture)
        sample = sample_source(member.load_model(), source.train, shown(statistics, 64), seed=seed)
        save_file(sample, member.folder / "source_sample.safetensors")
    return Pool.open(folder)


@pytest.fixture(scope="module")
def target() -> Dataset:
    return make_target(4)


@pytest.fixture(scope="module")
def parameters(pool: Pool) -> list[int]:
    return sorted(member.card.parameters for member in pool)


def interrupt_scoring(monkeypatch: pytest.MonkeyPatch, at_size: int) -> CancelToken:
    """As if Ctrl-C came when half of the pixels had been looked at."""
    score, token = candidate_scoring.score_ensembles, CancelToken()

    def interrupted(store: PredictionStore, labels: object, size: int, *rest: Any, cancel: CancelToken) -> Ranking:
        ranking = score(store, labels, size, *rest, cancel=cancel)
        if size != at_size:
            return ranking
        token.set()
        return Ranking(ranking.members, ranking.scores, 0.5)

    monkeypatch.setattr(candidate_scoring, "score_ensembles", interrupted)
    return token


def stop(*_: object, **__: object) -> None:
    raise Cancelled


def fail(*_: object, **__: object) -> None:
    raise ValueError("no two samples")


def test_sizes_that_cost_too_much_are_not_proposed(pool: Pool, target: Dataset, parameters: list[int]) -> None:
    options = {**OPTIONS, "size": "auto", "metrics": ()}
    chosen = select(pool, target, max_parameters=sum(parameters[:2]), **options)
    assert [step.size for step in chosen.sizes] == [1, 2]
    assert chosen.sizes_end == "budget"
    assert "No ensemble of 3 keeps within the budget." in size_sentence(chosen)
    assert not chosen.interrupted
    with pytest.raises(SelectionError, match="No candidate of 1 member keeps within"):
        select(pool, target, max_parameters=parameters[0] - 1, **options)


def test_says_what_sizes_cost(pool: Pool, target: Dataset, parameters: list[int], tmp_path: Path) -> None:
    options = {**OPTIONS, "size": "auto", "metrics": ()}
    by_parameters = select(pool, target, **options)
    assert by_parameters.cost_unit == "parameters"
    assert by_parameters.sizes[3].cost == sum(parameters)
    by_time = select(pool, target, max_inference_seconds=1e3, **options)
    assert by_time.cost_unit == "seconds"
    assert by_time.sizes[3].cost < 1e3
    by_time.save(tmp_path / "timed")
    assert Selection.load(tmp_path / "timed").cost_unit == "seconds"


@pytest.mark.parametrize(
    ("metric", "search", "members", "size", "budget", "message"),
    [
        ("e_leep", "exhaustive", 1000, 5, Budget(), "too many to score all. Use 'greedy' or 'beam'"),
        ("e_leep", "racing", 1000, 5, Budget(), "too many for 'racing'. Use 'greedy' or 'beam'"),
        ("e_leep", "auto", 1000, 5, Budget(10), "'beam' does not look at all .* use 'exhaustive', or drop the budget"),
        ("e_leep", "auto", 1000, "auto", Budget(10), "'beam' does not look at all"),
        ("e_leep", "greedy", 9, 2, Budget(None, 1.0), "'greedy' does not look at all 36 ensembles of 2"),
        ("logme", "exhaustive", 1000, 5, Budget(), "Use 'auto', which finds the best of a sum"),
        ("osborn", "auto", 1000, 5, Budget(), "Choose a smaller size, or choose by ms_leep"),
        ("e_leep+haste_cs", "auto", 1000, 5, Budget(), "Choose a smaller size, or choose by ms_leep"),
        ("e_leep", "auto", 9, 2, Budget(None, float("nan")), "max_inference_seconds: expected a positive number"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    metric: str, search: Any, members: int, size: Any, budget: Budget, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        require_searchable(parse_metric(metric), size, search, budget, members, 20)


@pytest.mark.parametrize(
    ("metric", "search", "members", "size", "budget"),
    [
        ("e_leep", "auto", 1000, 5, Budget()),
        ("base", "auto", 1000, 5, Budget()),
        ("ms_leep+haste_cs", "auto", 1000, 5, Budget()),
        ("osborn", "auto", 64, 3, Budget(10)),
        ("e_leep", "exhaustive", 64, "auto", Budget(10)),
        ("e_leep", "racing", 64, 3, Budget()),
    ],
)
def test_what_can_be_searched_is_not(metric: str, search: Any, members: int, size: Any, budget: Budget) -> None:
    require_searchable(parse_metric(metric), size, search, budget, members, 20)


@pytest.mark.parametrize("metric", ["base", "logme"])
def test_sums_over_members_need_no_list(
    pool: Pool, target: Dataset, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    options = {**OPTIONS, "metric": metric, "metrics": ("e_leep",)}
    whole = select(pool, target, **options)
    monkeypatch.setattr(search_runner, "MOST_LISTED", 3)
    monkeypatch.setattr(search_runner, "rank_all", None)
    chosen = select(pool, target, **options)
    assert (chosen.members, chosen.score, chosen.margin) == (whole.members, whole.score, whole.margin)
    assert (chosen.search.strategy, chosen.search.optimality) == ("greedy", "proven")
    assert chosen.search.bound == pytest.approx(chosen.score)
    assert search_sentence(chosen).startswith(f"The best ensemble of this size: {metric}")
    assert len(chosen.ranking) == 5  # all but the two worst members


def test_ctrl_c_among_the_sizes_keeps_those_scored_in_full(
    pool: Pool, target: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**OPTIONS, "size": "auto", "metrics": ("e_leep", "base")}
    cancel = interrupt_scoring(monkeypatch, at_size=3)
    chosen = select(pool, target, cancel=cancel, **options)
    assert [step.size for step in chosen.sizes] == [1, 2]
    assert chosen.sizes_end == "interrupted"
    assert "Ctrl-C came before all ensembles of 3 were scored." in size_sentence(chosen)
    assert chosen.interrupted
    assert chosen.fraction == 1
    assert chosen.dropped == {"e_leep": candidate_scoring.INTERRUPTED}
    assert set(chosen.ranking.scores) == {"base", "soft_iou_eep"}
    monkeypatch.undo()
    cancel = interrupt_scoring(monkeypatch, at_size=1)
    with pytest.raises(Cancelled):
        select(pool, target, cancel=cancel, **options)


@pytest.mark.parametrize("seen", [0.0, 0.5])
def test_ctrl_c_after_the_size_is_known_keeps_the_proposal(
    pool: Pool, target: Dataset, monkeypatch: pytest.MonkeyPatch, seen: float
) -> None:
    options = {**OPTIONS, "size": "auto", "metrics": ("e_leep",)}
    whole, rank, cancel = select(pool, target, **options), search_runner.rank_all, CancelToken()

    def interrupted(*given: Any) -> Ranking:
        ranking = rank(*given)
        if len(given[2]) == 1:
            return ranking
        cancel.set()
        if not seen:
            raise Cancelled
        return Ranking(ranking.members, ranking.scores, seen)

    monkeypatch.setattr(search_runner, "rank_all", interrupted)
    chosen = select(pool, target, cancel=cancel, **options)
    assert (chosen.members, chosen.score, chosen.sizes) == (whole.members, whole.score, whole.sizes)
    assert chosen.interrupted
    assert chosen.fraction == 1
    assert set(chosen.dropped) == {"e_leep"}


def test_an_interrupted_search_says_so(
    pool: Pool, target: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = SearchStatus("racing", 6, 4, completeness="interrupted", fraction=0.5)

    def interrupted(*_: object, cancel: CancelToken, **__: object) -> SearchResult:
        cancel.set()
        return SearchResult("soft_iou_eep", (0, 2), 0.1, (((0, 2), 0.1),), status)

    monkeypatch.setitem(search_runner._METHODS, "racing", interrupted)
    chosen = select(pool, target, search="racing", metrics=("base", *HARD), **OPTIONS)
    assert chosen.interrupted
    assert chosen.members == ("a", "c")
    assert chosen.search == status
    assert search_sentence(chosen).startswith("The search was interrupted (4 sets were looked at)")
    assert set(chosen.dropped) == set(HARD)
    chosen.save(tmp_path / "chosen")
    loaded = Selection.load(tmp_path / "chosen")
    assert (loaded.interrupted, loaded.search) == (True, status)
    status = SearchStatus("racing", 6, 4, "bounded", 0.4, completeness="interrupted")
    bounded = select(pool, target, search="racing", metrics=(), **OPTIONS)
    assert "only a bound is known. No ensemble of this size scores above 0.4" in search_sentence(bounded)


@pytest.mark.parametrize("search", ["exhaustive", "greedy", "beam", "racing"])
def test_a_search_cancelled_at_once_gives_nothing_or_something_whole(pool: Pool, target: Dataset, search: Any) -> None:
    cancel = CancelToken()
    cancel.set()
    try:
        chosen = select(pool, target, search=search, metrics=(), cancel=cancel, **OPTIONS)
    except Cancelled:
        return
    assert chosen.interrupted or chosen.search.completeness == "complete"
    assert len(chosen.members) == 2


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_hard_subsets_are_left_out_after_ctrl_c(
    pool: Pool, target: Dataset, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    if when == "before":
        cancel = interrupt_scoring(monkeypatch, at_size=2)
        monkeypatch.setattr(candidate_scoring, "score_hard", None)
    else:
        cancel = CancelToken()
        monkeypatch.setattr(candidate_scoring, "score_hard", stop)
    chosen = select(pool, target, metrics=("base", *HARD), cancel=cancel, **OPTIONS)
    assert chosen.interrupted
    assert chosen.fraction == (0.5 if when == "before" else 1)
    assert chosen.dropped == dict.fromkeys(HARD, candidate_scoring.INTERRUPTED)
    with pytest.raises(Cancelled):
        select(pool, target, metric=HARD[0], metrics=("e_leep",), cancel=cancel, **OPTIONS)


def test_scoring_hard_subsets_ends_between_two_candidates(pool: Pool, target: Dataset) -> None:
    cancel = CancelToken()

    def press(what: str, done: int, total: int) -> None:
        if what == "scoring hard subsets" and done == total // 2 + 1:
            cancel.set()

    chosen = select(pool, target, metrics=HARD, progress=press, cancel=cancel, **OPTIONS)
    assert chosen.interrupted
    assert chosen.fraction == 1
    assert chosen.dropped == {HARD[1]: candidate_scoring.INTERRUPTED}


def test_ctrl_c_while_predictions_are_read_again_keeps_the_choice(
    pool: Pool, target: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap_confidence, "_resampled", stop)
    assert select(pool, target, metrics=(), **{**OPTIONS, "resamples": 40}).bootstrap_confidence is None


def test_fewer_candidates_are_compared_where_memory_is_short(
    pool: Pool, target: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**OPTIONS, "resamples": 40, "metrics": ()}
    whole, short = select(pool, target, **options), select(pool, target, memory_gb=0.0, **options)
    assert whole.bootstrap_confidence is not None
    assert short.bootstrap_confidence is not None
    assert (
        len(whole.bootstrap_confidence.selection_frequency),
        len(short.bootstrap_confidence.selection_frequency),
    ) == (6, 2)
    top, bytes_of = np.array([[0, 1], [0, 2], [1, 2], [0, 3]]), [10, 10, 10, 10]
    assert [bootstrap_confidence._affordable(top, bytes_of, n * 1e-9) for n in (0, 29, 30, 39, 40)] == [
        2,
        2,
        3,
        3,
        4,
    ]


@pytest.mark.parametrize(
    ("where", "name", "metric"),
    [
        (osborn_module, "couple", "osborn"),
        (hard_subsets, "mahalanobis_hardness", HARD[0]),
        (hard_subsets, "mahalanobis_hardness", "leep+haste_cs"),
    ],
)
def test_what_fails_for_a_member_is_left_out(
    pool: Pool, target: Dataset, monkeypatch: pytest.MonkeyPatch, where: object, name: str, metric: str
) -> None:
    monkeypatch.setattr(where, name, fail)
    with pytest.warns(UserWarning, match="is left out: .*for member 'a'.*: no two samples"):
        chosen = select(pool, target, metrics=("e_leep", metric), **OPTIONS)
    assert list(chosen.dropped) == [metric]
    assert set(chosen.ranking.scores) == {"e_leep", "soft_iou_eep"}
    with pytest.raises(SelectionError, match="cannot be chosen by"):
        select(pool, target, metric=metric, metrics=(), **OPTIONS)


def test_only_members_that_occur_are_compared_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, compared = np.random.default_rng(0), list[int]()
    predicted = generator.integers(0, 4, (6, 200))
    costs = [(float(d), float(t)) for d, t in generator.uniform(0, 1, (6, 2))]
    rows = np.array([[1, 4], [1, 5]])
    members = [OsbornMember(*cost, predictions) for cost, predictions in zip(costs, predicted, strict=True)]
    scored = ScoredMembers(compared={"osborn": members})
    expected = osborn_of_candidates(*np.array(costs).T, pairwise_conditional_entropy(predicted, 4), rows)

    def counted(predictions: Any, num_classes: int) -> Any:
        compared.append(len(predictions))
        return pairwise_conditional_entropy(predictions, num_classes)

    monkeypatch.setattr(osborn_module, "pairwise_conditional_entropy", counted)
    found = candidate_scoring._combined(parse_metric("osborn"), rows, 4, scored)
    assert found == pytest.approx(-expected.total, rel=1e-12)
    assert compared == [3]


def test_hard_subsets_are_read_once_and_progress_is_told(
    pool: Pool, target: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions, read = PredictionStore.predictions, list[int]()
    told: list[tuple[str, int, int]] = []

    def counted(self: PredictionStore, member: int) -> torch.Tensor:
        read.append(member)
        return predictions(self, member)

    monkeypatch.setattr(PredictionStore, "predictions", counted)
    select(pool, target, metrics=HARD, hard_eep="whole", progress=lambda *what: told.append(what), **OPTIONS)
    assert read[:4] == [0, 1, 2, 3]
    assert len(read) == 4 + 2  # and the chosen ones
    assert [done for what, done, _ in told if what == "scoring hard subsets"] == list(range(1, 13))
    assert ("scoring hard subsets", 12, 12) in told


def collect(folder: Path | None) -> tuple[PredictionStore, Callable[[], bool]]:
    predicted, labels = torch.rand(50, 3), torch.arange(50) % 3
    with PredictionWriter(labels, 3, 1, 0.0, folder) as writer:
        writer.add(predicted)
        store = writer.store()
        assert torch.equal(store.predictions(0), predicted)
        written = writer._written
    assert written is not None
    return store, written.exists


def test_a_folder_that_cannot_be_used_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="file cannot be used"):
        _, exists = collect(tmp_path / "file")
    assert not exists()


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    old, recent = tmp_path / "muster-store-old", tmp_path / "muster-store-recent"
    for folder in (old, recent, tmp_path / "mine"):
        (folder / "store").mkdir(parents=True)
    before = time.time() - 8 * 24 * 60 * 60
    for path in (old / "store", old, recent, tmp_path / "mine"):
        os.utime(path, (before, before))
    collect(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "muster-store-recent"]
