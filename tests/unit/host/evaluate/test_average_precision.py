"""Resamples as weights give what resampled sets give."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.host.data.coco import CocoDataset
from edgepose.host.evaluate.average_precision import precision_figures
from edgepose.host.evaluate.figures import interval_95, resample_weights
from edgepose.host.evaluate.predictions import Predictions
from edgepose.host.evaluate.scoring import score
from tests.support.labelled_sets import dataset_of, predictions_of, random_set

ONCE = np.ones((1, 30), dtype=np.int64)


def repeated(dataset: CocoDataset, predictions: Predictions, counts: np.ndarray) -> float:
    """AP of a set in which each picture really occurs ``counts`` times."""
    index = np.repeat(np.arange(len(counts)), counts)
    images = [dataset.images[i].persons for i in index]
    poses = [predictions.poses[i] for i in index]
    table = score(predictions_of(poses), dataset_of(images)).matches
    return float(precision_figures(table, np.ones((1, len(index)), dtype=np.int64)).oks_ap[0])


def test_a_weighted_resample_equals_the_set_with_pictures_repeated() -> None:
    dataset, predictions = random_set(11, 30)
    weights = resample_weights(30, 12, seed=5)
    table = score(predictions, dataset).matches
    weighted = precision_figures(table, weights).oks_ap
    real = [repeated(dataset, predictions, counts) for counts in weights]
    np.testing.assert_allclose(weighted, real, rtol=0, atol=1e-12)
    assert np.ptp(weighted) > 0.01


def test_every_resample_draws_as_many_pictures_and_is_repeatable() -> None:
    weights = resample_weights(30, 200, seed=5)
    assert (weights.sum(axis=1) == 30).all()
    assert (weights == resample_weights(30, 200, seed=5)).all()
    assert (weights != resample_weights(30, 200, seed=6)).any()


def test_resamples_in_steps_equal_resamples_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, predictions = random_set(11, 30)
    table = score(predictions, dataset).matches
    weights = resample_weights(30, 50)
    whole = precision_figures(table, weights)
    monkeypatch.setattr("edgepose.host.evaluate.average_precision._CELLS_PER_STEP", 300)
    stepped = precision_figures(table, weights)
    assert (whole.oks_ap == stepped.oks_ap).all()
    assert (whole.oks_ar == stepped.oks_ar).all()


def test_a_resample_without_a_person_has_no_figure_rather_than_zero() -> None:
    dataset, predictions = random_set(11, 30)
    table = score(predictions, dataset).matches
    empty = np.flatnonzero(table.persons_per_image == 0)[0]
    weights = np.zeros((1, 30), dtype=np.int64)
    weights[0, empty] = 30
    figures = precision_figures(table, weights)
    assert np.isnan(figures.oks_ap[0])
    assert np.isnan(figures.oks_ar[0])


def test_a_model_that_finds_nobody_scores_zero() -> None:
    dataset, predictions = random_set(11, 30)
    nobody = predictions_of([poses.select(np.zeros(len(poses), bool)) for poses in predictions.poses])
    figures = precision_figures(score(nobody, dataset).matches, ONCE)
    assert (figures.oks_ap[0], figures.oks_ar[0]) == (0.0, 0.0)


def test_the_interval_leaves_out_resamples_without_a_figure() -> None:
    values = np.concatenate([np.linspace(0, 1, 101), [np.nan] * 50])
    assert interval_95(values) == (0.025, 0.975)
    assert interval_95(np.full(3, np.nan)) is None


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    """The bootstrap of a mean has a known answer, so its coverage can be checked."""
    generator = np.random.default_rng(0)
    weights = resample_weights(100, 400)
    covered = 0
    for _ in range(300):
        sample = generator.normal(0.0, 1.0, 100)
        low, high = interval_95(weights @ sample / 100) or (1.0, -1.0)
        covered += low <= 0.0 <= high
    assert 0.90 <= covered / 300 <= 0.98
