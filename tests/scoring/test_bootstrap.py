"""`bootstrap_top_k` and `ResampledScores`."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import METRICS, eep
from muster.metrics.registry import ENSEMBLE_METRICS
from muster.report.wording import confidence_sentence
from muster.scoring.bootstrap import Fixed, Refitted, ResampledScores, bootstrap_top_k
from muster.scoring.cpu import resampling
from muster.scoring.device import resampling as device_resampling
from muster.selection.bootstrap_confidence import as_record
from tests.scoring.compiled_metrics import COMPILED

Numbers = np.ndarray[Any, Any]

every_metric = pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
CANDIDATES = np.array([[0, 1], [4, 2], [1, 3], [0, 4]])
CLASSES = 6


class Problem:
    """Five members of 3 to 7 source classes, 12 images of unequal size, pixels in no order, labels without class 4."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.labels = generator.choice([0, 1, 2, 3, 5], size=240, p=[0.5, 0.2, 0.1, 0.1, 0.1])
        self.groups = generator.integers(0, 12, size=240) * 7 - 30
        self.probs = [generator.dirichlet(np.full(3 + member, 0.4), 240) for member in range(5)]
        # A source class with mass in one image only, so that it has none in resamples without that image.
        self.probs[1] = np.c_[self.probs[1], np.zeros(240)]
        self.probs[1][self.groups == -30] = np.eye(5)[4]
        self.images = np.unique(self.groups)

    def resamples(self, count: int, seed: int) -> list[Numbers]:
        """Places of the pixels of each resample, every image's repeated as often as it was drawn."""
        generator = np.random.default_rng(seed)
        result = []
        for copies in generator.multinomial(len(self.images), np.full(len(self.images), 1 / len(self.images)), count):
            parts = [
                np.flatnonzero(self.groups == image)
                for image, times in zip(self.images, copies, strict=True)
                for _ in range(times)
            ]
            result.append(np.concatenate(parts))
        return result


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem()


def refitted(problem: Problem, dtype: Any = np.float64) -> list[Refitted]:
    return [Refitted(probs.astype(dtype)) for probs in problem.probs]


def held_fixed(problem: Problem) -> list[Fixed]:
    return [Fixed(eep(probs, problem.labels, CLASSES)) for probs in problem.probs]


def run(problem: Problem, metric: str = "soft_iou_eep", predictors: Any = None, **options: Any) -> ResampledScores:
    wanted = {"resamples": 40, "seed": 3, "num_classes": CLASSES, **options}
    given = refitted(problem) if predictors is None else predictors
    return bootstrap_top_k(given, problem.labels, problem.groups, CANDIDATES, metric, **wanted)


@every_metric
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_refitting_agrees_with_fitting_repeated_pixels(problem: Problem, metric: str, dtype: Any) -> None:
    found = run(problem, metric, refitted(problem, dtype))
    function = METRICS[metric].function
    draws = [np.arange(240), *problem.resamples(40, seed=3)]
    for place, pixels in enumerate(draws):
        labels = problem.labels[pixels]
        eeps = [eep(probs.astype(dtype)[pixels], labels, CLASSES) for probs in problem.probs]
        expected = [function([eeps[member] for member in sorted(row)], labels) for row in CANDIDATES.tolist()]
        scores = found.resampled[place - 1] if place else found.scores
        np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-12, err_msg=f"resample {place}")


@every_metric
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fixed_agrees_with_repeated_pixels(problem: Problem, metric: str, dtype: Any) -> None:
    eeps = [predictor.predictions.astype(dtype) for predictor in held_fixed(problem)]
    found = run(problem, metric, [Fixed(values) for values in eeps])
    for scores, pixels in zip(found.resampled, problem.resamples(40, seed=3), strict=True):
        expected = [
            METRICS[metric].function([eeps[member][pixels] for member in sorted(row)], problem.labels[pixels])
            for row in CANDIDATES.tolist()
        ]
        np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-12)


