"""The report of a scoring run, as one figure."""

from pathlib import Path

import numpy as np

from aetool.analysis import anomaly
from aetool.images.samples import to_unit
from aetool.plots.anomaly_report import COLUMNS, Worst, anomaly_report
from aetool.plots.heatmap import levels, overlay
from aetool.plots.style import save_figure
from aetool.storage.atomic import replacing
from aetool.tasks.scoring import Tally


def write_report(path: Path, tally: Tally, scored: np.ndarray, odd: np.ndarray) -> None:
    """Draw the scores of a run, and the pictures with the highest.

    Args:
        path: .png, .pdf or .svg.
        tally: what came of the run.
        scored: the pictures that have a score, ascending.
        odd: for each of those 1 where its label is no normal one, 0 where it is, -1 without.
    """
    values = tally.values[scored]
    groups = {}
    if tally.run.judge.calibration is not None:
        groups["held-out normals"] = tally.run.judge.calibration
    names = ("scored",) if (odd < 0).all() else ("normal", "anomalous", "without a label")
    chosen = (odd < 2,) if len(names) == 1 else (odd == 0, odd == 1, odd < 0)
    groups |= {name: values[rows] for name, rows in zip(names, chosen, strict=True) if rows.any()}
    curves, labelled = None, odd >= 0
    values_, odd_ = values[labelled], odd[labelled] > 0
    if anomaly.auroc(values_, odd_) is not None:
        false, found = anomaly.roc(values_, odd_)
        recall, precision = anomaly.precision_recall(values_, odd_)
        curves = {
            "false": false,
            "found": found,
            "recall": recall,
            "precision": precision,
            "auroc": anomaly.auroc(values_, odd_),
            "average_precision": anomaly.average_precision(values_, odd_),
        }
    highest = scored[np.argsort(-values, kind="stable")[:COLUMNS]]
    worst = [_worst(tally, int(i)) for i in highest]
    figure = anomaly_report(groups, tally.run.judge.threshold, curves, worst, tally.run.judge.score)
    with replacing(path) as temporary:
        save_figure(figure, temporary)


def _worst(tally: Tally, i: int) -> Worst:
    run = tally.run
    pixels = run.pictures.load(i, max_pixels=run.max_pixels).pixels
    level = levels(run.whole(tally.highest[i], pixels.shape[:2]), run.top)
    eight_bit = np.round(to_unit(pixels) * 255).astype(np.uint8)
    return Worst(run.pictures.name(i), float(tally.values[i]), eight_bit, overlay(level, pixels))
