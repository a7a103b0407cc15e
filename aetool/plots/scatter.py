"""Points in two or three dimensions, a colour a class, and the pictures behind some of them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter

from aetool.plots.sheets import fitted
from aetool.plots.style import FAINT, INK, class_colors, figure_style, short_name

MARKERS = "osD^vPX<>p"
MARKED_POINTS = 3_000
"""Up to so many points classes differ in shape too; more are too small to have one."""

DRAWN_POINTS = 200_000
"""Of more points so many are drawn, chosen at random: the paper holds no more."""

NAMED_CLASSES = 30
NAMED_POINTS = 12
"""In two dimensions up to so many classes are named among their points, if they have so many.

Without a legend beside them a point is enough."""

THUMBNAIL_INCHES = 0.22
THUMBNAIL_PIXELS = 48
THUMBNAIL_CELLS = 14
"""Cells a side of the plane; the point nearest to the middle of each may show its picture."""

PANEL_INCHES = 6.6
PANEL_SHAPES = (0.45, 1.2)
"""The least and the most height of a panel, in its width: points are scaled alike both ways."""

LEGEND_ROWS = 24
LEGEND_CLASSES = 95


def scatter(
    points: np.ndarray,
    axis_names: Sequence[str],
    labels: np.ndarray | None = None,
    class_names: Sequence[str] = (),
    thumbnails: Sequence[tuple[int, np.ndarray]] = (),
) -> Figure:
    """Draw points, coloured by class, with a legend.

    Args:
        points: (n, 2) or (n, 3).
        axis_names: one for each dimension.
        labels: int (n,), positions in `class_names`, -1 where unknown (grey); None: one colour.
        class_names: as many as there are classes; those without a point are left out.
        thumbnails: for some points (n, 2), by number, the picture to show there: uint8 (h, w) or
            (h, w, 3).
    """
    if labels is None or not class_names:
        labels, class_names = np.zeros(len(points), dtype=np.int64), ()
    all_points, all_labels = points, labels
    points, labels = _drawn(points, labels)
    groups = _groups(all_labels, class_names)
    named = [group for group in groups if group[1]]
    with figure_style():
        columns = -(-min(len(named), LEGEND_CLASSES + 1) // LEGEND_ROWS)
        letters = max((len(name) for _, name, _ in named), default=0)
        width = 5.4 + columns * (0.32 + 0.068 * letters)  # inches; the points keep the same room
        figure = Figure(figsize=(width, 5.0), layout="constrained")
        if points.shape[1] == 3:
            axes = figure.add_subplot(projection="3d")
            _style_3d(axes)
        else:
            axes = figure.add_subplot()
            axes.grid(True)
        _draw(axes, points, labels, groups)
        # Distances mean the same in every direction; in three dimensions of what is drawn by now.
        axes.set_aspect("equal", adjustable="datalim")
        for axis, name in zip("xyz"[: points.shape[1]], axis_names, strict=True):
            getattr(axes, f"set_{axis}label")(name)
        if named:
            _legend(figure, named, columns, _markers(len(points), len(groups)))
        _show(axes, all_points, all_labels, groups, thumbnails)
        if points.shape[1] == 2 and 2 <= len(named) <= NAMED_CLASSES:
            _name_classes(axes, points, labels, named)
    return figure


def side_by_side(
    points: np.ndarray,
    axis_names: Sequence[str],
    panels: Sequence[tuple[str, np.ndarray, Sequence[str]]],
    thumbnails: Sequence[tuple[int, np.ndarray]] = (),
) -> Figure:
    """Draw the same points once for each way to group them, every group named among its points.

    Args:
        points: (n, 2).
        axis_names: two.
        panels: title, labels int (n,), -1 where unknown, and the names of the groups.
        thumbnails: as in `scatter`; they are shown in the first panel.
    """
    with figure_style():
        across, up = np.ptp(points, axis=0) if len(points) else (1, 1)
        height = PANEL_INCHES * float(np.clip(up / max(across, 1e-12), *PANEL_SHAPES))
        size = (PANEL_INCHES * len(panels), height)
        figure = Figure(figsize=size, layout="constrained")
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        for number, (axes, (title, labels, names)) in enumerate(zip(every, panels, strict=True)):
            axes.set_aspect("equal", adjustable="datalim")
            axes.set_title(title)
            axes.set_xlabel(axis_names[0])
            axes.set_ylabel(axis_names[1])
            axes.grid(True)
            groups = _groups(labels, names)
            _draw(axes, *_drawn(points, labels), groups)
            if number == 0:
                _show(axes, points, labels, groups, thumbnails)
            _name_classes(axes, points, labels, groups, least=1)
    return figure


def scree(ratios: np.ndarray) -> Figure:
    """Draw the share of the variance along each principal axis, bars, and their sum so far, a line.

    Args:
        ratios: (c,), descending fractions.
    """
    with figure_style():
        figure = Figure(figsize=(5.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        numbers = np.arange(1, len(ratios) + 1)
        bars, line = class_colors(2)
        axes.bar(numbers, ratios, color=bars, label="each")
        axes.plot(numbers, np.cumsum(ratios), color=line, marker="o", markersize=3, label="sum")
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("principal component")
        axes.set_ylabel("share of the variance")
        axes.grid(True, axis="y")
        axes.legend()
    return figure


def shown_points(points: np.ndarray) -> np.ndarray:
    """The points (n, 2) to show pictures of, spread over the plane: int64 (m,), ascending."""
    low, high = points.min(axis=0), points.max(axis=0)
    steps = (points - low) / max(float((high - low).max()), 1e-12) * THUMBNAIL_CELLS
    cells = np.minimum(steps.astype(np.int64), THUMBNAIL_CELLS - 1)
    off = np.abs(steps - cells - 0.5).max(axis=1)
    order = np.argsort(off, kind="stable")
    numbers = cells[order] @ (THUMBNAIL_CELLS, 1)
    return np.sort(order[np.unique(numbers, return_index=True)[1]])


def _drawn(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points that are drawn, and their labels."""
    if len(points) <= DRAWN_POINTS:
        return points, labels
    drawn = np.random.default_rng(0).choice(len(points), DRAWN_POINTS, replace=False)
    return points[drawn], labels[drawn]


