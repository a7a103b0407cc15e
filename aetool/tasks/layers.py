"""The layers of a stored network, told from its configuration: no network is built."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer.

    Args:
        name: as `encode --layer` takes it.
        type: the Keras class, such as "Conv2D".
        shape: of its output, without the batch; None where the configuration does not say.
        parameters: its weights.
        receptive_field: pixels a side of the picture that one of its values is computed from;
            None for the whole picture, as behind a Dense layer.
    """

    name: str
    type: str
    shape: tuple[int, ...] | None
    parameters: int
    receptive_field: int | None


# What one value of a layer sees: pixels a side, and how far its neighbour lies from it in pixels.
# None is the whole picture.
_Field = tuple[Fraction, Fraction] | None
_WHOLE = {"Dense", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"}


def describe_layers(config: str, weights: Mapping[str, Mapping]) -> list[Layer]:
    """Every layer in the order of the network.

    Args:
        config: Keras's JSON of the model, which anybody may have written.
        weights: as in a checkpoint.

    Returns:
        The layers; none where the configuration is not one that Keras writes.
    """
    try:
        described = json.loads(config)["config"]["layers"]
        return _describe(described, weights)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return []  # the configuration is carried for Keras: nothing else depends on it


def _describe(described: list[dict], weights: Mapping[str, Mapping]) -> list[Layer]:
    inputs = {layer["name"]: _inputs(layer) for layer in described}
    shapes = {name: shape for found in inputs.values() for name, shape in found}
    fields: dict[str, _Field] = {}
    layers = []
    for layer in described:
        name, kind, settings = layer["name"], layer["class_name"], layer["config"]
        before = [fields[source] for source, _ in inputs[name]]
        field = fields[name] = _field(kind, settings, before)
        shape = shapes.get(name) or _last_shape(kind, settings, [s for _, s in inputs[name]])
        sizes = [array.size for array in weights.get(name, {}).values()]
        sees = None if field is None else math.ceil(field[0])
        layers.append(Layer(str(name), str(kind), shape, sum(sizes), sees))
    return layers


def _inputs(layer: dict) -> list[tuple[str, tuple[int, ...]]]:
    """The layers that feed this one, each with the shape of what it gives."""
    tensors = []

    def collect(node: object) -> None:
        if isinstance(node, list):
            for item in node:
                collect(item)
        elif isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
            about = node["config"]
            tensors.append((about["keras_history"][0], tuple(map(int, about["shape"][1:]))))

    for node in layer["inbound_nodes"]:
        collect(node["args"])
    return tensors


def _field(kind: str, settings: dict, before: list[_Field]) -> _Field:
    if kind == "InputLayer":
        return Fraction(1), Fraction(1)
    if kind in _WHOLE or None in before:
        return None
    size, step = max(field[0] for field in before), before[0][1]
    if kind == "UpSampling2D":
        return size, step / settings["size"][0]
    stride = settings.get("strides") or settings.get("pool_size") or [1]
    kernel = settings.get("kernel_size") or settings.get("pool_size") or [1]
    if kind == "Conv2DTranspose":
        taken = -(-kernel[0] // stride[0])  # values that one value is made of
        return size + (taken - 1) * step, step / stride[0]
    return size + (kernel[0] - 1) * step, step * stride[0]


def _last_shape(kind: str, settings: dict, shapes: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shape of an output that no layer takes: of the kinds that a network ends with."""
    if kind == "Dense":
        return (settings["units"],)
    if kind == "Conv2D" and settings["strides"] == [1, 1]:
        trim = [
            0 if settings["padding"] == "same" else side - 1 for side in settings["kernel_size"]
        ]
        height, width, _ = shapes[0]
        return (height - trim[0], width - trim[1], settings["filters"])
    return shapes[0] if shapes and kind == "Activation" else None
