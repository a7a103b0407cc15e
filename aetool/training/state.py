"""Where a training stands, and the same as plain arrays for MODEL.h5.train. Light: no Keras."""

import json
import math
from dataclasses import dataclass, field

import numpy as np

from aetool.training.settings import Settings


@dataclass(slots=True)
class Means:
    """Means over the pictures of an epoch, whatever the size of its batches.

    Args:
        sums: of each value times the pictures it was the mean of.
        pictures: how many so far.
    """

    sums: dict[str, float] = field(default_factory=dict)
    pictures: int = 0

    def add(self, values: dict[str, float], pictures: int) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * pictures
        self.pictures += pictures

    def values(self) -> dict[str, float]:
        return {name: total / self.pictures for name, total in self.sums.items()}


@dataclass(slots=True)
class RunState:
    """Where a run stands.

    Args:
        epoch: epochs done.
        step: steps done of the epoch in hand.
        means: of the epoch in hand.
        history: a value an epoch for each metric; those of a greedy stage bear its name.
        best: the lowest validation (or training) loss so far, where it is watched.
        best_epoch: the epoch it was reached in, counted from 1.
        best_weights: {variable path: array} of that epoch, where it is to be kept.
        stopped_early: whether patience ran out.
        elapsed: seconds spent on the epoch in hand before an interruption.
        timeline: of each epoch the last `learning_rate`, the `seconds` it took, and the time of its
            `end` in seconds since 1970; without the first epochs where an older version trained.
    """

    epoch: int = 0
    step: int = 0
    means: Means = field(default_factory=Means)
    history: dict[str, list[float]] = field(default_factory=dict)
    best: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, np.ndarray] | None = None
    stopped_early: bool = False
    elapsed: float = 0.0
    timeline: list[dict[str, float]] = field(default_factory=list)

    def place(self) -> str:
        """How far it has come, in words."""
        if self.step:
            return f"epoch {self.epoch + 1} up to step {self.step}"
        return f"the end of epoch {self.epoch}" if self.epoch else "the beginning"

    def finished(self, settings: Settings) -> bool:
        return self.epoch >= settings.total_epochs or self.stopped_early


def pack(state: RunState, learner_state: dict[str, np.ndarray], extra: dict) -> dict:
    """Arrays and one JSON text under "state" that `unpack` turns back.

    Args:
        state: of the loop.
        learner_state: of the regime (optimizer, random state).
        extra: plain values to keep beside it, such as the options of the run.
    """
    document = {
        "epoch": state.epoch,
        "step": state.step,
        "means": {"sums": state.means.sums, "pictures": state.means.pictures},
        "history": state.history,
        "best": state.best if math.isfinite(state.best) else None,
        "best_epoch": state.best_epoch,
        "stopped_early": state.stopped_early,
        "elapsed": state.elapsed,
        "timeline": state.timeline,
        **extra,
    }
    arrays = {f"learner/{name}": array for name, array in learner_state.items()}
    for name, array in (state.best_weights or {}).items():
        arrays[f"best/{name}"] = array
    return {"state": json.dumps(document), **arrays}


def read_document(training: dict) -> dict:
    """The JSON part alone: epoch, step, history and what `extra` held."""
    text = training["state"]
    return json.loads(text.item() if isinstance(text, np.ndarray) else text)


def unpack(training: dict) -> tuple[RunState, dict[str, np.ndarray]]:
    """(state of the loop, state of the regime) from what `pack` made."""
    document = read_document(training)
    best = {k.removeprefix("best/"): v for k, v in training.items() if k.startswith("best/")}
    state = RunState(
        epoch=document["epoch"],
        step=document["step"],
        means=Means(**document["means"]),
        history={name: list(values) for name, values in document["history"].items()},
        best=math.inf if document["best"] is None else document["best"],
        best_epoch=document["best_epoch"],
        best_weights=best or None,
        stopped_early=document["stopped_early"],
        elapsed=document.get("elapsed", 0.0),
        timeline=document.get("timeline", []),
    )
    learner = {
        k.removeprefix("learner/"): v for k, v in training.items() if k.startswith("learner/")
    }
    return state, learner
