"""What a training run is to do: a recipe, overridden by options, with every default filled in."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from aetool.errors import UsageError
from aetool.images.augment import check_augmentations
from aetool.models.specs import Family, family
from aetool.tasks.recipes import read_recipe
from aetool.training.schedules import parse_schedule
from aetool.training.settings import OPTIMIZER_ARGUMENTS, Settings

DEFAULT_MODEL = "conv-ae"
# The share of pictures held out where nothing is said: what calibration and early stopping need.
DEFAULT_VALIDATION = "0.1"
# The ways to say where targets are, of which one is enough.
_TARGETS = ("target", "edges")
# What only colorizers are measured by.
AB_LOSSES = ("ab-crossentropy", "ab-huber")
# What is made of a colorizer's output: no weight depends on it.
DECODING = ("temperature", "rebalancing", "saturation")
# What a recipe says of one family's way to learn.
_OF_A_FAMILY = ("loss_weights", "stages", "stage_rates", "patch", "label_smoothing")
# Arguments of a builder that are no free choice: what to ask for instead.
_NOT_FREE = {
    "name": "--model names the family",
    "size": "--size gives it",
    "outputs": "they follow from --task and the pictures",
    "activation": "it follows from --loss",
    "classes": "they follow from the labels, or from --only",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """One training run, as it is stored in the checkpoint.

    Args:
        model: {"name": family, **builder arguments}; size and channels only where given.
        task: "reconstruct", "colorize", "translate" or "classify".
        settings: how it learns.
        recipe: the name it came from.
        size: (height, width), or None for the pictures' own or the family's.
        fit: how pictures of another shape are fitted: "stretch", "crop" or "pad".
        only: class names to train on; empty for all.
        validation: a fraction, or another SOURCE.
        target: what to translate into: another SOURCE, or the "left" or "right" half of each
            picture.
        edges: translate the pictures' edges into the pictures.
        temperature: of the annealed mean that decodes ab bins.
        rebalancing: how far that takes back the weights of the loss: 0 not at all, 1 altogether.
        saturation: what it multiplies colours by.
        half: store the weights in half precision.
    """

    model: Mapping
    task: str
    settings: Settings
    recipe: str | None = None
    size: tuple[int, int] | None = None
    fit: str = "stretch"
    only: tuple[str, ...] = ()
    validation: str = DEFAULT_VALIDATION
    target: str | None = None
    edges: bool = False
    temperature: float = 0.38
    rebalancing: float = 0.0
    saturation: float = 1.0
    half: bool = False

    def options(self) -> dict:
        """Plain values that say what was asked; a resumed run must agree on all but `epochs`."""
        document = asdict(self)
        settings = document.pop("settings")
        return _plain({**document, **settings})

    @property
    def held_out_fraction(self) -> float | None:
        """The share of SOURCE to hold out, or None where `validation` is a SOURCE of its own."""
        try:
            return float(self.validation)
        except ValueError:
            return None


def make_plan(*, recipe: str | None = None, arguments: Mapping | None = None, **options) -> Plan:
    """Fill in a plan: options, where not None, override the recipe, which overrides defaults.

    Args:
        recipe: a name of `aetool.tasks.recipes`.
        arguments: builder arguments such as {"widths": (8, 16)}.
        options: fields of Plan and of Settings; `model` is the family's name.

    Raises:
        UsageError: for names unknown or values that make no sense.
    """
    written = read_recipe(recipe) if recipe else {}
    spec = dict(written.get("model", {}))
    values = {**written.get("training", {})}
    name = options.pop("model", None) or spec.get("name") or DEFAULT_MODEL
    if name != spec.get("name"):
        spec = {"name": name}  # another family takes other arguments and has other terms
        values = {k: v for k, v in values.items() if k not in _OF_A_FAMILY}
    weights = values.pop("loss_weights", {}) | (options.pop("loss_weights", None) or {})
    options = {name: value for name, value in options.items() if value is not None}
    if any(options.get(way) for way in _TARGETS):
        values = {k: v for k, v in values.items() if k not in _TARGETS}
    if "optimizer" in values and "optimizer" not in options:
        replaced = [key for option, key in OPTIMIZER_ARGUMENTS.items() if option in options]
        values["optimizer"] = _without(values["optimizer"], replaced)
    values |= options
    values["only"] = tuple(dict.fromkeys(values.get("only", ())))
    spec = _tuples({**spec, **(arguments or {})})
    chosen = family(name)
    task = values.pop("task", None) or chosen.tasks[0]
    if task not in chosen.tasks:
        raise UsageError(
            f"{name} does not learn to {task}", f"its tasks: {', '.join(chosen.tasks)}"
        )
    _check_arguments(arguments or {}, task, bool(values.get("edges")))
    values.setdefault("loss", chosen.loss[task])
    values = _tuples(values)
    values["loss_weights"] = _loss_weights(chosen, weights)
    values["stages"] = _stages(chosen, spec, values)
    if not values["stages"]:
        values.pop("stage_rates", None)  # those of the recipe's stages
        if options.get("stage_rates") and values.get("epochs") != 0:
            raise UsageError("--stage-rates belong to stages, and there are none")
    known = {f.name for f in fields(Settings)}
    settings = Settings(**{k: v for k, v in values.items() if k in known})
    rest = {k: v for k, v in values.items() if k not in known}
    _check(settings, rest)
    _check_task(task, settings, rest)
    _check_loss(chosen, spec, settings)
    return Plan(model=spec, task=task, settings=settings, recipe=recipe, **rest)


def _loss_weights(chosen: Family, given: Mapping) -> dict[str, float]:
    """The factor of each term of the family's loss, as given or else as published."""
    for term in given:
        if term not in chosen.loss_weights:
            terms = ", ".join(chosen.loss_weights)
            raise UsageError(
                f"the loss of {chosen.name} has no term {term!r} to weigh",
                f"its terms: {terms}" if terms else "it has a single one",
            )
        if not 0 <= given[term] < math.inf:
            raise UsageError(f"--loss-weight {term}={given[term]} is not a number of at least 0")
    return {**chosen.loss_weights, **given}


