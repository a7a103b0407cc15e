"""Anomaly scores: the promise of the threshold, and the real command's tables and pictures."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score, roc_auc_score
from untrained import write_untrained

from aetool.analysis import anomaly
from aetool.analysis.detectors import PARTS, SCORES
from aetool.errors import FormatError
from aetool.images.decode import fit
from aetool.images.source import open_source
from aetool.inference.load import load_model
from aetool.plots.anomaly_report import anomaly_report
from aetool.storage.checkpoint import read_checkpoint, write_checkpoint
from aetool.tasks import calibration, judge
from aetool.tasks.anomaly import score_images
from aetool.tasks.calibration import FOLDS, _folds, _Reservoir, _Sample


def read_rows(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The first 400 digits, labelled."""
    data = load_digits()
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    pixels = np.uint8(np.round(data.images[:400] * 255 / 16))
    np.savez(path, x=pixels, y=data.target[:400])
    return path


@pytest.fixture(scope="module")
def zeros_model(aetool, tmp_path_factory):
    """A conv-ae that has seen the digit 0 alone."""
    path = tmp_path_factory.mktemp("zeros") / "zeros.h5"
    options = ["--model", "conv-ae", "--only", "0", "--epochs", "30", "--validation", "0.3", "-q"]
    trained = aetool("train", "sklearn:digits", "-o", path, *options)
    assert trained.status == 0, trained.stderr
    return path


def with_calibration(path, source, **changes):
    """A copy of a checkpoint with other calibration metadata; None removes it."""
    checkpoint = read_checkpoint(source)
    about = {**checkpoint.metadata["calibration"], **changes} if changes else None
    arrays = {} if about is None else checkpoint.arrays
    metadata = {**checkpoint.metadata, "calibration": about}
    write_checkpoint(path, replace(checkpoint, metadata=metadata, arrays=arrays))
    return path


# scores


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_the_threshold_keeps_its_promise_on_fresh_normals(rate):
    rng = np.random.default_rng(1)
    flagged = []
    for _ in range(300):
        calibration, fresh = rng.gamma(2, size=(2, 400))
        flagged.append((fresh > anomaly.threshold(calibration, rate)).mean())
    assert rate * 0.7 < np.mean(flagged) <= rate * 1.03


def test_flagged_means_a_p_value_of_at_most_the_rate():
    rng = np.random.default_rng(2)
    calibration, scores = rng.random(199), rng.random(2000)
    for rate in (0.01, 0.07, 0.29):
        flagged = scores > anomaly.threshold(calibration, rate)
        p_values = anomaly.p_values(scores, calibration)
        np.testing.assert_array_equal(flagged, p_values <= rate)


def test_p_values_count_the_normals_that_are_as_high():
    calibration = np.array([3.0, 1.0, 2.0, 2.0])
    values = anomaly.p_values(np.array([0.5, 2.0, 2.5, 9.0]), calibration)
    np.testing.assert_allclose(values, [1, 4 / 5, 2 / 5, 1 / 5])


def test_a_rate_below_what_the_count_supports_gives_the_highest_score():
    calibration = np.arange(50.0)
    assert anomaly.threshold(calibration, 0.001) == 49
    assert anomaly.smallest_rate(50) == pytest.approx(1 / 51)


def test_auroc_agrees_with_scikit_learn_and_is_none_for_one_class():
    rng = np.random.default_rng(3)
    scores, anomalous = rng.integers(0, 20, 300).astype(float), rng.random(300) < 0.3
    assert anomaly.auroc(scores, anomalous) == pytest.approx(roc_auc_score(anomalous, scores))
    assert anomaly.auroc(scores, np.zeros(300, bool)) is None
    assert anomaly.auroc(np.array([]), np.array([], bool)) is None


