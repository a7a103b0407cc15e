"""Pictures of a model while it learns: the same ones after every epoch, then animated."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from aetool.images.color import AB_SCALE, annealed_mean, lab_to_rgb, luma_to_lightness
from aetool.models.specs import family
from aetool.plots.animation import write_gif
from aetool.plots.sheets import contact_sheet, fitted
from aetool.storage.atomic import blaming, replacing
from aetool.tasks.plan import AB_LOSSES, Plan
from aetool.training.pictures import Pictures

_COUNT = 16
_COLUMNS = 8
_SHEET = re.compile(r"epoch-(?P<epoch>\d{4,})\.png")
_STRIP_SIDE = 48  # the longer side of a picture in a checkpoint, at most


class Preview:
    """A contact sheet an epoch in one folder.

    Args:
        folder: made if need be.
        pictures: the first 16 evenly spaced ones are shown.
        pair: uint8 pictures to (input, target).
        plan: the run's.
        arrays: the checkpoint's, for the ab bins.
        size: (height, width) of the network's input.
    """

    def __init__(self, folder: Path, pictures: Pictures, pair, plan: Plan, arrays, size):
        self.folder = folder
        with blaming(folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        rows = np.unique(np.linspace(0, len(pictures) - 1, _COUNT).astype(int))
        shown = pictures.take(rows)
        if shown.shape[1:3] != tuple(size):
            shown = np.stack([_resized(picture, size) for picture in shown])
        self._inputs, truths = pair(shown)
        self._low, self._high = family(plan.model["name"]).range
        # Of ab values no picture can be drawn, but it is the one that was shown.
        self._truths = truths if plan.task == "translate" else shown
        self._plan = plan
        self._arrays = arrays

    def draw(self, model, epoch: int) -> None:
        """Write epoch-0001.png and so on: inputs above outputs, above truths where they differ."""
        bands = self._bands(model)
        rows = []
        for start in range(0, len(bands[0]), _COLUMNS):
            for band in bands:
                rows += band[start : start + _COLUMNS]
        sheet = contact_sheet(rows, columns=min(_COLUMNS, len(bands[0])))
        with replacing(self.folder / f"epoch-{epoch:04d}.png") as temporary:
            Image.fromarray(sheet).save(temporary)

    def strip(self, model) -> np.ndarray:
        """The same for a checkpoint to keep: uint8 (bands, n, h, w, 3), eight at most, small."""
        every = -(-len(self._inputs) // _COLUMNS)
        bands = [band[::every] for band in self._bands(model)]
        side = min(_STRIP_SIDE, max(self._inputs.shape[1:3]))
        return np.array([[np.asarray(fitted(shown, side)) for shown in band] for band in bands])

    def forget(self, epoch: int) -> None:
        """Remove the sheets of later epochs, which an earlier training left."""
        with blaming(self.folder):
            for path, drawn in self._sheets():
                if drawn > epoch:
                    path.unlink()

    def animate(self) -> None:
        """Write preview.gif of all epochs drawn so far, if they are as large as the last."""
        sizes = [(path, _size(path)) for path, _ in self._sheets()]
        sizes = [(path, size) for path, size in sizes if size]
        if not sizes:
            return
        frames = [path for path, size in sizes if size == sizes[-1][1]]
        with replacing(self.folder / "preview.gif") as temporary:
            write_gif(temporary, frames, seconds=0.4)

    def _sheets(self) -> list[tuple[Path, int]]:
        """The sheets in the folder and their epochs, ascending."""
        named = ((path, _SHEET.fullmatch(path.name)) for path in self.folder.iterdir())
        sheets = [(path, int(match["epoch"])) for path, match in named if match]
        return sorted(sheets, key=lambda sheet: sheet[1])

    def _bands(self, model) -> list[list[np.ndarray]]:
        """Rows of pictures, one below the other; uint8 (h, w, c) each."""
        outputs = model.predict_on_batch(self._inputs)
        if isinstance(outputs, dict):
            outputs = outputs["reconstruction"]
        outputs = np.asarray(outputs, np.float32)
        drawn = [self._picture(x, y) for x, y in zip(self._inputs, outputs, strict=True)]
        bands = [[self._eight_bit(x) for x in self._inputs], drawn]
        if self._plan.task in ("colorize", "translate"):
            bands.append([self._eight_bit(truth) for truth in self._truths])
        return bands

    def _picture(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """uint8 (h, w, c) of one output."""
        if self._plan.settings.loss not in AB_LOSSES:
            return self._eight_bit(y)
        if "ab_bins" in self._arrays:
            weights = self._arrays["ab_weights"] ** np.float32(self._plan.rebalancing)
            bins, temperature = self._arrays["ab_bins"], self._plan.temperature
            ab = annealed_mean(y, bins, temperature, weights) * np.float32(self._plan.saturation)
        else:
            ab = y * np.float32(AB_SCALE)
        ab = np.stack([_resized(ab[..., i], x.shape[:2]) for i in (0, 1)], axis=-1)
        lab = np.concatenate([luma_to_lightness(x[..., 0])[..., None], ab], axis=-1)
        return _uint8(lab_to_rgb(lab))

    def _eight_bit(self, values: np.ndarray) -> np.ndarray:
        """Values of the network's range, or uint8 already."""
        if values.dtype == np.uint8:
            return values
        return _uint8((values - self._low) / (self._high - self._low))


def plot_curves(path: Path, history: dict[str, list[float]]) -> None:
    """Draw the loss of every epoch into a picture file."""
    from aetool.plots.curves import draw_curves  # matplotlib, only where it is wanted

    with replacing(path) as temporary:
        draw_curves(temporary, {name: np.asarray(values) for name, values in history.items()})


def _size(path: Path) -> tuple[int, int] | None:
    """Of a sheet; None where somebody has damaged it."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size
    except (OSError, SyntaxError, ValueError):
        return None


def _uint8(values: np.ndarray) -> np.ndarray:
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _resized(values: np.ndarray, size) -> np.ndarray:
    """uint8 (h, w, c) or float32 (h, w) at another (height, width)."""
    if values.ndim == 3:
        channels = np.moveaxis(values, 2, 0)
        return np.stack([_resized(channel, size) for channel in channels], axis=-1)
    image = Image.fromarray(values)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
