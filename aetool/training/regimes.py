"""Which family learns by which regime."""

import keras

from aetool.models import patchgan, stacked_ae
from aetool.models.build import built
from aetool.models.specs import family
from aetool.training.adversarial import Adversarial
from aetool.training.greedy import Greedy
from aetool.training.joint import Joint
from aetool.training.reconstruction import Reconstruction
from aetool.training.regime import Regime
from aetool.training.settings import Settings
from aetool.training.variational import Variational

PAPER_PATCH = 70


def make_regime(model: keras.Model, spec: dict, settings: Settings, loss) -> Regime:
    """A model with all that it needs to learn.

    Args:
        model: built under the dtype policy to train in.
        spec: the complete specification it was built from.
        settings: how it is to learn.
        loss: the loss function that `settings.loss` names.

    Raises:
        UsageError: for settings that the regime cannot follow.
    """
    dtype = model.dtype_policy.name
    match family(spec["name"]).regime:
        case "variational":
            return Variational(model, settings, loss)
        case "joint":
            return Joint(model, settings, loss)
        case "adversarial":
            discriminator = built(
                patchgan.build,
                dtype,
                size=spec["size"],
                channels_in=spec["channels"],
                channels_out=spec["outputs"],
                patch=settings.patch or PAPER_PATCH,
                width=spec["width"],
            )
            return Adversarial(model, discriminator, settings, loss)
        case "greedy":
            arguments = {k: spec[k] for k in ("size", "channels", "widths", "kernels")}
            stages = [
                built(stacked_ae.stage, dtype, level=level, **arguments)
                for level in range(1, len(settings.stages) + 1)
            ]
            return Greedy(model, stages, settings, loss)
    return Reconstruction(model, settings, loss)