def test_worked_by_hand() -> None:
    # Two images of one pixel each, both of class 0, which the first member gives 1/2 and 1/8, the second 1/4 and 1/4.
    first, second = np.array([[1 / 2, 1 / 2], [1 / 8, 7 / 8]]), np.array([[1 / 4, 3 / 4], [1 / 4, 3 / 4]])
    found = bootstrap_top_k(
        [Fixed(first), Fixed(second)], np.array([0, 0]), np.array([0, 1]), np.array([[0], [1]]), "e_leep", 400, seed=1
    )
    assert found.images == 2
    assert found.resamples == 400
    np.testing.assert_allclose(found.scores, np.log([1 / 4, 1 / 4]))  # sqrt(1/2 * 1/8) = 1/4
    margins = np.log(2) * np.array([1, 0, -1])  # twice the first image, each once, twice the second
    drawn = np.abs(found.resampled[:, :1] - found.resampled[:, 1:] - margins).argmin(axis=1)
    frequency = np.bincount(drawn) / 400
    np.testing.assert_allclose(found.resampled[:, 0] - found.resampled[:, 1], margins[drawn], atol=1e-12)
    np.testing.assert_allclose(frequency, [1 / 4, 1 / 2, 1 / 4], atol=0.07)
    assert found.selection_frequency.tolist() == [
        pytest.approx(frequency[0] + frequency[1]),
        pytest.approx(frequency[2]),
    ]  # a tie is the first's
    assert found.margin == found.margin_over_best_other
    assert (found.margin.value, found.margin.low, found.margin.high) == pytest.approx(
        (0, margins[2], margins[0]), abs=1e-12
    )


def test_margins_are_percentiles_of_the_resampled_scores(problem: Problem) -> None:
    found = run(problem, resamples=100, confidence=0.8)
    over_third = found.resampled[:, 0] - found.resampled[:, 2]
    over_best = found.resampled[:, 0] - found.resampled[:, 1:].max(axis=1)
    margin, overall = found.margin_over(2), found.margin_over_best_other
    assert margin.value == found.scores[0] - found.scores[2]
    np.testing.assert_allclose((margin.low, margin.high), np.percentile(over_third, [10, 90]), atol=1e-14)
    np.testing.assert_allclose((overall.low, overall.high), np.percentile(over_best, [10, 90]), atol=1e-14)
    assert overall.value == found.scores[0] - found.scores[1:].max()
    assert overall.low <= found.margin.low
    np.testing.assert_allclose(
        found.selection_frequency, np.bincount(found.resampled.argmax(axis=1), minlength=4) / 100
    )
    assert found.selection_frequency.sum() == pytest.approx(1)


@every_metric
def test_identical_candidates_tie(problem: Problem, metric: str) -> None:
    # The copy comes after its partner in the order of addition, the original before: sums are rounded differently.
    members = [*refitted(problem), Refitted(problem.probs[0].copy())]
    same = np.array([[0, 1, 2], [1, 2, 5], [0, 1, 2]])
    found = bootstrap_top_k(members, problem.labels, problem.groups, same, metric, 40)
    assert found.selection_frequency.tolist() == [1, 0, 0]
    for margin in (found.margin, found.margin_over(2), found.margin_over_best_other):
        assert (margin.value, margin.low, margin.high) == pytest.approx((0, 0, 0), abs=1e-9)
    assert found.margin_over(2).low == 0
    assert not found.margin_over(2).is_clear


@every_metric
def test_perfect_source_leads_clearly(problem: Problem, metric: str) -> None:
    members = [Refitted(np.eye(6)[problem.labels]), Refitted(problem.probs[0]), Refitted(np.full((240, 3), 1 / 3))]
    found = bootstrap_top_k(members, problem.labels, problem.groups, np.array([[0], [1], [2]]), metric, 40)
    assert found.selection_frequency.tolist() == [1, 0, 0]
    assert found.margin_over_best_other.is_clear
    assert "a clear lead" in confidence_sentence(as_record(found))
    np.testing.assert_allclose(found.resampled[:, 0], 0.0 if "leep" in metric else 1.0, atol=1e-12)


def image_world(seed: int) -> tuple[list[Numbers], Numbers, Numbers]:
    """Twenty images, each with classes and confusions of its own; two members of many source classes."""
    generator = np.random.default_rng(seed)
    typical = generator.normal(0, 1.2, (2, 5, 40))
    labels, probs = [], []
    for _ in range(20):
        chosen = generator.choice(5, size=30, p=generator.dirichlet(np.full(5, 0.3)))
        scores = typical + generator.normal(0, 1.5, (2, 5, 40))
        labels.append(chosen)
        probs.append(torch.from_numpy(scores[:, chosen] + generator.normal(0, 0.5, (2, 30, 40))).softmax(dim=2))
    return list(torch.cat(probs, dim=1).numpy()), np.concatenate(labels), np.repeat(np.arange(20), 30)


