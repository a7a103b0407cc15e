"""One training run from pictures to checkpoint: what `train_model` does once there is work."""

import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

import aetool
from aetool.analysis.anomaly import calibrate, scores
from aetool.errors import Failure, FormatError, ImageError, Interrupted
from aetool.images.augment import stored_size
from aetool.images.color import ab_bins
from aetool.images.source import Source, open_source
from aetool.inference.engine import Engine, resolve_precision
from aetool.inference.load import rebuild
from aetool.models.build import (
    build_model,
    complete,
    keras_config,
    layer_weights,
    parameter_counts,
    set_weights,
)
from aetool.models.specs import family
from aetool.storage.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from aetool.tasks.plan import Plan
from aetool.tasks.preview import Preview, plot_curves
from aetool.tasks.train import Listeners, TrainResult, running_path, split
from aetool.training import loop
from aetool.training.batches import AbPair, Batches, ab_prior, colorize_pair, reconstruct_pair
from aetool.training.interrupt import stop_requests
from aetool.training.losses import AbCrossentropy, loss_function
from aetool.training.optimizers import make_optimizer
from aetool.training.pictures import Pictures
from aetool.training.reconstruction import Reconstruction
from aetool.training.state import pack, unpack

FORMAT_VERSION = 1
# Pictures of a source whose sizes and colours are looked at where --size is not given.
_LOOK_AT = 64


