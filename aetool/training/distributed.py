"""One training by several processes, which TensorFlow's collectives keep in step.

Each process holds the whole model and makes the whole batch, so that seeds mean the same as in one
process, and learns from its rows of it. Gradients, losses and the statistics of batch normalisation
are summed over all, so that all of them take the step that one process takes with the whole batch.
"""

import zlib
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from aetool.errors import ClusterError, TrainingError, UsageError
from aetool.training.team import Seat

_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)


class Team:
    """All processes of a training, each at its seat. To be made before TensorFlow computes.

    Returns when all have come.

    Raises:
        UsageError: this process sees several GPUs.
        ClusterError: its address is taken, or the others do not come.
    """

    def __init__(self, seat: Seat):
        self.seat = seat
        try:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except (tf.errors.OpError, RuntimeError) as error:
            raise ClusterError(
                f"this process cannot join the training: {str(error).splitlines()[0]}",
                "its address in TF_CONFIG must be free, and the others must reach it",
            ) from error
        if self._strategy.num_replicas_in_sync != seat.count:
            raise UsageError(
                "a process of a training takes one GPU and sees several",
                "start one a GPU, each with its own CUDA_VISIBLE_DEVICES",
            )
        # Into how many shares the batch in hand is split: 1 where all learn from all of it.
        self._shares = tf.Variable(1, trainable=False, dtype=tf.int32)
        self._whole: set[int] = set()
        self._sum = self.compiled(self.total)
        self.meet()

    def meet(self) -> None:
        """Wait for all; ClusterError when one is lost."""
        self._sum(tf.zeros(()))

    def check_same(self, values: Mapping[str, object]) -> None:
        """That all processes were given the same.

        Args:
            values: what is compared, by the name that a message calls it.

        Raises:
            TrainingError: one of them has another.
        """
        own = np.zeros((self.seat.count, len(values)), np.int64)
        own[self.seat.rank] = [zlib.crc32(repr(value).encode()) for value in values.values()]
        every = self._sum(tf.constant(own)).numpy()
        for name, found in zip(values, every.T, strict=True):
            if len(set(found.tolist())) > 1:
                raise TrainingError(
                    f"the processes of this training differ in {name}",
                    "start all with the same command, SOURCE and output, on files that all share",
                )

    def agree(self, stop: Callable[[], int]) -> Callable[[], int]:
        """A signal that reached any process, as all of them know it after the same step."""

        def agreed() -> int:
            signals = np.zeros(self.seat.count, np.int32)
            signals[self.seat.rank] = stop()
            return int(self._sum(tf.constant(signals)).numpy().max())

        return agreed

    def compiled(self, function: Callable) -> Callable:
        """A function of tensors in which `total` may be called, by all processes at once.

        It raises ClusterError when another process is lost.
        """
        graph = tf.function(
            lambda *arguments: self._strategy.run(function, arguments),
            reduce_retracing=True,
            autograph=False,
        )

        def call(*arguments):
            try:
                return graph(*arguments)
            except _LOST as error:
                raise ClusterError(
                    "another process of this training was lost",
                    "start all of them again with --resume: they go on from the last save",
                ) from error

        return call

    def total(self, values):
        """Tensors summed over the processes."""
        context = tf.distribute.get_replica_context()
        placed = tf.nest.map_structure(tf.identity, values)  # an argument has no device yet
        return context.all_reduce(tf.distribute.ReduceOp.SUM, placed)

    def own(self, batch):
        """This process's rows of a batch, or all of them where they do not share out evenly.

        Args:
            batch: arrays of one length, in any structure.
        """
        count = self.seat.count
        shared = len(tf.nest.flatten(batch)[0]) % count == 0
        self._shares.assign(count if shared else 1)
        rows = slice(self.seat.rank, None, count) if shared else slice(None)
        return tf.nest.map_structure(lambda array: tf.constant(array[rows]), batch)

    def share(self, model: keras.Model) -> "Shared":
        """A compiled model as all processes train it together."""
        return Shared(model, self)

    def prepare(self, layer: keras.layers.Layer) -> None:
        """Make a layer, and all within it, see the whole batch where it looks beyond one picture.

        Batch normalisation then takes its statistics from all processes. What is drawn at random is
        drawn for the whole batch by each, and each keeps its own rows.
        """
        for part in getattr(layer, "layers", ()):
            self.prepare(part)
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
        elif hasattr(layer, "seed_generator") and id(layer) not in self._whole:
            self._whole.add(id(layer))
            layer.call = self._drawn_whole(layer.call)

    def _drawn_whole(self, call: Callable) -> Callable:
        def like(rows: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
            changed.set_shape((None, *rows.shape[1:]))  # which TensorFlow cannot tell
            return changed

        def drawn(inputs, **options):
            shares = self._shares
            whole = [like(x, tf.repeat(x, shares, axis=0)) for x in tf.nest.flatten(inputs)]
            values = call(tf.nest.pack_sequence_as(inputs, whole), **options)
            return like(values, values[self.seat.rank % shares :: shares])

        return drawn


class Shared:
    """A compiled model that learns from batches as `keras.Model` does, by all processes at once.

    Args:
        model: compiled with losses that are means over the pictures of a batch.
        team: the processes.
    """

    def __init__(self, model: keras.Model, team: Team):
        self._model, self._team = model, team
        team.prepare(model)
        self._learn = team.compiled(self._gradients)
        self._measure = team.compiled(self._values)
        self._apply = tf.function(
            lambda gradients: model.optimizer.apply(gradients, model.trainable_variables),
            autograph=False,
        )

    def train_on_batch(self, x, y, *, return_dict: bool) -> dict[str, tf.Tensor]:
        self._model.reset_metrics()
        values, gradients = self._learn(*self._team.own((x, y)))
        self._apply(gradients)
        return values

    def test_on_batch(self, x, y, *, return_dict: bool) -> dict[str, tf.Tensor]:
        self._model.reset_metrics()
        return self._measure(*self._team.own((x, y)))

    def _gradients(self, x, y):
        with tf.GradientTape() as tape:
            values, loss = self._own_values(x, y, training=True)
        gradients = tape.gradient(loss, [v.value for v in self._model.trainable_variables])
        return self._team.total((values, gradients))

    def _values(self, x, y):
        return self._team.total(self._own_values(x, y, training=False)[0])

    def _own_values(self, x, y, *, training: bool):
        """({name: this process's part of the mean}, its part of the loss)."""
        predicted = self._model(x, training=training)
        # Within the strategy Keras divides losses, and penalties of weights, by the processes.
        loss = self._model.compute_loss(x, y, predicted, training=training)
        terms = self._model.compute_metrics(x, y, predicted)
        values = {name: value / self._team.seat.count for name, value in terms.items()}
        return {**values, "loss": loss}, loss
