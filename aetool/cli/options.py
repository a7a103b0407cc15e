"""Arguments and options that several commands share: the same name means the same everywhere.

Aliases only. An alias without a default in a command's signature is required there.
"""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from aetool.cli.output import Allowance
from aetool.storage.shards import Shard

RUN_PANEL = "Running"
REPORT_PANEL = "Reporting"

SourceArg = Annotated[
    str,
    Argument(
        metavar="SOURCE",
        help="A folder, image, @list.txt, - (stdin), array file, or set such as sklearn:digits.",
        show_default=False,
    ),
]
OutArg = Annotated[
    Path | None,
    Argument(
        metavar="OUT",
        help="Folder to write to; for one image, a file or - (PNG on stdout).",
        show_default=False,
    ),
]
LatentsArg = Annotated[
    list[str],
    Argument(
        metavar="LATENTS",
        help="Latents .h5 from encode, - (stdin), or .npy, .npz, .csv, .parquet; several, or "
        "@list.txt, as one.",
        show_default=False,
    ),
]

OutputOpt = Annotated[
    Path,
    Option("--output", "-o", metavar="FILE", help="File to write.", show_default=False),
]
TableOpt = Annotated[
    Path | None,
    Option("--output", "-o", metavar="CSV", help="Table to write; stdout without it."),
]
CheckpointOpt = Annotated[
    Path | None,
    Option(
        "--checkpoint",
        "-c",
        metavar="MODEL.h5",
        envvar="AETOOL_CHECKPOINT",
        help="Trained model.",
        show_default=False,
    ),
]

BatchSizeOpt = Annotated[
    int | None,
    Option(
        "--batch-size",
        metavar="N",
        min=1,
        help="Pictures at a time; chosen by the program without it.",
        rich_help_panel=RUN_PANEL,
    ),
]
PrecisionOpt = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Option(
        "--precision",
        metavar="TYPE",
        help="auto, float32 or bfloat16; auto: bfloat16 where the processor is built for it.",
        rich_help_panel=RUN_PANEL,
    ),
]
SeedOpt = Annotated[
    int,
    Option(
        "--seed",
        metavar="N",
        min=0,
        max=2**32 - 1,
        help="Start of every random choice.",
        rich_help_panel=RUN_PANEL,
    ),
]
OverwriteOpt = Annotated[
    bool,
    Option(
        "--overwrite",
        help="Do again what is already done.",
        rich_help_panel=RUN_PANEL,
    ),
]
AllowFailuresOpt = Annotated[
    Allowance,
    Option(
        "--allow-failures",
        metavar="N|P%",
        parser=Allowance.parse,
        help="Exit 0 when at most so many inputs could not be read.",
        rich_help_panel=RUN_PANEL,
    ),
]
MaxPixelsOpt = Annotated[
    int,
    Option(
        "--max-pixels",
        metavar="N",
        min=1,
        help="Refuse larger pictures.",
        rich_help_panel=RUN_PANEL,
    ),
]
ShardOpt = Annotated[
    Shard | None,
    Option(
        "--shard",
        metavar="I/N",
        parser=Shard.parse,
        help="Do the I-th of N equal shares of SOURCE alone; see aetool merge.",
        show_default=False,
        rich_help_panel=RUN_PANEL,
    ),
]
SchedulerOpt = Annotated[
    str | None,
    Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Do it on the Dask cluster at this address, such as tcp://host:8786.",
        show_default=False,
        rich_help_panel=RUN_PANEL,
    ),
]

SHOW_PANEL = "Showing"

ThumbnailsOpt = Annotated[
    bool,
    Option(
        "--thumbnails",
        help="Show pictures on the plot.",
        rich_help_panel=SHOW_PANEL,
    ),
]
HtmlOpt = Annotated[
    Path | None,
    Option(
        "--html",
        metavar="PAGE.html",
        help="Write a web page to move about in, with all thumbnails.",
        rich_help_panel=SHOW_PANEL,
    ),
]
ImagesOpt = Annotated[
    str | None,
    Option(
        "--images",
        metavar="ROOT",
        help="Where the images are, if they have moved.",
        rich_help_panel=SHOW_PANEL,
    ),
]

JsonOpt = Annotated[
    bool,
    Option(
        "--json",
        help="Print the result as one JSON object.",
        rich_help_panel=REPORT_PANEL,
    ),
]
QuietOpt = Annotated[
    bool,
    Option(
        "--quiet",
        "-q",
        help="Say nothing but errors and failed inputs.",
        rich_help_panel=REPORT_PANEL,
    ),
]
VerboseOpt = Annotated[
    bool,
    Option("--verbose", "-v", help="Say all that --json would.", rich_help_panel=REPORT_PANEL),
]

