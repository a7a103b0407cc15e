"""What a checkpoint says of itself: the JSON document of a training run."""

import importlib
import platform

import keras

import aetool
from aetool.images.color import AB_SCALE
from aetool.images.edges import HIGH, LOW, SIGMA
from aetool.models.specs import family
from aetool.tasks.plan import AB_LOSSES, Plan
from aetool.tasks.training_data import TrainingData
from aetool.training.settings import Settings
from aetool.training.state import RunState

FORMAT_VERSION = 1


def describe_preprocessing(plan: Plan, data: TrainingData) -> dict:
    """How a picture becomes the network's input."""
    about = {
        "size": list(data.size),
        "channels": data.channels,
        "colour_space": _colour_space(data.channels),
        "range": list(family(plan.model["name"]).range),
        "fit": plan.fit,
        "filter": "antialias",
        "background": 1.0,
    }
    if plan.edges:
        about["edges"] = {"method": "canny", "sigma": SIGMA, "low": LOW, "high": HIGH}
    return about


def describe_outputs(plan: Plan, spec: dict, data: TrainingData) -> list[dict]:
    """What the network's outputs mean, each by its name."""
    if plan.settings.loss == "ab-crossentropy":
        return [
            {
                "name": "ab_probabilities",
                "range": [0, 1],
                "colour_space": "lab",
                "decoding": "ab-bins",
                "temperature": plan.temperature,
                "rebalancing": plan.rebalancing,
                "saturation": plan.saturation,
                "stride": spec["output_stride"],
            }
        ]
    if plan.settings.loss in AB_LOSSES:
        return [
            {
                "name": "ab",
                "range": None,
                "colour_space": "lab",
                "decoding": "ab",
                "scale": AB_SCALE,
                "stride": spec["output_stride"],
            }
        ]
    outputs = [
        {
            "name": "reconstruction",
            "range": list(family(spec["name"]).range),
            "colour_space": _colour_space(data.outputs),
            "decoding": "rgb" if plan.task == "colorize" else "image",
        }
    ]
    if plan.task == "classify":
        outputs.append(_numbers("probabilities", [0, 1], "probabilities"))
    if family(spec["name"]).regime == "variational":
        outputs.append(_numbers("z_mean", None, "latent"))
        outputs.append(_numbers("z_log_var", None, "latent"))
    return outputs


def describe_training(
    plan: Plan,
    settings: Settings,
    options: dict,
    state: RunState,
    data: TrainingData,
    source: str,
    digest: str,
) -> dict:
    """Where the weights come from.

    Args:
        plan: of the run.
        settings: the plan's, with the precision that was resolved.
        options: what was asked for.
        state: where the run stands.
        data: what it learns from.
        source: SOURCE as it was typed.
        digest: of the data.
    """
    return {
        "recipe": plan.recipe,
        "source": source,
        "options": {**options, "precision": settings.precision},
        "only": list(plan.only),
        "seed": settings.seed,
        "epochs_done": state.epoch,
        "best_epoch": _kept_best(state, settings),
        "pictures": len(data.pictures),
        "held_out": len(data.held_out) if data.held_out else 0,
        "data": digest,
        "versions": {
            "aetool": aetool.__version__,
            "keras": keras.__version__,
            "backend": (backend := keras.backend.backend()),
            backend: importlib.import_module(backend).__version__,  # there already
            "python": platform.python_version(),
        },
    }


def final_metrics(state: RunState, settings: Settings) -> dict[str, float]:
    """The means of the last epoch, or of the best one where its weights are kept.

    Of a greedy training those of the whole model, once it learns.
    """
    chosen = (_kept_best(state, settings) or state.epoch) - sum(settings.stages)
    return {
        name: values[chosen - 1]
        for name, values in state.history.items()
        if not name.removeprefix("val_").startswith("stage") and len(values) >= chosen > 0
    }


def _kept_best(state: RunState, settings: Settings) -> int | None:
    """The epoch, from 1, whose weights are kept for being the best; None for the last."""
    return (state.best_epoch or None) if settings.keeps_best else None


def _numbers(name: str, limits: list | None, decoding: str) -> dict:
    return {"name": name, "range": limits, "colour_space": None, "decoding": decoding}


def _colour_space(channels: int) -> str:
    return "luma" if channels == 1 else "srgb"
