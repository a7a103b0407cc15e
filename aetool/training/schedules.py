"""The learning rate as a function of the step. Light: no Keras."""

import math

from aetool.errors import UsageError

SCHEDULES = ("constant", "cosine", "inverse-time")


def parse_schedule(text: str) -> tuple[str, float]:
    """(name, decay) of "constant", "cosine", "inverse-time" or "inverse-time=DECAY".

    Raises:
        UsageError: for another name, or a decay that is no positive number.
    """
    name, equals, value = text.partition("=")
    if name not in SCHEDULES or (equals and name != "inverse-time"):
        raise UsageError(f"no schedule {text!r}", f"there are {', '.join(SCHEDULES)}")
    try:
        decay = float(value) if equals else 0.005
    except ValueError:
        decay = -1.0
    if not 0 < decay < math.inf:
        raise UsageError(
            f"schedule {text!r}: {value!r} is no decay", "for example inverse-time=0.005"
        )
    return name, decay


def scheduled_rate(schedule: str, base: float, step: int, total: int) -> float:
    """The learning rate at a step.

    Args:
        schedule: "constant"; "cosine", with a linear warm-up over the first 2 % of the steps; or
            "inverse-time=D", base / (1 + D step), which the first Keras called decay.
        base: the rate asked for.
        step: optimizer steps done so far.
        total: optimizer steps of the whole run.
    """
    name, decay = parse_schedule(schedule)
    if name == "cosine":
        warmup = max(1, total // 50)
        if step < warmup:
            return base * (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, total - warmup))
        return base * max(1e-3, 0.5 * (1 + math.cos(math.pi * done)))
    if name == "inverse-time":
        return base / (1 + decay * step)
    return base
