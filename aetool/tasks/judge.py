"""What an anomaly score is held against: normal pictures, a threshold, or nothing."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from aetool.analysis import anomaly
from aetool.analysis.detectors import COMBINED, FITTED, LOCAL, SCORES, combine
from aetool.errors import UsageError
from aetool.storage.checkpoint import Checkpoint
from aetool.tasks.scores import (
    RECALIBRATE,
    available,
    calibration_scores,
    combined_from,
    default_score,
    fitted_arrays,
)


@dataclass(frozen=True, slots=True)
class Judge:
    """How pictures are scored, and when a score is an anomaly's.

    Args:
        score: the score's name.
        names: of the scores to compute: itself, or those that it is combined from.
        threshold: scores above it are anomalies; None where there is no calibration and none was
            given.
        calibration: the score of held-out normal pictures, ascending; None without a calibration.
        parts: the same of the scores in `names`, as far as there is any.
        precision: the one those were computed in; None without a calibration.
        tile: the side of the tiles that pictures are cut into, or None.
        references: {map: its highest value in nearly all normal pictures}.
    """

    score: str
    names: tuple[str, ...]
    threshold: float | None
    calibration: np.ndarray | None
    parts: Mapping[str, np.ndarray]
    precision: str | None
    tile: int | None
    references: Mapping[str, float]

    @property
    def map(self) -> str:
        """The map that shows where a score comes from."""
        return self.names[0] if self.names[0] in LOCAL else "mse"

    def value(self, scores: Mapping[str, float]) -> float:
        """The one score of a picture."""
        if self.score != COMBINED:
            return scores[self.score]
        return float(combine({name: [scores[name]] for name in self.names}, self.parts)[0])

    def p_values(self, values: np.ndarray) -> list[float | None]:
        if self.calibration is None:
            return [None] * len(values)
        return anomaly.p_values(values, self.calibration).tolist()

    def verdict(self, value: float) -> bool | None:
        return None if self.threshold is None else bool(value > self.threshold)

    def anomalous(self, values: np.ndarray) -> np.ndarray | None:
        """Which of the scores (n,) are those of anomalies, bool (n,); None without a threshold."""
        return None if self.threshold is None else values > self.threshold


def make_judge(
    stored: Checkpoint,
    *,
    score: str | None,
    threshold: float | None,
    false_alarms: float | None,
    tile: int | None,
    tell: Callable[[str], None],
) -> Judge:
    """The judge that a checkpoint and the command line ask for.

    Args:
        stored: a model that rebuilds.
        score: its name; None for the checkpoint's best.
        threshold: instead of the calibrated one.
        false_alarms: the share of normal pictures that may be flagged.
        tile: the side of the tiles; None for what the calibration used.
        tell: called with a line worth telling.

    Raises:
        UsageError: the options contradict each other, or the model lacks what they need.
    """
    if threshold is not None and false_alarms is not None:
        raise UsageError("--threshold and --false-alarms both set the threshold", "leave out one")
    if threshold is not None and not math.isfinite(threshold):
        raise UsageError(f"--threshold {threshold} is no score", "give a number")
    about = stored.metadata.get("calibration") or {}
    normal = calibration_scores(stored) if about else {}
    score = score or default_score(stored)
    if score not in SCORES:
        raise UsageError(f"no score {score!r}", f"there are {', '.join(SCORES)}")
    if score == "elbo" and score not in available(stored):
        raise UsageError("elbo is a score of variational models, and this one is not")
    needs = combined_from(stored) if score == COMBINED else (score,)
    if set(needs) & set(FITTED) and not (fitted_arrays(stored) and set(needs) <= set(normal)):
        raise UsageError(f"--score {score} needs normal pictures", RECALIBRATE)
    calibrated_tile = about.get("tile")
    calibration = normal.get(score)
    if calibration is not None and tile not in (None, calibrated_tile):
        what = f"tiles of {calibrated_tile}" if calibrated_tile else "whole pictures"
        tell(f"the model is calibrated for {what}: no p-values; calibrate it with --tile {tile}")
        calibration = None
    precision = about.get("precision")
    if calibration is None:
        if false_alarms is not None:
            raise UsageError("--false-alarms needs a calibrated model", RECALIBRATE)
        if not about and threshold is None:
            tell("the model has no calibration: scores only, no p-values and no verdicts")
    elif threshold is None:
        threshold = _threshold(calibration, false_alarms, tell)
    return Judge(
        score,
        needs,
        threshold,
        calibration,
        {name: normal[name] for name in needs if name in normal},
        precision,
        tile or calibrated_tile,
        about.get("maps", {}),
    )


def _threshold(
    calibration: np.ndarray, false_alarms: float | None, tell: Callable[[str], None]
) -> float:
    rate = anomaly.FALSE_ALARMS if false_alarms is None else false_alarms
    lowest = anomaly.smallest_rate(len(calibration))
    if rate < lowest:
        # Rounded up: the rate that is named can be asked for.
        tell(
            f"{len(calibration)} calibration scores cannot promise fewer false alarms than "
            f"{math.ceil(lowest * 1000) / 1000:g}; the threshold is their highest; "
            f"with more normal pictures {RECALIBRATE}"
        )
    return anomaly.threshold(calibration, rate)


def choose_precision(asked: str, judge: Judge, tell: Callable[[str], None]) -> str:
    """The precision to score in: the calibration's, unless another one was asked for."""
    if judge.precision is None:
        return asked
    if asked not in ("auto", judge.precision):
        tell(f"the model was calibrated in {judge.precision}: p-values are approximate in {asked}")
        return asked
    return judge.precision
