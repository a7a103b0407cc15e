"""A model in an `.h5` file: Keras's own HDF5 layout, plus what the model is and needs."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata as packages
from pathlib import Path

import h5py
import numpy as np

from aetool.storage.checked import (
    array_paths,
    check_dataset,
    damaged,
    read_arrays,
    read_group,
    read_text,
    read_texts,
)
from aetool.storage.container import FORMATS, open_container, write_container
from aetool.storage.description import parse_description

Weights = dict[str, dict[str, np.ndarray]]

# Above this many bytes Keras splits a list of names into name0, name1, ...
_ATTRIBUTE_BYTES = 64512


@dataclass(slots=True)
class Checkpoint:
    """What a checkpoint file holds.

    Args:
        metadata: `model` (name and every builder argument), `task`, `preprocessing`, `output`,
            `classes`, `training`, `metrics`, `calibration`; `format` is set by the file.
        keras_config: the JSON of `model.to_json()`; carried for Keras, never deserialised here.
        weights: layer name -> {variable path: float32 array}, in Keras's order: layers as in
            `model.layers`, in each the trainable variables, then the others, random seeds left out.
        arrays: slash-separated name -> array of numbers: history, calibration scores, colour bins.
        training: what an exact resume needs, name -> array of numbers or text; None in a finished
            model.
        digest: hex SHA-256 over builder arguments and weights; set by `read_checkpoint`.
    """

    metadata: dict
    keras_config: str
    weights: Weights
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    training: dict[str, np.ndarray | str] | None = None
    digest: str = ""


def write_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write a file that aetool reads back and `keras.models.load_model` opens, atomically.

    Args:
        path: the file; a name ending in .h5 is what Keras asks for.
        checkpoint: its `digest` is computed anew, not taken.
        half: store weights of two and more dimensions as float16, where none overflows. Half the
            size; a reader gets float32 back, rounded to 11 significant bits.

    Raises:
        OutputError: the file cannot be written.
    """
    weights = {
        layer: {name: _stored(array, half) for name, array in variables.items()}
        for layer, variables in checkpoint.weights.items()
    }
    metadata = {**checkpoint.metadata, "format": FORMATS["checkpoint"]}

    def fill(file: h5py.File) -> None:
        file.attrs["aetool"] = json.dumps(metadata, allow_nan=False)
        file.attrs["aetool_digest"] = model_digest(metadata["model"], weights)
        file.attrs["keras_version"] = packages.version("keras")
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = checkpoint.keras_config
        _write_weights(file.create_group("model_weights"), weights)
        _write_arrays(file.create_group("aetool"), checkpoint.arrays)
        if checkpoint.training is not None:
            _write_arrays(file.create_group("training"), checkpoint.training)

    write_container(path, "checkpoint", fill)


def read_checkpoint(path: Path, *, weights: bool = True) -> Checkpoint:
    """Read a checkpoint, every claim in it checked. Loads no Keras and runs nothing from the file.

    Args:
        path: a file that `write_checkpoint` wrote.
        weights: False leaves `weights` empty and `training` None, for a look at the metadata.

    Raises:
        FormatError: the file is missing, foreign, damaged, truncated, newer, or no checkpoint.
    """
    with open_container(path, "checkpoint") as file:
        try:
            metadata = parse_description(read_text(file, "aetool"), str(path))
            return _reader(metadata, str(path))(file, metadata, weights)
        except (OSError, RuntimeError) as error:  # how h5py reports a broken HDF5 structure
            raise damaged(str(path), "its HDF5 structure is broken") from error