@pytest.mark.parametrize("metric", ["e_leep", "soft_iou_eep"])
def test_a_fixed_eep_and_independent_pixels_promise_too_much(metric: str) -> None:
    """What the margin does over fresh draws of the images is wider than either would have it."""
    candidates, widths, leads = np.array([[0], [1]]), {"anew": [], "fixed": [], "pixels": []}, []
    function = METRICS[metric].function
    for seed in range(12):
        # One world, cut into images that were drawn anew: only the members' typical scores are shared.
        probs, labels, groups = image_world(seed)
        anew = bootstrap_top_k([Refitted(p) for p in probs], labels, groups, candidates, metric, num_classes=5)
        eeps = [eep(p, labels, 5) for p in probs]
        fixed = bootstrap_top_k([Fixed(e) for e in eeps], labels, groups, candidates, metric)
        pixels = bootstrap_top_k([Fixed(e) for e in eeps], labels, np.arange(600), candidates, metric)
        leads.append(function(eeps[:1], labels) - function(eeps[1:], labels))
        for name, found in (("anew", anew), ("fixed", fixed), ("pixels", pixels)):
            assert found.margin.value == pytest.approx(leads[-1], abs=1e-12)
            widths[name].append(found.margin.high - found.margin.low)
    mean = {name: np.mean(values) for name, values in widths.items()}
    assert mean["fixed"] < 0.85 * mean["anew"]
    assert mean["pixels"] < 0.6 * mean["fixed"]


@every_metric
@pytest.mark.parametrize("kind", [refitted, held_fixed])
def test_threads_do_not_matter(problem: Problem, metric: str, kind: Any) -> None:
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(run(problem, metric, kind(problem)).resampled)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("metric", COMPILED)
def test_little_memory_gives_the_same(problem: Problem, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(problem, metric).resampled
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resampling, "_TABLE_BYTES", 8 * 6 * 20 * 7)  # a few resamples at a time
    monkeypatch.setattr(resampling, "_JOINT_BYTES", 8 * 6 * 20 * 3)  # a few images at a time
    found = run(problem, metric, progress=lambda done, total: calls.append((done, total)))
    np.testing.assert_allclose(found.resampled, expected, rtol=0, atol=1e-12)
    assert [done for done, _ in calls] == list(range(1, len(calls) + 1))
    assert {total for _, total in calls} == {len(calls)}
    assert len(calls) > 5 * 12


@every_metric
def test_order_and_names_of_pixels_images_and_classes_do_not_matter(problem: Problem, metric: str) -> None:
    generator = np.random.default_rng(1)
    pixels, classes = generator.permutation(240), generator.permutation(CLASSES)
    moved = bootstrap_top_k(
        [Refitted(probs[pixels]) for probs in problem.probs],
        classes[problem.labels][pixels],
        problem.groups[pixels] * 3 + 1,
        CANDIDATES[:, ::-1].copy(),
        metric,
        resamples=40,
        seed=3,
        num_classes=CLASSES,
    )
    np.testing.assert_allclose(moved.resampled, run(problem, metric).resampled, rtol=0, atol=1e-12)


def test_kinds_of_arrays_do_not_matter(problem: Problem) -> None:
    expected = run(problem)
    tensors = {member: Refitted(torch.from_numpy(probs)) for member, probs in enumerate(problem.probs)}
    found = bootstrap_top_k(
        tensors,
        torch.from_numpy(problem.labels),
        torch.from_numpy(problem.groups).int(),
        torch.from_numpy(CANDIDATES).int(),
        "soft_iou_eep",
        resamples=40,
        seed=3,
    )
    np.testing.assert_array_equal(found.resampled, expected.resampled)
    half = [Refitted(torch.from_numpy(probs).half()) for probs in problem.probs]
    as_single = [Refitted(torch.from_numpy(probs).half().float()) for probs in problem.probs]
    np.testing.assert_array_equal(run(problem, predictors=half).resampled, run(problem, predictors=as_single).resampled)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_arrays_on_a_gpu(problem: Problem) -> None:
    on_gpu = [Refitted(torch.from_numpy(probs).cuda()) for probs in problem.probs]
    np.testing.assert_array_equal(run(problem, predictors=on_gpu).resampled, run(problem).resampled)


