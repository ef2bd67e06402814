"""`linear_probe` against a slow version, worked by hand, and where its input is awkward."""

from __future__ import annotations

import inspect
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy import optimize, special

from muster.metrics import fit_linear_probe, linear_probe
from muster.metrics._image_halves import split_in_halves
from muster.metrics._inverse_temperature import Scores, best_inverse_temperature
from muster.metrics._softmax_regression import SoftmaxRegressions

Numbers = np.ndarray[Any, Any]

unchecked = inspect.unwrap(linear_probe)
"""Without the check of annotations, which would be faster than the messages tested here."""


class Pixels(NamedTuple):
    """Features that tell classes apart in part, and images that look different."""

    features: Numbers
    labels: Numbers
    groups: Numbers


def make_pixels(seed: int, classes: int = 4, dimensions: int = 6, images: int = 12, per_image: int = 30) -> Pixels:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images * per_image)
    groups = np.repeat(np.arange(images), per_image)
    centres = generator.normal(size=(classes, dimensions))
    looks = 0.5 * generator.normal(size=(images, dimensions))
    features = centres[labels] + looks[groups] + generator.normal(size=(len(labels), dimensions))
    return Pixels(features * 10.0 ** generator.uniform(-2, 2, dimensions) + 3.0, labels, groups)


@pytest.fixture
def pixels() -> Pixels:
    return make_pixels(0)


def slow_fit(features: Numbers, labels: Numbers, classes: int, penalty: float) -> tuple[Numbers, Numbers]:
    """Weights and biases (log shares included) by SciPy, class after class and to convergence."""
    present = [c for c in range(classes) if (labels == c).any()]
    shares = np.array([(labels == c).mean() for c in present])

    def objective(flat: Numbers) -> float:
        table = flat.reshape(len(present), -1)
        scores = np.stack([features @ row[:-1] + row[-1] for row in table], axis=1) + np.log(shares)
        truth = scores[np.arange(len(labels)), np.searchsorted(present, labels)]
        return float((special.logsumexp(scores, axis=1) - truth).mean() + penalty / 2 * (table[:, :-1] ** 2).sum())

    def slope(flat: Numbers) -> Numbers:
        table = flat.reshape(len(present), -1)
        said = special.softmax(features @ table[:, :-1].T + table[:, -1] + np.log(shares), axis=1)
        rows = []
        for place, c in enumerate(present):
            error = said[:, place] - (labels == c)
            rows.append([*(features.T @ error / len(labels) + penalty * table[place, :-1]), error.mean()])
        return np.array(rows).ravel()

    start = np.zeros(len(present) * (features.shape[1] + 1))
    found = optimize.minimize(objective, start, jac=slope, method="BFGS", options={"gtol": 1e-9}).x
    table = np.zeros((classes, features.shape[1] + 1))
    table[present] = found.reshape(len(present), -1)
    log_shares = np.full(classes, -np.inf)
    log_shares[present] = np.log(shares)
    return table, log_shares


def said_by(table: Numbers, log_shares: Numbers, features: Numbers, inverse_temperature: float) -> Numbers:
    return special.softmax(inverse_temperature * (features @ table[:, :-1].T + table[:, -1]) + log_shares, axis=1)


def slow_trial(
    features: Numbers, labels: Numbers, quarter: Numbers, classes: int, penalty: float
) -> tuple[float, float]:
    """Mean log-likelihood of what is held out, and the inverse temperature that makes it largest."""
    fits = [slow_fit(features[part], labels[part], classes, penalty) for part in (quarter, ~quarter)]

    def held_out(inverse_temperature: float) -> float:
        logs: list[float] = []
        for fit, rest in zip(fits, (~quarter, quarter), strict=True):
            told = said_by(*fit, features[rest], inverse_temperature)[np.arange(rest.sum()), labels[rest]]
            logs.extend(np.log(told[told > 0]))
        return -float(np.mean(logs))

    best = optimize.minimize_scalar(held_out, bounds=(0, 20), method="bounded", options={"xatol": 1e-6})
    return -float(best.fun), float(best.x)


