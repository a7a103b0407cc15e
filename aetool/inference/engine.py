"""The compute engine: one frozen graph, one batch shape, bfloat16 where the processor has it.

A TensorFlow graph whose variables are constants, with batch normalisation folded into convolutions
and those after a doubling computed at the small size, which oneDNN's automatic mixed precision then
runs in bfloat16. Keras's own `predict` does none of this.
"""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from aetool.errors import UsageError
from aetool.inference.precision import resolve_precision
from aetool.models.inference_twin import inference_twin

_PIXELS_PER_BATCH = 2**18
_LARGEST_BATCH = 256


def natural_batch_size(height: int, width: int) -> int:
    """Pictures a batch, from their size alone, so that a result never depends on how many come."""
    return max(1, min(_LARGEST_BATCH, _PIXELS_PER_BATCH // (height * width)))


class _MixedPrecision:
    """oneDNN's automatic bfloat16, which TensorFlow knows process-wide, for some calls alone.

    Calls that want it and calls that do not wait for each other. Each thread keeps what it was told
    last: whatever runs beside an engine, or after one in the same thread, has to say what it wants.
    """

    _OPTION = "auto_mixed_precision_onednn_bfloat16"

    def __init__(self):
        self._changed = threading.Condition()
        self._calls = 0
        self._wanted = False

    @contextmanager
    def __call__(self, wanted: bool) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._calls or self._wanted == wanted)
            if not self._calls:
                self._wanted = wanted
                self._before = tf.config.optimizer.get_experimental_options().get(
                    self._OPTION, False
                )
            self._set(wanted)
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                if not self._calls:
                    self._set(self._before)
                    self._changed.notify_all()

    def _set(self, value: bool) -> None:
        tf.config.optimizer.set_experimental_options({self._OPTION: value})


mixed_precision = _MixedPrecision()


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
        self._first = threading.Lock()

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Run one batch; several threads may at once.

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
        with self._first:
            if self._graph is None:
                self._graph = self._freeze()
        with mixed_precision(self.precision == "bfloat16"):
            outputs = self._graph(tf.constant(batch, tf.float32))
        return {
            name: output.numpy()[:n]
            for name, output in zip(self.output_names, outputs, strict=True)
        }

    def _freeze(self):
        """The concrete function of the model with its weights as constants."""
        model, weights = inference_twin(self._model, bfloat16=self.precision == "bfloat16")

        @tf.function(
            input_signature=[tf.TensorSpec((self.batch_size, *self.input_shape), tf.float32)],
            autograph=False,
        )
        def forward(images):
            constants = [(variable, tf.constant(value)) for variable, value in weights]
            with keras.StatelessScope(state_mapping=constants):
                outputs = model(images, training=False)
            return [tf.cast(y, tf.float32) for y in tf.nest.flatten(outputs)]

        frozen = forward.get_concrete_function()
        self._model = None  # the graph holds the weights now
        return frozen
