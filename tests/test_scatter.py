"""Scatter plots: every point and class is there, whatever their number and names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aetool.errors import UsageError
from aetool.plots import scatter as module
from aetool.plots.scatter import scatter, side_by_side
from aetool.plots.style import check_figure_path, class_colors, save_figure, short_name

AXES = ("PC 1", "PC 2", "PC 3")


def points(count, dimensions=2, classes=3):
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    return random.normal(size=(count, dimensions)) + 6 * labels[:, None], labels


def drawn(figure, path: Path) -> np.ndarray:
    save_figure(figure, path)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def has_color(pixels: np.ndarray, color: np.ndarray) -> bool:
    return bool((np.abs(pixels / 255 - color).max(axis=2) < 0.12).any())


def legend_texts(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("count", [12, 4_000])
def test_each_class_is_drawn_in_its_colour(dimensions, count, tmp_path):
    rows, labels = points(count, dimensions)
    figure = scatter(rows, AXES[:dimensions], labels, ("a", "b", "c"))
    pixels = drawn(figure, tmp_path / "plot.png")
    assert all(has_color(pixels, color) for color in class_colors(3))
    assert legend_texts(figure) == ["a", "b", "c"]
    offsets = sum(len(group.get_offsets()) for group in figure.axes[0].collections)
    assert offsets == count


def test_axes_bear_their_names():
    axes = scatter(*points(9, 3)[:1], AXES).axes[0]
    assert [axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()] == list(AXES)


def test_without_labels_there_is_one_colour_and_no_legend(tmp_path):
    figure = scatter(points(50)[0], AXES[:2])
    assert not figure.legends
    assert has_color(drawn(figure, tmp_path / "plot.png"), class_colors(1)[0])


def test_unknown_labels_are_grey_and_named():
    rows, labels = points(30)
    labels = np.where(labels == 2, -1, labels)
    assert legend_texts(scatter(rows, AXES[:2], labels, ("a", "b", "c"))) == [
        "unlabelled",
        "a",
        "b",
    ]


def test_names_are_shown_as_they_are(tmp_path):
    names = ("_hidden", "a$b$", "a very long class name that would not fit")
    figure = scatter(*points(60)[:1], AXES[:2], points(60)[1], names)
    shown = legend_texts(figure)
    assert shown[:2] == list(names[:2])
    assert len(shown[2]) == 24
    assert drawn(figure, tmp_path / "plot.png").size


def test_so_many_classes_that_the_legend_ends(tmp_path):
    rows, labels = points(600, classes=150)
    texts = legend_texts(scatter(rows, AXES[:2], labels, [f"class {i}" for i in range(150)]))
    assert texts[-1] == "and 55 more"
    assert len(texts) == 96


def test_three_axes_are_scaled_alike():
    rows = np.random.default_rng(0).standard_normal((200, 3)) * (10, 3, 1)
    (axes,) = scatter(rows, AXES).axes
    spans = np.array([np.ptp(getattr(axes, f"get_{axis}lim")()) for axis in "xyz"])
    lengths = np.array(axes._box_aspect)
    np.testing.assert_allclose(spans / lengths, (spans / lengths).max(), rtol=1e-6)


def test_each_of_many_clusters_is_named_among_its_points():
    rows, labels = points(600, classes=40)
    names = [str(i) for i in range(40)]
    (axes,) = side_by_side(rows, AXES[:2], [("clusters", labels, names)]).axes
    assert sorted(text.get_text() for text in axes.texts) == sorted(names)


def test_of_very_many_points_a_sample_is_drawn(monkeypatch):
    monkeypatch.setattr(module, "DRAWN_POINTS", 3_500)
    rows, labels = points(5_000)
    figure = scatter(rows, AXES[:2], labels, ("a", "b", "c"))
    assert len(figure.axes[0].collections[0].get_offsets()) == 3_500


def test_a_picture_of_a_class_that_was_not_drawn_has_its_frame(monkeypatch):
    monkeypatch.setattr(module, "DRAWN_POINTS", 2)
    rows, _ = points(3)
    for rare in range(3):  # one of them is not drawn
        labels = (np.arange(3) == rare).astype(int)
        scatter(rows, AXES[:2], labels, ("a", "b"), [(rare, np.zeros((4, 4), np.uint8))])


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_same_figure_is_the_same_bytes(suffix, tmp_path):
    rows, labels = points(40)
    paths = [tmp_path / f"{n}{suffix}" for n in range(2)]
    for path in paths:
        save_figure(scatter(rows, AXES[:2], labels, ("a", "b", "c")), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_colours_stay_apart_in_every_number():
    for count in (2, 10, 11, 60):
        colors = class_colors(count)
        assert colors.shape == (count, 3)
        assert 0 <= colors.min() <= colors.max() <= 1
        gaps = np.linalg.norm(colors[:, None] - colors, axis=2) + 9 * np.eye(count)
        assert gaps.min() > (0.15 if count <= 10 else 0.03)


def test_a_figure_of_another_kind_is_refused():
    check_figure_path(Path("a.PNG"))
    with pytest.raises(UsageError, match="gif"):
        check_figure_path(Path("a.gif"))


def test_short_names_keep_both_ends():
    assert short_name("kitten") == "kitten"
    assert short_name("an unusually long\nname 0001", 12) == "an unu… 0001"
