"""How anomaly scores are distributed, how well they separate, and what is most anomalous."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from aetool.plots.style import figure_style, short_name

NORMAL_COLOR = "#3f90da"
ODD_COLOR = "#e76300"
FAINT_COLOR = "#8c8c8c"
UNKNOWN_COLOR = "#f0c419"
BINS = 40
COLUMNS = 10


@dataclass(frozen=True, slots=True)
class Worst:
    """One of the pictures with the highest scores.

    Args:
        name: of the picture.
        score: its score.
        pixels: uint8 (h, w) or (h, w, 3).
        overlay: uint8 (h, w, 3), the picture under its heatmap.
    """

    name: str
    score: float
    pixels: np.ndarray
    overlay: np.ndarray


def anomaly_report(
    groups: dict[str, np.ndarray],
    threshold: float | None,
    curves: dict[str, np.ndarray] | None,
    worst: Sequence[Worst],
    score: str,
) -> Figure:
    """Draw the report of a run.

    Args:
        groups: scores float (n,) by what they are of: "held-out normals", "normal", "anomalous",
            "without a label" or "scored".
        threshold: drawn as a line, or None.
        curves: {"false", "found", "recall", "precision": (n,), "auroc", "average_precision": ()},
            where labels are known.
        worst: the pictures with the highest scores, the highest first.
        score: what the score is called.
    """
    with figure_style():
        figure = Figure(figsize=(10, 5.8), layout="constrained")
        upper, lower = figure.subfigures(2, 1, height_ratios=[3.0, 2.0])
        panels = upper.subplots(1, 3 if curves else 1, squeeze=False)[0]
        _draw_histogram(panels[0], groups, threshold, score)
        if curves:
            _draw_curve(
                panels[1],
                (np.append(0, curves["false"]), np.append(0, curves["found"])),
                ("false alarms", "anomalies found"),
                f"ROC, area {float(curves['auroc']):.3f}",
            )
            panels[1].plot([0, 1], [0, 1], color=FAINT_COLOR, linewidth=0.7, linestyle=":")
            _draw_curve(
                panels[2],
                (curves["recall"], curves["precision"]),
                ("anomalies found", "share of flagged that are anomalies"),
                f"precision-recall, area {float(curves['average_precision']):.3f}",
            )
        _draw_worst(lower, worst)
    return figure


def _draw_histogram(
    axes: Axes, groups: dict[str, np.ndarray], threshold: float | None, score: str
) -> None:
    colors = {"normal": NORMAL_COLOR, "anomalous": ODD_COLOR, "without a label": UNKNOWN_COLOR}
    everything = np.concatenate([values for values in groups.values() if len(values)])
    # A few extreme scores must not squeeze all the others into one bar.
    low, high = everything.min(), np.quantile(everything, 0.995)
    if threshold is not None:
        high = max(high, threshold)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    for name, values in groups.items():
        shown = np.clip(values, edges[0], edges[-1])
        weights = np.full(len(shown), 1 / max(1, len(shown)))
        outline = name == "held-out normals"
        axes.hist(
            shown,
            edges,
            weights=weights,
            histtype="step" if outline else "stepfilled",
            alpha=1 if outline else 0.55,
            color=FAINT_COLOR if outline else colors.get(name, NORMAL_COLOR),
            label=f"{name} ({len(values):,})",
        )
    if threshold is not None:
        axes.axvline(threshold, color="#262626", linewidth=1, linestyle="--", label="threshold")
    axes.set_xlabel(f"score ({score})")
    axes.set_ylabel("share of pictures")
    axes.set_ylim(top=1.5 * axes.get_ylim()[1])  # the legend lies above the bars
    axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")


def _draw_curve(
    axes: Axes, points: tuple[np.ndarray, np.ndarray], names: tuple[str, str], title: str
) -> None:
    axes.plot(*points, color=ODD_COLOR)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_title(title, loc="left")
    axes.grid(True)


def _draw_worst(figure: SubFigure, worst: Sequence[Worst]) -> None:
    panels = figure.subplots(2, COLUMNS, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    for (upper, lower), one in zip(panels.T, worst, strict=False):
        upper.imshow(one.pixels, cmap="gray", vmin=0, vmax=255)
        upper.set_title(f"{one.score:.3g}", fontsize=8)
        lower.imshow(one.overlay)
        lower.set_title(short_name(one.name, 16), fontsize=6, y=-0.22, parse_math=False)
