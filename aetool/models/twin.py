"""A functional model's twin, on the same layers, that computes some of them in a faster way."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
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


def chains(model: keras.Model) -> Iterator[tuple[layers.Layer, layers.Layer]]:
    """Every two layers of which one feeds the other alone and is needed for nothing else.

    Both are applied once, and so can be computed as one.
    """
    nodes = [node for depth in model._nodes_by_depth.values() for node in depth]
    uses = Counter(id(x) for node in nodes for x in node.input_tensors)
    uses.update(id(x) for x in model.outputs)
    calls = Counter(node.operation for node in nodes)
    producers = {id(x): node.operation for node in nodes for x in node.outputs}
    for node in nodes:
        if len(node.input_tensors) == calls[node.operation] == 1:
            values = node.input_tensors[0]
            before = producers[id(values)]
            if calls[before] == uses[id(values)] == 1:
                yield before, node.operation


def pass_on(x, training=None):
    """Computes a layer that another one's replacement has computed already."""
    return x