# What `train` alone takes, kept here for its length.

MODEL_PANEL = "Model"
DATA_PANEL = "Pictures"
LEARNING_PANEL = "Learning"

SkipsOpt = Annotated[
    str | None,
    Option(
        "--skips",
        metavar="LEVELS",
        help="Skip connections: all, none, or levels such as 1,3 (1 is the finest).",
        rich_help_panel=MODEL_PANEL,
    ),
]
DropoutOpt = Annotated[
    str | None,
    Option(
        "--dropout",
        metavar="LEVELS",
        help="Dropout: none, or levels such as 5,6 (pix2pix) or blocks (vgg-classifier-ae).",
        rich_help_panel=MODEL_PANEL,
    ),
]
TapOpt = Annotated[
    str | None,
    Option(
        "--tap",
        metavar="LAYER",
        help="Layer that vgg-classifier-ae rebuilds from (block1_pool unless given).",
        rich_help_panel=MODEL_PANEL,
    ),
]
LatentDimOpt = Annotated[
    int | None,
    Option(
        "--latent-dim",
        metavar="N",
        min=1,
        help="Dimensions of conv-vae's latent (2 unless given).",
        rich_help_panel=MODEL_PANEL,
    ),
]
PairTargetOpt = Annotated[
    str | None,
    Option(
        "--target",
        metavar="SOURCE|left|right",
        help="What to translate into: by file name, by order; or a half of each picture.",
        rich_help_panel=DATA_PANEL,
    ),
]
PairEdgesOpt = Annotated[
    bool | None,
    Option(
        "--edges/--no-edges",
        help="Translate the pictures' edges (Canny) into the pictures.",
        show_default=False,
        rich_help_panel=DATA_PANEL,
    ),
]
LossWeightOpt = Annotated[
    list[str] | None,
    Option(
        "--loss-weight",
        metavar="TERM=X",
        help="Factor of a term of the family's loss. Repeatable.",
        rich_help_panel=LEARNING_PANEL,
    ),
]
StagesOpt = Annotated[
    str | None,
    Option(
        "--stages",
        metavar="N,N,...",
        help="stacked-ae: epochs of each greedy stage before --epochs; none: all levels at once.",
        rich_help_panel=LEARNING_PANEL,
    ),
]
StageRatesOpt = Annotated[
    str | None,
    Option(
        "--stage-rates",
        metavar="RATE,...",
        help="stacked-ae: learning rate of each stage (--learning-rate unless given).",
        rich_help_panel=LEARNING_PANEL,
    ),
]
PatchOpt = Annotated[
    int | None,
    Option(
        "--patch",
        metavar="N",
        min=7,
        help="pix2pix: pixels a side that its discriminator judges at once (70 unless given).",
        rich_help_panel=LEARNING_PANEL,
    ),
]
LabelSmoothingOpt = Annotated[
    float | None,
    Option(
        "--label-smoothing",
        metavar="X",
        help="Spread this share of each label over all classes: against learning by heart.",
        rich_help_panel=LEARNING_PANEL,
    ),
]
AccumulateOpt = Annotated[
    int | None,
    Option(
        "--accumulate",
        metavar="N",
        min=1,
        help="Batches to average in each step: large batches in little memory.",
        rich_help_panel=LEARNING_PANEL,
    ),
]
ClipNormOpt = Annotated[
    float | None,
    Option(
        "--clip-norm",
        metavar="X",
        help="Shorten a step's gradients, all as one vector, to this length.",
        rich_help_panel=LEARNING_PANEL,
    ),
]
WeightDecayOpt = Annotated[
    float | None,
    Option(
        "--weight-decay",
        metavar="X",
        help="Shrink kernels by X times the rate a step, apart from the loss (as AdamW does).",
        rich_help_panel=LEARNING_PANEL,
    ),
]
KeepOpt = Annotated[
    Literal["best", "last"] | None,
    Option(
        "--keep",
        metavar="WHICH",
        help="Weights of the best or the last epoch; the last unless --patience is given.",
        rich_help_panel=LEARNING_PANEL,
    ),
]
LogOpt = Annotated[
    Path | None,
    Option(
        "--log",
        metavar="CSV",
        help="Write a table, a row an epoch: rate, seconds, losses.",
        rich_help_panel=REPORT_PANEL,
    ),
]
TensorBoardOpt = Annotated[
    Path | None,
    Option(
        "--tensorboard",
        metavar="DIR",
        help="Write the same for TensorBoard.",
        rich_help_panel=REPORT_PANEL,
    ),
]