def slow_linear_predictor(pixels: Pixels, classes: int, seed: int = 0) -> Numbers:
    """Written from the docstring: features only standardised, everything to convergence."""
    features, labels, groups = pixels
    generator = np.random.default_rng(seed)
    right = split_in_halves(groups, labels, generator)
    result = np.empty((len(labels), classes))
    for half in (right, ~right):
        quarter = split_in_halves(groups[half], labels[half], generator)
        mean, spread = features[half].mean(axis=0), features[half].std(axis=0)
        standard, own = (features[half] - mean) / spread, labels[half]
        candidates = []
        for penalty in (1e-1, 1e-2, 1e-3, 1e-4):
            score, best_factor = slow_trial(standard, own, quarter, classes, penalty)
            candidates.append((score, penalty, best_factor))
            if len(candidates) > 1 and candidates[-1][0] <= candidates[-2][0]:
                break
        _, penalty, inverse_temperature = max(candidates)
        fit = slow_fit(standard, own, classes, penalty)
        result[~half] = said_by(*fit, (features[~half] - mean) / spread, inverse_temperature)
    return result


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_agrees_with_slow_version(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = make_pixels(seed)
    expected = slow_linear_predictor(pixels, 5)
    quick = linear_probe(*pixels, 5)
    for name, value in (("_TRIAL_STEPS", 300), ("_FINAL_STEPS", 300), ("_TRIAL_TOLERANCE", 1e-9)):
        monkeypatch.setattr(sys.modules["muster.metrics.linear_probe"], name, value)
    found = linear_probe(*pixels, 5)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    single = linear_probe(pixels.features.astype(np.float32), pixels.labels, pixels.groups, 5)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, found, rtol=0, atol=1e-3)
    rows = np.arange(len(quick))
    truth, converged = (np.log(said[rows, pixels.labels]).mean() for said in (quick, found))
    assert abs(quick - found).mean() < 0.02
    assert truth > converged - 0.01


@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_regression_converges(pixels: Pixels, penalty: float) -> None:
    standard = (pixels.features - pixels.features.mean(axis=0)) / pixels.features.std(axis=0)
    table, log_shares = slow_fit(standard, pixels.labels, 5, penalty)
    regression = SoftmaxRegressions([torch.from_numpy(standard)], [torch.from_numpy(pixels.labels)], 5)
    start = torch.zeros(1, 5, 7, dtype=torch.float64)
    found = regression.minimise([penalty], start, 200, tolerance=1e-14).numpy()
    np.testing.assert_allclose(
        said_by(found[0], regression.log_shares[0].numpy(), standard, 1.0),
        said_by(table, log_shares, standard, 1.0),
        atol=1e-6,
    )
    few = regression.minimise([penalty], start, 3)
    values = [regression.evaluate(parameters, [penalty])[0][0] for parameters in (start, few, torch.from_numpy(found))]
    assert values[0] > values[1] > values[2]


def test_problems_side_by_side_are_solved_as_alone() -> None:
    # Of different length, and easy and hard: one stops while the others go on.
    features, labels = [], []
    for seed, images in ((0, 12), (1, 5), (2, 9)):
        made = make_pixels(seed, images=images)
        standard = (made.features - made.features.mean(axis=0)) / made.features.std(axis=0)
        features.append(torch.from_numpy(standard * (0.01 if seed == 2 else 1.0)))
        labels.append(torch.from_numpy(np.where(made.labels == 3, 1, made.labels) if seed == 1 else made.labels))
    penalties, start = [1e-1, 1e-3, 1e-2], torch.zeros(3, 4, 7, dtype=torch.float64)
    together = SoftmaxRegressions(features, labels, 4)
    assert torch.isinf(together.log_shares).nonzero().tolist() == [[1, 3]]
    for steps, tolerance in ((4, 1e-9), (100, 1e-6), (300, 1e-14)):
        found = together.minimise(penalties, start, steps, tolerance)
        for place, penalty in enumerate(penalties):
            alone = SoftmaxRegressions([features[place]], [labels[place]], 4)
            expected = alone.minimise([penalty], start[:1], steps, tolerance)
            np.testing.assert_allclose(found[place].numpy(), expected[0].numpy(), rtol=0, atol=1e-6)