def _stages(chosen: Family, spec: Mapping, values: Mapping) -> tuple[int, ...]:
    """Epochs of each greedy stage: a single number stands for every level of the model."""
    given = values.get("stages")
    if not chosen.levels:
        if given:
            raise UsageError(f"{chosen.name} does not learn in stages", "leave out --stages")
        return ()
    widths = spec.get("widths", (0,) * chosen.levels)
    levels = len(widths) if isinstance(widths, tuple) else 1
    if values.get("epochs") == 0:
        return ()  # an untrained model
    if given is None:
        given = (values.get("epochs", Settings().epochs),)
    stages = given * levels if len(given) == 1 else given
    if stages and (len(stages) != levels or min(stages) < 1):
        raise UsageError(
            f"--stages {','.join(map(str, given))} does not suit a model of {levels} levels",
            "give the epochs of each, one number for all, or none",
        )
    if stages and len(values.get("stage_rates", ())) not in (0, len(stages)):
        raise UsageError(f"--stage-rates does not give a rate for each of {levels} stages")
    return stages


def _check_task(task: str, settings: Settings, rest: Mapping) -> None:
    ways = [name for name in _TARGETS if rest.get(name)]
    if task != "translate" and ways:
        raise UsageError(f"--{ways[0]} goes with --task translate, not {task}")
    if task == "translate" and not ways:
        raise UsageError(
            "translate needs to know into what",
            "--target SOURCE, --target left or right (a half of each picture), or --edges",
        )
    if len(ways) > 1:
        raise UsageError(f"--{ways[0]} and --{ways[1]} exclude each other", "leave out one")
    if settings.loss in AB_LOSSES and task != "colorize":
        raise UsageError(f"loss {settings.loss} needs --task colorize, not {task}")


def _check_arguments(arguments: Mapping, task: str, edges: bool) -> None:
    if "channels" in arguments and (edges or task == "colorize"):
        raise UsageError(f"channels is not to be set: {'edges' if edges else 'grey'} have one")
    for name, instead in _NOT_FREE.items():
        if name in arguments and not (name == "outputs" and task == "translate"):
            raise UsageError(f"{name} is not to be set: {instead}")


def _check_loss(chosen: Family, spec: Mapping, settings: Settings) -> None:
    """What of a loss does not suit the model."""
    if settings.patch is not None and "adversarial" not in chosen.loss_weights:
        raise UsageError(f"{chosen.name} has no discriminator", "leave out --patch")
    if settings.label_smoothing is not None and "classification" not in chosen.loss_weights:
        raise UsageError(f"{chosen.name} does not learn labels", "leave out --label-smoothing")
    if settings.loss.startswith("binary") and chosen.range != (0, 1):
        low, high = chosen.range
        raise UsageError(
            f"{chosen.name} gives {low} to {high}, and loss {settings.loss} takes 0 to 1",
            "for example --loss mae",
        )
    if spec.get("output_stride", 1) != 1 and settings.loss not in AB_LOSSES:
        raise UsageError(
            f"output_stride {spec['output_stride']} leaves loss {settings.loss} a smaller picture",
            f"--set output_stride=1, or --loss {' or '.join(AB_LOSSES)} to learn colours alone",
        )


