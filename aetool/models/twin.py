"""A functional model's twin, on the same layers, that computes some of them in a faster way."""

from collections.abc import Callable, Mapping
from functools import partial

import keras
from keras import layers


class Twin(keras.Model):
    """Made by `twin`. It has no configuration of its own: the model is what is stored."""

    def call(self, inputs, training=None, mask=None):
        def applied(layer):
            # A mask may come along, of which none of these knows.
            if layer in self._replaced:
                return lambda x, **_: self._replaced[layer](x, training)
            # As Keras does, for layers that ask: dropout, batch normalisation, models.
            if training is None or "training" not in layer._call_context_args:
                return layer
            return partial(layer, training=training)

        return self._run_through_graph(self._standardize_inputs(inputs), applied)


def twin(model: keras.Model, replaced: Mapping[layers.Layer, Callable]) -> keras.Model:
    """The model itself where nothing is replaced, else one with the same inputs and weights.

    Args:
        model: a functional one, under any dtype policy.
        replaced: what computes a layer in its place: (input, training) to its output.
    """
    if not replaced:
        return model
    made = Twin(model.input, model.output, name=model.name)
    made._replaced = dict(replaced)
    return made
