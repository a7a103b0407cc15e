"""Pictures of one kind in, the same scenes in another kind out: edges or labels to photographs."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aetool.errors import Failure, FormatError, ImageError, UsageError
from aetool.images.decode import Picture, fit
from aetool.images.edges import edges
from aetool.images.pairs import SIDES, halves, match
from aetool.images.quality import psnr
from aetool.images.source import MAX_PIXELS, Source, open_source
from aetool.inference.prepare import prepare, restore
from aetool.inference.stream import Item, Outputs, Progress
from aetool.inference.workplace import workplace
from aetool.storage.checkpoint import Checkpoint, read_checkpoint
from aetool.storage.shards import Shard
from aetool.tasks.collisions import check_apart
from aetool.tasks.encode import note_pages
from aetool.tasks.grids import grid_sample, write_grid
from aetool.tasks.outputs import (
    Target,
    check_drawing,
    check_outputs,
    check_picture_name,
    held,
    output_folder,
    planned,
)
from aetool.tasks.rebuilt import RECONSTRUCTION, output_range, to_pixels, to_unit
from aetool.tasks.shards import check_output, open_shard


@dataclass(frozen=True, slots=True)
class TranslateResult:
    """What a run did.

    Args:
        read: pictures decoded and translated.
        written: pictures written.
        skipped: pictures whose result was newer than they and the model.
        failed: pictures left out, in input order.
        seconds: wall time.
        l1: mean absolute error against the targets, at the network's size and in [0, 1], the mean
            over the pictures that have one; None where nothing was measured.
        psnr: likewise the peak signal-to-noise ratio in dB.
    """

    read: int
    written: int
    skipped: int
    failed: list[Failure]
    seconds: float
    l1: float | None = None
    psnr: float | None = None


def translate_images(
    source: str,
    out: Path | None,
    checkpoint: Path,
    *,
    edge_inputs: bool = False,
    target: str | None = None,
    evaluate: bool = False,
    grid: Path | None = None,
    overwrite: bool = False,
    batch_size: int | None = None,
    precision: str = "auto",
    max_pixels: int = MAX_PIXELS,
    shard: Shard | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> TranslateResult:
    """Translate every readable picture of a source.

    Pictures are written at their own size (scaled from the network's), of a picture that was
    cropped to fit the part that the network saw.

    Args:
        source: SOURCE as on the command line.
        out: a folder, a picture's file for one picture, "-" for PNG on standard output; None with
            `evaluate` or `grid` writes no pictures.
        checkpoint: a model that learnt to translate.
        edge_inputs: make edge pictures of the source at the network's size, and translate those.
        target: a SOURCE of targets (see `images.pairs.match`), or "left" or "right": that half of
            each picture is its target, the other one the input.
        evaluate: measure against the targets, which with `edge_inputs` alone are the pictures that
            the edges were made of. Nothing is skipped then.
        grid: also draw up to 20 inputs, evenly taken from the source, above what became of them
            and above their targets where known.
        overwrite: translate again what is newer than its input and the model.
        batch_size, precision: of the engine.
        max_pixels: larger pictures are left out.
        shard: the share of the pictures to translate.
        scheduler: address of a Dask cluster to translate on.
        progress: called with (pictures done or failed, pictures in all).
        note: called with a line worth telling.

    Raises:
        UsageError: options that do not go together.
        SourceError, FormatError, OutputError: a source, checkpoint or output that cannot be used.
    """
    started, since = time.perf_counter(), time.time_ns()
    if grid:
        check_picture_name(grid)
    if out is None and not evaluate and grid is None:
        raise UsageError("translate needs OUT", "name a folder, or use --evaluate or --grid alone")
    if target and target not in SIDES and not evaluate and grid is None:
        raise UsageError("--target is what --evaluate or --grid compares with", "add one of them")
    if evaluate and not (target or edge_inputs):
        raise UsageError("--evaluate needs targets", "say where they are with --target")
    stored = read_translator(checkpoint)
    check_output(out, scheduler)
    pictures = open_shard(
        source,
        shard,
        exclude=output_folder(out) if out else None,
        empty_list=out is not None and not evaluate and grid is None,
    )
    inputs = _Inputs(pictures, stored, edge_inputs, target, max_pixels)
    check_drawing(grid, "--grid", source, out)
    if inputs.targets is not None:
        check_drawing(out and Path(out), "OUT", target, among="the targets")
        check_outputs([out, grid], [target, inputs.targets])
    if note and inputs.edges_seen and not edge_inputs:
        note("the model was trained on edges: unless these are, add --edges")
    check_apart(pictures, out, grid=grid)
    sample = grid_sample(len(pictures)) if grid else set()
    shown: dict[int, tuple[np.ndarray | None, ...]] = {}
    scores: dict[int, tuple[float, float]] = {}  # l1, psnr
    several_pages: list[int] = []
    translated: list[int] = []

    def take(i: int, done: _Translated) -> None:
        if done.frames > 1:
            several_pages.append(i)
        if i in wanted:
            translated.append(i)
        if done.scores:
            scores[i] = done.scores
        if done.shown:
            shown[i] = done.shown

    with ExitStack() as stack:
        stack.enter_context(held([grid], [source, pictures, checkpoint]))
        results = None
        wanted = set(range(len(pictures))) if evaluate else sample
        if out is not None:
            results = stack.enter_context(
                planned(
                    pictures,
                    source,
                    out,
                    since=since,
                    checkpoint=checkpoint,
                    overwrite=overwrite or evaluate,
                    shard=shard,
                    kept=inputs.targets,
                )
            )
            wanted = set(results.todo)
        stale = bool(wanted) or (grid is not None and not grid.exists())
        indices = sorted(wanted | sample) if stale else []
        place = stack.enter_context(workplace(scheduler))
        work = _Translating(
            pictures,
            stored,
            inputs,
            results and results.target,
            evaluate,
            frozenset(map(pictures.position, sample)),
            frozenset(map(pictures.position, sample - wanted)),
            batch_size,
            place.resolve(precision, stored.metadata),
        )
        failed = place.stream(work, indices, take, progress)
        if shown and (translated or not grid.exists()):
            write_grid(grid, [shown[i] for i in sorted(shown)])
    note_pages(note, pictures, several_pages)
    if note and evaluate and len(scores) < len(translated):
        note(f"{len(translated) - len(scores)} of {len(translated)} pictures have no target")
    means = [None, None]
    if scores:
        means = np.mean([scores[i] for i in sorted(scores)], axis=0).tolist()
    return TranslateResult(
        len(translated),
        len(translated) if results else 0,
        results.skipped if results else 0,
        [*(results.failures if results else ()), *failed],
        time.perf_counter() - started,
        *means,
    )


def read_translator(path: Path) -> Checkpoint:
    """The checkpoint of a model that makes one kind of picture of another.

    Raises:
        FormatError: it cannot be read, or its model learnt something else.
    """
    checkpoint = read_checkpoint(path)
    task = checkpoint.metadata["task"]
    if task != "translate" or output_range(checkpoint) is None:
        raise FormatError(
            f"{path}: this model learnt to {task}, not to translate",
            "train one with: aetool train SOURCE -o MODEL.h5 --model pix2pix",
        )
    return checkpoint


@dataclass(frozen=True, slots=True)
class _Work:
    """What is kept of a picture while the network looks at its small version.

    Args:
        size: (height, width) of the picture, or of its half.
        like: its format and metadata; its pixels are not kept.
        target: float32 (h, w, c) in [0, 1] at the network's size, where there is one.
    """

    size: tuple[int, int]
    like: Picture
    target: np.ndarray | None


@dataclass(frozen=True, slots=True)
class _Translated:
    """What is found out about a picture.

    Args:
        frames: pages of its file.
        scores: l1 and psnr, where it has a target and is measured.
        shown: its column of the grid, if it is in it.
    """

    frames: int
    scores: tuple[float, float] | None
    shown: tuple[np.ndarray | None, ...] | None


@dataclass(frozen=True, slots=True)
class _Translating:
    """What is done to each picture.

    Args:
        pictures: the source.
        stored: the translator.
        inputs: how a picture becomes an input.
        target: where pictures are written; None writes none.
        evaluate, batch_size, precision: as `translate_images`.
        sample: positions in SOURCE of the pictures that the grid shows.
        unwanted: positions of those that are for the grid alone.
    """

    pictures: Source
    stored: Checkpoint
    inputs: "_Inputs"
    target: Target | None
    evaluate: bool
    sample: frozenset[int]
    unwanted: frozenset[int]
    batch_size: int | None
    precision: str

    def load(self, i: int) -> Item:
        return self.inputs.load(self.pictures, i)

    def make_engine(self):
        # Imported when the first picture has been read: TensorFlow costs seconds.
        from aetool.inference.engine import Engine
        from aetool.inference.load import rebuild

        model = rebuild(self.stored).model
        return Engine(model, precision=self.precision, batch_size=self.batch_size)

    def finish(self, item: Item, outputs: Outputs) -> _Translated:
        work, inputs = item.payload, self.inputs
        position = self.pictures.position(item.index)
        result = to_unit(outputs[RECONSTRUCTION], inputs.output_range)  # (h, w, c) in [0, 1]
        scores = shown = None
        if position not in self.unwanted:
            if self.target:
                pixels = restore(to_pixels(result), work.size, inputs.preprocessing["fit"])
                name = self.pictures.name(item.index)
                self.target.write(name, pixels, work.like)
            if self.evaluate and work.target is not None:
                error = np.abs(result - work.target).mean(dtype=np.float64)
                scores = float(error), float(psnr(result, work.target))
        if position in self.sample:
            seen = to_unit(item.inputs, inputs.preprocessing["range"])
            target = None if work.target is None else to_pixels(work.target)
            shown = (to_pixels(seen), to_pixels(result), target)[: 3 if inputs.paired else 2]
        return _Translated(work.like.frames, scores, shown)


class _Inputs:
    """How a picture becomes an input, and where its target comes from."""

    def __init__(
        self,
        pictures: Source,
        stored: Checkpoint,
        edge_inputs: bool,
        target: str | None,
        max_pixels: int,
    ):
        self.side = target if target in SIDES else None
        self.targets = open_source(target) if target and not self.side else None
        # Of every picture of SOURCE by its position: rows of arrays match by order.
        self.matched = match(pictures.whole, self.targets) if self.targets else None
        self.preprocessing = stored.metadata["preprocessing"]
        self.size = tuple(self.preprocessing["size"])
        self.output_range = output_range(stored)
        channels = self.preprocessing["channels"]
        self.output_channels = stored.metadata["model"].get("outputs", channels)
        self.edge_inputs = edge_inputs
        self.edges_seen = self.preprocessing.get("edges") or {}
        self.max_pixels = max_pixels
        self.paired = bool(target or edge_inputs)

    def load(self, pictures: Source, i: int) -> Item:
        picture = pictures.load(i, max_pixels=self.max_pixels)
        pixels, other = picture.pixels, None
        if self.side:
            pixels, other = halves(pixels, self.side)
        elif self.matched:
            other = self._target(self.matched[pictures.position(i)])
        elif self.edge_inputs:
            other = pixels
        target = None if other is None else self._fitted(other, self.output_channels)
        # The result needs the picture's size and metadata, not its pixels; a view keeps them all.
        like = replace(picture, pixels=picture.pixels[:0].copy())
        work = _Work(pixels.shape[:2], like, target)
        inputs = prepare(self._edges(pixels), self.preprocessing, self.size)
        return Item(i, inputs, work, 0 if target is None else target.nbytes)

    def _target(self, number: int) -> np.ndarray | None:
        if number < 0:
            return None
        try:
            return self.targets.load(number, max_pixels=self.max_pixels).pixels
        except ImageError as error:
            raise ImageError(f"its target: {error.message}") from error

    def _edges(self, pixels: np.ndarray) -> np.ndarray:
        """The pixels themselves, or their edges at the network's size, as in training."""
        if not self.edge_inputs:
            return pixels
        settings = {k: v for k, v in self.edges_seen.items() if k in ("sigma", "low", "high")}
        return edges(to_pixels(self._fitted(pixels, 3)), **settings)

    def _fitted(self, pixels: np.ndarray, channels: int) -> np.ndarray:
        about = self.preprocessing
        return fit(pixels, self.size, channels, how=about["fit"], background=about["background"])