def test_average_precision_agrees_with_scikit_learn():
    rng = np.random.default_rng(4)
    scores, anomalous = rng.integers(0, 20, 300).astype(float), rng.random(300) < 0.3
    expected = average_precision_score(anomalous, scores)
    assert anomaly.average_precision(scores, anomalous) == pytest.approx(expected)
    assert anomaly.average_precision(scores, np.zeros(300, bool)) is None
    false, found = anomaly.roc(scores, anomalous)
    area = np.sum(np.diff(false, prepend=0) * (found + np.append(0, found[:-1])) / 2)
    assert area == pytest.approx(anomaly.auroc(scores, anomalous))


# the command


def test_other_digits_stand_out(aetool, zeros_model, tmp_path):
    table = tmp_path / "scores.csv"
    done = aetool("anomaly", "sklearn:digits", "-c", zeros_model, "-o", table, "--json")
    assert done.status == 0, done.stderr
    rows = read_rows(table)
    assert list(rows[0]) == ["path", "label", "score", "p_value", "anomaly"]
    source = open_source("sklearn:digits")
    assert [row["path"] for row in rows] == [source.name(i) for i in range(1797)]
    scores = np.array([float(row["score"]) for row in rows])
    others = np.array([row["label"] != "0" for row in rows])
    assert done.json["auroc"] == pytest.approx(roc_auc_score(others, scores), abs=1e-6)
    assert done.json["auroc"] > 0.8
    flagged = np.array([row["anomaly"] == "1" for row in rows])
    assert done.json["anomalies"] == flagged.sum() > 0
    named = [row["path"] for row in rows if row["anomaly"] == "1"]
    assert done.json["anomalous"] == named
    margin = scores - done.json["threshold"]
    clear = np.abs(margin) > 1e-6  # one held-out picture is the threshold itself
    np.testing.assert_array_equal(flagged[clear], margin[clear] > 0)
    assert flagged[~others].mean() < 0.1


def test_scores_are_those_of_the_calibration(zeros_model, tmp_path):
    """The held-out pictures score exactly what training noted, so p-values mean what they say.

    But for the combined score, of which each was noted in the units of the others.
    """
    table = tmp_path / "scores.csv"
    for name in ("mse", "mahalanobis", "gmm"):
        score_images("sklearn:digits", table, zeros_model, score=name)
        scores = np.array([float(row["score"]) for row in read_rows(table)])
        for noted in read_checkpoint(zeros_model).arrays[f"calibration/scores/{name}"]:
            assert np.abs(scores - noted).min() < 1e-6 * max(1, abs(noted))


def test_scores_are_reconstruction_errors(digits, zeros_model, tmp_path):
    table = tmp_path / "scores.csv"
    score_images(str(digits), table, zeros_model, score="mse", precision="float32")
    source = open_source(str(digits))
    pictures = np.stack([fit(source.load(i).pixels, (8, 8), 1) for i in range(50)])
    rebuilt = load_model(zeros_model).model.predict(pictures, verbose=0)
    scores = [float(row["score"]) for row in read_rows(table)[:50]]
    np.testing.assert_allclose(
        scores, np.square(pictures - rebuilt).mean(axis=(1, 2, 3)), rtol=1e-4
    )


def test_a_threshold_is_a_threshold(aetool, digits, zeros_model, tmp_path):
    table = tmp_path / "scores.csv"
    words = ["anomaly", digits, "-c", zeros_model, "-o", table, "--json"]
    median = float(np.median([float(row["score"]) for row in _scored(aetool, words, table)]))
    done = aetool(*words, "--threshold", median)
    assert done.json["threshold"] == median
    assert 195 <= done.json["anomalies"] <= 200
    more = aetool(*words, "--false-alarms", "0.5").json["anomalies"]
    assert more > aetool(*words, "--false-alarms", "0.05").json["anomalies"]
    both = aetool(*words, "--false-alarms", "0.5", "--threshold", "1")
    assert both.status == 2
    never = aetool(*words, "--threshold", "nan", "--fail-on-anomaly")
    assert never.status == 2
    assert "nan is no score" in never.stderr


def _scored(aetool, words, table):
    assert aetool(*words).status == 0
    return read_rows(table)


