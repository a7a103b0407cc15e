"""The layers of a stored network, told from its configuration: no network is built."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer.

    Args:
        name: as `encode --layer` takes it.
        type: the Keras class, such as "Conv2D".
        shape: of its output, without the batch; None where the configuration does not say.
        parameters: its weights.
        receptive_field: pixels a side of the picture that one of its values is computed from, at
            most; None for the whole picture, as behind a Dense layer.
    """

    name: str
    type: str
    shape: tuple[int, ...] | None
    parameters: int
    receptive_field: int | None


@dataclass(frozen=True, slots=True)
class _Field:
    """What the values of a layer see of the picture, along one axis that goes on for ever.

    Behind a doubling neighbours do not all see equally far.

    Args:
        spans: first and last pixel of each of so many values in a row.
        advance: pixels by which the next so many lie further.
    """

    spans: tuple[tuple[int, int], ...]
    advance: int

    def of(self, first: int, last: int) -> tuple[int, int]:
        """What the values from `first` to `last` see together."""
        turns, phases = zip(*(divmod(i, len(self.spans)) for i in (first, last)), strict=True)
        low, high = self.spans[phases[0]][0], self.spans[phases[1]][1]
        return low + turns[0] * self.advance, high + turns[1] * self.advance

    @property
    def pixels(self) -> int:
        """The most that a value sees."""
        return max(last - first + 1 for first, last in self.spans)


_MOST_PHASES = 4096  # of a network that is none
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
    fields: dict[str, _Field | None] = {}
    layers = []
    for layer in described:
        name, kind, settings = layer["name"], layer["class_name"], layer["config"]
        before = [fields[source] for source, _ in inputs[name]]
        field = fields[name] = _field(kind, settings, before)
        shape = shapes.get(name) or _last_shape(kind, settings, [s for _, s in inputs[name]])
        sizes = [array.size for array in weights.get(name, {}).values()]
        sees = None if field is None else field.pixels
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


def _field(kind: str, settings: dict, before: list[_Field | None]) -> _Field | None:
    """The field of a layer whose inputs have these; None is the whole picture."""
    if kind == "InputLayer":
        return _Field(((0, 0),), 1)
    if kind in _WHOLE or None in before:
        return None
    together = math.lcm(*(len(field.spans) for field in before))
    stride = (settings.get("strides") or settings.get("pool_size") or [1])[0]
    kernel = (settings.get("kernel_size") or settings.get("pool_size") or [1])[0]
    left = max(kernel - stride, 0) // 2 if settings.get("padding") == "same" else 0
    if kind == "UpSampling2D":
        stride = kernel = settings["size"][0]
    if kind in ("UpSampling2D", "Conv2DTranspose"):
        consumed, given = together, together * stride

        def inputs(i: int) -> tuple[int, int]:
            return -((kernel - 1 - i - left) // stride), (i + left) // stride
    else:
        consumed = math.lcm(together, stride)
        given = consumed // stride

        def inputs(i: int) -> tuple[int, int]:
            return i * stride - left, i * stride - left + kernel - 1

    if given > _MOST_PHASES:
        raise ValueError(f"{kind} of {given} phases")
    seen = [[field.of(*inputs(i)) for field in before] for i in range(given)]
    spans = [(min(low for low, _ in each), max(high for _, high in each)) for each in seen]
    return _Field(tuple(spans), before[0].advance * (consumed // len(before[0].spans)))


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
