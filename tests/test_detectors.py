"""Scores by hand and against scikit-learn, and what is kept of normal pictures."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from aetool.analysis import normals
from aetool.analysis.anomaly import smallest_rate, threshold
from aetool.analysis.detectors import FITTED, Detector, combine, combine_apart, negative_bound
from aetool.analysis.normals import Normals, fit
from aetool.analysis.texture import texture


def pictures(rng, count):
    return rng.random((count, 16, 16, 1)).astype(np.float32)


def features(rng, count, latent=12):
    """Features as a network would give them, correlated and of unlike scales."""
    mix = np.random.default_rng(9).normal(size=(latent, latent)) * np.geomspace(0.5, 2, latent)
    latents = (rng.normal(size=(count, latent)) @ mix).astype(np.float32)
    patches = rng.gamma(2, size=(count, 4, 3, 6)).astype(np.float32)
    patches[..., 5] = 0  # a filter that is silent in all normal pictures
    return latents, patches


@pytest.fixture(scope="module")
def learnt():
    rng = np.random.default_rng(0)
    latents, patches = features(rng, 300)
    textures = np.stack([texture(picture) for picture in pictures(rng, 300)])
    return Normals(latents, patches, textures), fit(Normals(latents, patches, textures))


def row(rng, latent=None, patch=None):
    latents, patches = features(rng, 1)
    return {
        "reconstruction": np.zeros((16, 16, 1), np.float32),
        "latents": latents[0] if latent is None else latent,
        "patches": patches[0] if patch is None else patch,
    }


def test_mahalanobis_is_that_of_the_shrunk_covariance(learnt):
    normal, arrays = learnt
    detector = Detector(arrays, ("mahalanobis",))
    values = [
        detector.measure(np.zeros((16, 16, 1)), row(np.random.default_rng(1), latent=latent))[0]
        for latent in normal.latents
    ]
    mean_square = np.mean([value["mahalanobis"] ** 2 for value in values])
    assert 0.7 * 12 < mean_square <= 12  # one for each axis, less what shrinkage and floor take


def test_a_latent_outside_the_kept_axes_is_far(monkeypatch):
    monkeypatch.setattr(normals, "LATENT_AXES", 3)
    rng = np.random.default_rng(2)
    latents = np.zeros((200, 6), np.float32)
    latents[:, :3] = rng.normal(size=(200, 3))
    latents[:, 3:] = 0.05 * rng.normal(size=(200, 3))
    _, patches = features(rng, 200)
    textures = np.stack([texture(picture) for picture in pictures(rng, 200)])
    detector = Detector(fit(Normals(latents, patches, textures)), ("mahalanobis",))
    near, far = latents[0].copy(), latents[0].copy()
    far[5] += 1
    scores = [
        detector.measure(np.zeros((16, 16, 1)), row(rng, latent=latent))[0]["mahalanobis"]
        for latent in (near, far)
    ]
    assert scores[1] > 3 * scores[0]


def test_gmm_is_scikit_learns_density(learnt):
    normal, arrays = learnt
    detector = Detector(arrays, ("gmm",))
    white = (normal.latents - arrays["latent/mean"]) @ arrays["latent/axes"]
    mixture = GaussianMixture(5, reg_covar=normals.FLOOR, random_state=0).fit(white)
    rng = np.random.default_rng(3)
    values = [
        detector.measure(np.zeros((16, 16, 1)), row(rng, latent=latent))[0]["gmm"]
        for latent in normal.latents[:20]
    ]
    np.testing.assert_allclose(values, -mixture.score_samples(white[:20]), rtol=1e-3, atol=1e-2)


def test_one_odd_patch_is_found_where_it_is(learnt):
    normal, arrays = learnt
    detector = Detector(arrays, ("patch", "texture"))
    rng = np.random.default_rng(4)
    patch = normal.patches[7].copy()
    same, _ = detector.measure(pictures(rng, 1)[0], row(rng, patch=patch))
    patch[3, 1] += 9
    odd, maps = detector.measure(pictures(rng, 1)[0], row(rng, patch=patch))
    assert same["patch"] < 0.1 < 3 < odd["patch"]
    assert np.unravel_index(maps["patch"].argmax(), (4, 3)) == (3, 1)


def test_a_scratch_is_found_by_texture_where_it_is(learnt):
    _, arrays = learnt
    detector = Detector(arrays, ("texture",))
    rng = np.random.default_rng(5)
    whole = pictures(rng, 1)[0]
    usual, _ = detector.measure(whole, row(rng))
    whole[13:, 13:] = 0
    scratched, maps = detector.measure(whole, row(rng))
    assert scratched["texture"] > 1.5 * usual["texture"]
    assert np.unravel_index(maps["texture"].argmax(), (4, 4)) == (3, 3)


def test_a_silent_filter_that_speaks_is_odd_but_not_without_bound(learnt):
    normal, arrays = learnt
    detector = Detector(arrays, ("patch",))
    rng = np.random.default_rng(6)
    patch = normal.patches[0].copy()
    patch[..., 5] = 1
    score = detector.measure(pictures(rng, 1)[0], row(rng, patch=patch))[0]["patch"]
    assert 1 < score < 1000


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(normals, "LATENT_ROWS", 50)
    monkeypatch.setattr(normals, "BANK_ROWS", 120)
    rng = np.random.default_rng(7)
    latents, patches = features(rng, 200)
    textures = np.stack([texture(picture) for picture in pictures(rng, 200)])
    arrays = fit(Normals(latents, patches, textures))
    assert arrays["knn/bank"].shape == (50, 12)
    assert arrays["patch/bank"].shape == (4, 3, 10, 6)


@pytest.mark.filterwarnings("error")
def test_equal_normals_are_fitted_without_a_remark():
    latents = np.tile(np.arange(12, dtype=np.float32), (100, 1))
    rng = np.random.default_rng(0)
    _, patches = features(rng, 100)
    textures = np.stack([texture(picture) for picture in pictures(rng, 9)])
    assert len(fit(Normals(latents, patches, textures))["gmm/weights"]) == 5


def test_one_normal_picture_is_enough_to_go_on_with():
    rng = np.random.default_rng(8)
    latents, patches = features(rng, 1)
    arrays = fit(Normals(latents, patches, texture(pictures(rng, 1)[0])[None]))
    scores, _ = Detector(arrays, FITTED).measure(pictures(rng, 1)[0], row(rng))
    assert set(scores) == set(FITTED) and np.isfinite(list(scores.values())).all()


def test_the_negative_bound_of_a_perfect_guess_is_the_pictures_entropy():
    inputs = np.array([[[0.0], [1.0]], [[0.5], [0.5]]])
    outputs = {"reconstruction": inputs, "z_mean": np.zeros(2), "z_log_var": np.zeros(2)}
    assert negative_bound(inputs, outputs) == pytest.approx(2 * np.log(2), abs=1e-5)
    outputs["z_mean"] = np.array([3.0, 4.0])
    assert negative_bound(inputs, outputs) == pytest.approx(2 * np.log(2) + 12.5, abs=1e-5)


def test_the_combined_score_does_not_care_for_units():
    rng = np.random.default_rng(9)
    normal = {name: rng.gamma(2, size=100) for name in FITTED}
    scores = {name: rng.gamma(4, size=30) for name in FITTED}
    before = combine(scores, normal)
    rescaled = ({n: 1000 * values + 7 for n, values in each.items()} for each in (scores, normal))
    np.testing.assert_allclose(combine(*rescaled), before)
    middle = {name: [np.median(values)] for name, values in normal.items()}
    assert combine(middle, normal)[0] == pytest.approx(0)


@pytest.mark.parametrize("count", [2, 3, 19, 22, 39, 61])
def test_normals_are_combined_in_the_units_of_the_others(count):
    rng = np.random.default_rng(count)
    normal = {name: rng.gamma(2, size=count) for name in FITTED}
    normal["knn"] = np.round(normal["knn"])  # several alike
    others = [{n: np.delete(values, i) for n, values in normal.items()} for i in range(count)]
    each = [
        combine({n: values[[i]] for n, values in normal.items()}, others[i])[0]
        for i in range(count)
    ]
    np.testing.assert_allclose(combine_apart(normal), each)


def test_a_single_normal_is_combined_in_its_own_units():
    assert combine_apart({"knn": np.array([3.0]), "gmm": np.array([7.0])}) == 0


@pytest.mark.parametrize("count", [10, 19, 39, 100])
def test_a_combined_score_keeps_its_promise_with_few_normals(count):
    """In units of their own 10 normals would have promised 0.09 and given 0.18."""
    rng, promised, drawn = np.random.default_rng(0), max(smallest_rate(count), 0.05), 600
    flagged = 0
    for _ in range(drawn):
        common = rng.normal(size=count + 50)
        scores = {n: common + rng.normal(size=count + 50) for n in ("texture", "knn", "gmm")}
        normal = {name: values[:count] for name, values in scores.items()}
        fresh = combine({name: values[count:] for name, values in scores.items()}, normal)
        flagged += (fresh > threshold(combine_apart(normal), promised)).sum()
    assert promised / 3 < flagged / (50 * drawn) < promised * 1.02
