"""k-means: Lloyd's answer, the same bits wherever the rows live, right in the odd cases."""

import h5py
import numpy as np
import pytest
from sklearn.cluster import KMeans

from aetool.analysis import clustering, rows
from aetool.analysis.clustering import Centres, kmeans
from aetool.errors import FormatError


def blobs(count=600, dimensions=5, centres=4, spread=0.3, seed=0):
    random = np.random.default_rng(seed)
    places = random.normal(size=(centres, dimensions)) * 4
    true = random.integers(centres, size=count)
    points = places[true] + spread * random.normal(size=(count, dimensions))
    return points.astype(np.float32), true


def test_separate_blobs_are_found():
    points, true = blobs()
    found = kmeans(points, 4)
    for cluster in range(4):
        assert len(set(true[found.labels == cluster])) == 1
    assert np.array_equal(found.sizes, np.sort(np.bincount(true))[::-1])


def test_a_solution_is_lloyds_fixed_point():
    points = np.random.default_rng(1).normal(size=(2_000, 3)).astype(np.float32)
    found = kmeans(points, 7)
    apart = np.linalg.norm(points[:, None] - found.centres, axis=2)
    assert np.array_equal(apart.argmin(axis=1), found.labels)
    assert np.allclose(apart.min(axis=1), found.distances, atol=1e-5)
    means = np.array([points[found.labels == c].mean(axis=0) for c in range(7)])
    assert np.abs(means - found.centres).max() < 0.05
    assert found.inertia == pytest.approx((apart.min(axis=1) ** 2).sum(), rel=1e-5)


def test_bounds_leave_out_no_row_that_lloyd_would_move():
    random = np.random.default_rng(2)
    points = random.normal(size=(900, 4)).astype(np.float32)
    start = points[:6].astype(np.float64)
    lloyd = clustering._Lloyd(points, start)
    lloyd.run(0.0)
    centres, labels = start, None
    while True:
        nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
        if labels is not None and np.array_equal(nearest, labels):
            break
        labels = nearest
        centres = np.array([points[labels == c].mean(axis=0, dtype=np.float64) for c in range(6)])
    assert np.array_equal(lloyd.labels, labels)
    assert np.allclose(lloyd.centres, centres, atol=1e-6)


def test_inertia_is_as_low_as_scikit_learns():
    points = np.random.default_rng(3).uniform(size=(600, 6)).astype(np.float32)
    theirs = KMeans(8, n_init=3, random_state=0).fit(points).inertia_
    assert kmeans(points, 8).inertia < 1.01 * theirs


def test_the_answer_is_the_same_on_disk_and_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_VALUES", 640)  # many blocks
    monkeypatch.setattr(clustering, "SAMPLE_ROWS", 300)  # fewer than the rows
    points, _ = blobs(spread=2.0)
    kept = kmeans(points, 5, seed=3)
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["features"] = points
        monkeypatch.setattr(rows, "MEMORY_VALUES", 0)
        read = kmeans(file["features"], 5, seed=3)
    assert kept.inertia == read.inertia
    assert np.array_equal(kept.labels, read.labels)
    assert np.array_equal(kept.distances, read.distances)


def test_the_seed_decides():
    points = np.random.default_rng(4).uniform(size=(800, 2))
    assert np.array_equal(kmeans(points, 9, seed=1).labels, kmeans(points, 9, seed=1).labels)
    assert not np.array_equal(kmeans(points, 9, seed=1).labels, kmeans(points, 9, seed=2).labels)


def test_clusters_of_one_size_are_numbered_by_their_first_row():
    points = np.array([[5.0], [0.0], [5.1], [0.1], [9.0], [9.1]])
    assert kmeans(points, 3).labels.tolist() == [0, 1, 0, 1, 2, 2]


def test_rows_far_from_the_origin_lose_no_digits():
    points, _ = blobs(spread=0.3)
    near, far = kmeans(points, 4), kmeans(points.astype(np.float64) + 1_000, 4)
    assert np.array_equal(near.labels, far.labels)
    assert np.allclose(near.distances, far.distances, rtol=1e-3, atol=1e-4)


def test_rows_far_from_the_origin_find_their_clusters_again():
    rows = np.random.default_rng(0).standard_normal((2_000, 3)).astype(np.float32) + np.float32(1e6)
    found = kmeans(rows, 8)
    labels, distances = Centres(found.centres).assign(rows)
    assert (labels != found.labels).sum() <= 2
    np.testing.assert_allclose(distances, found.distances, atol=1e-4)


def test_an_empty_cluster_gets_the_row_furthest_from_its_centre():
    points = np.array([[0.0], [0.1], [0.2], [10.0]], dtype=np.float32)
    lloyd = clustering._Lloyd(points, np.array([[0.1], [500.0]]))
    lloyd.run(0.0)
    assert sorted(lloyd.sizes.tolist()) == [1, 3]
    assert lloyd.labels[3] != lloyd.labels[0]


def test_equal_rows_leave_clusters_empty():
    found = kmeans(np.full((20, 3), 0.1), 4)
    assert found.sizes.tolist() == [20, 0, 0, 0]
    assert found.distances.max() < 1e-6


def test_k_may_be_one_or_the_number_of_rows():
    points, _ = blobs(count=30)
    assert np.allclose(kmeans(points, 1).centres[0], points.mean(axis=0), atol=1e-5)
    assert kmeans(points, 30).inertia == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("k", [0, 31])
def test_k_out_of_range_is_refused(k):
    with pytest.raises(ValueError, match="k must be"):
        kmeans(blobs(count=30)[0], k)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_value_that_is_not_finite_is_named(value):
    points = blobs(count=30)[0].astype(np.float64)
    points[17, 2] = value
    with pytest.raises(FormatError, match="row 18 "):
        kmeans(points, 3)


def test_no_rows_are_refused():
    with pytest.raises(FormatError, match="no rows"):
        kmeans(np.zeros((0, 3)), 2)
