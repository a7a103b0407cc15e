"""Principal components: scikit-learn's numbers, wherever the rows live, however wide they are."""

import h5py
import numpy as np
import pytest
from sklearn.decomposition import PCA

from aetool.analysis import projection, rows
from aetool.analysis.projection import principal_components
from aetool.errors import FormatError


def stretched(count=500, dimensions=12, seed=0):
    """Rows with axes of falling length, off the origin."""
    random = np.random.default_rng(seed)
    lengths = 3.0 / (1 + np.arange(dimensions))
    turn = np.linalg.qr(random.normal(size=(dimensions, dimensions)))[0]
    return (random.normal(size=(count, dimensions)) * lengths @ turn + 5).astype(np.float32)


def check_against_scikit_learn(points, found):
    theirs = PCA(len(found.components), svd_solver="full").fit(points.astype(np.float64))
    assert np.allclose(found.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=1e-4)
    signs = np.sign((found.components * theirs.components_).sum(axis=1))
    assert np.allclose(found.components, signs[:, None] * theirs.components_, atol=1e-3)
    expected = theirs.transform(points) * signs
    assert np.allclose(found.coordinates(points), expected, atol=5e-3)


def test_components_are_scikit_learns():
    points = stretched()
    check_against_scikit_learn(points, principal_components(points, 3))


def test_wide_rows_take_another_way_to_the_same_answer(monkeypatch):
    points = stretched(count=300, dimensions=80)
    covariance = principal_components(points, 3)
    monkeypatch.setattr(projection, "COVARIANCE_DIMENSIONS", 10)
    krylov = principal_components(points, 3)
    check_against_scikit_learn(points, krylov)
    assert np.allclose(
        krylov.explained_variance_ratio, covariance.explained_variance_ratio, rtol=1e-4
    )
    assert np.allclose(krylov.components, covariance.components, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_wide_rows_may_be_few(count, monkeypatch):
    monkeypatch.setattr(projection, "COVARIANCE_DIMENSIONS", 10)
    points = stretched(count=count, dimensions=60)
    found = principal_components(points, 3)
    assert np.isfinite(found.coordinates(points)).all()
    if count > 1:
        assert found.explained_variance_ratio.sum() == pytest.approx(1, abs=1e-4)
    assert np.allclose(found.coordinates(points)[:, count:], 0, atol=1e-3)


@pytest.mark.parametrize("width", [5, 1_000])
def test_the_answer_is_the_same_on_disk_and_in_memory(width, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_VALUES", 640)
    monkeypatch.setattr(projection, "COVARIANCE_DIMENSIONS", width)
    points = stretched()
    kept = principal_components(points, 2)
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["features"] = points
        monkeypatch.setattr(rows, "MEMORY_VALUES", 0)
        read = principal_components(file["features"], 2)
        assert np.array_equal(kept.coordinates(points), read.coordinates(file["features"]))
    assert np.array_equal(kept.explained_variance_ratio, read.explained_variance_ratio)


def test_the_largest_entry_of_each_component_is_positive():
    points = stretched()
    for turned in (points, -points):
        components = principal_components(turned, 3).components
        assert (components[np.arange(3), np.abs(components).argmax(axis=1)] > 0).all()


def test_rows_that_are_all_the_same_have_no_ratio():
    points = np.full((9, 4), 0.1, dtype=np.float32)
    found = principal_components(points, 2)
    assert found.explained_variance_ratio is None
    assert np.allclose(found.coordinates(points), 0, atol=1e-6)


def test_a_value_that_is_not_finite_is_named():
    points = stretched()
    points[40, 1] = np.nan
    with pytest.raises(FormatError, match="row 41 "):
        principal_components(points, 2)


def test_more_components_than_dimensions_are_refused():
    with pytest.raises(ValueError, match="count must be 1 to 2"):
        principal_components(np.zeros((5, 2)), 3)


@pytest.mark.parametrize("offset", [0.0, 1.0, 3e4])
@pytest.mark.parametrize("first", [0.0, 60.0])
def test_the_first_rows_need_not_be_like_the_others(offset, first, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_VALUES", 640)  # 64 rows in a block
    points = stretched(count=4_000, dimensions=10).astype(np.float64) - 5 + offset
    points[:64] += first
    check_against_scikit_learn(points, principal_components(points, 3))


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "finite"), (np.inf, "finite"), (2e15, "beyond")]
)
@pytest.mark.parametrize("offset", [0.0, 3e4])
def test_a_value_that_comes_late_is_named(value, message, offset, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_VALUES", 640)
    points = stretched(count=300, dimensions=10) + np.float32(offset)
    points[200, 3] = value
    with pytest.raises(FormatError, match=f"row 201 .*{message}"):
        principal_components(points, 2)


def test_large_values_in_range_are_no_error():
    points = stretched() * np.float32(1e13)
    check = principal_components(points / np.float32(1e13), 2)
    found = principal_components(points, 2)
    assert np.allclose(found.explained_variance_ratio, check.explained_variance_ratio, rtol=1e-4)


@pytest.mark.parametrize("wide", [3e2, 1e4])
def test_a_wide_column_does_not_hide_that_others_lie_far_from_zero(wide):
    random = np.random.default_rng(0)
    common = random.normal(size=3_000)
    points = random.normal(size=(3_000, 4))
    points[:, 0] *= wide
    points[:, 1:] += 500 + common[:, None]
    points = points.astype(np.float32)
    found = principal_components(points, 4)
    theirs = PCA(4, svd_solver="full").fit(points.astype(np.float64))
    variance = theirs.explained_variance_ * 2_999 / 3_000
    assert np.allclose(found.explained_variance, variance, rtol=1e-4)
    alike = np.abs((found.components * theirs.components_).sum(axis=1))
    assert np.allclose(alike[:2], 1, atol=1e-6)  # the last two are as wide as one another
    correlated = np.corrcoef(((points - found.mean) @ found.components.T).T)
    assert np.abs(correlated - np.eye(4)).max() < 1e-3


def test_a_constant_column_has_no_variance():
    points = np.random.default_rng(0).normal(size=(5_000, 3)).astype(np.float32)
    points[:, 1] = 1234.567
    found = principal_components(points, 3)
    assert found.explained_variance[2] == 0 and abs(found.components[2, 1]) == 1