def _check(settings: Settings, rest: Mapping) -> None:
    check_augmentations(settings.augment)
    parse_schedule(settings.schedule)
    if settings.epochs < 0:
        raise UsageError(f"--epochs {settings.epochs} is negative")
    if settings.batch_size < 1:
        raise UsageError(f"--batch-size {settings.batch_size} is not at least 1")
    if not 0 < settings.learning_rate < float("inf"):
        raise UsageError(f"--learning-rate {settings.learning_rate} is not positive")
    if any(not 0 < rate < float("inf") for rate in settings.stage_rates):
        raise UsageError("--stage-rates are not all positive")
    if settings.accumulate < 1:
        raise UsageError(f"--accumulate {settings.accumulate} is not at least 1")
    if settings.clip_norm is not None and not 0 < settings.clip_norm < float("inf"):
        raise UsageError(f"--clip-norm {settings.clip_norm} is not positive")
    if settings.weight_decay is not None and not 0 <= settings.weight_decay < float("inf"):
        raise UsageError(f"--weight-decay {settings.weight_decay} is negative")
    if settings.label_smoothing is not None and not 0 <= settings.label_smoothing < 1:
        raise UsageError(f"--label-smoothing {settings.label_smoothing} is not from 0 to below 1")
    if settings.keep not in (None, "best", "last"):
        raise UsageError(f"--keep {settings.keep} is not best or last")
    if settings.patience is not None and settings.patience < 1:
        raise UsageError(f"--patience {settings.patience} is not at least 1")
    if rest.get("fit", "stretch") not in ("stretch", "crop", "pad"):
        raise UsageError(f"--fit {rest['fit']} is not stretch, crop or pad")
    try:
        fraction = float(rest.get("validation", 0))
    except ValueError:
        return  # a SOURCE
    if not 0 <= fraction < 1:
        raise UsageError(
            f"--validation {rest['validation']} is not a share between 0 and 1",
            "for example 0.1, or a SOURCE of its own",
        )


def difference(before: Mapping, after: Mapping) -> str | None:
    """The first option on which two runs disagree, in words; those may that change no weight.

    An option that an older version did not have was, as it were, not given.
    """
    before = {"accumulate": Settings().accumulate, **before}
    for name in sorted(set(before) | set(after)):
        if name not in (*DECODING, "epochs", "max_pixels") and asked(before.get(name)) != asked(
            after.get(name)
        ):
            return f"{name} was {before.get(name)!r}, now {after.get(name)!r}"
    return None


def continued(plan: Plan, before: Mapping) -> Plan:
    """The plan of a training that goes on with more `--epochs` than in its options `before`.

    Stages as long as the whole model's training are those that nobody gave: they stay what they
    were when the training began.
    """
    settings, stages = plan.settings, tuple(before.get("stages") or ())
    not_given = set(settings.stages) == {settings.epochs}
    alike = len(set(stages)) == 1 and len(stages) == len(settings.stages)
    if not (not_given and alike and stages[0] <= settings.epochs):
        return plan
    return replace(plan, settings=replace(settings, stages=stages))


def asked(value: object) -> object:
    """An option's value; None where it says no more than to leave the option out. 0 says more."""
    return None if value is False or value in ("", (), [], {}) else value


def parse_arguments(texts: list[str]) -> dict:
    """Builder arguments from "name=value" texts: numbers, words, or numbers joined by commas."""
    arguments = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text!r} is not name=value", "for example --set widths=16,32")
        arguments[name.strip().replace("-", "_")] = _value(value.strip())
    return arguments


def parse_skips(text: str) -> tuple[int, ...] | None:
    """Levels from "all", "none" or "1,3"; None for all."""
    if text == "all":
        return None
    if text == "none":
        return ()
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"--skips {text!r} is not all, none or levels such as 1,3") from None


def parse_numbers(text: str, option: str, kind: type) -> tuple:
    """Numbers joined by commas; the empty tuple for "none"."""
    try:
        return () if text == "none" else tuple(kind(part) for part in text.split(","))
    except ValueError:
        hint = f"for example {option} 5,6"
        raise UsageError(f"{option} {text!r} is not none or numbers", hint) from None


def parse_loss_weights(texts: list[str]) -> dict[str, float]:
    """{term: factor} from "term=number" texts."""
    weights = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            raise UsageError(
                f"--loss-weight {text!r} is not term=number",
                "for example --loss-weight reconstruction=10",
            ) from None
    return weights


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from "96" or "WIDTHxHEIGHT"."""
    parts = text.lower().split("x")
    try:
        sides = [int(part) for part in parts]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise UsageError(f"--size {text!r} is not a number or WIDTHxHEIGHT")
    return (sides[-1], sides[0])


def _value(text: str):
    if "," in text:
        return tuple(_value(part) for part in text.split(",") if part)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _without(optimizer: str, names: list[str]) -> str:
    """An optimizer as it is written, less some of its arguments."""
    name, _, arguments = optimizer.partition(":")
    kept = [item for item in arguments.split(",") if item.partition("=")[0].strip() not in names]
    return ":".join(filter(None, (name, ",".join(kept))))


def _tuples(values: Mapping) -> dict:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _plain(value):
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
