"""Optimizers by name."""

import keras

from aetool.errors import UsageError
from aetool.training import fused
from aetool.training.settings import OPTIMIZER_ARGUMENTS, Settings

_OPTIMIZERS = {
    "adadelta": keras.optimizers.Adadelta,
    "adagrad": keras.optimizers.Adagrad,
    "adam": fused.Adam,
    "adamax": keras.optimizers.Adamax,
    "adamw": fused.AdamW,
    "nadam": keras.optimizers.Nadam,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": fused.SGD,
}


# Arguments that are options here, or that would change nothing of what is kept.
_NOT_ARGUMENTS = {
    "learning_rate": "--learning-rate gives it",
    "gradient_accumulation_steps": "--accumulate gives them",
    "use_ema": "averaged weights are not kept",
    "loss_scale_factor": "no loss is scaled",
    "name": "it has its own",
}
_DEFAULT = Settings()
# What weight decay leaves alone: to draw these to zero would not make a network smoother.
_NOT_DECAYED = ["bias", "gamma", "beta"]


def make_optimizer(settings: Settings) -> keras.optimizers.Optimizer:
    """The Keras optimizer that `settings.optimizer` names, "name:argument=value,argument=value".

    Raises:
        UsageError: for an unknown name, argument or value.
    """
    text = settings.optimizer
    name, _, arguments = text.partition(":")
    if name not in _OPTIMIZERS:
        raise UsageError(f"no optimizer {name!r}", f"there are {', '.join(_OPTIMIZERS)}")
    values = {}
    for item in filter(None, arguments.split(",")):
        key, _, value = item.partition("=")
        if (instead := _NOT_ARGUMENTS.get(key.strip())) is not None:
            raise UsageError(f"optimizer {text!r}: {key.strip()} is no argument here: {instead}")
        try:
            values[key.strip()] = float(value)
        except ValueError:
            raise UsageError(
                f"optimizer {text!r}: {item!r} is no argument=number",
                "for example sgd:momentum=0.9",
            ) from None
    for key, value in _common(settings).items():
        if key in values:
            raise UsageError(f"optimizer {text!r}: {key} is an option of its own as well")
        values[key] = value
    try:
        optimizer = _OPTIMIZERS[name](learning_rate=settings.learning_rate, **values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"optimizer {text!r}: {str(error).splitlines()[0]}") from error
    if settings.weight_decay is not None:
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return optimizer


def _common(settings: Settings) -> dict[str, float]:
    """The arguments, of any optimizer, that options of their own ask for."""
    return {
        argument: getattr(settings, option)
        for option, argument in OPTIMIZER_ARGUMENTS.items()
        if getattr(settings, option) != getattr(_DEFAULT, option)
    }
