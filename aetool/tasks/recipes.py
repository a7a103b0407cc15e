"""The recipes that come with aetool: TOML files of published experiments and shipped models."""

import difflib
import tomllib
from importlib import resources

from aetool.errors import UsageError


def recipe_names() -> list[str]:
    """The names for `--recipe`, sorted."""
    folder = resources.files("aetool") / "recipes"
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )


def read_recipe(name: str) -> dict:
    """A recipe: `summary`, and the tables `model` (builder arguments) and `training` (options).

    Raises:
        UsageError: for an unknown name, with the nearest one.
    """
    names = recipe_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no recipe {name!r}", f"{hint}there are {', '.join(names)}")
    path = resources.files("aetool") / "recipes" / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))
