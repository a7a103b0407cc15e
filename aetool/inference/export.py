"""A model as a file of another program: ONNX, a SavedModel, or Keras's own .keras."""

import importlib
import json
import logging
from pathlib import Path
from types import ModuleType

import keras
import tensorflow as tf

from aetool.errors import MissingExtra
from aetool.inference.load import LoadedModel

OPSET = 17  # of ONNX: the newest that every onnxruntime since 1.13 runs
INPUT = "image"


def write_onnx(path: Path, loaded: LoadedModel) -> None:
    """Write a graph from `image` (n, height, width, channels) float32 to the outputs by name.

    Any n. What aetool knows of the model is JSON in the metadata property `aetool`: how a picture
    becomes its input, and what its outputs mean.

    Raises:
        MissingExtra: tf2onnx is not installed.
    """
    tf2onnx, onnx = onnx_libraries(f"writing {path}")
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = (_signature(loaded.model),)
    graph, _ = tf2onnx.convert.from_function(
        _forward(loaded.model), input_signature=signature, opset=OPSET
    )
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.helper.set_model_props(graph, {"aetool": json.dumps(loaded.checkpoint.metadata)})
    onnx.checker.check_model(graph)
    path.write_bytes(graph.SerializeToString())


def write_saved_model(folder: Path, loaded: LoadedModel) -> None:
    """Write a SavedModel into an empty folder; its signature takes `image`, as `write_onnx` says.

    What aetool knows of the model is in assets.extra/aetool.json, where the format leaves room.
    """
    archive = keras.export.ExportArchive()
    archive.track(loaded.model)
    archive.add_endpoint("serving_default", _forward(loaded.model), [_signature(loaded.model)])
    archive.write_out(folder, verbose=False)
    extra = folder / "assets.extra"
    extra.mkdir()
    (extra / "aetool.json").write_text(json.dumps(loaded.checkpoint.metadata), encoding="utf-8")


def write_keras(path: Path, loaded: LoadedModel) -> None:
    """Write Keras's native format, uncompiled; the name ends in .keras."""
    loaded.model.save(path)


def onnx_libraries(what: str) -> tuple[ModuleType, ModuleType]:
    """tf2onnx and onnx, imported where `what` needs them.

    Raises:
        MissingExtra: they are not installed.
    """
    try:
        return importlib.import_module("tf2onnx"), importlib.import_module("onnx")
    except ImportError as error:
        raise MissingExtra(what, "onnx") from error


def _signature(model: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=INPUT)


def _forward(model: keras.Model):
    """The model as it predicts, its outputs a dict by their names."""

    @tf.function
    def forward(image):
        outputs = model(image, training=False)
        return outputs if isinstance(outputs, dict) else {model.output_names[0]: outputs}

    return forward