def test_gradient(pixels: Pixels) -> None:
    features = torch.from_numpy(pixels.features / 100)
    regression = SoftmaxRegressions([features], [torch.from_numpy(pixels.labels)], 4)
    point = torch.from_numpy(np.random.default_rng(5).normal(size=(1, 4, 7)))
    _, gradient = regression.evaluate(point, [0.3])
    for entry in [(0, 0), (2, 3), (3, 6)]:
        shift = torch.zeros_like(point)
        shift[0][entry] = 1e-6
        above, below = (regression.evaluate(point + sign * shift, [0.3])[0][0] for sign in (1, -1))
        assert float(gradient[0][entry]) == pytest.approx((above - below) / 2e-6, abs=1e-8)


def test_sharpness_worked_by_hand() -> None:
    # Two classes, scores +-1, right three times of four: the likeliest odds are 3, so 2 t = log 3.
    values = torch.tensor([[1.0, -1.0]] * 4, dtype=torch.float64)
    even = torch.full((2,), 0.5, dtype=torch.float64).log()
    factor, value = best_inverse_temperature([Scores(values, even, torch.tensor([0, 0, 0, 1]))])
    assert factor == pytest.approx(np.log(3) / 2, rel=1e-4)
    assert value == pytest.approx((3 * np.log(0.75) + np.log(0.25)) / 4, abs=1e-8)
    wrong, value = best_inverse_temperature([Scores(values, even, torch.tensor([1, 1, 1, 1]))])
    assert wrong == pytest.approx(0.0, abs=1e-6)  # worse than nothing, so only shares count
    assert value == pytest.approx(np.log(0.5), abs=1e-6)
    never_wrong, value = best_inverse_temperature([Scores(values, even, torch.tensor([0, 0, 0, 0]))])
    assert 10 < never_wrong <= 1e3
    assert value == pytest.approx(0.0, abs=1e-6)


def test_worked_by_hand() -> None:
    # One feature says it all, so the fits are as sharp as they come; the other two say nothing.
    labels = np.tile([0, 1, 2], 40)
    features = np.stack([labels * 4.0, np.ones(120), np.zeros(120)], axis=1)
    found = linear_probe(features, labels, np.repeat(np.arange(6), 20))
    assert (found.argmax(axis=1) == labels).all()
    assert found[np.arange(120), labels].min() > 0.99


def test_no_pixel_is_read_by_a_fit_that_saw_its_image(pixels: Pixels) -> None:
    plain = linear_probe(*pixels)
    generator = np.random.default_rng(0)
    right = split_in_halves(pixels.groups, pixels.labels, generator)
    spoilt = pixels.features.copy()
    spoilt[right] = np.random.default_rng(9).normal(size=spoilt[right].shape)
    # The fit to the left half, which is read on the right one, cannot have changed: only what it reads has.
    assert not np.allclose(linear_probe(spoilt, pixels.labels, pixels.groups)[right], plain[right])
    spoilt = pixels.features.copy()
    place = int(np.flatnonzero(right)[0])
    spoilt[place] = 0.0
    found = linear_probe(spoilt, pixels.labels, pixels.groups)
    others = right.copy()
    others[place] = False
    np.testing.assert_allclose(found[others], plain[others], atol=1e-12)
    assert not np.allclose(found[~right], plain[~right], atol=1e-6)


def test_halves_are_of_images_and_hold_every_class() -> None:
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(31) * 7 - 40, 20)
    labels = generator.integers(0, 3, len(groups))
    labels[groups == 100], labels[groups == -5] = 7, 7  # two images only
    for seed in range(20):
        right = split_in_halves(groups, labels, np.random.default_rng(seed))
        assert {len(np.unique(right[groups == group])) for group in groups} == {1}
        assert len(np.unique(groups[right])) in (15, 16)
        assert set(labels[right]) == set(labels[~right]) == {0, 1, 2, 7}
    first, second = (split_in_halves(groups, labels, np.random.default_rng(seed)) for seed in (0, 1))
    assert (first != second).any()


