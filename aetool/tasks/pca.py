"""Project latents on their principal axes and draw them."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.analysis.projection import principal_components
from aetool.errors import UsageError
from aetool.storage.atomic import locked, replacing
from aetool.storage.latents import open_latents
from aetool.storage.tables import write_table


@dataclass(frozen=True, slots=True)
class PcaResult:
    """What `project_latents` found.

    Args:
        explained_variance_ratio: the share of the variance along each axis; None where all rows are
            the same.
    """

    explained_variance_ratio: tuple[float | None, ...]


def project_latents(
    latents: str, output: Path | None, *, components: int = 2, plot: Path | None = None
) -> PcaResult:
    """Write each row's coordinates: path, label, pc1, pc2 and, with three components, pc3.

    Args:
        latents: what `open_latents` takes.
        output: the CSV; None for standard output.
        components: 2 or 3.
        plot: a .png, .pdf or .svg to draw the rows in, coloured by class.

    Raises:
        UsageError: the rows have fewer dimensions than components, or the plot an unknown suffix.
        FormatError: the latents cannot be read, are empty or not finite.
        OutputError: an output cannot be written.
    """
    if plot:
        # Drawing takes longer to import than most latents to project.
        from aetool.plots.scatter import scatter
        from aetool.plots.style import check_figure_path, save_figure

        check_figure_path(plot)
    with ExitStack() as stack:
        for target in filter(None, (output, plot)):
            stack.enter_context(locked(target))
        rows = stack.enter_context(open_latents(latents))
        if len(rows) and rows.dimensions < components:
            raise UsageError(
                f"{components} components cannot be made of {rows.dimensions}-dimensional latents",
                f"ask for --components {rows.dimensions}" if rows.dimensions > 1 else None,
            )
        projection = principal_components(rows.features, components)
        coordinates = projection.coordinates(rows.features)
        ratios = projection.explained_variance_ratio
        header = ["path", "label", *(f"pc{number + 1}" for number in range(components))]
        labels = np.full(len(rows), -1) if rows.labels is None else rows.labels
        names = (*rows.class_names, None)  # the last is that of label -1
        cells = zip(rows.paths, labels, coordinates, strict=True)
        write_table(output, header, ((path, names[label], *row) for path, label, row in cells))
        if plot:
            axes = [f"PC {number + 1}" for number in range(components)]
            if ratios is not None:
                axes = [f"{axis} ({ratio:.1%})" for axis, ratio in zip(axes, ratios, strict=True)]
            figure = scatter(coordinates, axes, rows.labels, rows.class_names)
            with replacing(plot) as temporary:
                save_figure(figure, temporary)
        return PcaResult((None,) * components if ratios is None else tuple(ratios.tolist()))
