"""Training curves: each quantity against the epoch, training and validation together."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from aetool.plots.style import figure_style, save_figure

TRAINING_COLOR = "#3f90da"
VALIDATION_COLOR = "#e76300"
VALIDATION = "val_"
COLUMNS = 3
LOG_FACTOR = 8.0
"""A quantity that spans more than this goes on a logarithmic scale, if it is never 0 or less."""

DOTTED_EPOCHS = 20


def draw_curves(path: Path, history: Mapping[str, np.ndarray]) -> None:
    """Write the `curves` of a history as .png, .pdf or .svg; the caller makes it atomic."""
    save_figure(curves(history), path)


def curves(history: Mapping[str, np.ndarray]) -> Figure:
    """Draw a training history, one panel a quantity, the loss first.

    Marked in all is the epoch with the best validation loss: a term of the loss may be least where
    the whole is not, as the divergence of a model that ignores its pictures is.

    Args:
        history: {name: (epochs,)}, at least one; "val_loss" is the validation of "loss". Values
            that are not finite leave a gap.
    """
    names = list(dict.fromkeys(name.removeprefix(VALIDATION) for name in history))
    names.sort(key=lambda name: name != "loss")
    best = _best_epoch(history.get(VALIDATION + "loss"))
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    with figure_style():
        figure = Figure(figsize=(4.2 * columns + 0.6, 3.0 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, name in zip(grid.flat, names, strict=False):
            _draw(axes, name, history.get(name), history.get(VALIDATION + name), best)
        for axes in grid.flat[len(names) :]:
            axes.remove()
    return figure


def _draw(
    axes: Axes,
    name: str,
    training: np.ndarray | None,
    validation: np.ndarray | None,
    best: int | None,
) -> None:
    lines = {"training": (training, TRAINING_COLOR), "validation": (validation, VALIDATION_COLOR)}
    lines = {
        label: (np.asarray(values, dtype=np.float64), color)
        for label, (values, color) in lines.items()
        if values is not None
    }
    for label, (values, color) in lines.items():
        epochs = np.arange(1, len(values) + 1)
        marker = "o" if len(values) <= DOTTED_EPOCHS else None
        shown = np.where(np.isfinite(values), values, np.nan)
        axes.plot(epochs, shown, color=color, label=label, marker=marker, markersize=3.5)
    drawn = np.concatenate([values for values, _ in lines.values()])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and drawn.min() > 0 and drawn.max() > LOG_FACTOR * drawn.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    axes.set_title(name.replace("_", " "), loc="left")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.grid(True)
    if best is not None and validation is not None and best < len(validation):
        value = float(validation[best])
        axes.plot(
            best + 1, value, "o", markersize=6, color="white", markeredgecolor=VALIDATION_COLOR
        )
        axes.annotate(
            f"{value:.4g}",
            (best + 1, value),
            xytext=(0, 7),
            textcoords="offset points",
            ha="left" if best == 0 else "right" if best == len(validation) - 1 else "center",
            fontsize=8,
            color=VALIDATION_COLOR,
        )
    if len(lines) > 1:
        axes.legend()


def _best_epoch(losses: np.ndarray | None) -> int | None:
    """The epoch (from 0) with the best validation loss; None without one or of a single epoch."""
    if losses is None or len(losses) < 2 or not np.isfinite(losses).any():
        return None
    return int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))
