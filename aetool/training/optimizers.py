"""Optimizers by name."""

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
