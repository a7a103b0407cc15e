"""Pictures through an autoencoder and back: as pictures, or as one array of raw numbers."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aetool.errors import Failure, FormatError, UsageError
from aetool.images.quality import mse, psnr, ssim
from aetool.images.source import MAX_PIXELS, Source, open_source
from aetool.inference.prepare import prepare, restore
from aetool.inference.stream import Item, Outputs, Progress, predictions, stream
from aetool.storage.arrays import ArrayWriter
from aetool.storage.atomic import locked
from aetool.storage.checkpoint import Checkpoint, read_checkpoint
from aetool.tasks.encode import note_pages
from aetool.tasks.grids import grid_sample, write_grid
from aetool.tasks.outputs import output_folder, planned, write_picture

ARRAY_SUFFIX = ".npy"
RECONSTRUCTION = "reconstruction"
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
        progress: called with (pictures done or failed, pictures in all).
        note: called with a line worth telling.

    Raises:
        SourceError, FormatError, OutputError, UsageError: a source, checkpoint or output that
            cannot be used, or that do not go together.
    """
    started = time.perf_counter()
    stored = read_reconstructor(checkpoint)
    if likelihood is not None and stored.metadata["model"]["name"] != VARIATIONAL:
        raise UsageError(
            f"--likelihood needs a {VARIATIONAL}, and {checkpoint} holds a "
            f"{stored.metadata['model']['name']}",
            "only a variational model says how probable a picture is",
        )
    pictures = open_source(source, exclude=output_folder(out))
    run = _Run(pictures, stored, precision, batch_size, max_pixels, grid, likelihood)
    with locked(grid) if grid else nullcontext():
        if out.endswith(ARRAY_SUFFIX):
            todo = range(len(pictures))
            failures = run.write_array(Path(out), progress)
            skipped = 0
        else:
            with planned(
                pictures, source, out, checkpoint=checkpoint, overwrite=overwrite
            ) as outputs:
                todo, skipped = outputs.todo, outputs.skipped
                failures = [*outputs.failures, *run.write_pictures(todo, outputs.path, progress)]
        if run.shown:
            write_grid(grid, [run.shown[i] for i in sorted(run.shown)])
    note_pages(note, run.several_pages)
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
    if task in ("colorize", "translate") or _output_range(checkpoint) is None:
        raise FormatError(
            f"{path}: this model learnt to {task}, not to reconstruct",
            "train one with: aetool train SOURCE -o MODEL.h5 --task reconstruct",
        )
    return checkpoint


def _output_range(checkpoint: Checkpoint) -> tuple[float, float] | None:
    """(low, high) of the output called reconstruction, None where there is none."""
    ranges = {about["name"]: about.get("range") for about in checkpoint.metadata["output"]}
    return ranges.get(RECONSTRUCTION)


def make_reconstructor(checkpoint: Checkpoint, precision: str, batch_size: int | None):
    """The engine of a checkpoint."""
    # Imported when the first picture has been read: TensorFlow costs seconds.
    from aetool.inference.engine import Engine
    from aetool.inference.load import rebuild

    return Engine(rebuild(checkpoint).model, precision=precision, batch_size=batch_size)


def make_likelihood(checkpoint: Checkpoint, samples: int):
    """What estimates the likelihood of pictures under a checkpoint's model."""
    from aetool.inference.likelihood import Likelihood

    return Likelihood(checkpoint, samples)


