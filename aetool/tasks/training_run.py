"""One training run from pictures to checkpoint: what `train_model` does once there is work."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from aetool.errors import FormatError, Interrupted, OutputError, TrainingError
from aetool.images.augment import augment
from aetool.images.color import ab_bins
from aetool.images.source import Source
from aetool.inference.fidelity import PICTURES, measure_fidelity
from aetool.inference.precision import has_bfloat16, resolve_precision
from aetool.models.build import (
    build_model,
    complete,
    keras_config,
    layer_weights,
    parameter_counts,
    set_weights,
)
from aetool.storage.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from aetool.tasks.calibration import calibrate_trained
from aetool.tasks.encode import note_pages
from aetool.tasks.plan import AB_LOSSES, Plan
from aetool.tasks.preview import Preview, plot_curves
from aetool.tasks.train import Listeners, TrainResult, running_path
from aetool.tasks.training_data import load_data, make_pair
from aetool.tasks.training_events import Events
from aetool.tasks.training_log import write_log
from aetool.tasks.training_record import (
    FORMAT_VERSION,
    describe_outputs,
    describe_preprocessing,
    describe_training,
    final_metrics,
)
from aetool.training import loop
from aetool.training.batches import Batches
from aetool.training.distributed import Team
from aetool.training.interrupt import stop_requests
from aetool.training.losses import AbCrossentropy, loss_function
from aetool.training.optimizers import make_optimizer
from aetool.training.pairs import ab_prior
from aetool.training.regime import Regime
from aetool.training.regimes import make_regime
from aetool.training.state import pack, read_document, unpack


class TrainingRun:
    """Everything one run holds; `execute` does it.

    Args: as `train_model`; `source_text` is SOURCE as it was typed, `others` the sources of targets
    and validation by theirs, `before` the checkpoint of an interrupted run, or None, `team` the
    processes that train together, or None for this one alone.
    """

    def __init__(
        self,
        source_text: str,
        source: Source,
        others: Mapping[str, Source],
        output: Path,
        plan: Plan,
        options: dict,
        digest: str,
        init: Path | None,
        max_pixels: int,
        before: Checkpoint | None,
        listeners: Listeners,
        team: Team | None = None,
        overwrite: bool = False,
    ):
        self.started = time.monotonic()
        self.saved = ""  # what of the training is in MODEL.h5.train
        self.resume = "--resume in place of --overwrite" if overwrite else "--resume"
        self.source_text = source_text
        self.output, self.plan = output, plan
        self.options, self.digest, self.before = options, digest, before
        self.listeners, self.team = listeners, team
        self.writes = team is None or team.seat.rank == 0
        self.arrays: dict[str, np.ndarray] = {}
        # What "auto" was where the training began it stays, on whatever machine it goes on.
        wanted = plan.settings.precision
        if before is not None and wanted == "auto":
            wanted = before.metadata["training"]["options"]["precision"]
        self.settings = settings = replace(plan.settings, precision=resolve_precision(wanted))
        # Wrong names are said before minutes of decoding, not after.
        loss_function(settings.loss)
        make_optimizer(settings)
        complete(plan.model)
        if init is not None:
            read_checkpoint(init, weights=False)
        keras.utils.set_random_seed(settings.seed)

        self.data = load_data(source, others, plan, max_pixels, listeners)
        for part in self.data.sets:
            note_pages(listeners.note, part.source, part.several_pages)
        self.spec = self._specification()
        self.pair = make_pair(plan, self.spec)
        self.learner = self._learner()
        self.state = loop.RunState()
        if team:
            self._join(team)
        if before is not None:
            self._restore(before)
        elif init is not None:
            self._initialise(init)

    # model

    @property
    def over_bins(self) -> bool:
        return self.settings.loss == "ab-crossentropy"

    def _specification(self) -> dict:
        spec = {**self.plan.model, "size": self.data.size, "channels": self.data.channels}
        if self.plan.task == "colorize":
            head = (3, "sigmoid")
            if self.over_bins:
                self.arrays["ab_bins"] = ab_bins()
                head = (len(self.arrays["ab_bins"]), "softmax")
            elif self.settings.loss in AB_LOSSES:
                head = (2, "linear")
            spec |= dict(zip(("outputs", "activation"), head, strict=True))
        elif self.plan.task == "classify":
            spec["classes"] = len(self.data.classes)
        elif self.plan.task == "translate" or spec["name"] == "unet":
            spec["outputs"] = self.data.outputs
        return complete(spec)

    def _learner(self) -> Regime:
        dtype = "mixed_bfloat16" if self.settings.precision == "bfloat16" else "float32"
        model = build_model(self.spec, dtype=dtype)
        loss = loss_function(self.settings.loss)
        if self.over_bins:
            prior = ab_prior(self.data.pictures, self.arrays["ab_bins"])
            self.arrays["ab_prior"] = prior
            loss = AbCrossentropy(self.arrays["ab_bins"], prior)
            self.arrays["ab_weights"] = loss.weights
        return make_regime(model, self.spec, self.settings, loss)

    def _join(self, team: Team) -> None:
        """Learn together from now on, as far as all were given the same."""
        place = read_document(self.before.training) if self.before else {}
        team.check_same(
            {
                "their options": sorted(self.options.items()),
                "the pictures they see": (self.digest, [len(part) for part in self.data.sets]),
                "where they go on": (place.get("epoch", 0), place.get("step", 0)),
                "their precision": self.settings.precision,
            }
        )
        self.learner.share(team.share)

    def _restore(self, before: Checkpoint) -> None:
        if self._readable() != read_document(before.training).get("readable", self._readable()):
            raise TrainingError(
                f"{running_path(self.output)} cannot go on: other pictures can be read than before",
                "make the same ones readable, or begin again with --overwrite",
            )
        self.state, learner = unpack(before.training)
        if self.options["init"]:
            self.learner.start_from(before.weights)  # so do the stages that have not begun
        else:
            set_weights(self.learner.model, before.weights)
        self.learner.load_state(learner)
        if self.state.step:
            # TensorFlow compiles for the size of the first batch it meets, and again, for any size,
            # where one of another size comes. Both round differently, and the first batch here may
            # be the short one of the epoch's end: so a whole one is learnt first, and forgotten.
            batches, epoch = self._batches(), self.state.epoch
            self.learner.train_batch(*batches.make(epoch, 0, batches.order(epoch)))
            set_weights(self.learner.model, before.weights)
            self.learner.load_state(learner)
        self.saved = self.state.place()
        self.listeners.note(f"continuing {self.output} from {self.state.place()}")

    def _initialise(self, init: Path) -> None:
        given = read_checkpoint(init)
        try:
            self.learner.start_from(given.weights)
        except FormatError as error:
            raise FormatError(
                f"{init} does not fit this model: {error.message}",
                f"it holds {json.dumps(given.metadata['model'])}",
            ) from error

    # the run

    def execute(
        self,
        preview: Path | None,
        plot: Path | None,
        log: Path | None,
        tensorboard: Path | None,
    ) -> TrainResult:
        """Train, save, calibrate, write; returns what `train_model` does."""
        previews = None
        if preview:
            shown = self.data.held_out or self.data.pictures
            previews = Preview(preview, shown, self.pair, self.plan, self.arrays, self.data.size)
            previews.forget(self.state.epoch)
        events = Events(tensorboard) if tensorboard else None
        if events and find_spec("tensorboard") is None:
            self.listeners.note(
                f"to look at {tensorboard}: pip install 'aetool[tensorboard]', "
                f"then tensorboard --logdir {tensorboard}"
            )

        def report(state: loop.RunState) -> None:
            """All that can be drawn and written again from the state after an epoch."""
            if previews and not state.step:
                previews.draw(self.learner.model, state.epoch)
            if log:
                write_log(log, state, self.settings)
            if events:
                events.write(state, self.settings)

        try:
            stopped = self._fit(report)
        except TrainingError as error:
            raise TrainingError(error.message, self._learn_otherwise()) from error
        except OutputError as error:
            raise OutputError(error.message, self._make_room()) from error
        if stopped:
            epoch, total = self.state.epoch, self.settings.total_epochs
            where = f"in epoch {epoch + 1}" if self.state.step else f"after epoch {epoch}"
            raise Interrupted(
                f"stopped {where} of {total}; saved in {running_path(self.output)}",
                f"the same command with {self.resume} goes on from there",
                signal_number=stopped,
            )
        if self.state.best_weights is not None:
            for variable in self.learner.model.variables:
                if variable.path in self.state.best_weights:
                    variable.assign(self.state.best_weights[variable.path])
        if previews:
            self.arrays["previews"] = previews.strip(self.learner.model)
        checkpoint = self._checkpoint()
        if self.writes:
            self._write(checkpoint)
        if self.team:
            self.team.meet()  # all know that the model is written, or that it is not
        if previews:
            previews.animate()
        if plot and self.state.history:
            plot_curves(plot, self.state.history)
        elif plot:
            self.listeners.note(f"no epoch was trained, so {plot} has nothing to show")
        metadata = checkpoint.metadata
        return TrainResult(
            output=str(self.output),
            model=self.spec["name"],
            task=self.plan.task,
            parameters=metadata["parameters"],
            epochs=self.state.epoch,
            metrics=metadata["metrics"],
            read=sum(map(len, self.data.sets)),
            failed=self.data.failed,
            seconds=time.monotonic() - self.started,
        )

    def _write(self, checkpoint: Checkpoint) -> None:
        if self.state.epoch and has_bfloat16():
            checkpoint.metadata["fidelity"] = measure_fidelity(checkpoint, self._examples())
        if self.plan.task == "reconstruct" and self.data.held_out is not None:
            calibrate_trained(checkpoint, self.data, self.pair, self.settings.seed)
        try:
            write_checkpoint(self.output, checkpoint, half=self.plan.half)
        except OutputError as error:
            raise OutputError(error.message, self._make_room()) from error

    def _batches(self) -> Batches:
        return Batches(
            self.data.pictures,
            self.pair,
            self.data.size,
            self.settings.batch_size,
            augmentations=self.settings.augment,
            seed=self.settings.seed,
        )

    def _fit(self, report: Callable[[loop.RunState], None]) -> int:
        settings, data = self.settings, self.data
        batches, validation = self._batches(), None
        if data.held_out is not None:
            validation = Batches(
                data.held_out, self.pair, data.size, settings.batch_size, shuffle=False
            )
        if self.state.epoch == 0 and self.state.step == 0:
            self._save(self.state)
        report(self.state)

        def on_step(epoch, step, steps):
            if self.listeners.step:
                self.listeners.step(epoch * steps + step, settings.total_epochs * steps)

        def on_epoch(state, means):
            if self.listeners.epoch:
                self.listeners.epoch(state.epoch, settings.total_epochs, means)
            report(state)

        with stop_requests() as stop:
            stop = self.team.agree(stop) if self.team else stop
            hooks = loop.Hooks(step=on_step, epoch=on_epoch, save=self._save, stop=stop)
            return loop.run(self.learner, batches, validation, settings, self.state, hooks)

    def _save(self, state: loop.RunState) -> None:
        if not self.writes:
            return
        running = running_path(self.output)
        if self.saved and not running.exists():
            self.listeners.note(f"{running} has vanished; it is written anew")
        extra = {"options": self.options, "data": self.digest, "readable": self._readable()}
        checkpoint = self._checkpoint()
        checkpoint.training = pack(state, self.learner.state(), extra)
        write_checkpoint(running, checkpoint)
        self.saved = state.place()

    def _readable(self) -> list[int]:
        """What stands for the pictures that could be read, of each set."""
        return [part.checksum for part in self.data.sets]

    def _examples(self) -> np.ndarray:
        """A few pictures as the network takes them, none of them learnt from where some are."""
        pictures = self.data.held_out or self.data.pictures
        kept = pictures.take(np.arange(min(PICTURES, len(pictures))))
        return self.pair(augment(kept, (), self.data.size, np.random.default_rng(0)))[0]

    # how to go on after a fault

    def _kept(self) -> str | None:
        """What the last save holds, if it is there."""
        running = running_path(self.output)
        return f"{running} holds {self.saved}" if self.saved and running.exists() else None

    def _make_room(self) -> str:
        if kept := self._kept():
            return f"{kept}; when that is put right, the same command with {self.resume} goes on"
        return "make room, or name another output"

    def _learn_otherwise(self) -> str:
        remedy = "a lower --learning-rate or --precision float32 may help"
        if not (kept := self._kept()):
            return remedy
        init = f"--overwrite --init {running_path(self.output)}"
        return f"{kept}; {remedy}, and {init} starts from its weights"

    # the checkpoint

    def _checkpoint(self) -> Checkpoint:
        parameters, fixed = parameter_counts(self.learner.model)
        history = {
            f"history/{name}": np.array(values, np.float64)
            for name, values in self.state.history.items()
        }
        return Checkpoint(
            metadata=self._metadata(parameters, fixed),
            keras_config=self._keras_config(),
            weights=layer_weights(self.learner.model),
            arrays={**self.arrays, **history},
            training=None,
            digest="",
        )

    def _keras_config(self) -> str:
        if not hasattr(self, "_config"):
            self._config = keras_config(self.spec)
        return self._config

    def _metadata(self, parameters: int, fixed: int) -> dict:
        plan, data = self.plan, self.data
        return {
            "format": FORMAT_VERSION,
            "model": {k: list(v) if isinstance(v, tuple) else v for k, v in self.spec.items()},
            "task": plan.task,
            "parameters": parameters,
            "non_trainable_parameters": fixed,
            "preprocessing": describe_preprocessing(plan, data),
            "output": describe_outputs(plan, self.spec, data),
            "classes": list(data.classes),
            "training": describe_training(
                plan,
                self.settings,
                self.options,
                self.state,
                data,
                self.source_text,
                self.digest,
            ),
            "metrics": final_metrics(self.state, self.settings),
            "fidelity": None,
            "calibration": None,
        }
