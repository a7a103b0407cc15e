"""The JSON document in a checkpoint: read as text that anybody may have written."""

import json
import math
from collections.abc import Callable, Iterable

from aetool.errors import FormatError
from aetool.storage.checked import damaged

_AREA = 1 << 26  # pixels: no network takes a larger picture, and none is prepared for one
_FITS = ("stretch", "crop", "pad")


class Description(dict):
    """An object of the document: a key that it lacks is an error of the file, not of aetool."""

    def __init__(self, values: Iterable = (), name: str = "the checkpoint"):
        super().__init__(values)
        self.name = name

    def __missing__(self, key: str) -> object:
        raise FormatError(f"{self.name} does not say its {key}", "make it again")


def parse_description(text: str, name: str) -> Description:
    """The document, with every value that the program relies on of the right type and range.

    Keys may be missing or unknown; asking for a missing one raises.

    Args:
        text: JSON.
        name: what messages call the file.

    Raises:
        FormatError: no JSON object, one that names no model, or a value of a wrong type.
    """

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        document = json.loads(
            text, object_hook=lambda values: Description(values, name), parse_constant=refuse
        )
    except (ValueError, RecursionError) as error:
        raise damaged(name, "its description is not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        raise damaged(name, "its description names no model")
    for path, is_right in _RULES.items():
        for value in _values(document, path.split(".")):
            if not is_right(value):
                raise damaged(name, f"its description has a wrong value at {path}")
    preprocessing, model = document.get("preprocessing", {}), document["model"]
    for key in ("size", "channels"):
        if key in preprocessing and key in model and preprocessing[key] != model[key]:
            raise damaged(name, f"its pictures and its model differ in {key}")
    return document


def _values(node: object, path: list[str]) -> list:
    """What stands at a path, "*" for every item of a list; nothing where a key is missing."""
    if not path:
        return [node]
    key, *rest = path
    if key == "*":
        return [value for item in node for value in _values(item, rest)]
    return _values(node[key], rest) if isinstance(node, dict) and key in node else []


def _is(*types: type) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, types) and not (isinstance(value, bool) and bool not in types)
    )


def _number(low: float, high: float) -> Callable[[object], bool]:
    return lambda value: _is(int, float)(value) and low <= value <= high  # and so it is finite


def _whole(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: _is(int)(value) and low <= value <= high


def _all(is_right: Callable[[object], bool], count: int | None = None):
    return lambda value: (
        isinstance(value, list)
        and (count is None or len(value) == count)
        and all(map(is_right, value))
    )


def _is_size(value: object) -> bool:
    return _all(_whole(1, _AREA), 2)(value) and math.prod(value) <= _AREA


_RANGE = _all(_number(-1e6, 1e6), 2)

# In the order of the document: a list or object comes before what is in it.
_RULES: dict[str, Callable[[object], bool]] = {
    "model.name": _is(str),
    "model.size": _is_size,
    "model.channels": lambda value: value in (1, 3),
    "task": _is(str),
    "parameters": _whole(0, 1 << 53),
    "preprocessing": _is(dict),
    "preprocessing.size": _is_size,
    "preprocessing.channels": lambda value: value in (1, 3),
    "preprocessing.range": lambda value: _RANGE(value) and value[0] < value[1],
    "preprocessing.fit": lambda value: value in _FITS,
    "preprocessing.background": _number(0, 1),
    "preprocessing.edges": _is(dict, type(None)),
    "model.classes": _whole(1, 1 << 20),
    "output": lambda value: _all(_is(dict))(value) and len(value) > 0,
    "output.*.name": _is(str),
    "output.*.range": lambda value: value is None or _RANGE(value),
    "output.*.decoding": _is(str, type(None)),
    "output.*.temperature": _number(1e-6, 1e6),
    "output.*.saturation": _number(0, 1e6),
    "output.*.scale": _number(-1e6, 1e6),
    "output.*.rebalancing": _number(-1e3, 1e3),
    "classes": _all(_is(str)),
    "training": _is(dict),
    "training.only": _all(_is(str)),
    "training.epochs_done": _whole(0, 1 << 53),
    "metrics": _is(dict),
    "fidelity": _is(dict, type(None)),
    "fidelity.bfloat16": _number(-1e3, 1e3),
    "calibration": _is(dict, type(None)),
    "calibration.threshold": _number(-1e308, 1e308),
    "calibration.parts": _all(_is(str)),
    "calibration.precision": lambda value: value in ("float32", "bfloat16"),
}
