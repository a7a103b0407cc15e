"""The command that made a model, from what its checkpoint says. Light: no Keras."""

import shlex
from collections.abc import Iterator, Mapping

from aetool.errors import AetoolError
from aetool.models.specs import family
from aetool.tasks.plan import DECODING, DEFAULT_MODEL, asked, make_plan
from aetool.tasks.recipes import read_recipe
from aetool.training.settings import Settings

# What has a way of its own to be asked for, or none because no weight depends on it.
_APART = {"recipe", "model", "task", "epochs", *DECODING}
# Arguments of a model that are options too; the others are asked for by --set.
_MODEL_OPTIONS = ("skips", "dropout", "tap", "latent_dim")


def training_command(training: Mapping, output: str) -> str | None:
    """The command line that, run again in the same folder, trains the same model.

    Everything that is the recipe's or a default is left out; the precision is always named, since
    the default depends on the machine.

    Args:
        training: what a checkpoint's metadata has under that name.
        output: the path of the model.

    Returns:
        One line, quoted for a shell; None where the checkpoint does not say enough, or names a
        recipe or a model that is no longer there.
    """
    options = training.get("options")
    if not isinstance(options, Mapping) or "source" not in training:
        return None
    try:
        words = [word for part in _options(options) for word in part]
        return shlex.join(["aetool", "train", training["source"], "-o", output, *words])
    # Anybody may have written these values, of any type; nothing but this line depends on them.
    except (AetoolError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None


def _options(options: Mapping) -> Iterator[list[str]]:
    """The words of each option that has to be given."""
    recipe, model, task = options["recipe"], dict(options["model"]), options["task"]
    name = model.pop("name")
    written = read_recipe(recipe) if recipe else {}
    values, spec = written.get("training", {}), written.get("model", {})
    if recipe:
        yield ["--recipe", recipe]
    if name != spec.get("name", DEFAULT_MODEL):
        yield ["--model", name]
    if task != values.get("task", family(name).tasks[0]):
        yield ["--task", task]
    own = spec if spec.get("name") == name else {}
    for argument, value in model.items():
        if argument not in own or own[argument] != value:
            yield _argument(argument, value)
    if options["epochs"] != values.get("epochs", Settings().epochs):
        yield ["--epochs", str(options["epochs"])]
    plan = make_plan(
        recipe=recipe,
        model=name,
        task=task,
        arguments=model,
        epochs=options["epochs"],
        loss=options["loss"],
        target=options.get("target"),
        edges=options.get("edges"),
    )
    natural = {**plan.options(), "precision": None}
    natural |= {way: values.get(way) for way in ("target", "edges")}
    natural["loss"] = values.get("loss", family(name).loss[task])
    if options.get("edges"):
        natural["target"] = None  # either takes the place of the other
    for option, value in options.items():
        if option not in _APART and asked(value) != asked(natural.get(option)):
            yield _option(option, value, natural.get(option))


def _argument(name: str, value: object) -> list[str]:
    """Of the model's builder."""
    if name == "skips" and value is None:
        return ["--skips", "all"]
    if name in _MODEL_OPTIONS:
        return _option(name, value)
    text = f"{_joined(value)}," if isinstance(value, list) and len(value) < 2 else _joined(value)
    return ["--set", f"{name}={text}"]


def _option(name: str, value: object, natural: object = None) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if name == "size":
        return [flag, "x".join(map(str, reversed(value)))]
    if name == "only":
        return [word for label in value for word in _pair(flag, label)]
    if name == "loss_weights":
        changed = {term: x for term, x in value.items() if x != natural.get(term)}
        return [word for term, x in changed.items() for word in ("--loss-weight", f"{term}={x!r}")]
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-")]
    return _pair(flag, _joined(value) if value != [] else "none")


def _pair(flag: str, value: str) -> list[str]:
    """A value that begins like an option is tied to its own."""
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def _joined(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_joined, value))
    return str(int(value) if isinstance(value, bool) else value)
