"""Training curves: a panel a quantity, its numbers in it."""

import numpy as np
from PIL import Image

from aetool.plots.curves import curves, draw_curves


def lines(axes) -> dict[str, np.ndarray]:
    return {
        line.get_label(): line.get_xydata() for line in axes.lines if line.get_label()[0] != "_"
    }


def test_training_and_validation_share_a_panel_and_the_loss_comes_first():
    history = {"accuracy": [0.5, 0.6], "loss": [0.4, 0.3], "val_loss": [0.5, 0.45]}
    panels = curves(history).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["loss", "accuracy"]
    drawn = lines(panels[0])
    assert np.allclose(drawn["training"], [[1, 0.4], [2, 0.3]])
    assert np.allclose(drawn["validation"], [[1, 0.5], [2, 0.45]])
    assert list(lines(panels[1])) == ["training"]


def test_the_scale_is_logarithmic_where_a_quantity_spans_decades():
    panels = curves({"loss": [10.0, 1.0, 0.1], "flat": [2.0, 1.0], "zero": [9.0, 0.0]}).axes
    assert [axes.get_yscale() for axes in panels] == ["log", "linear", "linear"]


def best(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_the_epoch_with_the_best_loss_is_marked_in_all():
    values = {
        "val_loss": [3.0, 1.5, 2.0],
        "val_divergence": [0.1, 0.4, 0.3],
        "val_stage1_loss": [1],
    }
    losses, divergences, stage = curves(values).axes
    assert best(losses) == ["1.5"]
    assert best(divergences) == ["0.4"]
    assert best(stage) == []


def test_a_value_that_is_no_number_leaves_a_gap():
    axes = curves({"loss": [1.0, np.nan, np.inf, 0.5], "val_loss": [np.nan] * 4}).axes[0]
    assert np.isnan(lines(axes)["training"][1:3, 1]).all()
    assert best(axes) == []


def test_one_epoch_can_be_seen(tmp_path):
    draw_curves(tmp_path / "one.png", {"loss": [0.5]})
    with Image.open(tmp_path / "one.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0]) > 100
    assert blue.sum() > 20
