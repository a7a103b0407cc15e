"""Pictures to latents: one row of numbers a picture, in a file that cluster and pca read."""

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.errors import Failure, ImageError, UsageError
from aetool.images.source import MAX_PIXELS, Source
from aetool.inference.prepare import prepare
from aetool.inference.stream import Item, Outputs, Progress
from aetool.inference.workplace import workplace
from aetool.storage.checkpoint import Checkpoint, read_checkpoint
from aetool.storage.exchange import WRITERS
from aetool.storage.latents import LatentsWriter
from aetool.storage.shards import Shard
from aetool.tasks.outputs import held
from aetool.tasks.shards import open_shard, part_of

STDOUT = "-"
POOLS = ("none", "mean")
NAMED_PAGES = 5  # names of pictures with several pages in a note, at most
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

    def __init__(self, size: tuple[int, int]):
        self.batch_size = max(1, _PIXELS_PER_BATCH // (size[0] * size[1]))

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"pixels": batch}


@dataclass(frozen=True, slots=True)
class _Encoding:
    """What is done to each picture.

    Args:
        pictures: the source.
        stored: the model; None for the pixels themselves.
        preprocessing: the model's, or what keeps the pixels.
        layer, pool, precision, batch_size, max_pixels: as `encode_images`.
    """

    pictures: Source
    stored: Checkpoint | None
    preprocessing: dict
    layer: str | None
    pool: str
    precision: str
    batch_size: int | None
    max_pixels: int

    @property
    def size(self) -> tuple[int, int]:
        return tuple(self.preprocessing["size"])

    def load(self, i: int) -> Item:
        picture = self.pictures.load(i, max_pixels=self.max_pixels, reduce_to=self.size)
        return Item(i, prepare(picture.pixels, self.preprocessing, self.size), picture.frames)

    def make_engine(self):
        if self.stored is None:
            return _Pixels(self.size)
        # Imported when the first picture has been read: TensorFlow costs seconds.
        from aetool.inference.engine import Engine

        return Engine(self._encoder(), precision=self.precision, batch_size=self.batch_size)

    def _encoder(self):
        from aetool.inference.load import rebuild

        return rebuild(self.stored, encode=True, layer=self.layer).model

    def gather(self, items: list[Item], outputs: Outputs) -> tuple[np.ndarray, list[int]]:
        """(latents of a batch, pages of each of its files)."""
        (features,) = outputs.values()
        if self.pool == "mean" and features.ndim == 4:
            features = features.mean(axis=(1, 2))
        return features, [item.payload for item in items]

    def feature_shape(self) -> tuple[int, ...]:
        """The shape of a row, where there is none to see it by."""
        shape = (*self.size, self.preprocessing["channels"])
        if self.stored:
            shape = tuple(self._encoder().output_shape[1:])
        return shape[2:] if self.pool == "mean" and len(shape) == 3 else shape


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
    shard: Shard | None = None,
    scheduler: str | None = None,
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
        shard: the share of the pictures to encode, for `merge` to join; its file is written even
            where it has no row.
        scheduler: address of a Dask cluster to encode on.
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
    if shard and output is not None and Path(output).suffix.lower() in WRITERS:
        raise UsageError(
            f"a {Path(output).suffix} file cannot say which shard it is",
            "name it .h5, and convert what merge makes of all with aetool export",
        )
    started = time.perf_counter()
    stored = None if pixels else read_checkpoint(checkpoint)
    pictures = open_shard(source, shard)
    preprocessing = (
        stored.metadata["preprocessing"]
        if stored
        else _as_they_are(pictures.whole, size, max_pixels)
    )
    several_pages: list[int] = []
    failures: list[Failure] = []
    rows, dimensions = 0, None
    with ExitStack() as stack:
        stack.enter_context(held([output], [source, pictures, checkpoint]))
        place = stack.enter_context(workplace(scheduler))
        work = _Encoding(
            pictures,
            stored,
            preprocessing,
            layer,
            pool,
            place.resolve(precision, stored.metadata) if stored else "float32",
            batch_size,
            max_pixels,
        )
        writer = None

        def make_writer(feature_shape: tuple[int, ...]) -> LatentsWriter:
            return stack.enter_context(
                LatentsWriter(
                    output,
                    dimensions=int(np.prod(feature_shape)),
                    feature_shape=feature_shape,
                    source=pictures.root,
                    class_names=pictures.class_names,
                    precision=work.precision,
                    checkpoint_digest=stored.digest if stored else "",
                    part=part_of(
                        pictures,
                        shard,
                        ("encode", stored and stored.digest, layer, pool, work.size),
                    ),
                )
            )

        batches = place.batches(work, range(len(pictures)), failures, progress)
        stack.enter_context(closing(batches))
        for numbers, (features, frames) in batches:
            if writer is None:
                dimensions = int(np.prod(features.shape[1:]))
                writer = make_writer(features.shape[1:])
            writer.append(
                features,
                [pictures.position(i) for i in numbers],
                [pictures.name(i) for i in numbers],
                [pictures.label(i) for i in numbers],
            )
            several_pages += [i for i, pages in zip(numbers, frames, strict=True) if pages > 1]
            rows += len(numbers)
        if writer is None and shard:
            shape = work.feature_shape()
            dimensions = int(np.prod(shape))
            make_writer(shape)
    note_pages(note, pictures, several_pages)
    seconds = time.perf_counter() - started
    return EncodeResult(rows, rows, 0, failures, seconds, rows, dimensions)


def note_pages(
    note: Callable[[str], None] | None, source: Source, several_pages: Collection[int]
) -> None:
    """Tell of pictures, by index, whose file holds more than the page that was taken."""
    if note and several_pages:
        count = len(several_pages)
        files = "1 picture has" if count == 1 else f"{count} pictures have"
        names = [source.name(i) for i in sorted(several_pages)[:NAMED_PAGES]]
        if count > len(names):
            names.append(f"{count - len(names)} more")
        note(f"{files} several pages or frames; the first was taken: {', '.join(names)}")


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
