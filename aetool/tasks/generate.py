"""Pictures out of a variational autoencoder's latent space, and that space as a picture."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.errors import Failure, FormatError, SourceError, UsageError
from aetool.images.source import MAX_PIXELS, Source, open_source
from aetool.images.write import save_picture
from aetool.inference.precision import resolve_precision
from aetool.inference.prepare import prepare
from aetool.inference.stream import Item, Progress, predictions
from aetool.storage.atomic import locked, replacing
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.encode import note_pages
from aetool.tasks.outputs import check_drawing, check_picture_name, held

FAMILY = "conv-vae"
FRAMES = 50
FRAME_SECONDS = 0.1
FRAME_SIDE = 256  # of an animation, in pixels, at most where the model's pictures are smaller
SAMPLE_SIDE = 96  # likewise of a picture on a sheet
RANGE = 4.0


@dataclass(frozen=True, slots=True)
class GenerateResult:
    """What was drawn.

    Args:
        read: pictures decoded: those of `scatter`, or the ends of a walk.
        written: pictures generated, or points drawn.
        skipped: always 0: the output is one file.
        failed: pictures left out of a scatter plot, in input order.
        seconds: wall time.
    """

    read: int
    written: int
    skipped: int
    failed: list[Failure]
    seconds: float


class Space:
    """The latent space of one model.

    Args:
        checkpoint: of a conv-vae.
        batch_size, precision: of the encoding network; decoding is in float32.
        max_pixels: larger pictures are left out.
        note: called with a line worth telling.

    Raises:
        FormatError: the checkpoint cannot be read, or is of another family.
    """

    def __init__(
        self,
        checkpoint: Path,
        *,
        batch_size: int | None = None,
        precision: str = "auto",
        max_pixels: int = MAX_PIXELS,
        note: Callable[[str], None] | None = None,
    ):
        self._stored = read_checkpoint(checkpoint)
        spec = self._stored.metadata["model"]
        if spec["name"] != FAMILY:
            raise FormatError(
                f"{checkpoint}: a {spec['name']} has no latent space to draw pictures from",
                f"train one with: aetool train SOURCE -o MODEL.h5 --model {FAMILY}",
            )
        self.dimensions: int = spec["latent_dim"]
        precision = resolve_precision(precision, self._stored.metadata)
        self._engine_options = {"batch_size": batch_size, "precision": precision}
        self._engine = None
        self._max_pixels = max_pixels
        self._note = note

    def decode(self, points: np.ndarray) -> np.ndarray:
        """The pictures of points (n, dimensions): uint8 (n, h, w, c)."""
        # Imported after the options have been checked: TensorFlow costs seconds.
        from aetool.inference.decoder import Decoder

        return np.round(Decoder(self._stored).decode(points) * 255).astype(np.uint8)

    def encode(
        self, pictures: Source, progress: Progress | None = None
    ) -> tuple[np.ndarray, list[int], list[Failure]]:
        """The means that the encoder gives pictures.

        Returns:
            float32 (n, dimensions), the indices of those n pictures, and those left out.
        """
        preprocessing = self._stored.metadata["preprocessing"]
        size = tuple(preprocessing["size"])
        several_pages: list[int] = []
        failures: list[Failure] = []
        indices: list[int] = []
        points = [np.zeros((0, self.dimensions), np.float32)]

        def load(i: int) -> Item:
            picture = pictures.load(i, max_pixels=self._max_pixels, reduce_to=size)
            if picture.frames > 1:
                several_pages.append(i)
            return Item(i, prepare(picture.pixels, preprocessing, size))

        everything = range(len(pictures))
        for items, outputs in predictions(
            pictures, everything, load, self._encoder, failures, progress=progress
        ):
            indices += [item.index for item in items]
            points += outputs.values()
        note_pages(self._note, pictures, several_pages)
        return np.concatenate(points), indices, failures

    def _encoder(self):
        from aetool.inference.engine import Engine
        from aetool.inference.load import rebuild

        if self._engine is None:
            model = rebuild(self._stored, encode=True).model
            self._engine = Engine(model, **self._engine_options)
        return self._engine

    def point(self, text: str) -> tuple[np.ndarray, int]:
        """A point as written on the command line: its coordinates, or a picture.

        Returns:
            float32 (dimensions), and how many pictures were read for it.

        Raises:
            UsageError: it has another number of coordinates.
            SourceError: it is neither coordinates nor one picture that can be read.
        """
        coordinates = _coordinates(text)
        if coordinates is not None:
            if len(coordinates) != self.dimensions:
                raise UsageError(
                    f"{text} has {len(coordinates)} coordinates, the latent space of the model "
                    f"{self.dimensions}"
                )
            return coordinates, 0
        pictures = open_source(text)
        if len(pictures) != 1:
            raise SourceError(f"{text} is {len(pictures)} pictures, and an end of a walk is one")
        points, _, failures = self.encode(pictures)
        if failures:
            raise SourceError(f"{text}: {failures[0].reason}")
        return points[0], 1


def draw_samples(space: Space, output: Path, count: int, *, seed: int = 0) -> GenerateResult:
    """A sheet of pictures of points drawn from the standard normal distribution.

    Args:
        space: to draw from.
        output: a picture's file.
        count: pictures, at least 1.
        seed: of the choice; the first pictures of a larger sheet are those of a smaller one.

    Raises:
        UsageError: the output's name is no picture's.
        OutputError: it cannot be written.
    """
    from aetool.plots.sheets import contact_sheet

    started = time.perf_counter()
    check_picture_name(output)
    with locked(output):
        points = np.random.default_rng(seed).standard_normal((count, space.dimensions))
        pictures = space.decode(points)
        side = max(pictures.shape[1:3])
        sheet = contact_sheet(list(pictures), tile=side * max(1, SAMPLE_SIDE // side))
        with replacing(output) as temporary:
            save_picture(temporary, sheet)
    return GenerateResult(0, count, 0, [], time.perf_counter() - started)


def draw_grid(space: Space, output: Path, count: int, *, reach: float = RANGE) -> GenerateResult:
    """The pictures of a grid over the latent plane, edge to edge.

    The first latent rises from left to right, the second from bottom to top, as in a plot.

    Args:
        space: of two dimensions.
        output: a picture's file.
        count: points along each axis, evenly from -reach to reach; one alone is at 0.
        reach: how far from 0.

    Raises:
        UsageError: the space has other than two dimensions, or the output's name is no picture's.
        OutputError: it cannot be written.
    """
    from aetool.plots.mosaic import mosaic

    started = time.perf_counter()
    check_picture_name(output)
    if space.dimensions != 2:
        raise UsageError(
            f"--grid needs a latent plane, and this model has {space.dimensions} dimensions",
            "draw --samples, or train with --latent-dim 2",
        )
    if not 0 < reach < np.inf:
        raise UsageError(f"--range {reach:g} is no positive number")
    with locked(output):
        along = np.linspace(-reach, reach, count) if count > 1 else np.zeros(1)
        across, up = np.meshgrid(along, along[::-1])
        pictures = space.decode(np.stack((across, up), axis=-1).reshape(-1, 2))
        with replacing(output) as temporary:
            save_picture(temporary, _plain(mosaic(pictures, count)))
    return GenerateResult(0, count**2, 0, [], time.perf_counter() - started)


def draw_walk(
    space: Space, output: Path, ends: tuple[str, str], *, frames: int = FRAMES
) -> GenerateResult:
    """An animation of the straight way from one latent point to another.

    Args:
        space: to walk in.
        output: a .gif file.
        ends: coordinates such as "-0.7,-3", or a picture each, which stands for its mean.
        frames: pictures, evenly from the first end to the second, at least 2.

    Raises:
        UsageError: the output is no .gif, or a point has another number of coordinates.
        SourceError: an end is no picture.
        OutputError: the output cannot be written.
    """
    from aetool.plots.animation import write_gif
    from aetool.plots.mosaic import enlarged

    started = time.perf_counter()
    if output.suffix.lower() != ".gif":
        raise UsageError(f"a walk is an animation, and {output} is no .gif", "call it walk.gif")
    with held([output], ends):
        (first, last), read = zip(*(space.point(end) for end in ends), strict=True)
        share = np.linspace(0, 1, frames)[:, None]
        pictures = space.decode((1 - share) * first + share * last)
        with replacing(output) as temporary:
            shown = (enlarged(picture, FRAME_SIDE) for picture in pictures)
            write_gif(temporary, shown, FRAME_SECONDS)
    return GenerateResult(sum(read), frames, 0, [], time.perf_counter() - started)


def draw_scatter(
    space: Space, output: Path, source: str, *, progress: Progress | None = None
) -> GenerateResult:
    """Pictures as points at the means that the encoder gives them, coloured by label.

    Nothing is drawn where no picture can be read.

    Args:
        space: of two or three dimensions.
        output: a .png, .pdf or .svg file.
        source: SOURCE as on the command line.
        progress: called with (pictures done or failed, pictures in all).

    Raises:
        UsageError: the space has other dimensions, or the output another suffix.
        SourceError: the source cannot be opened.
        OutputError: the output cannot be written.
    """
    from aetool.plots.scatter import scatter
    from aetool.plots.style import check_figure_path, save_figure

    started = time.perf_counter()
    check_figure_path(output)
    if space.dimensions not in (2, 3):
        raise UsageError(
            f"--scatter needs 2 or 3 dimensions, and this model has {space.dimensions}",
            "project them: aetool encode SOURCE -c MODEL.h5 -o - | aetool pca - --plot PNG",
        )
    check_drawing(output, "--output", source)
    pictures = open_source(source)
    with held([output], [source, pictures]):
        points, indices, failures = space.encode(pictures, progress)
        labels = np.array([pictures.label(i) for i in indices], int)
        if indices:
            axes = [f"latent {number + 1}" for number in range(space.dimensions)]
            figure = scatter(points, axes, labels, pictures.class_names)
            with replacing(output) as temporary:
                save_figure(figure, temporary)
    seconds = time.perf_counter() - started
    return GenerateResult(len(indices), len(indices), 0, failures, seconds)


def _coordinates(text: str) -> np.ndarray | None:
    """Numbers with commas between them as float32 (n,); None where the text is anything else.

    Raises:
        UsageError: a number that is not finite.
    """
    try:
        with np.errstate(over="ignore"):  # refused below
            numbers = np.array([float(part) for part in text.split(",")], np.float32)
    except ValueError:
        return None
    if not np.isfinite(numbers).all():
        raise UsageError(f"{text} is no point", "give finite numbers, or a picture")
    return numbers


def _plain(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 1) as (h, w)."""
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels
