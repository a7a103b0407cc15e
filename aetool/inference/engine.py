"""The compute engine: one frozen graph, one batch shape, bfloat16 where the processor has it.

A TensorFlow graph whose variables are constants lets grappler fold batch normalisation into the
convolutions, and oneDNN's automatic mixed precision then runs them in bfloat16; a convolution after
a doubling is computed at the small size. Keras's own `predict` does none of this.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from aetool.errors import UsageError
from aetool.inference.precision import resolve_precision
from aetool.models.doubling import doubling

_PIXELS_PER_BATCH = 2**18
_LARGEST_BATCH = 256


def natural_batch_size(height: int, width: int) -> int:
    """Pictures a batch, from their size alone, so that a result never depends on how many come."""
    return max(1, min(_LARGEST_BATCH, _PIXELS_PER_BATCH // (height * width)))


@contextmanager
def _mixed_precision(wanted: bool) -> Iterator[None]:
    """oneDNN's automatic bfloat16, for the calls inside alone: TensorFlow knows it process-wide."""
    option = "auto_mixed_precision_onednn_bfloat16"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: wanted})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})


def _check_memory(model: keras.Model, batch_size: int) -> None:
    values = keras.tree.flatten([layer.output for layer in model.layers])
    largest = max(math.prod(value.shape[1:]) for value in values)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if 2 * batch_size * largest * np.float32().nbytes > memory:
        height, width = model.input_shape[1:3]
        raise UsageError(
            f"--batch-size {batch_size} of {width}x{height} pixels does not fit in memory",
            "leave it out: it is chosen from the size of the pictures",
        )


class Engine:
    """A model compiled once for one batch shape.

    Args:
        model: any Keras model with one image input.
        precision: "auto", "float32" or "bfloat16".
        batch_size: pictures a batch; by default chosen from the picture size.

    Raises:
        UsageError: two layers' values of such a batch do not fit into the machine's memory, and
            TensorFlow would end the process.
    """

    def __init__(
        self, model: keras.Model, *, precision: str = "auto", batch_size: int | None = None
    ):
        height, width, channels = model.input_shape[1:]
        self.input_shape = (height, width, channels)
        self.batch_size = batch_size or natural_batch_size(height, width)
        if batch_size:
            _check_memory(model, batch_size)
        self.precision = resolve_precision(precision)
        self.output_names = tuple(model.output_names)
        self._model = model
        self._graph = None

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Run one batch.

        Args:
            batch: float32 (n, height, width, channels) with n at most `batch_size`; a shorter one
                is padded, since the graph has one shape.

        Returns:
            {output name: float32 (n, ...)}.
        """
        n = len(batch)
        if n < self.batch_size:
            padded = np.zeros((self.batch_size, *self.input_shape), np.float32)
            padded[:n] = batch
            batch = padded
        if self._graph is None:
            self._graph = self._freeze()
        with _mixed_precision(self.precision == "bfloat16"):
            outputs = self._graph(tf.constant(batch, tf.float32))
        return {
            name: output.numpy()[:n]
            for name, output in zip(self.output_names, outputs, strict=True)
        }

    def _freeze(self):
        """The concrete function of the model with its weights as constants."""
        model = doubling(self._model, frozen=True)

        @tf.function(
            input_signature=[tf.TensorSpec((self.batch_size, *self.input_shape), tf.float32)]
        )
        def forward(images):
            outputs = model(images, training=False)
            return [tf.cast(y, tf.float32) for y in tf.nest.flatten(outputs)]

        frozen = convert_variables_to_constants_v2(forward.get_concrete_function())
        self._model = None  # the graph holds the weights now
        return frozen
