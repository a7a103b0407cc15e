"""The model families by name: what a command line needs to know without importing Keras."""

import difflib
from dataclasses import dataclass, field

from aetool.errors import UsageError

TASKS = ("reconstruct", "colorize", "translate", "classify")


@dataclass(frozen=True, slots=True)
class Family:
    """One model family.

    Args:
        name: as in `--model NAME`.
        summary: one line for people.
        tasks: what it can learn, its natural task first.
        module: the module below aetool.models that holds `build`.
        latent: the layer whose output `encode` writes.
        size: (height, width) of the published experiment, used when pictures differ in size.
        loss: the natural loss by task.
        regime: how it learns: "reconstruction", "variational", "joint", "adversarial" or "greedy".
        loss_weights: {term: factor} of a loss that has several terms, as published.
        levels: of a model that learns level by level.
        range: (least, greatest) of the values it takes and gives.
        grows: whether the weights fit any picture size, so that a network can be rebuilt larger.
    """

    name: str
    summary: str
    tasks: tuple[str, ...]
    module: str
    latent: str
    size: tuple[int, int]
    loss: dict[str, str]
    regime: str = "reconstruction"
    loss_weights: dict[str, float] = field(default_factory=dict)
    levels: int = 0
    range: tuple[int, int] = (0, 1)
    grows: bool = False


FAMILIES: dict[str, Family] = {}


def _add(family: Family) -> None:
    if family.name in FAMILIES:
        raise ValueError(f"model family {family.name!r} is declared twice")
    FAMILIES[family.name] = family


_add(
    Family(
        name="conv-ae",
        summary="convolutional autoencoder, 4,385 parameters at 28x28x1",
        tasks=("reconstruct",),
        module="conv_ae",
        latent="latent",
        size=(28, 28),
        loss={"reconstruct": "binary-crossentropy"},
        grows=True,
    )
)
_add(
    Family(
        name="unet",
        summary="U-Net with or without skip connections, 31,054,275 parameters at 96x96",
        tasks=("reconstruct", "colorize"),
        module="unet",
        latent="middle_relu2",
        size=(96, 96),
        loss={"reconstruct": "mse", "colorize": "mse"},
        grows=True,
    )
)
_add(
    Family(
        name="conv-vae",
        summary="variational autoencoder on conv-ae's layers, 5,285 parameters at 28x28x1",
        tasks=("reconstruct",),
        module="conv_vae",
        latent="z_mean",
        size=(28, 28),
        loss={"reconstruct": "binary-crossentropy-sum"},
        regime="variational",
        loss_weights={"divergence": 1.0},
    )
)
_add(
    Family(
        name="unet-small",
        summary="small U-Net with a tanh latent, 6,997 parameters at 28x28x1, to compare latents",
        tasks=("reconstruct",),
        module="unet_small",
        latent="latent",
        size=(28, 28),
        loss={"reconstruct": "mse"},
    )
)
_add(
    Family(
        name="vgg-classifier-ae",
        summary="VGG16 body that classifies and rebuilds, 15,003,149 parameters at 32x32x3",
        tasks=("classify",),
        module="vgg_classifier_ae",
        latent="latent",
        size=(32, 32),
        loss={"classify": "mse"},
        regime="joint",
        loss_weights={"classification": 1.0, "reconstruction": 100.0},
    )
)
_add(
    Family(
        name="pix2pix",
        summary="picture-to-picture generator, 19,303,811 parameters at 128x128, 1 channel to 3",
        tasks=("translate",),
        module="pix2pix",
        latent="latent",
        size=(128, 128),
        loss={"translate": "mae"},
        regime="adversarial",
        loss_weights={"adversarial": 1.0, "reconstruction": 100.0},
        range=(-1, 1),
    )
)
_add(
    Family(
        name="stacked-ae",
        summary="stacked convolutional autoencoder, 214,979 parameters at 80x80x3",
        tasks=("reconstruct",),
        module="stacked_ae",
        latent="latent",
        size=(80, 80),
        loss={"reconstruct": "binary-crossentropy"},
        regime="greedy",
        levels=4,
        grows=True,
    )
)


def family(name: str) -> Family:
    """The family called `name`; UsageError with the nearest name otherwise."""
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no model family {name!r}", f"{hint}there are {', '.join(FAMILIES)}")
    return FAMILIES[name]
