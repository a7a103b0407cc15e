"""How a model is to learn: one value a training option. Light: no Keras."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a training run.

    Args:
        epochs: passes over the training pictures.
        batch_size: pictures a step.
        optimizer: a Keras optimizer's name, with its arguments: "sgd:momentum=0.9".
        learning_rate: at the start.
        schedule: how the rate changes: "constant", "cosine" or "inverse-time=0.005".
        loss: a key of training.losses.LOSSES.
        augment: keys of images.augment.AUGMENTATIONS.
        patience: epochs without a better validation loss after which to stop; None never stops.
        seed: of the weights, the order and the augmentation.
        precision: "float32" or "bfloat16" (mixed: float32 weights).
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
