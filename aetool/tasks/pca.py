"""Project latents on their principal axes, draw them, and keep the axes for other latents."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.analysis.projection import Projection, principal_components
from aetool.analysis.rows import moments
from aetool.errors import Failure, UsageError
from aetool.storage.atomic import replacing
from aetool.storage.checked import damaged
from aetool.storage.exchange import write_rows
from aetool.storage.fitted import Fitted, check_fits, read_fitted, write_fitted
from aetool.storage.joined import listed_files, open_joined
from aetool.storage.latents import Latents
from aetool.tasks.outputs import check_outputs, held

KIND = "projection"
SCREE_COMPONENTS = 20


@dataclass(frozen=True, slots=True)
class PcaResult:
    """What `project_latents` found.

    Args:
        explained_variance_ratio: the share of the variance along each axis, in the latents that the
            axes were fitted to; None where all rows are the same.
        rows: of the latents.
        failed: pictures that should be shown and cannot.
    """

    explained_variance_ratio: tuple[float | None, ...]
    rows: int
    failed: tuple[Failure, ...]

    @property
    def read(self) -> int:
        """Rows whose pictures did not fail, which --allow-failures counts against."""
        return self.rows - len(self.failed)


def project_latents(
    latents: str | Sequence[str],
    output: Path | None,
    *,
    components: int | None = None,
    plot: Path | None = None,
    thumbnails: bool = False,
    scree: Path | None = None,
    loadings: Path | None = None,
    checkpoint: Path | None = None,
    page: Path | None = None,
    images: str | None = None,
    save: Path | None = None,
    apply_axes: Path | None = None,
) -> PcaResult:
    """Write each row's coordinates: path, label, pc1, pc2 and, with three components, pc3.

    Args:
        latents: what `open_joined` takes.
        output: the CSV; None for standard output.
        components: 2 or 3; None: 2, or those of `apply_axes`.
        plot: a .png, .pdf or .svg to draw the rows in, coloured by class.
        thumbnails: show the pictures of some rows on the plot, in two dimensions.
        scree: a .png, .pdf or .svg of the variance along each of the first SCREE_COMPONENTS axes.
        loadings: a picture file: what the decoder of `checkpoint` makes of steps along the axes.
        checkpoint: the model the latents were made with, where there are `loadings`.
        page: a .html with the rows on the first two axes and all thumbnails.
        images: the SOURCE that the pictures are in now; without it the one they were encoded from.
        save: a file for the axes.
        apply_axes: a file that `save` wrote: its axes are used, none are fitted.

    Raises:
        UsageError: the rows have fewer dimensions than components, or a figure an unknown suffix.
        FormatError: the latents or the axes cannot be read or do not fit one another, or the
            latents are empty or not finite.
        SourceError: the pictures to show cannot be found.
        OutputError: an output cannot be written.
    """
    if plot or scree or page:
        # Drawing takes longer to import than most latents to project.
        from aetool.plots.style import check_figure_path
        from aetool.tasks.maps import draw_axes, draw_scree, write_page
    for figure in filter(None, (plot, scree)):
        check_figure_path(figure)
    with ExitStack() as stack:
        files = listed_files(latents)
        outputs = (output, plot, scree, loadings, page, save)
        stack.enter_context(held(outputs, (*files, apply_axes, checkpoint)))
        rows = stack.enter_context(open_joined(files))
        pictures = _pictures(rows, images) if page or (plot and thumbnails) else None
        if pictures:
            check_outputs(outputs, [pictures.inputs])
        if apply_axes:
            projection = _load(apply_axes, rows, components)
            if thumbnails and len(projection.components) != 2:
                raise UsageError(
                    f"{apply_axes} holds three axes, and --thumbnails is for two",
                    "add --components 2",
                )
        else:
            projection = _fit(rows, components or 2, wide=scree is not None)
        if scree:
            with replacing(scree) as temporary:
                draw_scree(temporary, projection.explained_variance_ratio)
        if not apply_axes:
            projection = projection.first(components or 2)
        if save:
            _save(save, projection, rows)
        coordinates = projection.coordinates(rows.features)
        ratios = projection.explained_variance_ratio
        count = len(projection.components)
        names = [f"pc{number + 1}" for number in range(count)]
        write_rows(output, rows, names, [coordinates.T])
        if loadings:
            # TensorFlow: imported where it is needed, and nowhere else in this command.
            from aetool.tasks.loadings import write_loadings

            write_loadings(loadings, checkpoint, rows, projection)
        if plot:
            shown = pictures if thumbnails else None
            with replacing(plot) as temporary:
                draw_axes(temporary, rows, coordinates, ratios, shown)
        if page:
            write_page(page, rows, coordinates[:, :2], [], pictures)
        return PcaResult(
            (None,) * count if ratios is None else tuple(ratios.tolist()),
            len(rows),
            tuple(dict.fromkeys(pictures.failures)) if pictures else (),
        )


def _fit(rows: Latents, components: int, *, wide: bool) -> Projection:
    if len(rows) and rows.dimensions < components:
        raise UsageError(
            f"{components} components cannot be made of {rows.dimensions}-dimensional latents",
            f"ask for --components {rows.dimensions}" if rows.dimensions > 1 else None,
        )
    count = min(rows.dimensions, SCREE_COMPONENTS) if wide else components
    return principal_components(rows.features, count)


def _save(path: Path, projection: Projection, rows: Latents) -> None:
    names = ("mean", "components", "explained_variance", "explained_variance_ratio")
    values = {name: getattr(projection, name) for name in names}
    arrays = {name: value for name, value in values.items() if value is not None}
    write_fitted(path, KIND, Fitted("pca", rows.checkpoint, arrays))


def _load(path: Path, rows: Latents, components: int | None) -> Projection:
    fitted = read_fitted(path, KIND)
    arrays = fitted.arrays
    axes = arrays.get("components", np.empty(0))
    if axes.ndim != 2 or len(axes) not in (2, 3):
        raise damaged(str(path), "it holds no two or three axes")
    shapes = {
        "mean": axes.shape[1:],
        "explained_variance": axes.shape[:1],
        "explained_variance_ratio": axes.shape[:1],
    }
    for name, shape in shapes.items():
        missing = name not in arrays and name != "explained_variance_ratio"
        if missing or (name in arrays and arrays[name].shape != shape):
            raise damaged(str(path), f"{name} is missing or of another shape")
    check_fits(path, fitted, axes.shape[1], rows)
    moments(rows.features)  # refuses rows that are none
    projection = Projection(
        arrays["mean"],
        axes,
        arrays["explained_variance"],
        arrays.get("explained_variance_ratio"),
    )
    if components is not None and components > len(axes):
        raise UsageError(f"{path} holds {len(axes)} axes", f"ask for --components {len(axes)}")
    return projection.first(components or len(axes))


def _pictures(rows: Latents, images: str | None):
    from aetool.tasks.sheets import Pictures

    return Pictures(rows, images)
