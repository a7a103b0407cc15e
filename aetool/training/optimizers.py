"""Optimizers by name and the learning rate as a function of the step."""

import math

import keras

from aetool.errors import UsageError

_OPTIMIZERS = {
    "adadelta": keras.optimizers.Adadelta,
    "adagrad": keras.optimizers.Adagrad,
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "adamw": keras.optimizers.AdamW,
    "nadam": keras.optimizers.Nadam,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}

SCHEDULES = ("constant", "cosine", "inverse-time")


def make_optimizer(text: str, learning_rate: float) -> keras.optimizers.Optimizer:
    """The Keras optimizer of "name" or "name:argument=value,argument=value".

    Raises:
        UsageError: for an unknown name, argument or value.
    """
    name, _, arguments = text.partition(":")
    if name not in _OPTIMIZERS:
        raise UsageError(f"no optimizer {name!r}", f"there are {', '.join(_OPTIMIZERS)}")
    values = {}
    for item in filter(None, arguments.split(",")):
        key, _, value = item.partition("=")
        try:
            values[key.strip()] = float(value)
        except ValueError:
            raise UsageError(
                f"optimizer {text!r}: {item!r} is no argument=number",
                "for example sgd:momentum=0.9",
            ) from None
    try:
        return _OPTIMIZERS[name](learning_rate=learning_rate, **values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"optimizer {text!r}: {str(error).splitlines()[0]}") from error


def scheduled_rate(schedule: str, base: float, step: int, total: int) -> float:
    """The learning rate at a step.

    Args:
        schedule: "constant"; "cosine", with a linear warm-up over the first 2 % of the steps; or
            "inverse-time=D", base / (1 + D step), which the first Keras called decay.
        base: the rate asked for.
        step: optimizer steps done so far.
        total: optimizer steps of the whole run.
    """
    name, _, value = schedule.partition("=")
    if name not in SCHEDULES:
        raise UsageError(f"no schedule {name!r}", f"there are {', '.join(SCHEDULES)}")
    if name == "cosine":
        warmup = max(1, total // 50)
        if step < warmup:
            return base * (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, total - warmup))
        return base * max(1e-3, 0.5 * (1 + math.cos(math.pi * done)))
    if name == "inverse-time":
        return base / (1 + float(value or 0.005) * step)
    return base
