"""Adam and momentum whose update of a weight is one operation of TensorFlow.

Keras makes a dozen of it, each a pass over memory: of millions of weights a tenth of a step. The
rule, the order of it and what is stored are Keras's own; results differ by rounding. Other backends
use Keras's.
"""

import keras
from keras import ops


def _fuses(variable: keras.Variable) -> bool:
    return keras.backend.backend() == "tensorflow" and variable.dtype == "float32"


class _OneStep:
    """Adam's update. Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015)."""

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad or not _fuses(variable):
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        step = ops.cast(self.iterations + 1, "float32")
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=ops.power(ops.cast(self.beta_1, "float32"), step),
            beta2_power=ops.power(ops.cast(self.beta_2, "float32"), step),
            lr=ops.cast(learning_rate, "float32"),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=ops.cast(gradient, "float32"),
        )


class Adam(_OneStep, keras.optimizers.Adam):
    """keras.optimizers.Adam, an operation a weight."""


class AdamW(_OneStep, keras.optimizers.AdamW):
    """keras.optimizers.AdamW, likewise; its decay stays a step of its own."""


class SGD(keras.optimizers.SGD):
    """keras.optimizers.SGD; with momentum an operation a weight."""

    def update_step(self, gradient, variable, learning_rate):
        if self.momentum == 0 or not _fuses(variable):
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].handle,
            lr=ops.cast(learning_rate, "float32"),
            grad=ops.cast(gradient, "float32"),
            momentum=self.momentum,
            use_nesterov=bool(self.nesterov),  # a number where an option gave it
        )
