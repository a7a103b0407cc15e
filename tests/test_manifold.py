"""The map of rows: what is near stays near, by forces that are the exact ones."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_iris

from aetool.analysis import mixture, space
from aetool.analysis.count import SAMPLES, choose_count
from aetool.analysis.embedding import _repulsion, embed
from aetool.analysis.groups import Grouper
from aetool.analysis.mixture import fit_mixture
from aetool.analysis.neighbours import firmness, neighbour_graph
from aetool.analysis.space import Placed, Space, map_space, neighbour_space, principal_space


def islands(count=240, dimensions=5, seed=0):
    random = np.random.default_rng(seed)
    kind = np.arange(count) % 4
    places = np.eye(4, dimensions)[kind] * 8
    return (places + random.normal(size=(count, dimensions))).astype(np.float32), kind


def test_repulsion_on_the_grid_is_the_sum_over_pairs():
    places = np.random.default_rng(0).normal(scale=5, size=(400, 2)).astype(np.float32)
    apart = places[:, None] - places
    near = 1 / (1 + (apart**2).sum(axis=2))
    np.fill_diagonal(near, 0)
    exact = (near[..., None] ** 2 * apart).sum(axis=1) / near.sum()
    assert np.abs(_repulsion(places) - exact).max() < 0.03 * np.abs(exact).max()


def test_each_row_holds_as_firmly_in_sum():
    distances = np.sort(np.random.default_rng(0).uniform(1, 9, size=(50, 15)), axis=1)
    held = firmness(distances)
    assert np.allclose(held.sum(axis=1), np.log2(15), atol=1e-3)
    assert (held[:, 0] == 1).all()
    assert (np.diff(held, axis=1) <= 0).all()


def test_a_graph_is_symmetric_and_ties_no_row_to_itself():
    rows, _ = islands()
    graph = neighbour_graph(rows)
    assert abs(graph - graph.T).max() < 1e-12
    assert not graph.diagonal().any()
    assert 0 < graph.data.min() <= graph.data.max() <= 1 + 1e-12


def test_islands_lie_apart_on_the_map_and_the_map_is_always_the_same():
    rows, kind = islands()
    places = map_space(rows, np.random.default_rng(0))[1]
    middles = np.array([places[kind == k].mean(axis=0) for k in range(4)])
    assert (np.linalg.norm(places[:, None] - middles, axis=2).argmin(axis=1) == kind).all()
    assert np.array_equal(places, map_space(rows, np.random.default_rng(1))[1])


@pytest.mark.parametrize("rows", [np.ones((80, 3)), np.arange(90.0)[:, None], np.eye(2)])
def test_odd_rows_have_a_map(rows):
    places = map_space(rows.astype(np.float32), np.random.default_rng(0))[1]
    assert places.shape == (len(rows), 2)
    assert np.isfinite(places).all()


@pytest.mark.parametrize(("rows", "columns"), [(60, 8), (100, 256), (300, 64)])
def test_rows_without_neighbours_to_speak_of_do_not_end_in_one_point(rows, columns):
    noise = np.random.default_rng(0).random((rows, columns), np.float32)
    places = map_space(noise, np.random.default_rng(0))[1]
    assert len(np.unique(places.round(3), axis=0)) > 0.9 * rows


def test_rows_beyond_the_sample_join_their_kind(monkeypatch):
    monkeypatch.setattr(space, "MAP_ROWS", 100)
    rows, kind = islands()
    found, places = map_space(rows, np.random.default_rng(0))
    assert len(found.anchors) == 100
    middles = np.array([places[kind == k].mean(axis=0) for k in range(4)])
    assert (np.linalg.norm(places[:, None] - middles, axis=2).argmin(axis=1) == kind).all()


def test_a_row_among_two_kinds_lies_with_the_more_and_an_anchor_where_it_was(monkeypatch):
    rows, _ = islands()
    found, places = map_space(rows, np.random.default_rng(0))
    assert np.array_equal(found.place(rows), places)
    monkeypatch.setattr(space, "firmness", np.ones_like)
    anchors = np.arange(15.0)[:, None].repeat(2, axis=1)
    positions = np.where(np.arange(15)[:, None] < 9, [[0.0, 0.0]], [[9.0, 9.0]])
    few = space.with_map(principal_space(rows[:, :2]), anchors, positions.astype(np.float32))
    ((x, y),) = few.place(np.float32([[7.2, 7.2]]))
    assert abs(x) < 0.1 and abs(y) < 0.1  # their mean is at 3.6, where none lies


def test_wide_rows_are_reduced_to_their_principal_components():
    rows = np.random.default_rng(0).normal(size=(90, 70)).astype(np.float32)
    assert principal_space(rows).place(rows).shape == (90, space.PRINCIPAL_COMPONENTS)
    narrow = principal_space(rows[:, :9]).place(rows[:, :9])
    assert np.allclose(narrow, rows[:, :9] - rows[:, :9].mean(axis=0), atol=1e-5)


def test_wide_rows_are_neighbours_by_direction_on_even_axes():
    random = np.random.default_rng(0)
    spread = np.linspace(1, 9, 70)
    rows = (5 + random.normal(size=(900, 70)) * spread).astype(np.float32)
    found = neighbour_space(rows)
    even = (rows - found.mean) @ found.axes.T
    components = principal_space(rows).place(rows)
    assert np.allclose(even.std(axis=0), np.sqrt(components.std(axis=0)), rtol=1e-3)
    reduced = found.reduce(rows)
    assert np.allclose(np.linalg.norm(reduced, axis=1), 1, atol=1e-5)
    farther = found.mean + 3 * (rows - found.mean)
    assert np.allclose(found.reduce(farther.astype(np.float32)), reduced, atol=1e-4)
    assert not neighbour_space(rows[:, :50]).directions
    assert np.isfinite(neighbour_space(np.ones((9, 70), np.float32)).reduce(rows)).all()


def test_an_edge_pulls_together():
    graph = csr_array(np.kron(np.eye(2), np.ones((20, 20)) - np.eye(20)))
    start = np.random.default_rng(0).normal(size=(40, 2))
    places = embed(graph, start)
    gap = np.linalg.norm(places[:20].mean(axis=0) - places[20:].mean(axis=0))
    assert gap > 2 * np.linalg.norm(places[:20] - places[:20].mean(axis=0), axis=1).max()


def test_a_mixture_tells_a_narrow_cluster_from_a_wide_one_about_it():
    random = np.random.default_rng(0)
    wide, narrow = random.normal(scale=(6, 6), size=(400, 2)), random.normal(0, 0.2, size=(400, 2))
    rows = np.vstack((wide, narrow)).astype(np.float32)
    mixture, _ = fit_mixture(rows, 2, np.random.default_rng(0))
    labels, distances = mixture.assign(rows)
    assert (labels[400:] == labels[400]).mean() > 0.98
    assert (labels[:400] != labels[400]).mean() > 0.95
    assert np.allclose(mixture.probabilities(rows).sum(axis=1), 1)
    assert mixture.probabilities(rows).argmax(axis=1).tolist() == labels.tolist()
    inverse = mixture.factors[labels[400]] @ mixture.factors[labels[400]].T
    apart = rows[400] - mixture.means[labels[400]]
    assert distances[400] == pytest.approx(np.sqrt(apart @ inverse @ apart), rel=1e-5)


def test_a_mixture_in_the_plane_is_likelier_than_what_k_means_leads_to():
    """Long bars beside each other, which k-means cuts across."""
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal((0, 2 * i), (6, 0.4), (400, 2)) for i in range(6)])
    for seed in range(3):
        _, likelihood = fit_mixture(rows, 6, np.random.default_rng(seed))
        _, by_k_means = fit_mixture(rows, 6, np.random.default_rng(seed), restarts=10)
        assert likelihood > by_k_means + 0.02


def test_equal_rows_share_a_place_and_leave_the_others_theirs():
    """A hundred blank scans among others: the nearest of each are others of them."""
    rows, kind = islands(count=400, dimensions=8)
    blank = np.zeros((100, 8), np.float32)
    blank[::2] = -0.0
    order = np.random.default_rng(2).permutation(500)
    mixed = np.concatenate([rows, blank])[order]
    found, places = map_space(mixed, np.random.default_rng(0))
    is_blank = order >= 400
    assert len(np.unique(places[is_blank], axis=0)) == 1
    assert np.abs(places[is_blank]).max() <= np.abs(places[~is_blank]).max() + 2
    middles = np.array([places[~is_blank][kind[order[~is_blank]] == k].mean(0) for k in range(4)])
    nearest = np.linalg.norm(places[~is_blank][:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == kind[order[~is_blank]]).mean() > 0.98
    np.testing.assert_array_equal(found.place(mixed), places)


def test_rows_that_all_differ_keep_the_map_they_had():
    rows, _ = islands()
    anchors = principal_space(rows).place(rows)
    expected = embed(neighbour_graph(anchors), space._first_two(anchors))
    np.testing.assert_array_equal(map_space(rows, np.random.default_rng(0))[1], expected)


@pytest.mark.parametrize(("k", "method"), [(20, "manifold"), (50, "manifold"), (50, "gmm")])
def test_no_cluster_is_empty_where_rows_differ_enough(k, method):
    grouper = Grouper(load_iris().data.astype(np.float32), method)
    (found,) = grouper.runs(k, [[0]])
    assert found.sizes.min() > 0 and found.sizes.sum() == 150


def test_more_clusters_than_rows_are_drawn_have_rows_enough(monkeypatch):
    monkeypatch.setattr(mixture, "RESTART_ROWS", 10)
    monkeypatch.setattr(mixture, "FIT_ROWS", 12)
    found, _ = fit_mixture(islands()[0], 20, np.random.default_rng(0))
    assert len(found.means) == 20


def test_places_of_wide_rows_are_made_from_few_rows_at_a_time():
    asked = []

    class Wide:
        shape = (1_000, 8_192)

        def __getitem__(self, rows):
            asked.append(rows.stop - rows.start)
            numbers = np.arange(rows.start, rows.stop, dtype=np.float32)
            return np.repeat(numbers[:, None], 8_192, axis=1)

    axes = np.zeros((2, 8_192))
    axes[:, 0] = (1, 2)
    places = Placed(Space(np.zeros(8_192), axes), Wide())[10:1_000]
    assert max(asked) == 64 and sum(asked) == 990
    np.testing.assert_array_equal(places, np.arange(10, 1_000)[:, None] * (1, 2))


def test_how_sure_the_number_of_clusters_is_comes_from_different_samples():
    rows = np.random.default_rng(0).standard_normal((120, 2), dtype=np.float32)
    samples = set()

    def cluster(drawn, k, rng):
        samples.add(drawn.tobytes())
        return rng.integers(0, k, len(drawn))

    choose_count(rows, cluster, np.random.default_rng(0))
    assert len(samples) == SAMPLES