def _groups(labels: np.ndarray, class_names: Sequence[str]) -> list:
    """Label, name and colour of each class that has a point."""
    if not class_names:
        return [(0, "", class_colors(1)[0])]
    colors = class_colors(len(class_names))
    present = np.unique(labels)
    groups = [(c, short_name(class_names[c]), colors[c]) for c in present if c >= 0]
    if -1 in present:
        groups.insert(0, (-1, "unlabelled", np.array([0.8, 0.8, 0.8])))
    return groups


def _show(
    axes: Axes,
    points: np.ndarray,
    labels: np.ndarray,
    groups: list,
    thumbnails: Sequence[tuple[int, np.ndarray]],
) -> None:
    """Put pictures where their points are, framed in the colour of their class."""
    colors = {label: color for label, _, color in groups}
    for number, picture in thumbnails:
        pixels = np.asarray(fitted(picture, THUMBNAIL_PIXELS))
        zoom = 72 * THUMBNAIL_INCHES / max(pixels.shape[:2])
        image = OffsetImage(pixels, zoom=zoom, interpolation="nearest")
        frame = {"edgecolor": colors[int(labels[number])], "linewidth": 1.2}
        box = AnnotationBbox(image, points[number], pad=0.06, bboxprops=frame)
        axes.add_artist(box)


def _markers(points: int, classes: int) -> list[str]:
    if points > MARKED_POINTS:
        return ["o"] * classes
    return [MARKERS[i % len(MARKERS)] for i in range(classes)]


def _draw(axes: Axes, points: np.ndarray, labels: np.ndarray, groups: list) -> None:
    size = float(np.clip(400 / np.sqrt(max(len(points), 1)), 1.3, 36))
    opacity = 1.15 - (0.13 if len(groups) > 1 else 0.18) * np.log10(max(len(points), 1))
    style = {
        "s": size,
        "alpha": float(np.clip(opacity, 0.25, 0.9)),
        "linewidths": 0.3 if size > 8 else 0,
        "edgecolors": "white" if size > 8 else "none",
        "rasterized": len(points) > MARKED_POINTS,  # inside a PDF too, which else takes minutes
    }
    markers = _markers(len(points), len(groups))
    if len(set(markers)) > 1:
        for (label, _, color), marker in zip(groups, markers, strict=True):
            axes.scatter(*points[labels == label].T, color=[color], marker=marker, **style)
        return
    # All in one, in shuffled order: else the last class would hide the others.
    order = np.random.default_rng(0).permutation(len(points))
    if groups[0][0] == -1:
        order = np.concatenate((order[labels[order] < 0], order[labels[order] >= 0]))
    palette = np.zeros((max(label for label, _, _ in groups) + 2, 3))
    for label, _, color in groups:
        palette[label + 1] = color
    axes.scatter(*points[order].T, c=palette[labels[order] + 1], marker=markers[0], **style)


def _legend(figure: Figure, named: list, columns: int, markers: list[str]) -> None:
    shown = named[:LEGEND_CLASSES]
    handles = [
        Line2D([], [], marker=marker, color=color, linestyle="", markersize=5.5, markeredgewidth=0)
        for (_, _, color), marker in zip(shown, markers, strict=False)
    ]
    names = [name for _, name, _ in shown]
    if len(named) > len(shown):
        handles.append(Line2D([], [], linestyle=""))
        names.append(f"and {len(named) - len(shown)} more")
    legend = figure.legend(
        handles,
        [" "] * len(handles),  # matplotlib leaves out names that begin with an underscore
        loc="outside right upper",
        ncols=columns,
        handletextpad=0.3,
        columnspacing=1.0,
        borderaxespad=1.0,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)
        text.set_parse_math(False)  # a class may be called a$b$


def _name_classes(
    axes: Axes, points: np.ndarray, labels: np.ndarray, named: list, least: int = NAMED_POINTS
) -> None:
    """Write each class's name where its points are: colours then need not be told apart."""
    halo = [withStroke(linewidth=2.2, foreground="white")]
    for label, name, color in named:
        members = points[labels == label]
        if label < 0 or len(members) < least:
            continue
        axes.annotate(
            short_name(name, 14),
            np.median(members, axis=0),
            ha="center",
            va="center",
            parse_math=False,
            fontsize=11 if len(named) <= 12 else 8 if len(named) <= NAMED_CLASSES else 6,
            fontweight="bold",
            color=tuple(0.62 * color),
            path_effects=halo,
            zorder=4,  # over thumbnails
        )


def _style_3d(axes: Axes) -> None:
    axes.view_init(elev=22, azim=-56)
    axes.set_box_aspect(None, zoom=0.9)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1, 1, 1, 0))
        axis.line.set_color(FAINT)
        axis.set_tick_params(labelsize=7, pad=0, color=INK)
        axis._axinfo["grid"].update(color="#ececec", linewidth=0.7)
