"""Clusterings on disk: which arrays make up a model, and whether they fit one another."""

from pathlib import Path

import numpy as np

from aetool.analysis.clustering import Centres
from aetool.analysis.groups import METHODS, Model
from aetool.analysis.mixture import Mixture
from aetool.analysis.space import Space, with_map
from aetool.storage.checked import damaged
from aetool.storage.fitted import Fitted, read_fitted, write_fitted

KIND = "clustering"


def save_model(path: Path, model: Model, checkpoint: str) -> None:
    """Write a model.

    Args:
        path: the file, replaced atomically.
        checkpoint: digest of the encoder of the latents.

    Raises:
        OutputError: it cannot be written.
    """
    arrays = {"means": model.cells.means}
    if isinstance(model.cells, Mixture):
        arrays |= {"weights": model.cells.weights, "factors": model.cells.factors}
    if model.space is not None:
        parts = ("mean", "axes", "anchors", "positions")
        found = {name: getattr(model.space, name) for name in parts}
        arrays |= {name: values for name, values in found.items() if values is not None}
        if model.space.directions:
            arrays["directions"] = np.ones(1)
    write_fitted(path, KIND, Fitted(model.method, checkpoint, arrays))


def load_model(path: Path) -> tuple[Model, Fitted]:
    """Read a model and what else its file says.

    Raises:
        FormatError: the file is none, or damaged.
    """
    fitted = read_fitted(path, KIND)
    arrays, method = fitted.arrays, fitted.method
    names = {"means"}
    if method != "kmeans":
        names |= {"weights", "factors", "mean"} | (arrays.keys() & {"axes", "directions"})
    if method == "manifold":
        names |= {"anchors", "positions"}
    if method not in METHODS or not names <= arrays.keys():
        raise damaged(str(path), "it is no clustering that this version knows")
    if arrays["means"].ndim != 2 or 0 in arrays["means"].shape:
        raise damaged(str(path), f"means has shape {arrays['means'].shape}")
    k, dimensions = arrays["means"].shape
    if method == "kmeans":
        shapes = {}
        model = Model(method, Centres(arrays["means"].astype(np.float64)), None)
    else:
        width = arrays["mean"].shape[0] if arrays["mean"].ndim else 0
        reduced = arrays["axes"].shape[0] if "axes" in arrays else width
        shapes = {
            "weights": (k,),
            "factors": (k, dimensions, dimensions),
            "mean": (width,),
            "axes": (reduced, width),
            "directions": (1,),
        }
        if method == "manifold":
            rows = len(arrays["anchors"]) if arrays["anchors"].ndim else 0
            shapes |= {"anchors": (rows, reduced), "positions": (rows, 2)}
        inside = 2 if method == "manifold" else reduced
        if dimensions != inside:
            raise damaged(str(path), f"its means have {dimensions} numbers each, not {inside}")
    for name in names & shapes.keys():
        if arrays[name].shape != shapes[name] or 0 in shapes[name]:
            raise damaged(str(path), f"{name} has shape {arrays[name].shape}")
    if method != "kmeans":
        mixture = Mixture(*(arrays[name] for name in ("weights", "means", "factors")))
        space = Space(arrays["mean"], arrays.get("axes"), "directions" in arrays)
        if method == "manifold":
            space = with_map(space, arrays["anchors"], arrays["positions"])
        model = Model(method, mixture, space)
    return model, fitted