def test_order_and_scale_do_not_matter(pixels: Pixels) -> None:
    plain = linear_probe(*pixels)
    generator = np.random.default_rng(4)
    rows = generator.permutation(len(pixels.labels))
    found = linear_probe(pixels.features[rows], pixels.labels[rows], pixels.groups[rows])
    np.testing.assert_allclose(found, plain[rows], atol=1e-6)
    columns = generator.permutation(6)
    np.testing.assert_allclose(
        linear_probe(pixels.features[:, columns], pixels.labels, pixels.groups), plain, atol=1e-6
    )
    moved = pixels.features * np.array([-3.0, 1e-4, 1e5, 2.0, -1.0, 0.5]) + np.array([0.0, 1.0, 5.0, -8.0, 0.1, 1e3])
    np.testing.assert_allclose(linear_probe(moved, pixels.labels, pixels.groups), plain, atol=1e-6)
    renamed = np.array([40, -3, 7, 12, 5, 90, 1, 2, 3, 4, 60, 70])
    by_size = np.sort(renamed)[pixels.groups]  # other names in the same order
    np.testing.assert_array_equal(linear_probe(pixels.features, pixels.labels, by_size), plain)


def test_perfect_and_useless_source(pixels: Pixels) -> None:
    def log_likelihood(features: Numbers) -> float:
        said = linear_probe(features, pixels.labels, pixels.groups)
        return float(np.log(said[np.arange(len(said)), pixels.labels]).mean())

    useless = np.random.default_rng(6).normal(size=pixels.features.shape)
    perfect = np.eye(6)[pixels.labels] + 0.01 * useless
    assert log_likelihood(perfect) > -0.05
    assert log_likelihood(perfect) > log_likelihood(pixels.features) > log_likelihood(useless)
    assert log_likelihood(useless) == pytest.approx(np.log(0.25), abs=0.1)


def test_constant_features_give_the_shares_of_the_other_half() -> None:
    labels, groups = np.array([0] * 8 + [1] * 2 + [0] * 5 + [1] * 5), np.repeat([3, 8], 10)
    found = linear_probe(np.full((20, 3), 7.0, dtype=np.float32), labels, groups)
    np.testing.assert_allclose(found[:10], [[0.5, 0.5]] * 10, atol=1e-6)
    np.testing.assert_allclose(found[10:], [[0.8, 0.2]] * 10, atol=1e-6)


def test_large_means_do_not_round_away_what_differs() -> None:
    pixels = make_pixels(1)
    single = (0.1 * pixels.features / pixels.features.std(axis=0) + 1000.0).astype(np.float32)
    found = linear_probe(single, pixels.labels, pixels.groups)
    np.testing.assert_allclose(found, linear_probe(single.astype(np.float64), pixels.labels, pixels.groups), atol=1e-4)


def test_duplicated_columns_and_more_dimensions_than_pixels(pixels: Pixels) -> None:
    plain = linear_probe(*pixels)
    twice = linear_probe(np.tile(pixels.features, 2), pixels.labels, pixels.groups)
    assert np.abs(twice - plain).mean() < 0.05  # only the penalty is another one
    noise = np.random.default_rng(7).normal(size=(360, 600))
    wide = np.tile(pixels.features / pixels.features.std(axis=0), 100) + noise
    found = linear_probe(wide, pixels.labels, pixels.groups)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    assert np.abs(found - plain).mean() < 0.1


def test_absent_classes_get_nothing(pixels: Pixels) -> None:
    labels = np.where(pixels.labels == 1, 6, pixels.labels)  # 1, 4 and 5 do not occur
    found = linear_probe(pixels.features, labels, pixels.groups, 9)
    assert found.shape == (360, 9)
    assert (found[:, [1, 4, 5, 7, 8]] == 0).all()
    np.testing.assert_allclose(found[:, [0, 6, 2, 3]], linear_probe(*pixels), atol=1e-6)
    labels = pixels.labels.copy()
    labels[pixels.groups == 5] = 4  # one image has a class of its own: the fit to the other half does not know it
    found = linear_probe(pixels.features, labels, pixels.groups)
    assert (found[pixels.groups == 5][:, 4] == 0).all()
    assert found[pixels.groups != 5][:, 4].max() > 0
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("images", [2, 3])
def test_halves_of_a_single_image(images: int) -> None:
    pixels = make_pixels(3, images=images, per_image=60)
    found = linear_probe(*pixels)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    assert (found.argmax(axis=1) == pixels.labels).mean() > 0.4


def test_quarters_of_different_classes() -> None:
    # Every image has a class of its own: nothing that is held out could be known.
    labels = groups = np.repeat(np.arange(4), 10)
    found = linear_probe(np.random.default_rng(8).normal(size=(40, 2)), labels, groups)
    assert (found[np.arange(40), labels] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)


