"""How a model is to learn: one value a training option. Light: no Keras."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Settings that are arguments of every Keras optimizer, where they differ from their default.
OPTIMIZER_ARGUMENTS = {
    "accumulate": "gradient_accumulation_steps",
    "clip_norm": "global_clipnorm",
    "weight_decay": "weight_decay",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """Consecutive epochs in which one model learns by one run of the schedule.

    Args:
        stage: of a greedy training, from 1; 0 is the whole model.
        first: epochs before it.
        epochs: how many it has.
        learning_rate: at its start.
    """

    stage: int
    first: int
    epochs: int
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a training run.

    Args:
        epochs: passes over the training pictures, in a greedy training those of the whole model.
        batch_size: pictures a batch.
        accumulate: batches a step, which follows the mean of their gradients.
        optimizer: a Keras optimizer's name, with its arguments: "sgd:momentum=0.9".
        learning_rate: at the start.
        schedule: how the rate changes: "constant", "cosine" or "inverse-time=0.005".
        clip_norm: to which a step's gradients, all as one vector, are shortened; None leaves them.
        weight_decay: the share of every kernel that a step takes off, times the learning rate.
        loss: a key of training.losses.LOSSES.
        loss_weights: {term: factor} of a loss that has several terms.
        label_smoothing: the share of a classifier's truth that is spread evenly over all classes.
        augment: keys of images.augment.AUGMENTATIONS.
        patience: epochs without a better validation loss after which to stop; None never stops.
        keep: "best" or "last" epoch's weights; None keeps the best with `patience`, else the last.
        seed: of the weights, the order and the augmentation.
        precision: "float32" or "bfloat16" (mixed: float32 weights).
        stages: epochs of each greedy stage, before the whole model's; empty for none.
        stage_rates: the learning rate of each stage; empty where all have `learning_rate`.
        patch: the side in pixels of what a discriminator judges at once; None is the paper's 70.
    """

    epochs: int = 20
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    loss: str = "mse"
    augment: tuple[str, ...] = ()
    patience: int | None = None
    seed: int = 0
    precision: str = "float32"
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    stages: tuple[int, ...] = ()
    stage_rates: tuple[float, ...] = ()
    patch: int | None = None
    accumulate: int = 1
    clip_norm: float | None = None
    weight_decay: float | None = None
    keep: str | None = None
    label_smoothing: float | None = None

    @property
    def keeps_best(self) -> bool:
        return (self.keep or ("last" if self.patience is None else "best")) == "best"

    @property
    def total_epochs(self) -> int:
        """Those of the stages and of the whole model."""
        return sum(self.stages) + self.epochs

    def phase(self, epoch: int) -> Phase:
        """The phase that an epoch, counted from 0 over all, belongs to."""
        first = 0
        rates = self.stage_rates or (self.learning_rate,) * len(self.stages)
        for stage, (epochs, rate) in enumerate(zip(self.stages, rates, strict=True), start=1):
            if epoch < first + epochs:
                return Phase(stage, first, epochs, rate)
            first += epochs
        return Phase(0, first, self.epochs, self.learning_rate)
