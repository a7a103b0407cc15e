"""Train a model: first whether there is anything to do, before Keras is imported."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.errors import Failure, OutputError, TrainingError, UsageError
from aetool.images.decode import MAX_PIXELS
from aetool.images.pairs import SIDES
from aetool.images.source import Source, open_source
from aetool.storage.atomic import locked, remove_stale
from aetool.storage.checkpoint import Checkpoint, read_checkpoint
from aetool.tasks.outputs import check_drawing, check_outputs
from aetool.tasks.plan import Plan, continued, difference
from aetool.training.state import read_document, unpack
from aetool.training.team import seat

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run gave.

    Args:
        output: the checkpoint's path.
        model: the family.
        task: what it learnt.
        parameters: of the model.
        epochs: done in all.
        metrics: the last epoch's means, or the best epoch's with early stopping.
        read: pictures used, for training and validation.
        failed: pictures that could not be read.
        seconds: of this run; 0 when there was nothing to do.
    """

    output: str
    model: str
    task: str
    parameters: int
    epochs: int
    metrics: dict[str, float]
    read: int
    failed: tuple[Failure, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Listeners:
    """What a run tells while it goes on.

    Args:
        decoding: (pictures decoded, pictures), before the first epoch.
        step: (steps done, steps in all).
        epoch: (epoch from 1, epochs in all, the epoch's means).
        note: one line in passing.
    """

    decoding: Progress | None = None
    step: Progress | None = None
    epoch: Callable[[int, int, dict[str, float]], None] | None = None
    note: Callable[[str], None] = lambda text: None


def train_model(
    source: str,
    output: Path,
    plan: Plan,
    *,
    resume: bool = False,
    overwrite: bool = False,
    init: Path | None = None,
    preview: Path | None = None,
    plot: Path | None = None,
    log: Path | None = None,
    tensorboard: Path | None = None,
    max_pixels: int = MAX_PIXELS,
    listeners: Listeners | None = None,
) -> TrainResult:
    """Train by a plan and write the checkpoint.

    Args:
        source: a SOURCE; see `aetool.images.source.open_source`.
        output: the checkpoint to write. While training goes on it lives in `output`.train.
        plan: from `aetool.tasks.plan.make_plan`.
        resume: continue what was interrupted, start where nothing is, do nothing when finished.
        overwrite: replace a finished or a running training.
        init: a checkpoint whose weights to start from.
        preview: a folder for pictures after every epoch and an animation at the end.
        plot: a PNG of the loss curves.
        log: a CSV table of the epochs, written anew after each.
        tensorboard: a folder for event files.
        max_pixels: refuse larger pictures.
        listeners: told while it goes on.

    Raises:
        UsageError: for names that are none, before any picture is decoded.
        OutputError: when the output exists and neither flag is given, or another run holds it.
        TrainingError: when `resume` meets other options or data, no picture is readable, or the
            loss is not a number.
        Interrupted: after a signal, with the state saved.
    """
    output = Path(output)
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other", "leave out one")
    if str(output) == "-":
        raise UsageError("a model cannot go to standard output", "name a file: -o MODEL.h5")
    if str(log) == "-":
        raise UsageError(
            "a table written anew after each epoch cannot go to standard output",
            "name a file: --log EPOCHS.csv",
        )
    if output.is_dir():
        raise OutputError(f"cannot write {output}: it is a folder", "name a file in it")
    outputs = (output, plot, log)
    check_outputs(outputs, (source, *_others(plan)), models=(output,))
    for each in (source, *_others(plan)):
        check_drawing(plot, "--plot", each)
    if plot is not None:
        from aetool.plots.style import check_figure_path  # matplotlib, only where it is wanted

        check_figure_path(plot)
    listeners = listeners or Listeners()
    running = running_path(output)
    place = seat()
    if plan.settings.batch_size % place.count:
        raise UsageError(
            f"--batch-size {plan.settings.batch_size} cannot be shared out evenly "
            f"over {place.count} processes",
            f"take a multiple of {place.count}",
        )
    with ExitStack() as stack:
        stack.enter_context(locked(output, part=place.part))
        if preview and not place.part:
            stack.enter_context(locked(preview))
        remove_stale(running)
        if not resume and not overwrite:
            _refuse_existing(output, running)
        if resume and plan.settings.stages and running.exists():
            described = read_checkpoint(running, weights=False).metadata
            plan = continued(plan, described["training"]["options"])
        pictures = open_source(source, exclude=preview)
        # Opened once: a list that comes through a pipe cannot be read again.
        others = {text: open_source(text, exclude=preview) for text in _others(plan)}
        if any(path is not None and path.exists() for path in outputs):
            check_outputs(outputs, (pictures, *others.values()), models=(output,))
        options = {**plan.options(), "init": str(init) if init else None}
        if max_pixels != MAX_PIXELS:
            options["max_pixels"] = max_pixels
        digest = data_digest(pictures, list(others.values()))
        before = _resumable(output, running, options, digest) if resume else None
        if before is not None and _nothing_left(before, plan):
            if _written(output, before):
                if plot or log:
                    _draw_again(before, plan, plot, log)
                return _finished(output)
            _check_at_an_end(before, plan, running)
        # Only now is there something to learn: TensorFlow takes seconds to import.
        from aetool.tasks.training_run import TrainingRun

        team = None
        if place.together:
            from aetool.training.distributed import Team

            listeners.note(f"waiting for the other processes; this is {place.part}")
            team = Team(place)  # here all have read what is there, and none has written
            if place.rank:
                preview = plot = log = tensorboard = None  # the first process draws for all
        run = TrainingRun(
            source,
            pictures,
            others,
            output,
            plan,
            options,
            digest,
            init,
            max_pixels,
            before,
            listeners,
            team,
            overwrite,
        )
        return run.execute(preview, plot, log, tensorboard)


def running_path(output: Path) -> Path:
    """Where a training lives until it is finished, and its optimizer afterwards."""
    return output.with_name(output.name + ".train")


def _refuse_existing(output: Path, running: Path) -> None:
    for path, what in ((output, "exists"), (running, "holds an unfinished training")):
        if path.exists():
            hint = "continue with --resume or replace with --overwrite"
            raise OutputError(f"{path} {what}", hint)


def _resumable(output: Path, running: Path, options: dict, digest: str) -> Checkpoint | None:
    """The running training's checkpoint, checked to be this one; None where nothing exists."""
    if not running.exists():
        if output.exists():
            raise OutputError(
                f"{output} exists without {running.name}, which a training needs to go on",
                "start again with --overwrite, or from its weights with --init",
            )
        return None
    before = read_checkpoint(running)
    if before.training is None:
        raise TrainingError(f"{running} is not an unfinished training")
    document = read_document(before.training)
    changed = difference(document["options"], options)
    if changed is None and document["data"] != digest:
        changed = "the pictures are others"
    if changed:
        raise TrainingError(
            f"{running} cannot go on: {changed}", "use the same options and data, or --overwrite"
        )
    return before


def data_digest(pictures: Source, others: Sequence[Source]) -> str:
    """Of all that is looked at: the pictures, and targets or validation from other sources."""
    if not others:
        return pictures.digest()
    every = pictures.digest() + "".join(other.digest() for other in others)
    return hashlib.sha256(every.encode()).hexdigest()


def _others(plan: Plan) -> list[str]:
    """Targets and validation pictures from other SOURCEs."""
    others = []
    if plan.target is not None and plan.target not in SIDES:
        others.append(plan.target)
    if plan.held_out_fraction is None:
        others.append(plan.validation)
    return others


def _nothing_left(before: Checkpoint, plan: Plan) -> bool:
    document = read_document(before.training)
    return document["epoch"] >= plan.settings.total_epochs or document["stopped_early"]


def _check_at_an_end(before: Checkpoint, plan: Plan, running: Path) -> None:
    """Refuse to end a training where it no longer is: its weights are those of a later step."""
    document = read_document(before.training)
    if document["step"]:
        raise TrainingError(
            f"{running} is in the middle of epoch {document['epoch'] + 1}, "
            f"past the end of {plan.settings.total_epochs}",
            "let it go on with more --epochs, or begin anew with --overwrite",
        )


def _written(output: Path, before: Checkpoint) -> bool:
    """Whether the model is that of this training as it stands, not of an earlier one."""
    if not output.exists():
        return False
    written = read_checkpoint(output, weights=False).metadata["training"]
    stands = before.metadata["training"]
    same = all(written[key] == stands[key] for key in ("epochs_done", "data"))
    return same and difference(written["options"], stands["options"]) is None


def _draw_again(before: Checkpoint, plan: Plan, plot: Path | None, log: Path | None) -> None:
    """What is asked of a finished training that its history alone suffices for."""
    state, _ = unpack(before.training)
    if plot and state.history:
        from aetool.tasks.preview import plot_curves

        plot_curves(plot, state.history)
    if log:
        from aetool.tasks.training_log import write_log

        write_log(log, state, plan.settings)


def _finished(output: Path) -> TrainResult:
    metadata = read_checkpoint(output, weights=False).metadata
    return TrainResult(
        output=str(output),
        model=metadata["model"]["name"],
        task=metadata["task"],
        parameters=metadata["parameters"],
        epochs=metadata["training"]["epochs_done"],
        metrics=metadata["metrics"],
        read=0,
        failed=(),
        seconds=0.0,
    )


def split(
    source: Source, fraction: float, only: tuple[str, ...], seed: int
) -> tuple[Source, Source | None]:
    """(pictures to learn from, pictures held out), the same for the same seed.

    Raises:
        TrainingError: for a class name that the source has not, or when nothing is left to learn.
    """
    rows = np.arange(len(source))
    if only:
        unknown = [name for name in only if name not in source.class_names]
        if unknown:
            raise TrainingError(
                f"no class {unknown[0]!r} in {source.root}",
                f"its classes: {', '.join(source.class_names)}" if source.class_names else None,
            )
        wanted = [source.class_names.index(name) for name in only]
        labels = np.array([source.label(int(i)) for i in rows], np.int64)
        rows = rows[np.isin(labels, wanted)]
    held = round(len(rows) * fraction)
    if len(rows) - held < 1:
        raise TrainingError(f"{source.root} leaves no picture to learn from")
    if not held:
        return (source if len(rows) == len(source) else source.select(rows)), None
    order = np.random.default_rng((seed, 1)).permutation(len(rows))
    return (
        source.select(np.sort(rows[order[held:]])),
        source.select(np.sort(rows[order[:held]])),
    )