@every_metric
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ["refitted", "fixed"])
def test_tensor_operations_give_the_same(
    problem: Problem, metric: str, dtype: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: Any = refitted(problem, dtype)
    if kind == "fixed":
        given = [Fixed(predictor.predictions.astype(dtype)) for predictor in held_fixed(problem)]
    expected, whole = run(problem, metric, given), run(problem, metric, given, by_tensors=True)
    np.testing.assert_allclose(whole.resampled, expected.resampled, rtol=0, atol=1e-12)
    np.testing.assert_allclose(whole.scores, expected.scores, rtol=0, atol=1e-12)
    monkeypatch.setattr(device_resampling, "_TABLE_NUMBERS", 6 * 26 * 7)  # a few resamples and images at a time
    monkeypatch.setattr(device_resampling, "_TILE_NUMBERS", 5 * 20 * 6 * 3)  # a few of these
    few = run(problem, metric, given, by_tensors=True)
    np.testing.assert_allclose(few.resampled, expected.resampled, rtol=0, atol=1e-12)


def test_close_classes_are_decided_as_the_definition_decides(problem: Problem) -> None:
    """Labels of classes 0 and 1 alternate: their EEPs differ by less than single precision tells, or not at all."""
    generator, labels = np.random.default_rng(5), np.tile([0, 1], 600)
    noise = generator.random((3, 600, 4))
    for size, dtype in itertools.product((0.0, 1e-7, 1e-5), (np.float32, np.float64)):
        probs = np.repeat(noise, 2, axis=1)
        probs += size * generator.normal(size=probs.shape)
        probs = (np.abs(probs) / np.abs(probs).sum(axis=2, keepdims=True)).astype(dtype)
        groups = np.repeat(np.arange(6), 200)
        rows = np.array([[0, 1], [1, 2], [0, 2]])
        found = bootstrap_top_k([Refitted(p) for p in probs], labels, groups, rows, "iou_eep", 40)
        eeps = [eep(p, labels, 2) for p in probs]
        expected = [METRICS["iou_eep"].function([eeps[m] for m in row], labels) for row in rows.tolist()]
        if size:
            np.testing.assert_allclose(found.scores, expected, rtol=1e-9)
        assert ((found.scores >= 0) & (found.scores <= 1)).all()


@every_metric
def test_sizes_that_fill_no_tile(metric: str) -> None:
    """One to three members, one to nine classes, images of one pixel and of many."""
    generator = np.random.default_rng(2)
    for size, classes, sources in [(1, 1, 1), (1, 2, 1), (2, 4, 3), (3, 5, 2), (3, 9, 8)]:
        groups = np.concatenate([[0], np.full(63, 1), np.full(64, 2), np.full(65, 3), np.full(7, 4)])
        labels = generator.integers(0, classes, len(groups))
        labels[-1] = classes - 1
        probs = [generator.dirichlet(np.ones(sources), len(groups)).astype(np.float32) for _ in range(4)]
        rows = np.array(list(itertools.combinations(range(4), size)))
        found = bootstrap_top_k([Refitted(p) for p in probs], labels, groups, rows, metric, 40)
        fixed = [Fixed(eep(p, labels)) for p in probs]
        expected = [METRICS[metric].function([fixed[m].predictions for m in row], labels) for row in rows.tolist()]
        np.testing.assert_allclose(found.scores, expected, rtol=1e-9, atol=1e-12)
        held = bootstrap_top_k(fixed, labels, groups, rows, metric, 40)
        np.testing.assert_allclose(held.scores, expected, rtol=1e-9, atol=1e-12)


def test_only_the_members_of_candidates_are_needed(problem: Problem) -> None:
    pair = np.array([[4, 2], [2, 3]])
    given = {member: Refitted(problem.probs[member]) for member in (2, 3, 4)}
    found = bootstrap_top_k(given, problem.labels, problem.groups, pair, "iou_eep", 40)
    expected = bootstrap_top_k(refitted(problem), problem.labels, problem.groups, pair, "iou_eep", 40)
    np.testing.assert_array_equal(found.resampled, expected.resampled)
    assert found.candidates.tolist() == [[2, 4], [2, 3]]  # ascending, the order of the candidates kept


def test_seed_says_what_is_drawn(problem: Problem) -> None:
    short, long, other = run(problem), run(problem, resamples=60), run(problem, seed=4)
    np.testing.assert_array_equal(short.resampled, long.resampled[:40])
    assert not np.array_equal(short.resampled, other.resampled)
    np.testing.assert_array_equal(short.scores, other.scores)


def test_counts_who_is_best_otherwise() -> None:
    scores = np.array([0.50, 0.49, 0.45])
    resampled = np.array([[0.5, 0.6, 0.4]] * 30 + [[0.5, 0.4, 0.4]] * 10)
    found = ResampledScores("iou_eep", np.array([[0], [1], [2]]), scores, resampled, images=7, level=0.95)
    assert found.selection_frequency.tolist() == [0.25, 0.75, 0]
    assert confidence_sentence(as_record(found)) == (
        "The chosen ensemble is ahead of the best of 2 other candidates by 0.01; over 40 resamples of the 7 probe "
        "images, 95 % of its margins lie between -0.1 and 0.1, and it is best in 25 % of them (candidate 2 in 75 %): "
        "other images could have put another candidate first."
    )


ONE_IMAGE = np.zeros(240, dtype=np.int64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": CANDIDATES[:1]}, r"`candidates` to hold at least 2 to compare, but got 1"),
        (
            {"candidates": CANDIDATES[0]},
            r"`candidates` to be integers with 2 axes .*, but got torch.int64 of shape \[2\]",
        ),
        ({"candidates": CANDIDATES * 1.0}, r"`candidates` to be integers with 2 axes .*, but got torch.float64"),
        ({"candidates": np.array([[0, 1], [2, 2]])}, r"members of a candidate to differ, but got \[2, 2\]"),
        ({"candidates": np.array([[0, 1], [2, 5]])}, r"`predictors` to hold every member .*, but got none for 5"),
        ({"candidates": np.array([[0, 1], [-1, 2]])}, r"`predictors` to hold every member .*, but got none for -1"),
        ({"groups": ONE_IMAGE}, r"`groups` to name at least 2 images to resample, but got 1"),
        ({"groups": ONE_IMAGE[1:]}, r"`groups` to be integers of shape \[240\], but got torch.int64 of shape \[239\]"),
        ({"groups": ONE_IMAGE * 1.0}, r"`groups` to be integers .*, but got torch.float64"),
        ({"metric": "softiou_eep"}, r"Unknown metric to resample 'softiou_eep'. Did you mean 'soft_iou_eep'\?"),
        ({"metric": "base"}, r"Unknown metric to resample 'base'"),
        ({"resamples": 39}, r"`resamples` to be at least 40, .* interval of 0.95 holds one, but got 39"),
        ({"confidence": 1.0}, r"`confidence` to be between 0 and 1, but got 1.0"),
        ({"confidence": 0.999}, r"`resamples` to be at least 2000"),
        ({"seed": -1}, r"`seed` to be at least 0, but got -1"),
        ({"labels": ONE_IMAGE + 255}, r"`labels` without void, but got 255"),
        ({"labels": ONE_IMAGE + 6, "num_classes": 6}, r"`labels` between 0 and 5, but got 6 to 6"),
        ({"labels": ONE_IMAGE[1:]}, r"`labels` to have shape \[240\]"),
    ],
)
def test_errors_name_the_argument(problem: Problem, changes: dict[str, Any], message: str) -> None:
    arguments = {
        "predictors": refitted(problem),
        "labels": problem.labels,
        "groups": problem.groups,
        "candidates": CANDIDATES,
        "metric": "e_leep",
        **changes,
    }
    # Unwrapped: in a test run that checks shapes, that check would speak first.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(bootstrap_top_k)(**arguments)