def model_digest(model: Mapping, weights: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Hex SHA-256 that names a model by what it computes, not by how or when it was trained.

    Over the builder arguments as canonical JSON (sorted keys), then for every variable, sorted by
    layer and path, one line of JSON [layer, path, shape] and the values as little-endian float32.

    Args:
        model: name and builder arguments.
        weights: as in `Checkpoint`; float16 values count as the float32 they convert to.
    """
    digest = hashlib.sha256(_canonical(model))
    for layer in sorted(weights):
        for name in sorted(weights[layer]):
            array = weights[layer][name]
            digest.update(_canonical([layer, name, list(array.shape)]))
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()


def _canonical(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def _stored(array: np.ndarray, half: bool) -> np.ndarray:
    """The array as the file holds it: float32, or float16 for a kernel that fits."""
    array = np.asarray(array, dtype=np.float32)
    if half and array.ndim >= 2 and np.abs(array).max(initial=0) <= np.finfo(np.float16).max:
        return array.astype(np.float16)
    return array


def _write_weights(group: h5py.Group, weights: Weights) -> None:
    """As Keras's `save_weights_to_hdf5_group` lays them out."""
    _write_names(group, "layer_names", weights)
    group.attrs["backend"] = "tensorflow"
    group.attrs["keras_version"] = packages.version("keras")
    for layer, variables in weights.items():
        layer_group = group.create_group(layer)
        _write_names(layer_group, "weight_names", variables)
        for name, array in variables.items():
            layer_group.create_dataset(name, data=array)


def _write_names(group: h5py.Group, attribute: str, names: Iterable[str]) -> None:
    encoded = [name.encode() for name in names]
    pieces = [np.asarray(encoded)]
    while any(piece.nbytes > _ATTRIBUTE_BYTES for piece in pieces):
        pieces = np.array_split(np.asarray(encoded), len(pieces) + 1)
    if len(pieces) == 1:
        group.attrs[attribute] = encoded
    else:
        for number, piece in enumerate(pieces):
            group.attrs[f"{attribute}{number}"] = piece


def _read_names(group: h5py.Group, attribute: str) -> list[str]:
    if attribute in group.attrs:
        return read_texts(group, attribute)
    names, number = [], 0
    while f"{attribute}{number}" in group.attrs:
        names += read_texts(group, f"{attribute}{number}")
        number += 1
    return names


def _write_arrays(group: h5py.Group, arrays: Mapping[str, np.ndarray | str]) -> None:
    for name, array in arrays.items():
        data = array if isinstance(array, str) else np.asarray(array)
        if not isinstance(data, str) and data.dtype.kind not in "fiub":
            raise TypeError(f"{name}: a checkpoint holds numbers, not {data.dtype}")
        group.create_dataset(name, data=data)


def _read_format_1(file: h5py.File, metadata: dict, weights: bool) -> Checkpoint:
    aetool = read_group(file, "aetool")
    digest = read_text(file, "aetool_digest")
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise damaged(file.filename, "its digest of the model is none")
    checkpoint = Checkpoint(
        metadata,
        keras_config=read_text(file, "model_config"),
        weights={},
        arrays=read_arrays(aetool, array_paths(aetool)),
        digest=digest,
    )
    if weights:
        checkpoint.weights = _read_weights(read_group(file, "model_weights"))
        if "training" in file:
            checkpoint.training = _read_training(read_group(file, "training"))
    return checkpoint


def _read_weights(group: h5py.Group) -> Weights:
    names, left = {}, group.file.id.get_filesize()
    for layer in _read_names(group, "layer_names"):
        names[layer] = _read_names(read_group(group, layer), "weight_names")
        left -= sum(len(name) + 1 for name in names[layer])
        if left < 0:  # many layers may be links to one group
            raise damaged(group.file.filename, "its weight_names claim more than the file holds")
    arrays = read_arrays(group, [f"{layer}/{name}" for layer in names for name in names[layer]])
    return {
        layer: {
            name: arrays[f"{layer}/{name}"].astype(np.float32, copy=False) for name in names[layer]
        }
        for layer in names
    }


def _read_training(group: h5py.Group) -> dict[str, np.ndarray | str]:
    texts, numbers = {}, []
    for path in array_paths(group):
        dataset = check_dataset(group, path, kinds="fiubO")
        if dataset.dtype.kind != "O":
            numbers.append(path)
        elif dataset.shape == ():
            texts[path] = dataset.asstr()[()]
        else:
            raise damaged(group.file.filename, f"training/{path} is not one text")
    return {**read_arrays(group, numbers), **texts}


def _reader(metadata: dict, name: str) -> Callable[[h5py.File, dict, bool], Checkpoint]:
    """The one place where format versions part."""
    match metadata.get("format"):
        case 1:
            return _read_format_1
        case other:
            raise damaged(name, f"its format {other!r} is not its header's")
