"""A running training as plain arrays: what MODEL.h5.train keeps under /training."""

import json
import math

import numpy as np

from aetool.training.loop import RunState


def pack(state: RunState, learner_state: dict[str, np.ndarray], extra: dict) -> dict:
    """Arrays and one JSON text under "state" that `unpack` turns back.

    Args:
        state: of the loop.
        learner_state: of the regime (optimizer, running means, random state).
        extra: plain values to keep beside it, such as the options of the run.
    """
    document = {
        "epoch": state.epoch,
        "step": state.step,
        "history": state.history,
        "best": state.best if math.isfinite(state.best) else None,
        "best_epoch": state.best_epoch,
        "stopped_early": state.stopped_early,
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
        history={name: list(values) for name, values in document["history"].items()},
        best=math.inf if document["best"] is None else document["best"],
        best_epoch=document["best_epoch"],
        best_weights=best or None,
        stopped_early=document["stopped_early"],
    )
    learner = {
        k.removeprefix("learner/"): v for k, v in training.items() if k.startswith("learner/")
    }
    return state, learner