def test_errors_name_the_predictor(problem: Problem) -> None:
    good, values = refitted(problem), problem.probs
    mixed = [Fixed(values[0]), *good[1:]]
    short = [good[0], Refitted(values[1][1:]), *good[2:]]
    broken = [good[0], Refitted(values[1] * np.nan), *good[2:]]
    unlike = [Fixed(p) for p in values]
    fixed = [Fixed(np.full((240, 6), 1 / 6))] * 5
    for predictors, options, message in [
        (mixed, {}, r"all Refitted or all Fixed, but got both"),
        (short, {}, r"the pixels of predictors\[0\], \[240, 3\], but predictors\[1\] has \[239, 5\]"),
        (broken, {}, r"`predictors\[1\]` to hold probabilities between 0 and 1, but got NaN"),
        (unlike, {}, r"the pixels and classes of predictors\[0\], \[240, 3\], but predictors\[1\] has \[240, 5\]"),
        (values, {}, r"`predictors\[0\]` to be Refitted or Fixed, but got ndarray"),
        (fixed, {"num_classes": 7}, r"`num_classes` to be the 6 of the predictions, but got 7"),
    ]:
        with pytest.raises(ValueError, match=message):
            inspect.unwrap(bootstrap_top_k)(predictors, problem.labels, problem.groups, CANDIDATES, "e_leep", **options)
