"""From what a colorizer's network says of a picture to its colours, and how right they are."""

import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aetool.errors import FormatError, UsageError
from aetool.images.bleeding import bleeding
from aetool.images.chroma import ab_to_chroma, chroma_of, colorfulness, reduced, strips, unit
from aetool.images.quality import PSNR_CEILING
from aetool.inference.stream import Outputs
from aetool.storage.checkpoint import Checkpoint

if TYPE_CHECKING:
    import keras

RENDER_SIZES = (32, 1024)
_MEAN = "mean_ab"  # the output of a prepared network that averages bins
# psnr, psnr_grey, colorfulness, colorfulness_true, bleeding, bleeding_true
Scores = tuple[float, float, float, float, float, float]


def shipped_checkpoint() -> Path:
    """The colorizer in the package.

    Raises:
        FormatError: this installation has none.
    """
    path = Path(str(resources.files("aetool") / "weights" / "colorizer.h5"))
    if not path.is_file():
        raise FormatError(
            "this installation lacks the colorizer that ships", "give another with -c MODEL.h5"
        )
    return path


@dataclass(frozen=True, slots=True)
class AbBins:
    """How a distribution over ab bins becomes a colour.

    Args:
        bins: float32 (bins, 2), their centres in Lab units.
        temperature: of the annealed mean.
        weights: float32 (bins,), by which the probabilities are divided first; None leaves them.
    """

    bins: np.ndarray
    temperature: float
    weights: np.ndarray | None

    def anneal(self, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights whose softmax is the distribution that `images.color.annealed_mean` averages.

        What it does to the probabilities of a softmax is linear in the logits below, so that the
        network does it in the multiplication that it makes anyway.

        Args:
            kernel, bias: float32 (..., bins) and (bins,), which give the logits.
        """
        scale = np.float32(1 / self.temperature)
        if self.weights is not None:
            bias = bias - np.log(self.weights, dtype=np.float32)
        return kernel * scale, bias * scale


class Decoder:
    """What a colorizer's checkpoint says of its input and of its output, checked.

    Args:
        path: of the checkpoint, for messages.
        checkpoint: the colorizer.
        render_size: pixels a side that the network is to see; None for those it was trained with.

    Raises:
        FormatError: it is no colorizer, or lacks what its output needs.
        UsageError: for a size that makes no sense.
    """

    def __init__(self, path: Path, checkpoint: Checkpoint, render_size: int | None = None):
        metadata = checkpoint.metadata
        self._path = path
        if metadata["task"] != "colorize":
            raise FormatError(
                f"{path} is no colorizer: its task is {metadata['task']}",
                "train one with --task colorize, or leave out -c, and AETOOL_CHECKPOINT unset, "
                "for the one that ships",
            )
        # Colour is laid over the whole picture, so the network must see the whole picture.
        self.preprocessing = {**metadata["preprocessing"], "fit": "stretch"}
        self.size = tuple(self.preprocessing["size"])
        if render_size is not None:
            if not RENDER_SIZES[0] <= render_size <= RENDER_SIZES[1]:
                least, most = RENDER_SIZES
                raise UsageError(f"--render-size {render_size} is not between {least} and {most}")
            self.size = (render_size, render_size)
        self._output = metadata["output"][0]
        decoding = self._output["decoding"]
        if decoding not in ("rgb", "ab", "ab-bins"):
            raise FormatError(
                f"{path}: this version knows no output decoding {decoding!r}", "upgrade aetool"
            )
        self._bins = _bins(path, checkpoint) if decoding == "ab-bins" else None
        self._saturation = np.float32(self._output.get("saturation", 1))

    def prepare(self, model: "keras.Model") -> "keras.Model":
        """The network whose output `chroma` understands, from a colorizer's, just built.

        A distribution over ab bins is annealed and averaged in the network: its 225 numbers a pixel
        would take longer to hand over than to make.

        Raises:
            FormatError: the network has no such output, or no distribution over the bins for it.
        """
        name = self._output["name"]
        if name not in model.output_names:
            raise FormatError(f"{self._path}: its network has no output {name!r}", "train it again")
        if self._bins is None:
            return model
        layer = model.get_layer(name)
        weights = layer.get_weights()
        count = len(self._bins.bins)
        if [array.shape[-1] for array in weights] != [count] * 2 or not _is_softmax(layer):
            raise FormatError(
                f"{self._path}: its output is no distribution over ab bins", "train it again"
            )
        import keras

        layer.set_weights(self._bins.anneal(*weights))
        mean = keras.layers.Dense(2, use_bias=False, dtype="float32", name=_MEAN)
        averaged = keras.Model(model.input, {_MEAN: mean(layer.output)})
        mean.set_weights([self._bins.bins])
        return averaged

    def chroma(self, outputs: Outputs, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One picture's chroma, float32 (h, w, 2), and `grey` at its size, float32 (h, w).

        Args:
            outputs: its row of the outputs of a network that `prepare` has made.
            grey: (H, W), uint8 or uint16, the picture.
        """
        values = outputs[self._output["name"] if self._bins is None else _MEAN]
        small = reduced(grey, values.shape[:2])
        if self._output["decoding"] == "rgb":
            chroma = chroma_of(values)
        else:
            units = 1 if self._bins is not None else self._output["scale"]
            chroma = ab_to_chroma(values * np.float32(units), small)
        return chroma * self._saturation, small


def _is_softmax(layer: "keras.Layer") -> bool:
    return getattr(getattr(layer, "activation", None), "__name__", None) == "softmax"


def _bins(path: Path, checkpoint: Checkpoint) -> AbBins:
    output, arrays = checkpoint.metadata["output"][0], checkpoint.arrays
    power = output.get("rebalancing", 0)
    needed = ("ab_bins", "ab_weights") if power else ("ab_bins",)
    if any(name not in arrays for name in needed):
        raise FormatError(f"{path} lacks the ab bins of its output", "train it again")
    weights = arrays["ab_weights"] ** np.float32(power) if power else None
    return AbBins(arrays["ab_bins"], output["temperature"], weights)


def score(grey: np.ndarray, colored: np.ndarray, truth: np.ndarray) -> Scores:
    """How right a picture's colours are.

    Args:
        grey: (h, w), what was coloured.
        colored: (h, w, 3), the result.
        truth: (h, w, 3), the colours it had.
    """
    return (
        _psnr(colored, truth),
        _psnr(grey[..., None], truth),
        colorfulness(colored),
        colorfulness(truth),
        bleeding(colored),
        bleeding(truth),
    )


def _psnr(pixels: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB, strip by strip; (h, w, 3) or (h, w, 1) against (h, w, 3), of any depths."""
    total = 0.0
    for rows in strips(truth.shape):
        difference = unit(pixels[rows]) - unit(truth[rows])
        total += float(np.square(difference, dtype=np.float64).sum())
    return min(PSNR_CEILING, -10 * math.log10(max(total, 1e-300) / truth.size))