class TrainingRun:
    """Everything one run holds; `execute` does it.

    Args: as `train_model`; `source_text` is SOURCE as it was typed, `before` the checkpoint of an
    interrupted run, or None.
    """

    def __init__(
        self,
        source_text: str,
        source: Source,
        output: Path,
        plan: Plan,
        options: dict,
        digest: str,
        init: Path | None,
        max_pixels: int,
        before: Checkpoint | None,
        listeners: Listeners,
    ):
        self.started = time.monotonic()
        self.source_text, self.source = source_text, source
        self.output, self.plan = output, plan
        self.options, self.digest, self.before = options, digest, before
        self.listeners = listeners
        self.arrays: dict[str, np.ndarray] = {}
        settings = replace(plan.settings, precision=resolve_precision(plan.settings.precision))
        self.settings = settings
        # Wrong names are said before minutes of decoding, not after.
        loss_function(settings.loss)
        make_optimizer(settings.optimizer, settings.learning_rate)
        keras.utils.set_random_seed(settings.seed)

        self.train_source, held_out = self._split()
        size, self.channels = self._picture_shape(max_pixels)
        self.size = size
        self.stored_channels = 3 if plan.task == "colorize" else self.channels
        self.spec = self._specification()
        self.train_pictures = self._pictures(self.train_source, max_pixels, settings.augment)
        self.held_out = self._pictures(held_out, max_pixels, ()) if held_out is not None else None
        self.learner = self._learner()
        self.state = loop.RunState()
        if before is not None:
            self._restore(before)
        elif init is not None:
            self._initialise(init)

    # pictures

    def _split(self) -> tuple[Source, Source | None]:
        fraction = self.plan.held_out_fraction
        train, held_out = split(self.source, fraction or 0.0, self.plan.only, self.settings.seed)
        if fraction is None:
            held_out, _ = split(open_source(self.plan.validation), 0.0, self.plan.only, 0)
        return train, held_out

    def _picture_shape(self, max_pixels: int) -> tuple[tuple[int, int], int]:
        """((height, width), channels) asked for, or the pictures' own where they agree."""
        step = max(1, len(self.train_source) // _LOOK_AT)
        shapes = []
        for i in range(0, len(self.train_source), step):
            try:
                shapes.append(self.train_source.load(i, max_pixels=max_pixels).pixels.shape)
            except ImageError:
                continue
        sizes = {shape[:2] for shape in shapes}
        colour = any(len(shape) == 3 and shape[2] == 3 for shape in shapes)
        size = self.plan.size or self.plan.model.get("size")
        if size is None:
            size = sizes.pop() if len(sizes) == 1 else family(self.plan.model["name"]).size
        if self.plan.task == "colorize":
            return tuple(size), 1
        return tuple(size), self.plan.model.get("channels", 3 if colour else 1)

    def _pictures(self, source: Source, max_pixels: int, augmentations) -> Pictures:
        return Pictures(
            source,
            stored_size(self.size, augmentations),
            self.stored_channels,
            how=self.plan.fit,
            max_pixels=max_pixels,
            progress=self.listeners.decoding,
        )

    # model

    @property
    def over_bins(self) -> bool:
        return self.settings.loss == "ab-crossentropy"

    def _specification(self) -> dict:
        spec = {**self.plan.model, "size": self.size, "channels": self.channels}
        if self.plan.task == "colorize":
            bins = ab_bins()
            head = (len(bins), "softmax") if self.over_bins else (3, "sigmoid")
            spec |= dict(zip(("outputs", "activation"), head, strict=True))
            if self.over_bins:
                self.arrays["ab_bins"] = bins
        elif spec["name"] == "unet":
            spec["outputs"] = self.channels
        return complete(spec)

    def _pair(self):
        if self.plan.task != "colorize":
            return reconstruct_pair
        return AbPair(self.spec["output_stride"]) if self.over_bins else colorize_pair

    def _learner(self) -> Reconstruction:
        dtype = "mixed_bfloat16" if self.settings.precision == "bfloat16" else "float32"
        model = build_model(self.spec, dtype=dtype)
        loss = loss_function(self.settings.loss)
        if self.over_bins:
            prior = ab_prior(self.train_pictures, self.arrays["ab_bins"])
            self.arrays["ab_prior"] = prior
            loss = AbCrossentropy(self.arrays["ab_bins"], prior)
        return Reconstruction(model, self.settings, loss)

    def _restore(self, before: Checkpoint) -> None:
        self.state, learner = unpack(before.training)
        self.state.stopped_early = False
        set_weights(self.learner.model, before.weights)
        self.learner.load_state(learner)
        where = f"epoch {self.state.epoch + 1}, step {self.state.step + 1}"
        self.listeners.note(f"continuing {self.output} at {where}")

    def _initialise(self, init: Path) -> None:
        given = read_checkpoint(init)
        try:
            set_weights(self.learner.model, given.weights)
        except FormatError as error:
            raise FormatError(
                f"{init} does not fit this model: {error.message}",
                f"it holds {json.dumps(given.metadata['model'])}",
            ) from error

    # the run

    def execute(self, preview: Path | None, plot: Path | None) -> TrainResult:
        """Train, save, calibrate, write; returns what `train_model` does."""
        shown = self.held_out or self.train_pictures
        previews = (
            Preview(preview, shown, self._pair(), self.plan, self.arrays, self.size)
            if preview
            else None
        )
        stopped = self._fit(previews)
        if stopped:
            raise Interrupted(
                f"stopped in epoch {self.state.epoch + 1} of {self.settings.epochs}; "
                f"saved in {running_path(self.output)}",
                "the same command with --resume goes on from there",
                signal_number=stopped,
            )
        if self.state.best_weights is not None:
            for variable in self.learner.model.variables:
                if variable.path in self.state.best_weights:
                    variable.assign(self.state.best_weights[variable.path])
        checkpoint = self._checkpoint()
        if self.plan.task == "reconstruct" and self.held_out is not None:
            self._calibrate(checkpoint)
        write_checkpoint(self.output, checkpoint, half=self.plan.half)
        if previews:
            previews.animate()
        if plot:
            plot_curves(plot, self.state.history)
        metadata = checkpoint.metadata
        return TrainResult(
            output=str(self.output),
            model=self.spec["name"],
            task=self.plan.task,
            parameters=metadata["parameters"],
            epochs=self.state.epoch,
            metrics=metadata["metrics"],
            read=len(self.train_pictures) + (len(self.held_out) if self.held_out else 0),
            failed=self._failed(),
            seconds=time.monotonic() - self.started,
        )

    def _fit(self, previews: Preview | None) -> int:
        settings = self.settings
        batches = Batches(
            self.train_pictures,
            self._pair(),
            self.size,
            settings.batch_size,
            augmentations=settings.augment,
            seed=settings.seed,
        )
        validation = None
        if self.held_out is not None:
            validation = Batches(
                self.held_out, self._pair(), self.size, settings.batch_size, shuffle=False
            )
        if self.state.epoch == 0 and self.state.step == 0:
            self._save(self.state)
            if previews:
                previews.draw(self.learner.model, 0)

        def on_step(epoch, step, steps):
            if self.listeners.step:
                self.listeners.step(epoch * steps + step, settings.epochs * steps)

        def on_epoch(state):
            if self.listeners.epoch:
                means = {name: values[-1] for name, values in state.history.items()}
                self.listeners.epoch(state.epoch, settings.epochs, means)
            if previews:
                previews.draw(self.learner.model, state.epoch)

        with stop_requests() as stop:
            hooks = loop.Hooks(step=on_step, epoch=on_epoch, save=self._save, stop=stop)
            return loop.run(self.learner, batches, validation, settings, self.state, hooks)

    def _save(self, state: loop.RunState) -> None:
        extra = {"options": self.options, "data": self.digest}
        checkpoint = self._checkpoint()
        checkpoint.training = pack(state, self.learner.state(), extra)
        write_checkpoint(running_path(self.output), checkpoint)

    def _failed(self) -> tuple[Failure, ...]:
        held_out = self.held_out.failed if self.held_out else []
        return tuple(self.train_pictures.failed + held_out)

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
        plan, state = self.plan, self.state
        chosen = state.best_epoch or state.epoch
        metrics = {n: v[chosen - 1] for n, v in state.history.items() if len(v) >= chosen > 0}
        return {
            "format": FORMAT_VERSION,
            "model": {k: list(v) if isinstance(v, tuple) else v for k, v in self.spec.items()},
            "task": plan.task,
            "parameters": parameters,
            "non_trainable_parameters": fixed,
            "preprocessing": {
                "size": list(self.size),
                "channels": self.channels,
                "colour_space": "luma" if self.channels == 1 else "srgb",
                "range": [0, 1],
                "fit": plan.fit,
                "filter": "antialias",
                "background": 1.0,
            },
            "output": [self._output()],
            "classes": list(plan.only or self.source.class_names),
            "training": {
                "recipe": plan.recipe,
                "source": self.source_text,
                "options": {**self.options, "precision": self.settings.precision},
                "only": list(plan.only),
                "seed": self.settings.seed,
                "epochs_done": state.epoch,
                "best_epoch": state.best_epoch or None,
                "pictures": len(self.train_pictures),
                "held_out": len(self.held_out) if self.held_out else 0,
                "data": self.digest,
                "versions": {
                    "aetool": aetool.__version__,
                    "keras": keras.__version__,
                    "backend": keras.backend.backend(),
                    "python": platform.python_version(),
                },
            },
            "metrics": metrics,
            "calibration": None,
        }

    def _output(self) -> dict:
        if self.over_bins:
            return {
                "name": "ab_probabilities",
                "range": [0, 1],
                "colour_space": "lab",
                "decoding": "ab-bins",
                "temperature": self.plan.temperature,
                "stride": self.spec["output_stride"],
            }
        grey = self.plan.task != "colorize" and self.channels == 1
        return {
            "name": "reconstruction",
            "range": [0, 1],
            "colour_space": "luma" if grey else "srgb",
            "decoding": "rgb" if self.plan.task == "colorize" else "image",
        }

    def _calibrate(self, checkpoint: Checkpoint) -> None:
        """Score the held-out normals with the engine that will score new pictures."""
        engine = Engine(rebuild(replace(checkpoint)).model)
        blocks = []
        for start in range(0, len(self.held_out), engine.batch_size):
            rows = np.arange(start, min(start + engine.batch_size, len(self.held_out)))
            x, _ = reconstruct_pair(self.held_out.take(rows))
            blocks.append(scores(x, engine.predict(x)["reconstruction"]))
        ascending = np.sort(np.concatenate(blocks))
        checkpoint.metadata["calibration"] = {**calibrate(ascending), "precision": engine.precision}
        checkpoint.arrays["calibration/scores"] = ascending
