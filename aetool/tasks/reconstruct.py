"""Pictures through an autoencoder and back: as pictures, or as one array of raw numbers."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aetool.errors import Failure, FormatError, UsageError
from aetool.images.quality import mse, psnr, ssim
from aetool.images.source import MAX_PIXELS, Source
from aetool.inference.prepare import prepare, restore
from aetool.inference.stream import Item, Outputs, Progress
from aetool.inference.workplace import Workplace, workplace
from aetool.storage.arrays import ArrayWriter
from aetool.storage.checkpoint import Checkpoint, read_checkpoint
from aetool.storage.shards import Shard
from aetool.tasks.collisions import check_apart
from aetool.tasks.encode import note_pages
from aetool.tasks.grids import grid_sample, write_grid
from aetool.tasks.outputs import (
    Target,
    check_drawing,
    check_picture_name,
    held,
    output_folder,
    planned,
)
from aetool.tasks.rebuilt import RECONSTRUCTION, output_range, to_pixels, to_unit
from aetool.tasks.shards import check_output, open_shard

ARRAY_SUFFIX = ".npy"
VARIATIONAL = "conv-vae"


@dataclass(frozen=True, slots=True)
class ReconstructResult:
    """What a reconstruction run did.

    Args:
        read: pictures decoded.
        written: pictures, or rows of the array, written.
        skipped: pictures whose result was newer than they and the model.
        failed: pictures left out, in input order.
        seconds: wall time.
        psnr, ssim, mse: means over the pictures of this run, at the network's size and in [0, 1];
            None where there was nothing to do.
        elbo: mean evidence lower bound of those pictures, in nats; None unless asked for.
        nll: mean negative log-likelihood, the importance-weighted bound, in nats; likewise.
    """

    read: int
    written: int
    skipped: int
    failed: list[Failure]
    seconds: float
    psnr: float | None
    ssim: float | None
    mse: float | None
    elbo: float | None
    nll: float | None


def reconstruct_images(
    source: str,
    out: str,
    checkpoint: Path,
    *,
    grid: Path | None = None,
    likelihood: int | None = None,
    overwrite: bool = False,
    batch_size: int | None = None,
    precision: str = "auto",
    max_pixels: int = MAX_PIXELS,
    shard: Shard | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> ReconstructResult:
    """Rebuild every readable picture of a source.

    Pictures are written at their own size (scaled up or down from the network's), of a picture that
    was cropped to fit the part that the network saw. An array is float32 (n, h, w, c) in the
    network's own output range, a row a readable picture.

    Args:
        source: SOURCE as on the command line.
        out: a folder, a picture's file for one picture, "-" for PNG on standard output, or
            NAME.npy.
        checkpoint: a model that learnt to reconstruct.
        grid: also draw up to 20 pictures, evenly taken from the source, above their
            reconstructions.
        likelihood: also estimate how probable a conv-vae finds each picture, by so many samples.
        overwrite: write again what is newer than its input and the model.
        batch_size: pictures a batch; by default chosen from the picture size.
        precision: "auto", "float32" or "bfloat16".
        max_pixels: refuse larger pictures.
        shard: the share of the pictures to rebuild.
        scheduler: address of a Dask cluster to rebuild on.
        progress: called with (pictures done or failed, pictures in all).
        note: called with a line worth telling.

    Raises:
        SourceError, FormatError, OutputError, UsageError: a source, checkpoint or output that
            cannot be used, or that do not go together.
    """
    started, since = time.perf_counter(), time.time_ns()
    if grid:
        check_picture_name(grid)
    if shard and out.endswith(ARRAY_SUFFIX):
        raise UsageError(
            "--shard writes pictures, not an array, whose rows could not be put in order again",
            "name a folder for OUT, or encode to latents, which merge joins",
        )
    stored = read_reconstructor(checkpoint)
    if likelihood is not None and stored.metadata["model"]["name"] != VARIATIONAL:
        raise UsageError(
            f"--likelihood needs a {VARIATIONAL}, and {checkpoint} holds a "
            f"{stored.metadata['model']['name']}",
            "only a variational model says how probable a picture is",
        )
    check_output(out, scheduler)
    check_drawing(grid, "--grid", source, out)
    pictures = open_shard(
        source,
        shard,
        exclude=output_folder(out),
        empty_list=grid is None and not out.endswith(ARRAY_SUFFIX),
    )
    if not out.endswith(ARRAY_SUFFIX):
        check_apart(pictures, out, grid=grid)
    sample = grid_sample(len(pictures)) if grid else set()
    with held([grid], [source, pictures, checkpoint]), workplace(scheduler) as place:
        work = _Rebuilding(
            pictures,
            stored,
            place.resolve(precision, stored.metadata),
            batch_size,
            max_pixels,
            frozenset(map(pictures.position, sample)),
            likelihood and _Likely(stored, likelihood),
        )
        run = _Run(work, place, progress)
        if out.endswith(ARRAY_SUFFIX):
            todo = range(len(pictures))
            failures = run.write_array(Path(out))
            skipped = 0
        else:
            with planned(
                pictures,
                source,
                out,
                since=since,
                checkpoint=checkpoint,
                overwrite=overwrite,
                shard=shard,
            ) as outputs:
                todo, skipped = outputs.todo, outputs.skipped
                # Pictures of a grid that is up to date itself are not looked at again.
                stale = bool(todo) or (grid is not None and not grid.exists())
                shown = sample if stale else set()
                failures = [*outputs.failures, *run.write_pictures(todo, shown, outputs.target)]
        if run.shown and (run.written or not grid.exists()):
            write_grid(grid, [run.shown[i] for i in sorted(run.shown)])
    note_pages(note, pictures, run.several_pages)
    scores = run.mean_scores(todo)
    written = len(run.written)
    seconds = time.perf_counter() - started
    return ReconstructResult(written, written, skipped, failures, seconds, *scores)


def read_reconstructor(path: Path) -> Checkpoint:
    """The checkpoint of a model whose output is its own input.

    Raises:
        FormatError: it cannot be read, or its model learnt something else.
    """
    checkpoint = read_checkpoint(path)
    task = checkpoint.metadata["task"]
    if task in ("colorize", "translate") or output_range(checkpoint) is None:
        raise FormatError(
            f"{path}: this model learnt to {task}, not to reconstruct",
            "train one with: aetool train SOURCE -o MODEL.h5 --task reconstruct",
        )
    return checkpoint


def make_reconstructor(checkpoint: Checkpoint, precision: str, batch_size: int | None):
    """The engine of a checkpoint."""
    # Imported when the first picture has been read: TensorFlow costs seconds.
    from aetool.inference.engine import Engine
    from aetool.inference.load import rebuild

    return Engine(rebuild(checkpoint).model, precision=precision, batch_size=batch_size)


_BUILDING = threading.Lock()


class _Likely:
    """The likelihood of pictures under a model that is built where, and when, it is first asked."""

    def __init__(self, stored: Checkpoint, samples: int):
        self._stored, self._samples = stored, samples
        self._likelihood = None

    def estimate(self, position: int, original: np.ndarray, gaussian: np.ndarray) -> list[float]:
        """The evidence lower bound and the negative log-likelihood of a picture, in nats."""
        with _BUILDING:  # asked by several writers at once
            if self._likelihood is None:
                from aetool.inference.likelihood import Likelihood

                self._likelihood = Likelihood(self._stored, self._samples)
        elbo, bound = self._likelihood.estimate(position, original, *gaussian)
        return [elbo, -bound]


@dataclass(frozen=True, slots=True)
class _Rebuilt:
    """What is found out about some pictures.

    Args:
        scores: (n, 5) float32: psnr, ssim, mse, elbo and nll; the last two NaN unless asked for.
        frames: pages of each file.
        shown: {position in SOURCE: (original, result)} of those in the grid, uint8.
        results: (n, h, w, c), where an array is written.
    """

    scores: np.ndarray
    frames: list[int]
    shown: dict[int, tuple[np.ndarray, np.ndarray]]
    results: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class _Rebuilding:
    """What is done to each picture.

    Args:
        pictures: the source.
        stored: the autoencoder.
        precision, batch_size, max_pixels: as `reconstruct_images`.
        sample: positions in SOURCE of the pictures that the grid shows.
        likely: what estimates likelihoods, if they are asked for.
        target: where pictures are written.
        unwanted: positions of pictures that are for the grid alone.
    """

    pictures: Source
    stored: Checkpoint
    precision: str
    batch_size: int | None
    max_pixels: int
    sample: frozenset[int]
    likely: _Likely | None
    target: Target | None = None
    unwanted: frozenset[int] = frozenset()

    @property
    def preprocessing(self) -> dict:
        return self.stored.metadata["preprocessing"]

    def load(self, i: int) -> Item:
        picture = self.pictures.load(i, max_pixels=self.max_pixels)
        inputs = prepare(picture.pixels, self.preprocessing, tuple(self.preprocessing["size"]))
        # The result needs the picture's size and metadata, not its pixels; a view keeps them all.
        like = replace(picture, pixels=picture.pixels[:0].copy())
        return Item(i, inputs, payload=(picture.pixels.shape[:2], like))

    def make_engine(self):
        return make_reconstructor(self.stored, self.precision, self.batch_size)

    def gather(self, items: list[Item], outputs: Outputs) -> _Rebuilt:
        _, rebuilt = self._measure(items, outputs)
        return replace(rebuilt, results=outputs[RECONSTRUCTION])

    def finish(self, item: Item, outputs: Outputs) -> _Rebuilt:
        batch = {name: values[None] for name, values in outputs.items()}
        (result,), rebuilt = self._measure([item], batch)
        if self.pictures.position(item.index) not in self.unwanted:
            size, like = item.payload
            pixels = to_pixels(result)
            pixels = restore(pixels, size, self.preprocessing["fit"])
            self.target.write(self.pictures.name(item.index), pixels, like)
        return rebuilt

    def _measure(self, items: list[Item], outputs: Outputs) -> tuple[np.ndarray, _Rebuilt]:
        """Results (n, h, w, c) in [0, 1], and what there is to say of them."""
        inputs = np.stack([item.inputs for item in items])
        inputs = to_unit(inputs, self.preprocessing["range"])
        results = to_unit(outputs[RECONSTRUCTION], output_range(self.stored))
        scores = np.full((len(items), 5), np.nan, np.float32)
        scores[:, :3] = np.stack(
            (psnr(inputs, results), ssim(inputs, results), mse(inputs, results)), axis=-1
        )
        positions = [self.pictures.position(item.index) for item in items]
        if self.likely:
            gaussians = zip(outputs["z_mean"], outputs["z_log_var"], strict=True)
            for row, gaussian in enumerate(gaussians):
                scores[row, 3:] = self.likely.estimate(positions[row], inputs[row], gaussian)
        shown = {
            position: (to_pixels(original), to_pixels(result))
            for position, original, result in zip(positions, inputs, results, strict=True)
            if position in self.sample
        }
        frames = [item.payload[1].frames for item in items]
        return results, _Rebuilt(scores, frames, shown)


class _Run:
    """What the two ways of writing share: where the work is done, and what comes back from it."""

    def __init__(self, work: _Rebuilding, place: Workplace, progress: Progress | None):
        self.work, self.place, self.progress = work, place, progress
        self.shown: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.several_pages: list[int] = []
        self.written: list[int] = []
        self.scores = np.full((len(work.pictures), 5), np.nan, np.float32)

    def take(self, numbers: list[int], rebuilt: _Rebuilt) -> None:
        self.scores[numbers] = rebuilt.scores
        self.shown |= rebuilt.shown
        pages = zip(numbers, rebuilt.frames, strict=True)
        self.several_pages += [i for i, frames in pages if frames > 1]

    def write_array(self, path: Path) -> list[Failure]:
        failures: list[Failure] = []
        everything = range(len(self.work.pictures))
        batches = self.place.batches(self.work, everything, failures, self.progress)
        with ExitStack() as stack:
            stack.enter_context(held([path], [self.work.pictures]))
            stack.enter_context(closing(batches))
            writer = None
            for numbers, rebuilt in batches:
                if writer is None:
                    shape = rebuilt.results.shape[1:]
                    writer = stack.enter_context(ArrayWriter(path, shape))
                writer.append(rebuilt.results)
                self.take(numbers, rebuilt)
                self.written += numbers
        return failures

    def write_pictures(self, todo: list[int], shown: set[int], target: Target) -> list[Failure]:
        position = self.work.pictures.position
        only_shown = shown.difference(todo)
        work = replace(self.work, target=target, unwanted=frozenset(map(position, only_shown)))

        def take(i: int, rebuilt: _Rebuilt) -> None:
            self.take([i], rebuilt)
            if i not in only_shown:
                self.written.append(i)

        return self.place.stream(work, sorted(shown.union(todo)), take, self.progress)

    def mean_scores(self, todo) -> list[float | None]:
        scores = self.scores[list(todo)].astype(np.float64)
        means = []
        for column in scores.T:
            measured = column[~np.isnan(column)]
            means.append(float(measured.mean()) if len(measured) else None)
        return means
