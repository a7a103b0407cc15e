"""Scores: scikit-learn's numbers, and None where a score is undefined."""

import numpy as np
import pytest
from sklearn import metrics

from aetool.analysis import scores
from aetool.analysis.scores import (
    accuracy,
    adjusted_rand_index,
    contingency,
    normalized_mutual_information,
    purity,
    silhouette,
)


@pytest.fixture
def labels():
    random = np.random.default_rng(0)
    classes = random.integers(5, size=400)
    clusters = np.where(random.random(400) < 0.6, classes, random.integers(7, size=400))
    return classes, clusters


def test_purity_is_the_share_of_each_clusters_largest_class():
    table = contingency(np.array([0, 0, 1, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 1]))
    assert purity(table) == pytest.approx(4 / 6)


def test_accuracy_matches_clusters_to_classes_one_to_one():
    classes = np.array([0, 0, 0, 0, 1, 1])
    assert accuracy(contingency(classes, np.array([5, 5, 3, 3, 4, 4]))) == pytest.approx(4 / 6)
    assert accuracy(contingency(classes, np.array([9, 9, 9, 9, 2, 2]))) == 1
    assert accuracy(contingency(classes, np.zeros(6, int))) == pytest.approx(4 / 6)


def test_information_and_rand_index_are_scikit_learns(labels):
    table = contingency(*labels)
    assert normalized_mutual_information(table) == pytest.approx(
        metrics.normalized_mutual_info_score(*labels)
    )
    assert adjusted_rand_index(table) == pytest.approx(metrics.adjusted_rand_score(*labels))


def test_perfect_clusters_score_one():
    classes = np.repeat([2, 0, 1], 10)
    table = contingency(classes, (classes + 1) % 3)
    found = [f(table) for f in (purity, accuracy, adjusted_rand_index)]
    assert found == [1, 1, 1]
    assert normalized_mutual_information(table) == pytest.approx(1)


def test_rows_without_a_label_do_not_count(labels):
    classes, clusters = labels
    known = np.arange(400) % 3 > 0
    hidden = np.where(known, classes, -1)
    assert np.array_equal(
        contingency(hidden, clusters), contingency(classes[known], clusters[known])
    )


def test_one_class_leaves_information_and_rand_index_undefined():
    table = contingency(np.zeros(10, int), np.arange(10) % 2)
    assert purity(table) == 1
    assert normalized_mutual_information(table) is None
    assert adjusted_rand_index(table) is None


def test_no_labels_leave_every_score_undefined():
    table = contingency(np.full(10, -1), np.arange(10) % 2)
    every = (purity, accuracy, normalized_mutual_information, adjusted_rand_index)
    assert [score(table) for score in every] == [None] * 4


def test_silhouette_is_scikit_learns(labels):
    points = np.random.default_rng(1).normal(size=(400, 6)) + labels[1][:, None]
    expected = metrics.silhouette_score(points, labels[1])
    assert silhouette(points, labels[1]) == pytest.approx(expected, abs=1e-5)


def test_silhouette_of_a_sample_is_near_that_of_all_rows(labels, monkeypatch):
    points = np.random.default_rng(1).normal(size=(400, 6)) + 3 * labels[1][:, None]
    whole = silhouette(points, labels[1])
    monkeypatch.setattr(scores, "SILHOUETTE_ROWS", 200)
    drawn = silhouette(points, labels[1], seed=5)
    assert drawn == silhouette(points, labels[1], seed=5) != whole
    assert drawn == pytest.approx(whole, abs=0.05)


@pytest.mark.parametrize("clusters", [np.zeros(6, int), np.arange(6)])
def test_silhouette_needs_two_clusters_and_a_pair(clusters):
    assert silhouette(np.random.default_rng(0).normal(size=(6, 2)), clusters) is None