def test_a_rate_too_small_is_said_in_one_line(aetool, digits, zeros_model, tmp_path):
    said: list[str] = []
    words = ["-c", zeros_model, "-o", tmp_path / "s.csv", "--false-alarms", "0.0001"]
    done = aetool("anomaly", digits, *words)
    assert done.status == 0
    assert "cannot promise fewer false alarms" in done.stderr
    # The rate that goes without saying is no other.
    few = judge._threshold(np.arange(20.0), None, said.append)
    assert few == 19
    assert "20 calibration scores cannot promise fewer false alarms than 0.048;" in said[0]
    assert "aetool anomaly --calibrate" in said[0]
    judge._threshold(np.arange(20.0), 0.048, said.append)
    assert len(said) == 1  # what was named can be asked for


def test_scores_do_not_replace_what_they_are_made_of(aetool, photos, zeros_model, tmp_path):
    model = tmp_path / "model.h5"
    model.write_bytes(zeros_model.read_bytes())
    done = aetool("anomaly", photos, "-c", model, "-o", model)
    assert done.status == 2
    assert "its result would replace it" in done.stderr
    for words in ((), ("--append",)):
        done = aetool("anomaly", photos, "-c", zeros_model, "-o", model, *words)
        assert done.status == 2 and f"{model} is a model" in done.stderr
    assert model.read_bytes() == zeros_model.read_bytes()
    # Nor does a model take the place of another file, and a table that is none is not cut.
    notes = tmp_path / "notes.csv"
    notes.write_text("mine")
    done = aetool("anomaly", "--calibrate", photos, "-c", model, "-o", notes)
    assert done.status == 2 and "is no model" in done.stderr
    assert aetool("anomaly", photos, "-c", model, "-o", notes, "--append").status == 1
    assert notes.read_text() == "mine"


def test_a_report_of_nothing_is_said_to_be_missing(aetool, photos, zeros_model, tmp_path):
    words = ["anomaly", photos, "-c", zeros_model, "-o", tmp_path / "s.csv", "--append"]
    assert aetool(*words).status == 0
    done = aetool(*words, "--report", tmp_path / "r.png")
    assert done.status == 0
    assert "r.png was not drawn" in done.stderr
    assert not (tmp_path / "r.png").exists()


def test_without_calibration_there_are_scores_only(aetool, digits, zeros_model, tmp_path):
    model = with_calibration(tmp_path / "plain.h5", zeros_model)
    table = tmp_path / "scores.csv"
    words = ["anomaly", digits, "-c", model, "-o", table]
    done = aetool(*words, "--json")
    assert done.status == 0
    assert done.json["threshold"] is None and done.json["anomalies"] is None
    assert "no calibration" in done.stderr
    rows = read_rows(table)
    assert {(row["p_value"], row["anomaly"]) for row in rows} == {("", "")}
    assert aetool(*words, "--fail-on-anomaly").status == 2
    assert aetool(*words, "--false-alarms", "0.1").status == 2
    assert aetool(*words, "--threshold", "0.01", "--fail-on-anomaly").status == 3