class _Run:
    """What the ways of writing share: loading, measuring, and which pictures the grid shows."""

    def __init__(
        self,
        pictures: Source,
        stored: Checkpoint,
        precision: str,
        batch_size: int | None,
        max_pixels: int,
        grid: Path | None,
        samples: int | None,
    ):
        self.pictures = pictures
        self.preprocessing = stored.metadata["preprocessing"]
        self.size = tuple(self.preprocessing["size"])
        self.output_range = _output_range(stored)
        self.make_engine = lambda: make_reconstructor(stored, precision, batch_size)
        self.max_pixels = max_pixels
        self.grid = grid
        count = len(pictures)
        self.sample = grid_sample(count) if grid else set()
        self.shown: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.several_pages: list[int] = []
        self.written: list[int] = []
        self.scores = np.full((count, 5), np.nan, np.float32)  # psnr, ssim, mse, elbo, nll
        self.make_likelihood = lambda: make_likelihood(stored, samples)
        self.samples = samples
        self._likelihood = None

    def load(self, i: int) -> Item:
        picture = self.pictures.load(i, max_pixels=self.max_pixels)
        if picture.frames > 1:
            self.several_pages.append(i)
        inputs = prepare(picture.pixels, self.preprocessing, self.size)
        # The result needs the picture's size and metadata, not its pixels.
        like = replace(picture, pixels=picture.pixels[:0])
        return Item(i, inputs, payload=(picture.pixels.shape[:2], like))

    def measure(self, numbers: list[int], inputs: np.ndarray, outputs: Outputs) -> np.ndarray:
        """Note how good the outputs of a batch are; its pictures (n, h, w, c) in [0, 1]."""
        inputs = _unit(inputs, self.preprocessing["range"])
        results = _unit(outputs[RECONSTRUCTION], self.output_range)
        quality = (psnr(inputs, results), ssim(inputs, results), mse(inputs, results))
        self.scores[numbers, :3] = np.stack(quality, axis=-1)
        if self.samples is not None:
            self._likelihood = self._likelihood or self.make_likelihood()
            gaussians = zip(outputs["z_mean"], outputs["z_log_var"], strict=True)
            for i, original, (mean, log_variance) in zip(numbers, inputs, gaussians, strict=True):
                elbo, bound = self._likelihood.estimate(i, original, mean, log_variance)
                self.scores[i, 3:] = elbo, -bound
        for i, original, result in zip(numbers, inputs, results, strict=True):
            if i in self.sample:
                self.shown[i] = (_eight_bit(original), _eight_bit(result))
        return results

    def write_array(self, path: Path, progress: Progress | None) -> list[Failure]:
        failures: list[Failure] = []
        everything = range(len(self.pictures))
        batches = predictions(
            self.pictures, everything, self.load, self.make_engine, failures, progress=progress
        )
        with ExitStack() as stack:
            stack.enter_context(locked(path))
            stack.enter_context(closing(batches))
            writer = None
            for items, outputs in batches:
                results = outputs[RECONSTRUCTION]
                if writer is None:
                    writer = stack.enter_context(ArrayWriter(path, results.shape[1:]))
                writer.append(results)
                inputs = np.stack([item.inputs for item in items])
                numbers = [item.index for item in items]
                self.measure(numbers, inputs, outputs)
                self.written += numbers
        return failures

    def write_pictures(
        self, todo: list[int], path: Callable[[int], Path | None], progress: Progress | None
    ) -> list[Failure]:
        wanted = set(todo)

        def finish(item: Item, outputs: Outputs) -> None:
            batch = {name: values[None] for name, values in outputs.items()}
            (result,) = self.measure([item.index], item.inputs[None], batch)
            if item.index in wanted:
                size, like = item.payload
                pixels = _eight_bit(result)
                grey = pixels.shape[2] == 1
                pixels = restore(
                    pixels[..., 0] if grey else pixels, size, self.preprocessing["fit"]
                )
                write_picture(path(item.index), pixels, like)
                self.written.append(item.index)

        stale = bool(todo) or (self.grid is not None and not self.grid.exists())
        indices = sorted(wanted | self.sample) if stale else []
        return stream(
            self.pictures, indices, self.load, self.make_engine, finish, progress=progress
        )

    def mean_scores(self, todo) -> list[float | None]:
        scores = self.scores[list(todo)].astype(np.float64)
        means = []
        for column in scores.T:
            measured = column[~np.isnan(column)]
            means.append(float(measured.mean()) if len(measured) else None)
        return means


def _unit(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Values of a network's range as float in [0, 1]."""
    low, high = limits
    return np.clip((values - low) / (high - low), 0, 1)


def _eight_bit(values: np.ndarray) -> np.ndarray:
    return np.round(values * 255).astype(np.uint8)