def test_one_class_only() -> None:
    found = linear_probe(np.random.default_rng(8).normal(size=(40, 2)), np.zeros(40, int), np.arange(40) // 5)
    np.testing.assert_array_equal(found, np.ones((40, 1)))


def test_many_pixels_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = make_pixels(2, images=20, per_image=200)
    everything = linear_probe(*pixels)
    module = inspect.getmodule(unchecked)
    monkeypatch.setattr(module, "FITTED_PIXELS", 1000)
    drawn = linear_probe(*pixels)
    assert 0 < np.abs(drawn - everything).mean() < 0.05
    np.testing.assert_array_equal(linear_probe(*pixels), drawn)
    assert (linear_probe(*pixels, seed=1) != drawn).any()


def test_first_axes_are_kept(monkeypatch: pytest.MonkeyPatch, pixels: Pixels) -> None:
    plain = linear_probe(*pixels)
    noise = 1e-3 * np.random.default_rng(2).normal(size=pixels.features.shape) * pixels.features.std(axis=0)
    nearly_twice = np.concatenate([pixels.features, pixels.features + noise], axis=1)
    monkeypatch.setattr(inspect.getmodule(unchecked), "COORDINATES", 6)
    assert np.abs(linear_probe(nearly_twice, pixels.labels, pixels.groups) - plain).mean() < 0.05


def test_kinds_of_arrays(pixels: Pixels) -> None:
    tensors = [torch.from_numpy(array) for array in pixels]
    found = linear_probe(*tensors)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), linear_probe(*pixels))
    half = linear_probe(torch.from_numpy(pixels.features).half(), *tensors[1:])
    assert half.dtype == torch.float32
    np.testing.assert_allclose(half.numpy(), found.numpy(), atol=0.02)
    before = pixels.features.copy()
    linear_probe(*pixels)
    np.testing.assert_array_equal(pixels.features, before)


def test_bad_input(pixels: Pixels) -> None:
    features, labels, groups = pixels
    with pytest.raises(ValueError, match=r"at least 2 images .* all pixels are of image 5"):
        unchecked(features, labels, np.full(360, 5))
    with pytest.raises(ValueError, match=r"`groups` to have shape \[360\], but got \[359\]"):
        unchecked(features, labels, groups[:-1])
    with pytest.raises(ValueError, match=r"`groups` to be integers, but got torch\.float64"):
        unchecked(features, labels, groups.astype(float))
    with pytest.raises(ValueError, match="`groups` to be a tensor or a NumPy array"):
        unchecked(features, labels, list(groups))
    with pytest.raises(ValueError, match="`features` to be finite, but row 2"):
        unchecked(np.where(np.arange(360)[:, None] == 2, np.nan, features), labels, groups)
    with pytest.raises(ValueError, match="`labels` without void"):
        unchecked(features, np.where(labels == 1, 255, labels), groups)
    with pytest.raises(ValueError, match="`labels` between 0 and 2"):
        unchecked(features, labels, groups, 3)
    with pytest.raises(ValueError, match="2 axes"):
        unchecked(features[0], labels, groups)


@pytest.mark.parametrize("scale", [1.0, 1e-36])
def test_classifiers_give_the_predictions_of_the_images_that_they_did_not_see(scale: float) -> None:
    generator = np.random.default_rng(0)
    labels, groups = generator.integers(0, 3, 400), np.arange(400) // 40
    features = torch.from_numpy(generator.normal(labels[:, None] + 5.0, 1.0, (400, 6)).astype(np.float32)) * scale
    fitted = fit_linear_probe(features, labels, groups, 3)
    assert torch.equal(fitted.predictions, linear_probe(features, labels, groups, 3))
    assert all(len(np.unique(fitted.reader[groups == group])) == 1 for group in range(10))
    weights, offsets = fitted.classifiers[:, :, :-1], fitted.classifiers[:, :, -1]
    both = (torch.einsum("nd,kcd->nkc", features.double(), weights) + offsets).softmax(dim=2)
    found = both[torch.arange(400), fitted.reader]
    torch.testing.assert_close(found.float(), fitted.predictions, rtol=1e-4, atol=1e-5)
