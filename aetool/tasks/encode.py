"""Pictures to latents: one row of numbers a picture, in a file that cluster and pca read."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.errors import Failure, ImageError, UsageError
from aetool.images.source import MAX_PIXELS, Source, open_source
from aetool.inference.prepare import prepare
from aetool.inference.stream import Item, Progress, predictions
from aetool.storage.atomic import locked
from aetool.storage.checkpoint import read_checkpoint
from aetool.storage.latents import LatentsWriter

STDOUT = "-"
POOLS = ("none", "mean")
_PIXELS_PER_BATCH = 2**20


@dataclass(frozen=True, slots=True)
class EncodeResult:
    """What an encoding run did.

    Args:
        read: pictures decoded.
        written: rows written; the same as `rows`.
        skipped: always 0: a latents file is written whole.
        failed: pictures left out, in input order.
        seconds: wall time.
        rows: rows of the latents file.
        dimensions: numbers a row; None when no picture could be read and no file was written.
    """

    read: int
    written: int
    skipped: int
    failed: list[Failure]
    seconds: float
    rows: int
    dimensions: int | None


class _Pixels:
    """Stands where the engine stands when the pixels themselves are wanted."""

    precision = "float32"

    def __init__(self, size: tuple[int, int]):
        self.batch_size = max(1, _PIXELS_PER_BATCH // (size[0] * size[1]))

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"pixels": batch}


def encode_images(
    source: str,
    output: Path | str,
    checkpoint: Path | None = None,
    *,
    layer: str | None = None,
    pool: str = "none",
    pixels: bool = False,
    size: tuple[int, int] | None = None,
    batch_size: int | None = None,
    precision: str = "auto",
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> EncodeResult:
    """Write the latents of every readable picture of a source, in its order.

    Args:
        source: SOURCE as on the command line.
        output: the latents file, or "-" for standard output.
        checkpoint: the model; not used with `pixels`.
        layer: take the output of this layer instead of the family's latent one.
        pool: "mean" averages a (h, w, c) latent over h and w to (c,); "none" keeps h * w * c
            numbers.
        pixels: write the pictures themselves, in [0, 1], instead of latents.
        size: (height, width) of those pixels; by default the size of the first readable picture.
        batch_size: pictures a batch; by default chosen from the picture size.
        precision: "auto", "float32" or "bfloat16".
        max_pixels: refuse larger pictures.
        progress: called with (pictures done or failed, pictures in all).
        note: called with a line worth telling.

    Raises:
        SourceError, FormatError, OutputError: a source, checkpoint or output that cannot be used.
        UsageError: options that make no sense together, or a layer that the model has not.
    """
    if pool not in POOLS:
        raise UsageError(f"no pooling {pool!r}", f"there are {', '.join(POOLS)}")
    if pixels and layer:
        raise UsageError("--pixels has no layers", "leave out --layer or --pixels")
    if not pixels and checkpoint is None:
        raise UsageError("encode needs a model", "give one with -c MODEL.h5, or use --pixels")
    if not pixels and size:
        raise UsageError("--size goes with --pixels", "a model's latents are taken at its own size")
    started = time.perf_counter()
    stored = None if pixels else read_checkpoint(checkpoint)
    pictures = open_source(source)
    if stored:
        preprocessing, digest = stored.metadata["preprocessing"], stored.digest
    else:
        preprocessing, digest = _as_they_are(pictures, size, max_pixels), ""
    shape = tuple(preprocessing["size"])
    several_pages: list[int] = []
    engine = None

    def load(i: int) -> Item:
        picture = pictures.load(i, max_pixels=max_pixels, reduce_to=shape)
        if picture.frames > 1:
            several_pages.append(i)
        return Item(i, prepare(picture.pixels, preprocessing, shape))

    def make_engine():
        nonlocal engine
        engine = (
            _Pixels(shape)
            if stored is None
            else _make_encoder(stored, layer, precision, batch_size)
        )
        return engine

    failures: list[Failure] = []
    rows, dimensions = 0, None
    with ExitStack() as stack:
        if str(output) != STDOUT:
            stack.enter_context(locked(Path(output)))
        batches = stack.enter_context(
            closing(
                predictions(
                    pictures, range(len(pictures)), load, make_engine, failures, progress=progress
                )
            )
        )
        writer = None
        for items, outputs in batches:
            (features,) = outputs.values()
            if pool == "mean" and features.ndim == 4:
                features = features.mean(axis=(1, 2))
            if writer is None:
                dimensions = int(np.prod(features.shape[1:]))
                writer = stack.enter_context(
                    LatentsWriter(
                        output,
                        dimensions=dimensions,
                        feature_shape=features.shape[1:],
                        source=pictures.root,
                        class_names=pictures.class_names,
                        precision=engine.precision,
                        checkpoint_digest=digest,
                    )
                )
            numbers = [item.index for item in items]
            writer.append(
                features.reshape(len(items), -1),
                [pictures.position(i) for i in numbers],
                [pictures.name(i) for i in numbers],
                [pictures.label(i) for i in numbers],
            )
            rows += len(items)
    note_pages(note, several_pages)
    seconds = time.perf_counter() - started
    return EncodeResult(rows, rows, 0, failures, seconds, rows, dimensions)


def note_pages(note: Callable[[str], None] | None, several_pages: list[int]) -> None:
    """Tell of pictures whose file holds more than the page that was taken."""
    if note and several_pages:
        count = len(several_pages)
        files = "1 picture has" if count == 1 else f"{count} pictures have"
        note(f"{files} several pages or frames; the first was taken")


def _make_encoder(stored, layer: str | None, precision: str, batch_size: int | None):
    # Imported when the first picture has been read: TensorFlow costs seconds.
    from aetool.inference.engine import Engine
    from aetool.inference.load import rebuild

    model = rebuild(stored, encode=True, layer=layer).model
    return Engine(model, precision=precision, batch_size=batch_size)


def _as_they_are(source: Source, size: tuple[int, int] | None, max_pixels: int) -> dict:
    """The preprocessing that keeps pixels.

    They come at `size`, else as large as the first readable picture, and grey if that one is.
    """
    for i in range(len(source)):
        try:
            pixels = source.load(i, max_pixels=max_pixels).pixels
        except ImageError:
            continue
        channels = 1 if pixels.ndim == 2 else 3
        break
    else:
        pixels, channels = np.zeros((1, 1)), 1
    return {
        "size": size or pixels.shape[:2],
        "channels": channels,
        "range": (0, 1),
        "fit": "stretch",
        "background": 1.0,
    }
