"""aetool train."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from aetool.cli import options
from aetool.models.specs import FAMILIES, TASKS

EPILOG = """Examples:

  aetool train sklearn:digits --model conv-ae --epochs 20 -o digits.h5

  aetool train photos/ --recipe colorizer -o colorizer.h5 --resume
"""


def _complete_recipe() -> list[str]:
    from aetool.tasks.recipes import recipe_names

    return recipe_names()


def train(
    source: options.SourceArg,
    output: options.OutputOpt,
    recipe: Annotated[
        str | None,
        Option(
            "--recipe",
            metavar="NAME",
            help="A published experiment; other options override it.",
            autocompletion=_complete_recipe,
        ),
    ] = None,
    model: Annotated[
        str | None,
        Option(
            "--model",
            metavar="NAME",
            help=f"Model family: {', '.join(FAMILIES)}.",
            autocompletion=lambda: list(FAMILIES),
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    task: Annotated[
        Literal[TASKS] | None,
        Option(
            "--task",
            metavar="TASK",
            help=f"What it learns: {', '.join(TASKS)}; the family's own unless given.",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    size: Annotated[
        str | None,
        Option(
            "--size",
            metavar="N|WxH",
            help="Size of the pictures the network sees; without it theirs, if they agree.",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    skips: options.SkipsOpt = None,
    dropout: options.DropoutOpt = None,
    tap: options.TapOpt = None,
    latent_dim: options.LatentDimOpt = None,
    arguments: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any argument of the model's builder, e.g. widths=16,32. Repeatable.",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    init: Annotated[
        Path | None,
        Option(
            "--init",
            metavar="MODEL.h5",
            help="Start from this model's weights.",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    half: Annotated[
        bool | None,
        Option(
            "--half/--no-half",
            help="Store the weights in half precision: half the file.",
            show_default=False,
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        Option(
            "--only",
            metavar="CLASS",
            help="Learn from this class alone. Repeatable.",
            rich_help_panel=options.DATA_PANEL,
        ),
    ] = None,
    validation: Annotated[
        str | None,
        Option(
            "--validation",
            metavar="SHARE|SOURCE",
            help="Pictures to hold out: a share (0.1 unless given), 0, or a SOURCE.",
            rich_help_panel=options.DATA_PANEL,
        ),
    ] = None,
    augment: Annotated[
        str | None,
        Option(
            "--augment",
            metavar="NAMES",
            help="Names joined by commas: flip, crop, shift, rotate, brightness, cutout, "
            "five-crops; or none.",
            rich_help_panel=options.DATA_PANEL,
        ),
    ] = None,
    fit: Annotated[
        Literal["stretch", "crop", "pad"] | None,
        Option(
            "--fit",
            metavar="HOW",
            help="Pictures of another shape: stretch (unless given), crop or pad.",
            rich_help_panel=options.DATA_PANEL,
        ),
    ] = None,
    target: options.PairTargetOpt = None,
    edges: options.PairEdgesOpt = None,
    max_pixels: options.MaxPixelsOpt = 500_000_000,
    epochs: Annotated[
        int | None,
        Option(
            "--epochs",
            metavar="N",
            min=0,
            help="Passes over the pictures (20 unless given); 0 writes an untrained model.",
            rich_help_panel=options.LEARNING_PANEL,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        Option(
            "--batch-size",
            metavar="N",
            min=1,
            help="Pictures a batch (32 unless given).",
            rich_help_panel=options.LEARNING_PANEL,
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        Option(
            "--optimizer",
            metavar="NAME",
            help="adam, adamw, sgd, ...; with arguments: sgd:momentum=0.9.",
            rich_help_panel=options.LEARNING_PANEL,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        Option(
            "--learning-rate",
            metavar="RATE",
            help="At the start (0.001 unless given).",
            rich_help_panel=options.LEARNING_PANEL,
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        Option(
            "--schedule",
            metavar="NAME",
            help="constant, cosine, or inverse-time=DECAY.",
            rich_help_panel=options.LEARNING_PANEL,
        ),
    ] = None,
    loss: Annotated[
        str | None,
        Option(
            "--loss",
            metavar="NAME",
            help="mse, mse-sum, mae, binary-crossentropy(-sum), ab-crossentropy, ab-huber.",
            rich_help_panel=options.LEARNING_PANEL,
        ),
    ] = None,
    loss_weight: options.LossWeightOpt = None,
    label_smoothing: options.LabelSmoothingOpt = None,
    accumulate: options.AccumulateOpt = None,
    clip_norm: options.ClipNormOpt = None,
    weight_decay: options.WeightDecayOpt = None,
    stages: options.StagesOpt = None,
    stage_rates: options.StageRatesOpt = None,
    patch: options.PatchOpt = None,
    patience: Annotated[
        int | None,
        Option(
            "--patience",
            metavar="N",
            min=1,
            help="Stop after N epochs without progress; keep the best.",
            rich_help_panel=options.LEARNING_PANEL,
        ),
    ] = None,
    keep: options.KeepOpt = None,
    seed: Annotated[
        int | None,
        Option(
            "--seed",
            metavar="N",
            min=0,
            max=2**32 - 1,
            help="Start of every random choice (0 unless given).",
            rich_help_panel=options.RUN_PANEL,
        ),
    ] = None,
    precision: options.PrecisionOpt = "auto",
    resume: Annotated[
        bool,
        Option(
            "--resume",
            help="Continue an interrupted training; start one where there is none.",
            rich_help_panel=options.RUN_PANEL,
        ),
    ] = False,
    overwrite: options.OverwriteOpt = False,
    allow_failures: options.AllowFailuresOpt = "0",
    preview: Annotated[
        Path | None,
        Option(
            "--preview",
            metavar="DIR",
            help="Draw the same pictures after every epoch, and an animation.",
            rich_help_panel=options.REPORT_PANEL,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        Option(
            "--plot",
            metavar="PNG",
            help="Draw the loss curves.",
            rich_help_panel=options.REPORT_PANEL,
        ),
    ] = None,
    log: options.LogOpt = None,
    tensorboard: options.TensorBoardOpt = None,
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
    verbose: options.VerboseOpt = False,
) -> None:
    """Train a model on images.

    MODEL.h5 appears when training is done; until then it lives in MODEL.h5.train, from which
    --resume goes on.
    """
    from aetool.cli.output import Output
    from aetool.tasks.plan import (
        make_plan,
        parse_arguments,
        parse_loss_weights,
        parse_numbers,
        parse_size,
        parse_skips,
    )
    from aetool.tasks.train import Listeners, train_model

    given = parse_arguments(arguments or [])
    if skips is not None:
        given["skips"] = parse_skips(skips)
    if dropout is not None:
        given["dropout"] = parse_numbers(dropout, "--dropout", int)
    given |= {"tap": tap} if tap else {}
    given |= {"latent_dim": latent_dim} if latent_dim else {}
    plan = make_plan(
        recipe=recipe,
        arguments=given,
        model=model,
        task=task,
        size=parse_size(size) if size else None,
        fit=fit,
        only=tuple(only) if only else None,
        validation=validation,
        augment=_names(augment),
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=learning_rate,
        schedule=schedule,
        loss=loss,
        loss_weights=parse_loss_weights(loss_weight or []),
        stages=None if stages is None else parse_numbers(stages, "--stages", int),
        stage_rates=None
        if stage_rates is None
        else parse_numbers(stage_rates, "--stage-rates", float),
        patch=patch,
        target=target,
        edges=edges,
        patience=patience,
        accumulate=accumulate,
        clip_norm=clip_norm,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        keep=keep,
        seed=seed,
        precision=precision,
        half=half,
    )
    out = Output(json=json, quiet=quiet, verbose=verbose)

    def epoch_line(epoch: int, epochs: int, means: dict[str, float]) -> None:
        values = ", ".join(f"{name} {value:.5g}" for name, value in means.items())
        out.note(f"epoch {epoch}/{epochs}: {values}")

    with out.phases("Reading", "Training") as (reading, training):
        result = train_model(
            source,
            output,
            plan,
            resume=resume,
            overwrite=overwrite,
            init=init,
            preview=preview,
            plot=plot,
            log=log,
            tensorboard=tensorboard,
            max_pixels=max_pixels,
            listeners=Listeners(decoding=reading, step=training, epoch=epoch_line, note=out.note),
        )
    done = f"trained in {result.seconds:.0f} s" if result.seconds else "already finished"
    out.finish(
        result,
        summary=f"{result.output}: {result.model}, {result.parameters:,} parameters, "
        f"{result.epochs} epochs, {done}",
        allow_failures=allow_failures,
    )


def _names(text: str | None) -> tuple[str, ...] | None:
    """The names of a comma-separated list; "none" is the empty one."""
    if text is None:
        return None
    return () if text == "none" else tuple(filter(None, text.split(",")))