def test_anomalies_outrank_failures_in_the_exit_status(aetool, zeros_model, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    Image.new("L", (8, 8), 255).save(folder / "white.png")
    (folder / "torn.png").write_bytes(b"")
    words = ["anomaly", folder, "-c", zeros_model, "-o", tmp_path / "s.csv"]
    assert aetool(*words, "--threshold", "0").status == 1
    assert aetool(*words, "--threshold", "0", "--fail-on-anomaly").status == 3
    assert aetool(*words, "--threshold", "1e9", "--fail-on-anomaly").status == 1
    assert [row["path"] for row in read_rows(tmp_path / "s.csv")] == ["white.png"]


def test_the_table_goes_to_standard_output(aetool, zeros_model, photos):
    done = aetool("anomaly", photos, "-c", zeros_model, "-q")
    assert done.status == 0
    assert done.text.splitlines()[0] == "path,label,score,p_value,anomaly"
    assert len(done.text.splitlines()) == 13
    assert aetool("anomaly", photos, "-c", zeros_model, "--json").status == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_scores_follow_the_precision_of_the_calibration(digits, zeros_model, tmp_path, precision):
    model = with_calibration(tmp_path / "m.h5", zeros_model, precision=precision)
    tables = [tmp_path / "auto.csv", tmp_path / "named.csv"]
    notes = []
    words = {"false_alarms": 0.1, "note": notes.append}
    score_images(str(digits), tables[0], model, **words)
    score_images(str(digits), tables[1], model, precision=precision, **words)
    assert tables[0].read_bytes() == tables[1].read_bytes()
    assert notes == []
    other = "float32" if precision == "bfloat16" else "bfloat16"
    score_images(str(digits), tables[1], model, precision=other, **words)
    assert len(notes) == 1 and precision in notes[0]


def test_normal_without_labels_in_training_is_what_is_called_good(zeros_model, tmp_path):
    checkpoint = read_checkpoint(zeros_model)
    checkpoint.metadata["training"]["only"] = []
    checkpoint.metadata["classes"] = []
    write_checkpoint(tmp_path / "m.h5", checkpoint)
    for label, grey in (("good", 0), ("scratched", 255), ("broken", 200)):
        (tmp_path / "parts" / label).mkdir(parents=True)
        Image.new("L", (8, 8), grey).save(tmp_path / "parts" / label / "1.png")
    result = score_images(str(tmp_path / "parts"), tmp_path / "s.csv", tmp_path / "m.h5")
    scores = {row["label"]: float(row["score"]) for row in read_rows(tmp_path / "s.csv")}
    below = [scores["good"] < scores[label] for label in ("scratched", "broken")]
    assert result.auroc == np.mean(below)
    alone = score_images(str(tmp_path / "parts/good"), tmp_path / "s.csv", tmp_path / "m.h5")
    assert alone.auroc is None


def test_heatmaps_have_the_pictures_size_and_show_where(zeros_model, photos, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    pixels = np.zeros((40, 64), np.uint8)
    pixels[24:, 40:] = 255
    Image.fromarray(pixels).save(folder / "corner.gif")
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(folder / "black.png")
    maps, over = tmp_path / "maps", tmp_path / "over"
    options = {"score": "mse"}
    plain = score_images(str(folder), tmp_path / "a.csv", zeros_model, heatmaps=maps, **options)
    options |= {"heatmaps": over, "overlay": True}
    score_images(str(folder), tmp_path / "b.csv", zeros_model, **options)
    assert plain.failed == []
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert sorted(path.name for path in maps.iterdir()) == ["black.png", "corner.gif.png"]
    with Image.open(maps / "corner.gif.png") as picture:
        heat = np.asarray(picture.convert("L"), float)
    assert heat.shape == (40, 64)
    assert heat[30:, 48:].mean() > heat[:20, :32].mean() + 20
    with Image.open(over / "corner.gif.png") as picture:
        assert picture.size == (64, 40) and picture.mode == "RGB"


def test_two_pictures_never_share_a_heatmap(zeros_model, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("a.gif", "a.gif.png"):
        Image.new("L", (8, 8), 99).save(folder / name)
    result = score_images(str(folder), tmp_path / "s.csv", zeros_model, heatmaps=tmp_path / "maps")
    assert [failure.path for failure in result.failed] == ["a.gif.png"]


# calibration without training


def test_a_model_is_calibrated_anew_without_training(aetool, digits, zeros_model, tmp_path):
    bare = with_calibration(tmp_path / "bare.h5", zeros_model)
    data = np.load(digits)
    zeros, fresh = (
        data["x"][np.flatnonzero(data["y"] == 0)][rows] for rows in (slice(0, 30), slice(30, None))
    )
    np.save(tmp_path / "zeros.npy", zeros)
    new = tmp_path / "new.h5"
    words = ["--calibrate", tmp_path / "zeros.npy", "-c", bare, "-o", new]
    done = aetool("anomaly", *words, "--json")
    assert done.status == 0, done.stderr
    assert done.json["read"] == 30 and done.json["smallest_rate"] == pytest.approx(1 / 31)
    assert set(done.json["thresholds"]) == set(SCORES) - {"elbo"}
    before, after = read_checkpoint(bare), read_checkpoint(new)
    assert after.digest == before.digest
    assert after.metadata["calibration"]["count"] == 30
    scored = aetool("anomaly", digits, "-c", new, "-o", tmp_path / "s.csv", "--json")
    assert scored.json["auroc"] > 0.95
    assert scored.json["threshold"] == done.json["threshold"]
    np.save(tmp_path / "few.npy", fresh[:5])
    words[1] = tmp_path / "few.npy"
    assert aetool("anomaly", *words).status == 2


def test_pictures_so_large_that_few_patches_are_kept_are_calibrated_too(
    digits, zeros_model, tmp_path, monkeypatch
):
    monkeypatch.setattr(calibration, "bank_pictures", lambda height, width: 1)
    data = np.load(digits)
    np.save(tmp_path / "zeros.npy", data["x"][data["y"] == 0][:12])
    stored = read_checkpoint(zeros_model)
    about, failures, _ = calibration.calibrate_file(
        open_source(str(tmp_path / "zeros.npy")), stored, tmp_path / "n.h5",
        tile=None, precision="float32", batch_size=None, max_pixels=10**6, progress=None,
    )  # fmt: skip
    assert not failures and about["count"] == 12
    assert np.isfinite(list(about["thresholds"].values())).all()
    assert np.isfinite(stored.arrays["calibration/scores/patch"]).all()


def test_as_many_gaussians_are_fitted_to_all_normals_as_to_those_of_a_fold(
    digits, zeros_model, tmp_path
):
    """Of 45 latents two, and of the 36 that score the others one: new normals would seem odd."""
    data = np.load(digits)
    np.save(tmp_path / "zeros.npy", data["x"][data["y"] == 0][:45])
    stored = read_checkpoint(zeros_model)
    calibration.calibrate_file(
        open_source(str(tmp_path / "zeros.npy")), stored, tmp_path / "n.h5",
        tile=None, precision="float32", batch_size=None, max_pixels=10**6, progress=None,
    )  # fmt: skip
    (weights,) = (array for name, array in stored.arrays.items() if name.endswith("gmm/weights"))
    assert len(weights) == 1


def test_each_kind_of_score_has_its_own_colour_in_the_report():
    groups = {name: np.arange(9.0) for name in ("normal", "anomalous", "without a label")}
    legend = anomaly_report(groups, 5.0, None, (), "mse").axes[0].get_legend()
    assert len({patch.get_facecolor() for patch in legend.get_patches()}) == 3


@pytest.mark.parametrize("owners", [(0, 7), (3, 3), (1, 4, 9)])
def test_no_fold_is_judged_by_no_patch(owners):
    """Were all that are kept in one fold, it would be."""
    count, patches = 12, np.arange(len(owners), dtype=np.float32)[:, None, None, None]
    rows, each = np.zeros((count, 1), np.float32), np.arange(count)
    sample = _Sample(rows, each, patches, np.array(owners), rows[..., None, None], each, count)
    for seed in range(40):
        fold = _folds(sample, seed)
        assert np.bincount(fold).tolist() == [3, 3, 2, 2, 2]
        for k in range(FOLDS):
            kept = sample.normals(fold != k).patches.ravel().astype(int)
            assert len(kept)
            if len(set(owners)) > 1:
                assert (fold[np.array(owners)[kept]] != k).all()


def test_every_score_tells_zeros_from_other_digits(digits, zeros_model, tmp_path):
    auroc = {}
    for score in set(SCORES) - {"elbo"}:
        result = score_images(str(digits), tmp_path / "s.csv", zeros_model, score=score)
        auroc[score] = result.auroc
        assert result.score == score and result.anomalies > 200
    assert min(auroc.values()) > 0.75, auroc
    assert auroc["combined"] > 0.97, auroc


def test_a_calibration_that_does_not_fit_together_is_refused(aetool, digits, zeros_model, tmp_path):
    checkpoint = read_checkpoint(zeros_model)
    words = ["anomaly", digits, "-c", tmp_path / "m.h5", "-o", tmp_path / "s.csv"]
    for name in ("knn/bank", "patch/bank", "gmm/means", "texture/axes"):
        whole = checkpoint.arrays[f"calibration/{name}"]
        for array in (whole[..., :-2], whole[:0], whole[None]):
            arrays = {**checkpoint.arrays, f"calibration/{name}": array}
            write_checkpoint(tmp_path / "m.h5", replace(checkpoint, arrays=arrays))
            refused = aetool(*words)
            assert refused.status == 1 and "the calibration's" in refused.stderr


def test_a_texture_of_other_filters_is_refused(aetool, digits, zeros_model, tmp_path):
    checkpoint = read_checkpoint(zeros_model)
    mean, axes = (checkpoint.arrays[f"calibration/texture/{name}"] for name in ("mean", "axes"))
    arrays = {
        **checkpoint.arrays,
        "calibration/texture/mean": mean[..., :-1],
        "calibration/texture/axes": axes[..., :-1, :-1],
    }
    write_checkpoint(tmp_path / "m.h5", replace(checkpoint, arrays=arrays))
    refused = aetool("anomaly", digits, "-c", tmp_path / "m.h5", "-o", tmp_path / "s.csv")
    assert refused.status == 1 and "texture/mean is of other filters" in refused.stderr


def test_the_combined_score_is_made_of_what_its_file_says(digits, zeros_model, tmp_path):
    """A model that was calibrated by another rule is judged by that rule."""
    checkpoint = read_checkpoint(zeros_model)
    about = checkpoint.metadata["calibration"]
    assert about["parts"] == list(PARTS)
    noted = checkpoint.arrays["calibration/scores/mse"]
    middle = np.median(noted)
    tail = noted[-max(1, len(noted) // 20) :].mean() - middle
    path, table = tmp_path / "m.h5", tmp_path / "s.csv"

    def scores(score, parts):
        metadata = {**checkpoint.metadata, "calibration": {**about, **parts}}
        write_checkpoint(path, replace(checkpoint, metadata=metadata))
        score_images(str(digits), table, path, score=score)
        return np.array([float(row["score"]) for row in read_rows(table)])

    alone = scores("combined", {"parts": ["mse"]})
    np.testing.assert_allclose(alone, (scores("mse", {}) - middle) / tail, rtol=1e-4)
    for wrong in ([], ["brightness"], ["elbo"]):
        with pytest.raises(FormatError, match="no score is combined from"):
            scores("combined", {"parts": wrong})


def test_what_a_score_lacks_is_said(aetool, digits, zeros_model, tmp_path):
    words = ["anomaly", digits, "-o", tmp_path / "s.csv", "-q"]
    assert aetool(*words, "-c", zeros_model, "--score", "elbo").status == 2
    bare = with_calibration(tmp_path / "bare.h5", zeros_model)
    refused = aetool(*words, "-c", bare, "--score", "patch")
    assert refused.status == 2 and "--calibrate" in refused.stderr
    assert aetool(*words, "-c", bare, "--score", "ssim").status == 0
    assert aetool(*words, "-c", zeros_model, "--calibrate", digits).status == 2
    assert aetool("anomaly", "-c", zeros_model).status == 2
    assert aetool("anomaly", digits, "-o", tmp_path / "s.csv").status == 2


def test_small_defects_are_found_in_tiles(aetool, zeros_model, tmp_path):
    """A speck that vanishes when the part is shrunk to the network's size."""
    rng = np.random.default_rng(0)
    parts = np.uint8(100 + 4 * rng.standard_normal((22, 72, 72)))
    np.save(tmp_path / "normal.npy", parts[:12])
    speckled = parts[12:].copy()
    speckled[:, 40:43, 50:53] = 130
    np.savez(
        tmp_path / "test.npz", x=np.concatenate([parts[12:], speckled]), y=np.repeat([0, 1], 10)
    )
    found = {}
    for tile in (None, 24):
        model = tmp_path / f"{tile}.h5"
        # Shrunk, the parts differ by less than half precision may tell.
        options = ["--precision", "float32", *(["--tile", tile] if tile else [])]
        words = ["--calibrate", tmp_path / "normal.npy", "-c", zeros_model, "-o", model, *options]
        assert aetool("anomaly", *words, "-q").status == 0
        table = tmp_path / f"{tile}.csv"
        words = ["-c", model, "-o", table, "--score", "texture", "-q"]
        assert aetool("anomaly", tmp_path / "test.npz", *words).status == 0
        scores = np.array([float(row["score"]) for row in read_rows(table)])
        found[tile] = roc_auc_score(np.repeat([0, 1], 10), scores)
    assert found[24] > 0.95 > found[None] + 0.1, found
    words = ["anomaly", tmp_path / "test.npz", "-c", tmp_path / "24.h5", "-o", tmp_path / "o.csv"]
    other = aetool(*words, "--tile", "48", "--json")
    assert other.json["threshold"] is None and "calibrated for tiles of 24" in other.stderr


def test_masks_measure_the_maps_and_the_report_shows_them(aetool, tmp_path):
    rng = np.random.default_rng(0)
    spec = {"name": "conv-ae", "size": (32, 48), "channels": 1, "widths": (4, 4)}
    model = write_untrained(tmp_path / "m.h5", spec, "reconstruct")
    np.save(tmp_path / "normal.npy", np.uint8(100 + 4 * rng.standard_normal((40, 32, 48))))
    words = ["--calibrate", tmp_path / "normal.npy", "-c", model, "-o", model]
    assert aetool("anomaly", *words).status == 0
    for label, count in (("good", 6), ("scratch", 4)):
        (tmp_path / "test" / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.uint8(100 + 4 * rng.standard_normal((32, 48)))
            if label == "scratch":
                pixels[4:10, 30:40] = 220
                mask = np.zeros((32, 48), np.uint8)
                mask[4:10, 30:40] = 255
                truth = tmp_path / "ground_truth" / label / f"{number}_mask.png"
                truth.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(truth)
            Image.fromarray(pixels).save(tmp_path / "test" / label / f"{number}.png")
    words = ["anomaly", tmp_path / "test", "-c", model, "-o", tmp_path / "s.jsonl"]
    options = ["--masks", tmp_path / "ground_truth"]
    done = aetool(*words, *options, "--report", tmp_path / "report.png", "--json")
    assert done.status == 0, done.stderr
    assert done.json["pixel_auroc"] > 0.9 and done.json["region_overlap"] > 0.8
    assert done.json["average_precision"] == done.json["auroc"] == 1
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows][:1] == ["good/0.png"] and len(rows) == 10
    assert set(rows[0]) == {"path", "label", "score", "p_value", "anomaly"}
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.width > 1000 and len(picture.convert("RGB").getcolors(2**20)) > 100
    (tmp_path / "ground_truth" / "scratch" / "0_mask.png").write_bytes(b"")
    torn = aetool(*words, *options, "--json")
    assert torn.status == 1 and torn.json["failed"][0]["path"] == "scratch/0.png"


def test_of_more_rows_than_are_kept_each_has_the_same_chance():
    kept = []
    for seed in range(400):
        rows = _Reservoir(3, seed)
        for owner in range(12):
            rows.offer(lambda owner=owner: np.array([owner]), owner)
        values, owners = rows.arrays()
        assert len(owners) == 3 and np.array_equal(values[:, 0], owners)
        kept += owners.tolist()
    assert np.bincount(kept, minlength=12) / 400 == pytest.approx(np.full(12, 3 / 12), abs=0.08)
