"""From a specification to a Keras model and back to plain arrays: the one door to the builders."""

import importlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import RLock

import keras
import numpy as np

from aetool.errors import FormatError, UsageError
from aetool.models.specs import family


def builder(name: str):
    """The `build` function of the family called `name`."""
    return importlib.import_module(f"aetool.models.{family(name).module}").build


def complete(spec: Mapping) -> dict:
    """The specification with every builder argument spelled out, lists as tuples.

    A lone number where a builder takes several is taken for a tuple of one.

    Raises:
        UsageError: for an unknown family or an argument that its builder does not take.
    """
    arguments = {key: value for key, value in spec.items() if key != "name"}
    parameters = inspect.signature(builder(spec["name"])).parameters
    unknown = sorted(set(arguments) - set(parameters))
    if unknown:
        raise UsageError(
            f"model family {spec['name']} takes no {', '.join(unknown)}",
            f"it takes {', '.join(parameters)}",
        )
    values = {p.name: arguments.get(p.name, p.default) for p in parameters.values()}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
        elif isinstance(parameters[name].default, tuple) and isinstance(value, int | float):
            values[name] = (value,)
        elif isinstance(parameters[name].default, int) and isinstance(value, float):
            raise UsageError(f"{name}={value} is no whole number")
    return {"name": spec["name"], **values}


def build_model(spec: Mapping, *, dtype: str | None = None) -> keras.Model:
    """The Keras model of a specification `{"name": family, **builder arguments}`.

    Args:
        spec: as stored under `model` in a checkpoint.
        dtype: a dtype policy such as "mixed_bfloat16"; "float32" by default.

    Raises:
        UsageError: for unknown names, or values that the builder refuses.
    """
    arguments = complete(spec)
    return built(builder(arguments.pop("name")), dtype or "float32", **arguments)


def built(build: Callable[..., keras.Model], dtype: str, **arguments) -> keras.Model:
    """What a builder makes of its arguments under a dtype policy.

    Raises:
        UsageError: for values that the builder refuses.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        return build(**arguments)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        name = build.__module__.rpartition(".")[2].replace("_", "-")
        reason = (str(error).splitlines() or [""])[0]
        if not isinstance(error, ValueError):  # Python's own words
            reason = f"a value of another kind than it takes ({reason})"
        raise UsageError(f"model {name} cannot be built: {reason}") from error
    finally:
        keras.config.set_dtype_policy(before)


_COUNTING = RLock()


@contextmanager
def weightless(most: int) -> Iterator[None]:
    """Builders called inside leave their weights, `most` at most, at zero: for `set_weights`.

    A file may claim weights that it lacks; and random ones take longer to draw than to read.

    Raises:
        UsageError: they would be more; before any memory is taken for the one that is too much.
    """
    left = most

    def add_weight(layer: keras.layers.Layer, shape=(), initializer=None, *args, **kwargs):
        nonlocal left
        left -= math.prod((shape,) if isinstance(shape, int) else shape or ())
        if left < 0:
            raise UsageError(f"the model has more than {most:,} weights")
        return original(layer, shape, "zeros", *args, **kwargs)

    with _COUNTING:
        original, keras.layers.Layer.add_weight = keras.layers.Layer.add_weight, add_weight
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = original


def keras_config(spec: Mapping) -> str:
    """The JSON by which `keras.models.load_model` rebuilds the float32 model."""
    return build_model(spec).to_json()


def layer_weights(model: keras.Model) -> dict[str, dict[str, np.ndarray]]:
    """Every saved variable: {layer name: {variable path: float32 array}}, in Keras's order."""
    return {
        layer.name: {
            variable.path: keras.ops.convert_to_numpy(variable.value)
            for variable in layer.trainable_variables + layer.non_trainable_variables
            if "seed_generator" not in variable.path
        }
        for layer in model.layers
    }


def set_weights(model: keras.Model, weights: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Load arrays by variable path, each shape checked.

    Raises:
        FormatError: when a variable is missing, left over or of another shape.
    """
    given = {path: array for layer in weights.values() for path, array in layer.items()}
    for layer in model.layers:
        for variable in layer.trainable_variables + layer.non_trainable_variables:
            if "seed_generator" in variable.path:
                continue
            array = given.pop(variable.path, None)
            if array is None:
                raise FormatError(f"the weights lack {variable.path}")
            if tuple(array.shape) != tuple(variable.shape):
                raise FormatError(
                    f"{variable.path} has shape {tuple(array.shape)}, not {tuple(variable.shape)}"
                )
            variable.assign(np.asarray(array, np.float32))
    if given:
        raise FormatError(f"the weights hold {next(iter(given))}, which the model has not")


def encoder(model: keras.Model, layer: str) -> keras.Model:
    """The part of the model from its input to the output of `layer`.

    Raises:
        UsageError: when there is no such layer.
    """
    names = [candidate.name for candidate in model.layers]
    if layer not in names:
        raise UsageError(f"the model has no layer {layer!r}", f"its layers: {', '.join(names)}")
    return keras.Model(model.input, model.get_layer(layer).output, name="encoder")


def decoder(model: keras.Model, layer: str) -> keras.Model:
    """The part of the model from the output of `layer` to the picture.

    Raises:
        UsageError: when the picture is made from more than that output, or not from it.
    """
    outputs = model.output
    picture = outputs["reconstruction"] if isinstance(outputs, dict) else outputs
    try:
        return keras.Model(model.get_layer(layer).output, picture, name="decoder")
    except ValueError as error:
        raise UsageError(
            f"the model does not make its pictures from {layer} alone",
            "take one without skip connections, such as conv-ae",
        ) from error


def parameter_counts(model: keras.Model) -> tuple[int, int]:
    """(all parameters, those of them that are not trainable)."""
    fixed = sum(int(np.prod(v.shape)) for v in model.non_trainable_weights)
    return model.count_params(), fixed
