"""Latents on a plane, for print and for the browser: their clusters, classes and pictures."""

from pathlib import Path

import numpy as np

from aetool.analysis.groups import Grouping
from aetool.analysis.projection import principal_components
from aetool.plots.page import html_page, page_points
from aetool.plots.scatter import scatter, scree, shown_points, side_by_side
from aetool.plots.style import save_figure
from aetool.storage.atomic import replacing
from aetool.storage.latents import Latents
from aetool.tasks.sheets import Pictures


def write_cluster_plot(
    path: Path, rows: Latents, grouping: Grouping, pictures: Pictures | None
) -> None:
    """Draw the rows by cluster and, where they have labels, by class beside it.

    Args:
        path: .png, .pdf or .svg, replaced atomically.
        pictures: to show some on the plot; None for none.
    """
    points, axes = _plane(rows, grouping)
    panels = [("by cluster", grouping.labels, _numbers(grouping))]
    if rows.labels is not None:
        panels.append(("by class", rows.labels, rows.class_names))
    shown = pictures.thumbnails(shown_points(points)) if pictures else []
    figure = side_by_side(points, axes, panels, shown)
    with replacing(path) as temporary:
        save_figure(figure, temporary)


def write_cluster_page(path: Path, rows: Latents, grouping: Grouping, pictures: Pictures) -> None:
    """Write a page with the rows on a plane, coloured by cluster or class, and their pictures."""
    points, _ = _plane(rows, grouping)
    colorings = [("cluster", grouping.labels, _numbers(grouping))]
    write_page(path, rows, points, colorings, pictures)


def write_page(
    path: Path,
    rows: Latents,
    points: np.ndarray,
    colorings: list[tuple[str, np.ndarray, tuple[str, ...]]],
    pictures: Pictures,
) -> None:
    """Write a page of points (n, 2); classes, where known, are one more way to colour them."""
    if rows.labels is not None:
        colorings = [*colorings, ("class", rows.labels, rows.class_names)]
    if not colorings:
        colorings = [("row", np.zeros(len(rows), dtype=np.int32), ("all",))]
    shown = page_points(len(rows))
    found = dict(pictures.thumbnails(shown))
    text = html_page(
        rows.name,
        points[shown],
        [rows.paths[row] for row in shown],
        [(name, labels[shown], groups) for name, labels, groups in colorings],
        [found.get(row) for row in shown.tolist()],
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def draw_axes(
    path: Path,
    rows: Latents,
    coordinates: np.ndarray,
    ratios: np.ndarray | None,
    pictures: Pictures | None,
) -> None:
    """Draw rows on principal axes, coloured by class.

    Args:
        path: .png, .pdf or .svg.
        coordinates: (n, 2) or (n, 3).
        ratios: the share of the variance along each axis; None where there is none.
        pictures: to show some on the plot, in two dimensions; None for none.
    """
    axes = [f"PC {number + 1}" for number in range(coordinates.shape[1])]
    if ratios is not None:
        axes = [f"{axis} ({ratio:.1%})" for axis, ratio in zip(axes, ratios, strict=True)]
    flat = pictures is not None and coordinates.shape[1] == 2
    shown = pictures.thumbnails(shown_points(coordinates)) if flat else []
    save_figure(scatter(coordinates, axes, rows.labels, rows.class_names, shown), path)


def draw_scree(path: Path, ratios: np.ndarray | None) -> None:
    """Draw the share of the variance along each axis, and of all up to it."""
    save_figure(scree(np.zeros(1) if ratios is None else ratios), path)


def _plane(rows: Latents, grouping: Grouping) -> tuple[np.ndarray, tuple[str, str]]:
    """The map that the clusters were found on, or else the first two principal components."""
    if grouping.model.method == "manifold":
        return np.asarray(grouping.places[0 : len(rows)]), ("map 1", "map 2")
    count = min(2, rows.dimensions)
    points = np.zeros((len(rows), 2), dtype=np.float32)
    projection = principal_components(rows.features, count)
    points[:, :count] = projection.coordinates(rows.features)
    return points, ("PC 1", "PC 2")


def _numbers(grouping: Grouping) -> tuple[str, ...]:
    return tuple(str(cluster) for cluster in range(grouping.model.k))
